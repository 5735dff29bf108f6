from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from datamodules.assets.contract import Layer
from datamodules.assets.crops.crop_asset import CropAsset
from datamodules.assets.view_assets import premultiply
from datamodules.geometry import Boxes3D
from lit.metrics.view_agreement import agreement_with, on_grey
from tests.datamodules.assets.crops.scenes import CAMERA, DIMS

BOX = Boxes3D.single([0.0, 1.65, 12.0], DIMS, 0.0)


def photograph() -> CropAsset:
    rgba = np.zeros((10, 20, 4), np.uint8)
    rgba[2:8, 3:17] = (200, 100, 50, 255)
    return CropAsset("one", "Car", np.array(DIMS), BOX, rgba, 30, 40, CAMERA, BOX)


def layer(rgba: np.ndarray, left: int = 30, top: int = 40) -> Layer:
    return Layer(premultiply(rgba), np.zeros(rgba.shape[:2], np.float32), left, top, np.zeros(4))


def test_the_photograph_itself_agrees_wholly_wherever_its_window_lies() -> None:
    photo = photograph()
    assert agreement_with(layer(photo.rgba), photo) == (100.0, 100.0, 1.0)
    inner = photo.rgba[2:8, 3:17]
    assert agreement_with(layer(inner, 33, 42), photo) == (100.0, 100.0, 1.0)
    np.testing.assert_array_equal(on_grey(layer(inner, 33, 42), photo), on_grey(layer(photo.rgba), photo))


def test_another_colour_and_another_outline_count_by_hand() -> None:
    photo = photograph()
    darker = photo.rgba.copy()
    darker[..., :3][darker[..., 3] > 0] -= 20
    off = -20 * np.log10(20 / 255)
    assert agreement_with(layer(darker), photo) == pytest.approx((off, off, 1.0))
    half = photo.rgba.copy()
    half[:, 10:] = 0
    missing = np.mean([((c - 128) / 255) ** 2 for c in (200, 100, 50)]) / 2  # half of the car is grey
    assert agreement_with(layer(half), photo) == pytest.approx((-10 * np.log10(missing), 100.0, 0.5))


def test_what_lies_elsewhere_agrees_in_nothing() -> None:
    photo = photograph()
    found = agreement_with(layer(photo.rgba, 300, 40), photo)
    assert found.iou == 0
    assert np.isnan(found.psnr_inside)
    assert found.psnr < 20
    assert (on_grey(None, photo) == 128).all()
    assert (on_grey(layer(photo.rgba, 300, 40), photo) == 128).all()


def test_soft_edges_are_laid_on_grey() -> None:
    photo = photograph()
    soft = photo.rgba.copy()
    soft[2:8, 3:17, 3] = 128
    shown = on_grey(layer(soft), replace(photo, rgba=soft))
    np.testing.assert_allclose(shown[4, 5], [164, 114, 89], atol=1)
