"""The compiled and the torch voxel renderer: geometry, agreement, opacity, threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.assets.voxels.voxel_render import OPACITY_STEP, prepare_grid, render_voxels
from datamodules.assets.voxels.voxel_render_torch import prepare_grids_torch, render_voxels_torch
from datamodules.geometry import Boxes3D, Camera, canonical_projection, projected_bbox

CAMERA = Camera(np.array([[720.0, 0, 310, 45], [0, 720, 94, 0.2], [0, 0, 1, 0.003]]), 620, 188)


def blob(seed: int = 0, shape: tuple[int, int, int] = (48, 20, 24)) -> np.ndarray:
    """A soft coloured ellipsoid with an inner cavity and noise: soft and opaque parts, empty space inside and out."""
    rng = np.random.default_rng(seed)
    axes = [-1 + (2 * np.arange(n) + 1) / n for n in shape]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    radius = np.sqrt(x**2 + y**2 + z**2)
    grid = rng.integers(0, 256, (*shape, 4), dtype=np.uint8)
    grid[..., 3] = 255 * np.clip((0.85 - radius) * 4, 0, 1) * (radius > 0.3)
    return grid


def window(box: Boxes3D) -> tuple[np.ndarray, int, int, int, int]:
    """Projection and window of one box."""
    left, top, right, bottom = projected_bbox(CAMERA, box, clip=False)[0]
    left, top = int(np.floor(left)) - 1, int(np.floor(top)) - 1
    return (
        canonical_projection(CAMERA, box)[0],
        left,
        top,
        int(np.ceil(right)) + 2 - left,
        int(np.ceil(bottom)) + 2 - top,
    )


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255.0**2 / max(((a.astype(float) - b.astype(float)) ** 2).mean(), 1e-9)))


@settings(max_examples=15, deadline=None)
@given(st.floats(-3.1, 3.1), st.floats(-6, 6), st.floats(8, 50), st.integers(0, 5))
def test_torch_renders_the_same(yaw: float, x: float, z: float, seed: int) -> None:
    grid = blob(seed)
    projection, left, top, width, height = window(Boxes3D.single([x, 1.6, z], [3.9, 1.5, 1.6], yaw))
    rgba, depth = render_voxels(grid, projection, left, top, width, height)
    same, same_depth = render_voxels_torch(grid[None], projection[None], np.array([[left, top]]), width, height)
    assert psnr(rgba, same[0].numpy()) > 45
    assert np.abs(depth - same_depth[0].numpy())[rgba[..., 3] > 127].max(initial=0) < 0.02


def test_torch_batches_equal_single_objects() -> None:
    grids = np.stack([blob(0), blob(1)])
    windows = [window(Boxes3D.single([0, 1.6, z], [3.9, 1.5, 1.6], 0.4)) for z in (12.0, 20.0)]
    projections, corners = np.stack([w[0] for w in windows]), np.array([w[1:3] for w in windows])
    both, depth = render_voxels_torch(prepare_grids_torch(grids), projections, corners, 60, 40)
    for i in range(2):
        one, one_depth = render_voxels_torch(grids[i : i + 1], projections[i : i + 1], corners[i : i + 1], 60, 40)
        assert psnr(both[i].numpy(), one[0].numpy()) > 60
        np.testing.assert_allclose(depth[i].numpy(), one_depth[0].numpy(), atol=1e-2)


def test_empty_space_skipping_changes_nothing() -> None:
    prepared = prepare_grid(blob())
    marched = type(prepared)(
        prepared.data, np.zeros_like(prepared.skip), np.zeros(3), np.array(prepared.shape) + 1.0, prepared.shape
    )
    place = window(Boxes3D.single([1, 1.6, 14], [3.9, 1.5, 1.6], 0.7))
    for a, b in zip(render_voxels(prepared, *place), render_voxels(marched, *place)):
        np.testing.assert_allclose(a.astype(float), b.astype(float), atol=1.0)


def test_opacity_follows_the_path_length() -> None:
    """A fog of opacity a per step seen through a chord of length d lets (1 - a)^(d / STEP) through."""
    grid = np.full((128, 64, 64, 4), 200, dtype=np.uint8)
    grid[..., 3] = 3
    box = Boxes3D.single([-45 / 720, 1.0, 30], [4.0, 2.0, 2.0], 0.0)  # the camera looks along canonical z, depth 2
    projection, left, top, width, height = window(box)
    rgba, _ = render_voxels(grid, projection, left, top, width, height)
    expected = 255 * (1 - (1 - 3 / 255) ** (2.0 / OPACITY_STEP))
    assert abs(int(rgba[height // 2, width // 2, 3]) - expected) < 5
    coarse, _ = render_voxels(grid, projection, left, top, width, height, steps_per_voxel=0.5)
    assert abs(int(coarse[height // 2, width // 2, 3]) - expected) < 5


def test_no_dark_fringe() -> None:
    """Empty voxels (black here) darken no colour beside them: straight colour is the grid's at every covered pixel."""
    grid = blob()
    grid[..., :3] = np.where(grid[..., 3:] > 0, 200, 0)
    rgba = render_voxels(grid, *window(Boxes3D.single([0, 1.6, 15], [3.9, 1.5, 1.6], 0.3)))[0].astype(float)
    seen = rgba[..., 3] > 40
    straight = rgba[seen][:, :3] / rgba[seen][:, 3:] * 255
    assert np.abs(straight - 200).max() < 5


def test_depth_is_between_front_and_back() -> None:
    grid = np.full((64, 26, 28, 4), 255, dtype=np.uint8)
    box = Boxes3D.single([0, 1.6, 12], [3.9, 1.5, 1.6], 0.9)
    rgba, depth = render_voxels(grid, *window(box))
    corners = box.corners[0][:, 2]
    solid = depth[rgba[..., 3] > 250]
    assert solid.min() > corners.min() - 0.1
    assert solid.max() < corners.max() + 0.1
    assert (depth[rgba[..., 3] == 0] == 0).all()


def test_threads_render_the_same_bytes() -> None:
    prepared = prepare_grid(blob())
    jobs = [window(Boxes3D.single([0, 1.6, 12], [3.9, 1.5, 1.6], yaw)) for yaw in np.linspace(-3, 3, 16)]
    alone = [render_voxels(prepared, *job) for job in jobs]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda job: render_voxels(prepared, *job), jobs * 3))
    for i, (rgba, depth) in enumerate(together):
        assert rgba.tobytes() == alone[i % 16][0].tobytes()
        assert depth.tobytes() == alone[i % 16][1].tobytes()


@pytest.mark.parametrize("value", [0, 255])
def test_camera_inside_and_empty_grid(value: int) -> None:
    grid = np.full((16, 16, 16, 4), value, dtype=np.uint8)
    projection = canonical_projection(CAMERA, Boxes3D.single([0, 0.8, 0], [4, 1.6, 1.6], 0.3))[0]
    rgba, depth = render_voxels(grid, projection, 0, 0, 620, 188)
    assert (rgba == value).all()
    assert np.isfinite(depth).all()
