"""Rotated rectangle intersection against shapely, and its two implementations against each other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import Polygon

from datamodules.geometry import Boxes3D
from datamodules.rotated_iou import (
    rotated_intersection,
    rotated_iou,
    rotated_iou_torch,
)

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
coordinate = st.floats(-6, 6)
extent = st.floats(0.05, 8)
angle = st.floats(-7, 7)
rectangle = st.tuples(coordinate, coordinate, extent, extent, angle)


def polygon(row: tuple[float, ...]) -> Polygon:
    """The rectangle as Boxes3D.corners places it, which ties the yaw convention of the two modules together."""
    x, z, length, width, yaw = row
    box = Boxes3D(np.array([[x, 0.0, z]]), np.array([[length, 1.0, width]]), np.array([yaw]))
    return Polygon(box.corners[0, :4][:, [0, 2]])


def check(a: tuple[float, ...], b: tuple[float, ...], tolerance: float = 1e-9) -> None:
    """Both implementations, both ways round, against shapely."""
    shared = polygon(a).intersection(polygon(b)).area
    areas = a[2] * a[3], b[2] * b[3]
    expected = shared / (sum(areas) - shared)
    rows_a, rows_b = np.array([a]), np.array([b])
    assert rotated_intersection(rows_a, rows_b)[0, 0] == pytest.approx(shared, abs=tolerance * max(min(areas), 1e-3))
    assert rotated_iou(rows_a, rows_b)[0, 0] == pytest.approx(expected, abs=tolerance)
    assert rotated_iou(rows_b, rows_a)[0, 0] == pytest.approx(expected, abs=tolerance)
    got = rotated_iou_torch(torch.from_numpy(rows_a), torch.from_numpy(rows_b))
    assert float(got) == pytest.approx(expected, abs=tolerance)


@settings(max_examples=300, deadline=None)
@given(rectangle, rectangle)
def test_random_rectangles(a: tuple[float, ...], b: tuple[float, ...]) -> None:
    check(a, b)


@settings(deadline=None)
@given(rectangle, st.floats(-1e4, 1e4), st.integers(-2, 2))
def test_identical_rectangles_share_everything(a: tuple[float, ...], shift: float, turns: int) -> None:
    row = np.array([a]) + np.array([shift, shift, 0, 0, 0])
    turned = row + np.array([0, 0, 0, 0, turns * np.pi])
    assert rotated_iou(row, row)[0, 0] == pytest.approx(1, abs=1e-15)
    assert rotated_iou(row, turned)[0, 0] == pytest.approx(1, abs=1e-12)
    quarter = row[:, [0, 1, 3, 2, 4]] + np.array([0, 0, 0, 0, np.pi / 2])
    assert rotated_iou(row, quarter)[0, 0] == pytest.approx(1, abs=1e-12)


@settings(deadline=None)
@given(rectangle, st.floats(0.01, 0.99), st.floats(0.01, 0.99), st.floats(-1, 1), st.floats(-1, 1))
def test_nested_rectangles(a: tuple[float, ...], fl: float, fw: float, u: float, v: float) -> None:
    """The inner one, down to a corner of the outer one, covers its own share of the outer area."""
    x, z, length, width, yaw = a
    along, across = u * length * (1 - fl) / 2, v * width * (1 - fw) / 2
    inner = (
        x + np.cos(yaw) * along + np.sin(yaw) * across,
        z - np.sin(yaw) * along + np.cos(yaw) * across,
        fl * length,
        fw * width,
        yaw,
    )
    assert rotated_iou(np.array([a]), np.array([inner]))[0, 0] == pytest.approx(fl * fw, abs=1e-9)


@settings(deadline=None)
@given(rectangle, extent, extent, st.floats(-3, 3))
def test_touching_rectangles_share_nothing(a: tuple[float, ...], length: float, width: float, slide: float) -> None:
    """Two collinear edges, one on the other, whatever the shift along them."""
    x, z, _, own_width, yaw = a
    step = (own_width + width) / 2
    other = (
        x + np.sin(yaw) * step + np.cos(yaw) * slide,
        z + np.cos(yaw) * step - np.sin(yaw) * slide,
        length,
        width,
        yaw,
    )
    assert rotated_iou(np.array([a]), np.array([other]))[0, 0] == pytest.approx(0, abs=1e-12)
    check(a, other)


@settings(deadline=None)
@given(rectangle, st.floats(-1, 1), extent)
def test_collinear_edges(a: tuple[float, ...], share: float, length: float) -> None:
    """Same axis and width, shifted along the length: all four long edges lie on two lines."""
    x, z, own_length, width, yaw = a
    shift = share * own_length
    other = (x + np.cos(yaw) * shift, z - np.sin(yaw) * shift, length, width, yaw)
    overlap = min(own_length / 2, shift + length / 2) - max(-own_length / 2, shift - length / 2)
    expected = max(overlap, 0) * width
    assert rotated_intersection(np.array([a]), np.array([other]))[0, 0] == pytest.approx(expected, abs=1e-9)


@settings(deadline=None)
@given(rectangle, rectangle, st.floats(-9, -3), st.floats(-1e5, 1e5))
def test_tiny_and_distant_rectangles(a: tuple[float, ...], b: tuple[float, ...], power: float, shift: float) -> None:
    """Scale leaves IoU as it is; distance only loses what float64 cannot hold of the coordinates themselves."""
    expected = rotated_iou(np.array([a]), np.array([b]))[0, 0]
    scale = np.array([[10**power] * 4 + [1]])
    assert rotated_iou(np.array([a]) * scale, np.array([b]) * scale)[0, 0] == pytest.approx(expected, abs=1e-9)
    move = np.array([[shift, -shift, 0, 0, 0]])
    assert rotated_iou(np.array([a]) + move, np.array([b]) + move)[0, 0] == pytest.approx(expected, abs=1e-8)


def test_tiny_inside_huge_keeps_relative_precision() -> None:
    huge, tiny = np.array([[3.0, 4.0, 1e4, 1e4, 0.3]]), np.array([[3.1, 4.2, 1e-6, 2e-6, 1.1]])
    assert rotated_intersection(huge, tiny)[0, 0] == pytest.approx(2e-12, rel=1e-12)


@pytest.mark.parametrize("device", DEVICES)
def test_torch_equals_numba(device: str) -> None:
    rng = np.random.default_rng(0)
    a, b = (
        np.column_stack([rng.uniform(-3, 3, (200, 2)), rng.uniform(0.1, 5, (200, 2)), rng.uniform(-4, 4, 200)])
        for _ in range(2)
    )
    b[:40] = a[:40]
    b[40:80, 2:] = a[40:80, 2:]
    a[80:90, 2] = 0
    torch_a, torch_b = (torch.from_numpy(rows).to(device) for rows in (a, b))
    np.testing.assert_allclose(rotated_iou_torch(torch_a, torch_b).cpu(), rotated_iou(a, b), atol=1e-13)
    aligned = rotated_iou_torch(torch_a, torch_b, aligned=True).cpu().numpy()
    np.testing.assert_allclose(aligned, np.diag(rotated_iou(a, b)), atol=1e-13)


def test_rectangles_without_extent_and_empty_sets() -> None:
    flat = np.array([[0.0, 0, 0, 2, 0], [0, 0, -1, -1, 0]])
    assert (rotated_iou(flat, flat) == 0).all()
    assert (rotated_iou_torch(torch.from_numpy(flat), torch.from_numpy(flat)) == 0).all()
    assert rotated_iou(np.zeros((0, 5)), flat).shape == (0, 2)
    assert rotated_iou_torch(torch.zeros(0, 5), torch.zeros(2, 5)).shape == (0, 2)
    with pytest.raises(ValueError, match=r"\(N, 5\)"):
        rotated_iou(np.zeros((2, 4)), flat)
