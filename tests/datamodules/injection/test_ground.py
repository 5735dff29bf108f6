"""Compiled looks at the ground against the same in NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from datamodules.geometry import Boxes3D, footprints, projected_bbox
from datamodules.injection.ground import drivable_share, ground_to_pixels, prior_plane
from datamodules.injection.learnt.free_space import CELL, LIMIT, FreeSpace
from datamodules.injection.site import HEADING_REACH, survey
from tests.datamodules.injection_scenes import CAMERA, DIMS, box_at, road_frame

PLANE = prior_plane()


def many_boxes(seed: int, count: int = 200) -> Boxes3D:
    """Boxes all over the ground before, beside and behind the camera."""
    rng = np.random.default_rng(seed)
    center = np.stack([rng.uniform(-25, 25, count), np.full(count, 1.65), rng.uniform(-3, 50, count)], 1)
    return Boxes3D(center, rng.uniform(0.6, 1.3, (count, 1)) * DIMS, rng.uniform(-np.pi, np.pi, count))


def test_footprints_are_the_lower_corners() -> None:
    boxes = many_boxes(0)
    np.testing.assert_allclose(footprints(boxes), boxes.corners[:, :4][..., [0, 2]], atol=1e-12)


@pytest.mark.parametrize("masked", [True, False])
def test_share_of_drivable_corners(masked: bool) -> None:
    rng = np.random.default_rng(1)
    corners, real = footprints(many_boxes(2)), Boxes3D.concatenate([box_at(-2.0, 12.0), box_at(2.5, 18.0, 1.2)])
    inside = rng.random(corners.shape[:2]) < 0.8
    mask = rng.random((CAMERA.height, CAMERA.width)) < 0.6 if masked else np.zeros((0, 0), np.bool_)
    rectangles, far = projected_bbox(CAMERA, real), real.center[:, 2].copy()
    share = drivable_share(CAMERA.projection, PLANE, corners, inside, mask, rectangles, far)

    pixels, depth = ground_to_pixels(CAMERA, PLANE, corners)
    at = pixels[..., None, :]
    hidden = (((at >= rectangles[:, :2]) & (at <= rectangles[:, 2:])).all(-1) & (far < depth[..., None])).any(-1)
    expected = inside & ~hidden
    if masked:
        column, row = np.rint(pixels[..., 0]), np.rint(pixels[..., 1])
        seen = (depth > 0) & (column >= 0) & (column < CAMERA.width) & (row >= 0) & (row < CAMERA.height)
        clipped = row.clip(0, CAMERA.height - 1).astype(int), column.clip(0, CAMERA.width - 1).astype(int)
        expected = inside & (mask[clipped] | hidden | ~seen)
    np.testing.assert_allclose(share, expected.mean(1))
    assert 0 < share.mean() < 1
    assert hidden.any()


def test_slope_of_the_middle_line_is_the_fit_about_each_depth() -> None:
    """On a road that bends to the right, against a weighted line through the same cells."""
    frame = road_frame(Boxes3D.empty())
    assert frame.road is not None
    road = frame.road & (np.arange(CAMERA.width) > CAMERA.width // 2 - 20)
    site = survey(frame, PLANE, road, (5.0, 45.0), (-1000.0, 1000.0))
    x, z, area = site.cells[:, 2:].T
    for depth in (8.0, 15.0, 33.0):
        near = (z >= np.floor(max(depth - HEADING_REACH, 0))) & (z < np.floor(depth + HEADING_REACH))
        slope = np.polyfit(z[near], x[near], 1, w=np.sqrt(area[near]))[0]
        found = site._middle_line_slope(np.array([depth]))[0]
        assert found == pytest.approx(np.clip(slope, -1, 1), abs=1e-9)


def test_open_ground_is_looked_up_cell_by_cell() -> None:
    rng = np.random.default_rng(3)
    size = round(2 * LIMIT / CELL)
    space = FreeSpace(rng.random((size, size)) < 0.5)
    assert space.grid is not None
    points = rng.uniform(-1.1 * LIMIT, 1.1 * LIMIT, (40, 5, 2))
    points[0, 0], points[0, 1] = np.nan, (-LIMIT, 0.0)
    cells = np.floor((np.nan_to_num(points).clip(-LIMIT, LIMIT - 1e-6) + LIMIT) / CELL).astype(int)
    expected = (np.abs(points) < LIMIT).all(-1) & space.grid[cells[..., 0], cells[..., 1]]
    np.testing.assert_array_equal(space.open(points), expected)
