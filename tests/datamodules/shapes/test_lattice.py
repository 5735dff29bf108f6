"""Rendering on a lattice: what is smooth is filled in, outlines are those of a ray a pixel, and few rays are cast."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.assets.voxels.voxel_assets import VoxelAsset, steps_per_voxel, voxel_pixels
from datamodules.assets.voxels.voxel_render import render_voxels
from datamodules.geometry import Boxes3D, Camera, canonical_projection, projected_bbox
from datamodules.shapes.lattice import CastPixels, on_lattice, spacing_for
from datamodules.shapes.meshes import car
from datamodules.shapes.raycast import render_car

CAMERA = Camera(np.array([[720.0, 0, 620, 45], [0, 720, 187, 0.2], [0, 0, 1, 0.003]]), 1242, 375)
DIMS = np.array([3.9, 1.5, 1.6])


class Picture:
    """Casts rays at a given picture, four pixels larger than its window, and counts them."""

    def __init__(self, rgba: np.ndarray, depth: np.ndarray) -> None:
        self.rgba, self.depth = rgba, depth
        self.cast_for = np.zeros(self.depth.shape, np.int64)

    def cast(self, pixels: np.ndarray, rgba: np.ndarray, depth: np.ndarray) -> None:
        rows, columns = pixels.T
        assert not rgba[rows, columns].any()
        np.add.at(self.cast_for, (rows, columns), 1)
        rgba[rows, columns], depth[rows, columns] = self.rgba[rows, columns], self.depth[rows, columns]


def drawn(picture: Picture, spacing: int, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    cast: CastPixels = picture.cast
    return on_lattice(cast, width, height, spacing)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 2, 4]), st.integers(0, 9))
def test_no_ray_is_cast_twice_and_linear_pictures_come_back(width: int, height: int, spacing: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    v, u = np.mgrid[: height + 4, : width + 4]
    slopes = rng.uniform(-1, 1, (2, 4))
    rgba = np.clip(160 + u[..., None] * slopes[0] + v[..., None] * slopes[1], 0, 255).astype(np.uint8)
    depth = (10 + 0.01 * u + 0.02 * v).astype(np.float32)
    picture = Picture(rgba, depth)
    found, metres = drawn(picture, spacing, width, height)
    assert found.shape == (height, width, 4)
    assert np.abs(found.astype(int) - rgba[:height, :width]).max() <= 2
    np.testing.assert_allclose(metres, depth[:height, :width], atol=1e-3)
    assert picture.cast_for.max() == 1
    if spacing > 1 and width > 20 and height > 20:
        assert picture.cast_for.sum() < 0.6 * width * height


@pytest.mark.parametrize("spacing", [2, 4])
def test_outlines_are_exact(spacing: int) -> None:
    v, u = np.mgrid[:94, :154]
    inside = ((u - 70) / 60.0) ** 2 + ((v - 44) / 38.0) ** 2 < 1
    rgba = np.where(inside[..., None], np.array([90, 120, 60, 255]), 0).astype(np.uint8)
    picture = Picture(rgba, np.where(inside, 12.0, 0.0).astype(np.float32))
    found, depth = drawn(picture, spacing, 150, 90)
    np.testing.assert_array_equal(found, rgba[:90, :150])
    np.testing.assert_array_equal(depth > 0, inside[:90, :150])
    assert picture.cast_for.sum() < 0.5 * inside.size


def baked() -> VoxelAsset:
    """A soft object such as generators bake: opaque over several voxels, coloured in waves and noise."""
    shape = (128, 52, 56)
    axes = np.meshgrid(*(-1 + (2 * np.arange(n) + 1) / n for n in shape), indexing="ij", sparse=True)
    radius = np.sqrt(axes[0] ** 2 + axes[1] ** 2 + axes[2] ** 2)
    wave = np.sin(9 * axes[0]) + np.sin(7 * axes[1] + 5 * axes[2])
    noise = np.random.default_rng(0).normal(0, 2, shape)
    grid = np.zeros((*shape, 4), np.uint8)
    for channel, (mean, swing) in enumerate(((150, 30), (90, 20), (70, -25))):
        grid[..., channel] = np.clip(mean + swing * wave + noise, 0, 255)
    grid[..., 3] = np.clip((0.95 - radius) * 1500, 0, 100)
    return VoxelAsset("ball", "Car", DIMS, grid)


def quality(one: np.ndarray, other: np.ndarray) -> float:
    """PSNR in dB over the pixels that either covers."""
    covered = (one[..., 3] > 0) | (other[..., 3] > 0)
    return float(10 * np.log10(255.0**2 / max(np.square(one[covered].astype(float) - other[covered]).mean(), 1e-9)))


@pytest.mark.parametrize(("distance", "yaw"), [(6.0, 0.4), (9.0, -1.3), (13.0, 2.2), (19.0, -2.9)])
def test_a_baked_object_looks_as_with_a_ray_a_pixel(distance: float, yaw: float) -> None:
    asset, place = baked(), Boxes3D.single([0.1 * distance, 1.65, distance], DIMS, yaw)
    projection = canonical_projection(CAMERA, place)[0]
    left, top, right, bottom = projected_bbox(CAMERA, place)[0].astype(int)
    window = (int(left), int(top), int(right - left + 2), int(bottom - top + 2))
    pixels = voxel_pixels(projection, asset.grid.shape)
    assert spacing_for(pixels) > 1
    rgba, depth = asset.render_window(projection, *window)
    full, metres = render_voxels(asset.grid, projection, *window, steps_per_voxel(pixels))
    assert quality(rgba, full) > 45
    np.testing.assert_array_equal(rgba[..., 3] > 127, full[..., 3] > 127)
    assert np.abs(depth - metres)[full[..., 3] > 127].max() < 0.15


@pytest.mark.parametrize(("distance", "yaw"), [(7.0, -1.2), (15.0, 0.5)])
def test_a_mesh_looks_as_with_every_pixel_looked_at(distance: float, yaw: float) -> None:
    mesh = car("studio", 3)
    place = Boxes3D.single([0.1 * distance, 1.65, distance], mesh.dims, yaw)
    projection = canonical_projection(CAMERA, place)[0]
    left, top, right, bottom = projected_bbox(CAMERA, place)[0].astype(int)
    window = (int(left), int(top), int(right - left + 2), int(bottom - top + 2))
    rgba, _ = render_car(mesh, projection, *window, spacing=2)
    full, _ = render_car(mesh, projection, *window)
    assert quality(rgba, full) > 45
    assert ((rgba[..., 3] > 127) != (full[..., 3] > 127)).mean() < 1e-3


def test_details_set_the_spacing() -> None:
    assert [spacing_for(pixels) for pixels in (0.5, 1.5, 3.0)] == [1, 2, 4]
