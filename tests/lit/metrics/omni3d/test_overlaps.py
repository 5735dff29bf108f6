"""IoU of boxes of any rotation: two ways against each other, against closed forms, and against counted cells."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from datamodules.geometry import rotation_y
from datamodules.omni3d.camera_boxes import CameraBoxes
from lit.metrics.omni3d.overlaps import intersection_volume, iou_2d, iou_3d


def boxes(center: np.ndarray, dims: np.ndarray, rotation: np.ndarray) -> CameraBoxes:
    count = len(center)
    return CameraBoxes(np.full(count, "car"), np.zeros((count, 4)), center, dims, rotation)


def drawn(rng: np.random.Generator, count: int) -> CameraBoxes:
    yaw = rng.uniform(-np.pi, np.pi, count)
    return boxes(rng.normal(0, 1, (count, 3)), rng.uniform(0.5, 4, (count, 3)), rotation_y(yaw))


def test_boxes_on_one_axis_by_two_ways() -> None:
    """The ground rectangle times the height, and the hull of twelve half-spaces; the camera's tilt changes nothing."""
    rng = np.random.default_rng(0)
    a, b = drawn(rng, 12), drawn(rng, 12)
    fast = iou_3d(a, b)
    volumes = [one.dims.prod(1) for one in (a, b)]
    shared = np.array(
        [
            [intersection_volume(*(v[i] for v in parts(a)), *(v[j] for v in parts(b))) for j in range(12)]
            for i in range(12)
        ]
    )
    np.testing.assert_allclose(fast, shared / (volumes[0][:, None] + volumes[1] - shared), atol=1e-9)
    assert 0.2 < (fast > 0).mean() < 1
    tilt = Rotation.from_euler("xyz", [0.3, 0.2, -0.5]).as_matrix()
    tilted = [boxes(one.center @ tilt.T + [3, 2, 40], one.dims, tilt @ one.rotation) for one in (a, b)]
    np.testing.assert_allclose(iou_3d(*tilted), fast, atol=1e-12)


def parts(one: CameraBoxes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return one.center, one.dims, one.rotation


def test_closed_forms() -> None:
    cube = boxes(np.zeros((1, 3)), np.ones((1, 3)), np.eye(3)[None])
    for axis in "xyz":  # about y by the rectangles, about the others by the half-spaces
        turned = boxes(np.zeros((1, 3)), np.ones((1, 3)), Rotation.from_euler(axis, np.pi / 4).as_matrix()[None])
        octagon = 2 * (np.sqrt(2) - 1)
        assert iou_3d(cube, turned)[0, 0] == pytest.approx(octagon / (2 - octagon), abs=1e-9)
    rng = np.random.default_rng(1)
    any_turn = boxes(rng.normal(0, 9, (6, 3)), rng.uniform(1, 5, (6, 3)), Rotation.random(6, rng=1).as_matrix())
    np.testing.assert_allclose(np.diag(iou_3d(any_turn, any_turn)), 1, atol=1e-12)
    half = boxes(any_turn.center, any_turn.dims / 2, any_turn.rotation)
    np.testing.assert_allclose(np.diag(iou_3d(any_turn, half)), 1 / 8, atol=1e-9)


def test_any_rotation_against_counted_cells() -> None:
    rng = np.random.default_rng(2)
    a = boxes(rng.normal(0, 0.5, (4, 3)), rng.uniform(1, 3, (4, 3)), Rotation.random(4, rng=2).as_matrix())
    b = boxes(rng.normal(0, 0.5, (4, 3)), rng.uniform(1, 3, (4, 3)), Rotation.random(4, rng=3).as_matrix())
    axis = np.linspace(-3.5, 3.5, 100)
    cells = np.stack(np.meshgrid(axis, axis, axis), -1).reshape(-1, 3)
    inside = [[(np.abs((cells - c) @ r) <= d / 2).all(1) for c, d, r in zip(*parts(one))] for one in (a, b)]
    for i in range(4):
        for j in range(4):
            counted = (inside[0][i] & inside[1][j]).sum() / (inside[0][i] | inside[1][j]).sum()
            assert iou_3d(a[i : i + 1], b[j : j + 1])[0, 0] == pytest.approx(counted, abs=0.01)


def test_boxes_without_volume_share_nothing() -> None:
    flat = boxes(np.zeros((1, 3)), np.array([[1.0, 0, 1]]), np.eye(3)[None])
    assert iou_3d(flat, flat)[0, 0] == 0
    touching = boxes(np.array([[1.0, 0, 0]]), np.ones((1, 3)), Rotation.from_euler("x", 0.3).as_matrix()[None])
    assert iou_3d(boxes(np.zeros((1, 3)), np.ones((1, 3)), np.eye(3)[None]), touching)[0, 0] == 0


def test_rectangles() -> None:
    a = np.array([[0.0, 0, 2, 2], [0, 0, 0, 0]])
    b = np.array([[1.0, 1, 3, 3], [5, 5, 6, 6], [0, 0, 2, 2]])
    np.testing.assert_allclose(iou_2d(a, b), np.array([[1 / 7, 0, 1], [0, 0, 0]]))
