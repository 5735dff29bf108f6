from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from datamodules.errors import InputError
from datamodules.objects.photos.depth_files import depth_path, read_depth
from lit.commands.prepare.depth import write_estimates
from lit.proxies.depth_estimator import TransformersDepth, stored_depth


class BrightIsNear:
    inverse = True

    def __call__(self, images: Tensor) -> Tensor:
        return images.float().mean(1)


def test_any_estimator_writes_what_is_missing(tmp_path: Path) -> None:
    ramp = np.linspace(0, 255, 24).astype(np.uint8)
    image = tmp_path / "cats" / "a.png"
    image.parent.mkdir()
    cv2.imwrite(str(image), np.repeat(np.broadcast_to(ramp, (10, 24))[..., None], 3, 2))
    assert write_estimates(tmp_path, BrightIsNear()) == 1
    depth = read_depth(image, (10, 24))
    assert (np.diff(depth[0]) < 0.001).all()  # the bright side is near
    assert (depth.min(), depth.max()) == pytest.approx((4.06, 5.94), abs=0.05)
    before = depth_path(image).read_bytes()
    assert write_estimates(tmp_path, BrightIsNear()) == 0
    assert depth_path(image).read_bytes() == before


def test_scale_and_shift_of_an_estimate_do_not_matter() -> None:
    estimate = np.random.default_rng(0).random((9, 7))
    np.testing.assert_allclose(stored_depth(estimate, False), stored_depth(estimate * 80 + 3, False))
    np.testing.assert_allclose(stored_depth(estimate, True), stored_depth(-estimate, False))
    for bad, says in ((np.zeros((4, 4)), "flat"), (np.full((4, 4), np.nan), "not finite")):
        with pytest.raises(InputError, match=says):
            stored_depth(bad, False)


def test_a_network_of_transformers_from_a_folder(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_sizes": [8, 8], "depths": [1, 1], "num_encoder_blocks": 2, "decoder_hidden_size": 8}
    per_block = {"num_attention_heads": [1, 1], "sr_ratios": [2, 1], "patch_sizes": [3, 3], "strides": [4, 2]}
    config = transformers.GLPNConfig(**sizes, **per_block, mlp_ratios=[1, 1], head_in_index=-1)
    torch.manual_seed(0)
    transformers.GLPNForDepthEstimation(config).save_pretrained(tmp_path)
    transformers.GLPNImageProcessor(size_divisor=8).save_pretrained(tmp_path)
    images = torch.randint(0, 256, (2, 3, 34, 42), dtype=torch.uint8)
    found = TransformersDepth(str(tmp_path), inverse=False)(images)
    assert found.shape == (2, 34, 42)
    assert torch.isfinite(found).all()


def test_a_folder_without_a_network_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a folder of a depth network"):
        TransformersDepth(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "nothing"}')
    pytest.importorskip("transformers")
    with pytest.raises(InputError, match="no depth network that transformers can read") as caught:
        TransformersDepth(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_what_a_processor_pads_is_cut_off_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ZoeDepth's adds a reflected border: a step has to come back where the picture has it."""
    transformers = pytest.importorskip("transformers")

    class Grey:
        def eval(self) -> Grey:
            return self

        def __call__(self, pixel_values: Tensor) -> SimpleNamespace:
            return SimpleNamespace(predicted_depth=pixel_values.mean(1))

    transformers.ZoeDepthImageProcessor(size={"height": 96, "width": 128}).save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "zoedepth"}')
    monkeypatch.setattr(transformers.AutoModelForDepthEstimation, "from_pretrained", lambda *_, **__: Grey())
    images = torch.zeros(2, 3, 40, 60, dtype=torch.uint8)
    images[..., 50:] = 255
    found = TransformersDepth(str(tmp_path), inverse=False)(images)
    assert found.shape == (2, 40, 60)
    bright = found > found.mean((1, 2), keepdim=True)
    edge = 60 - bright.float().sum(2)
    assert ((edge - 50).abs() <= 1).all()
