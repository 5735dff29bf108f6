"""The segmenter: any network by name, checkpoints that load without settings, and that it learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch

from datamodules.errors import InputError
from datamodules.objects.mask_images import IGNORED
from datamodules.objects.object_masks import ObjectMasks
from lit.proxies.segmentation import Segmenter
from tests.lit.posed_boxes import write_posed_boxes

SMALL: dict[str, Any] = {"encoder": "tu-resnet10t", "options": {"encoder_depth": 3, "decoder_channels": [16, 16, 8]}}


def small(**changes: Any) -> Segmenter:
    torch.manual_seed(0)
    return Segmenter(**{"classes": ["background", "object"], **SMALL, **changes})


def trainer(root: Path, **options: Any) -> pl.Trainer:
    quiet: dict[str, Any] = {
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
    }
    return pl.Trainer(
        default_root_dir=root, enable_model_summary=False, use_distributed_sampler=False, num_sanity_val_steps=0,
        **{**quiet, **options},
    )  # fmt: skip


def test_probabilities_of_any_size_sum_to_one() -> None:
    model = small().eval()
    images = torch.randint(0, 256, (2, 3, 37, 50), dtype=torch.uint8)
    found = model.probabilities(images)
    assert found.shape == (2, 2, 37, 50)
    assert torch.allclose(found.sum(1), torch.ones(2, 37, 50), atol=1e-5)
    assert not found.requires_grad


@pytest.mark.parametrize(("architecture", "encoder"), [("FPN", "mobilenet_v2"), ("Unet", "tu-hrnet_w18_small")])
def test_networks_by_name(architecture: str, encoder: str) -> None:
    model = Segmenter(["a", "b", "c"], architecture, encoder).eval()
    assert model.probabilities(torch.zeros(1, 3, 32, 32, dtype=torch.uint8)).shape == (1, 3, 32, 32)


def test_bad_settings_say_what_to_do() -> None:
    with pytest.raises(InputError, match=r"architecture Unett: .*did you mean 'Unet'"):
        small(architecture="Unett")
    with pytest.raises(InputError, match=r"resnet81.*expected an encoder"):
        small(encoder="resnet81")
    with pytest.raises(InputError, match="two or more different names"):
        small(classes=["road", "road"])
    with pytest.raises(InputError, match=r"nowhere.pth: no such file"):
        small(encoder_weights="nowhere.pth")


def test_encoder_weights_come_from_a_file(tmp_path: Path) -> None:
    torch.manual_seed(5)
    given = Segmenter(["a", "b"], **SMALL).network.get_submodule("encoder").state_dict()
    plain = {key.removeprefix("model."): value for key, value in given.items()}
    torch.save({**plain, "fc.weight": torch.zeros(3)}, tmp_path / "encoder.pth")  # as timm saves it
    loaded = small(encoder_weights=str(tmp_path / "encoder.pth")).network.get_submodule("encoder").state_dict()
    assert all(torch.equal(given[key], loaded[key]) for key in given)
    plain.pop(next(iter(plain)))
    torch.save(plain, tmp_path / "encoder.pth")
    with pytest.raises(InputError, match="is missing"):
        small(encoder_weights=str(tmp_path / "encoder.pth"))


def test_ignored_pixels_count_nowhere() -> None:
    model = small().eval()
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    labels = torch.randint(0, 2, (2, 32, 32))
    labels[:, 16:] = IGNORED
    other = labels.clone()
    first = model.loss(images, labels)
    known = model(images).argmax(1)
    known[:, 16:] = 1 - known[:, 16:]
    other[:, :16] = known[:, :16]
    model.iou.update(model(images).argmax(1), other)
    assert model.iou.compute().min() == 1
    assert all(torch.isfinite(value) for value in first.values())
    nothing = model.loss(images[:1], torch.full((1, 32, 32), 0))
    assert torch.isfinite(nothing["dice"])


def test_load_refuses_other_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no such file; expected a segmenter's checkpoint"):
        Segmenter.load(tmp_path / "nothing.ckpt")
    (tmp_path / "text.ckpt").write_text("no checkpoint")
    with pytest.raises(InputError, match="no readable weights"):
        Segmenter.load(tmp_path / "text.ckpt")
    torch.save({"state_dict": {}, "hyper_parameters": {"lr": 1.0}}, tmp_path / "other.ckpt")
    with pytest.raises(InputError, match=r"made from other settings .*classes.*expected a segmenter"):
        Segmenter.load(tmp_path / "other.ckpt")
    settings = {"classes": ["a", "b"], **SMALL}
    torch.save({"state_dict": {}, "hyper_parameters": settings}, tmp_path / "empty.ckpt")
    with pytest.raises(InputError, match=r"weights of another shape than its settings say") as caught:
        Segmenter.load(tmp_path / "empty.ckpt")
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_learns_held_out_objects_and_loads(tmp_path: Path) -> None:
    boxes = write_posed_boxes(tmp_path / "boxes", objects=6, views=12, size=32)
    data, model = ObjectMasks(str(boxes), held_out=2, batch_size=12, seed=0, create=False), small(lr=4e-3)
    run = trainer(tmp_path, max_steps=120, max_epochs=-1, check_val_every_n_epoch=1000)
    run.fit(model, datamodule=data)
    scores = run.validate(model, datamodule=data, verbose=False)[0]
    assert scores["val/iou/object"] > 0.8
    assert scores["val/iou"] == pytest.approx((scores["val/iou/object"] + scores["val/iou/background"]) / 2, abs=1e-6)
    run.save_checkpoint(tmp_path / "last.ckpt")
    loaded = Segmenter.load(tmp_path / "last.ckpt")
    assert loaded.classes == ["background", "object"]
    images = next(iter(data.val_dataloader())).images
    assert np.allclose(loaded.probabilities(images), model.eval().probabilities(images), atol=1e-6)
