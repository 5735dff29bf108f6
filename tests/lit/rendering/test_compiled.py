"""The compiled tri-plane renderer and baker against torch, on the bench's car."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from datamodules.assets.voxel_render import OPACITY_STEP, render_voxels
from lit.commands.bench.field import HALF, TorchField, car_field, ground_truth, two_pass
from lit.commands.bench.render import mask_iou, psnr, view
from lit.rendering.compiled import TriplaneField, _softplus, bake_field, occupancy, render_field


@pytest.fixture(scope="module")
def field() -> TriplaneField:
    return car_field()


@pytest.fixture(scope="module")
def skip(field: TriplaneField) -> np.ndarray:
    return occupancy(field)


def test_softplus_fit() -> None:
    x = np.linspace(-30, 60, 2001, dtype=np.float32)
    fitted = np.array([_softplus(v) for v in x])
    assert np.abs(fitted - np.logaddexp(0, x.astype(np.float64))).max() < 5e-5


def test_renderers_agree_with_many_samples(field: TriplaneField, skip: np.ndarray) -> None:
    projection, window = view(48)
    reference = TorchField(field)
    truth = ground_truth(reference, projection, window).numpy()
    assert 0.1 < (truth[..., 3] > 0.5).mean() < 0.6  # a compact object in the crop
    exact, depth = render_field(field, skip, projection, HALF, window, 1 / 32)
    assert psnr(exact, truth) > 45
    assert mask_iou(exact, truth) > 0.99
    middle = depth[exact[..., 3] > 0.9]
    assert middle.min() > 9
    assert middle.max() < 15
    box = projection.copy()
    box[:, :3] *= HALF
    baked = render_voxels(bake_field(field, skip, HALF), box, *window, unit=HALF)[0] / 255
    assert psnr(baked, truth) > 38
    assert psnr(two_pass(reference, projection, window).numpy(), truth) > 40


def test_baked_voxels_hold_the_field(field: TriplaneField, skip: np.ndarray) -> None:
    shape = (32, 13, 14)
    grid = bake_field(field, skip, HALF, shape)
    centres = np.stack(np.meshgrid(*[(2 * np.arange(n) + 1) / n - 1 for n in shape], indexing="ij"), -1) * HALF
    raw, colour = TorchField(field)(torch.from_numpy(centres.reshape(-1, 3)).float())
    opacity = 1 - torch.exp(-torch.nn.functional.softplus(raw - 1) * OPACITY_STEP)
    expected = (opacity * 255).reshape(shape).numpy()
    assert np.abs(grid[..., 3] - expected).max() < 2.5
    seen = expected > 3
    assert np.abs(grid[..., :3] - 255 * colour.reshape(*shape, 3).numpy())[seen].max() < 1.5


def test_nothing_lies_in_cells_marked_empty(field: TriplaneField, skip: np.ndarray) -> None:
    points = np.random.default_rng(0).uniform(-1, 1, (20000, 3))
    cells = ((points + 1) * 32).astype(int).clip(0, 63)
    empty = skip[tuple(cells.T)] > 0
    raw, _ = TorchField(field)(torch.from_numpy(points[empty]).float())
    assert float(torch.nn.functional.softplus(raw - 1).max()) < 1.0
