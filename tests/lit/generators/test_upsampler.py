from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer

from datamodules.errors import InputError
from datamodules.objects.object_images import ObjectImages
from lit.generators.upsampler import Upsampler
from lit.networks.rcan import bicubic
from tests.lit.posed_boxes import write_posed_boxes

TINY: dict[str, Any] = {"features": 8, "groups": 1, "blocks": 2, "reduction": 4, "bicubic": True, "patch": 12}


def run(module: Upsampler, data: ObjectImages, steps: int, path: Path) -> dict[str, float]:
    trainer = Trainer(
        max_steps=steps, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        num_sanity_val_steps=0, default_root_dir=path, enable_checkpointing=False,
    )  # fmt: skip
    trainer.fit(module, data)
    trainer.save_checkpoint(path / "last.ckpt")
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> ObjectImages:
    boxes = write_posed_boxes(tmp_path_factory.mktemp("boxes") / "set", objects=3, views=3, size=32)
    return ObjectImages(str(boxes), batch_size=4, val_every=3, backdrop="colour", steps_per_epoch=60, create=False)


def test_some_steps_enlarge_better_than_cubic_interpolation(data: ObjectImages, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Upsampler(**TINY, lr=1e-2, total_images=240)
    figures = run(module, data, 60, tmp_path)
    assert figures["val/psnr_gain"] == pytest.approx(figures["val/psnr"] - figures["val/psnr_bicubic"], abs=1e-4)
    assert figures["val/psnr_gain"] > 0.05  # it began at 0
    again = Upsampler.load(tmp_path / "last.ckpt")
    images = torch.rand(1, 3, 8, 8)
    assert torch.equal(again(images), module.eval()(images))
    assert again(images).min() >= 0


def test_patches_are_parts_of_their_pictures() -> None:
    module, draw = Upsampler(**TINY), torch.Generator().manual_seed(0)
    images = torch.arange(32 * 32.0).view(1, 1, 32, 32).expand(2, 3, 32, 32)
    found = module.patches(images, draw)
    assert found.shape == (2, 3, 24, 24)
    steps = {abs(float(patch[0, 0, 1] - patch[0, 0, 0])) for patch in found}
    assert steps <= {1.0, 32.0}
    module.hparams["turn"] = False
    straight = module.patches(images, draw)
    assert all(float(patch[0, 1, 0] - patch[0, 0, 0]) == 32 for patch in straight)
    small = module.shrunk(images / 1024)
    assert small.shape == (2, 3, 16, 16)
    torch.testing.assert_close((small * 255).round(), small * 255, atol=1e-4, rtol=0)
    assert (bicubic(small, 2) - images / 1024).abs().max() < 0.05


def test_bad_sizes_are_one_line() -> None:
    module, draw = Upsampler(**TINY), torch.Generator()
    with pytest.raises(InputError, match=r"pictures of 16 pixels: expected 24 or more; lower model\.patch"):
        module.patches(torch.rand(1, 3, 16, 16), draw)
    with pytest.raises(InputError, match="pictures of 15 x 15: expected multiples"):
        module.shrunk(torch.rand(1, 3, 15, 15))
    with pytest.raises(InputError, match="patch 0"):
        Upsampler(**(TINY | {"patch": 0}))
    with pytest.raises(InputError, match=r"a checkpoint of conf/experiment/rcan.yaml"):
        Upsampler.load("nowhere.ckpt")
