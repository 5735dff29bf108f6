r"""Exact intersection over union of rotated rectangles on the ground, in float64.

Rectangles are rows x, z, length, width, yaw as :attr:`datamodules.geometry.Boxes3D.bev` yields them: yaw about +y
(down), so the length runs along (cos yaw, -sin yaw) in the (x, z) plane.

Others clip polygon A by the sides of B (Sutherland and Hodgman 1974), or gather corners and crossings and sort them
round their mean (the rotated operators of Detectron2 and mmcv), and then take the polygon's area. Here A's outline is
pushed onto B and Green's theorem does the rest::

          A /\                In B's axes (u, v) each point of A's outline moves to the nearest point of B: its u and
       +---/--\---+ B         its v are clamped. Points inside B stay, points beside it slide onto its sides (here the
       |  /    \  |           tip onto the upper one). No point crosses an inner point of B on its way, so the pushed
       |  \    /  |           outline goes round the same inner points of B as before: it encloses exactly A and B's
       +---\--/---+           intersection. The area is the sum over A's four edges of the integral of u dv along the
            \/                pushed edge: the rise of the clamped v times the mean of the clamped u.

There is no inside test and nothing is sorted, so touching, collinear and identical rectangles are no special cases.
The smaller rectangle plays A and its centre is the origin, which keeps full relative precision for tiny rectangles and
for ones far from the camera.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numba import njit


@njit(nogil=True, cache=True, inline="always")
def _clamp(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


@njit(nogil=True, cache=True)
def rectangle_intersection(
    ax: float, az: float, al: float, aw: float, ayaw: float, bx: float, bz: float, bl: float, bw: float, byaw: float
) -> float:
    """Area (m^2) shared by two rectangles x, z, length, width, yaw; one without extent shares nothing."""
    if al <= 0.0 or aw <= 0.0 or bl <= 0.0 or bw <= 0.0:
        return 0.0
    if al * aw > bl * bw:
        ax, az, al, aw, ayaw, bx, bz, bl, bw, byaw = bx, bz, bl, bw, byaw, ax, az, al, aw, ayaw
    dx, dz = bx - ax, bz - az
    reach = math.sqrt(al * al + aw * aw) + math.sqrt(bl * bl + bw * bw)
    if 4.0 * (dx * dx + dz * dz) > reach * reach:
        return 0.0
    cos_b, sin_b = math.cos(byaw), math.sin(byaw)
    # centre of B along its own axes, seen from A
    u, v = cos_b * dx - sin_b * dz, sin_b * dx + cos_b * dz
    u_low, u_high, v_low, v_high = u - bl / 2, u + bl / 2, v - bw / 2, v + bw / 2
    reference = _clamp(0.0, u_low, u_high)  # any constant would do; this one makes disjoint rectangles exactly 0
    cos_d, sin_d = math.cos(ayaw - byaw), math.sin(ayaw - byaw)
    length_u, length_v = cos_d * al / 2, -sin_d * al / 2
    width_u, width_v = sin_d * aw / 2, cos_d * aw / 2
    u0, v0 = length_u - width_u, length_v - width_v
    area = 0.0
    for edge in range(4):
        if edge == 0:
            u1, v1 = length_u + width_u, length_v + width_v
        elif edge == 1:
            u1, v1 = width_u - length_u, width_v - length_v
        elif edge == 2:
            u1, v1 = -length_u - width_u, -length_v - width_v
        else:
            u1, v1 = length_u - width_u, length_v - width_v
        start, stop = _clamp(v0, v_low, v_high), _clamp(v1, v_low, v_high)
        if start != stop:
            slope = (u1 - u0) / (v1 - v0)
            first, last = u0 + (start - v0) * slope, u0 + (stop - v0) * slope
            left, right = _clamp(first, u_low, u_high), _clamp(last, u_low, u_high)
            mean = left
            if left != right:
                # the pushed point rests at `left` until the edge enters B's width and at `right` after it leaves
                mean += (right - left) * (1.0 - 0.5 * ((left - first) + (right - first)) / (last - first))
            area += (mean - reference) * (stop - start)
        u0, v0 = u1, v1
    return _clamp(area, 0.0, al * aw)


@njit(nogil=True, cache=True)
def _pairwise_intersection(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    out = np.empty((len(a), len(b)))
    for i in range(len(a)):
        for j in range(len(b)):
            out[i, j] = rectangle_intersection(
                a[i, 0], a[i, 1], a[i, 2], a[i, 3], a[i, 4], b[j, 0], b[j, 1], b[j, 2], b[j, 3], b[j, 4]
            )
    return out


def _rows(boxes: np.ndarray) -> np.ndarray:
    rows = np.ascontiguousarray(boxes, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] != 5:
        raise ValueError(f"rectangles of shape {rows.shape}: expected (N, 5) rows x, z, length, width, yaw")
    return rows


def _ratio(shared: np.ndarray, size_a: np.ndarray, size_b: np.ndarray) -> np.ndarray:
    union = size_a + size_b - shared
    return shared / np.where(union > 0, union, 1.0)


def _areas(rows: np.ndarray) -> np.ndarray:
    return np.maximum(rows[:, 2], 0) * np.maximum(rows[:, 3], 0)


def rotated_intersection(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Shared areas (N, M) in m^2 of rectangles a (N, 5) and b (M, 5).

    Raises:
        ValueError: an argument is not (N, 5).
    """
    return _pairwise_intersection(_rows(a), _rows(b))


def rotated_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """IoU (N, M) of rectangles a (N, 5) and b (M, 5); 0 where both have no area."""
    a, b = _rows(a), _rows(b)
    return _ratio(_pairwise_intersection(a, b), _areas(a)[:, None], _areas(b)[None])


def suppress(rectangles: np.ndarray, limit: float) -> np.ndarray:
    """Greedy non-maximum suppression: indices of the rectangles (N, 5), best first, that overlap no kept one by more.

    Args:
        rectangles: rows of :func:`rotated_iou`, in the order of falling score.
        limit: IoU above which the later one is dropped.
    """
    return _suppress(rotated_iou(rectangles, rectangles), limit)


@njit(nogil=True, cache=True)
def _suppress(overlap: np.ndarray, limit: float) -> np.ndarray:
    kept = np.ones(len(overlap), dtype=np.bool_)
    for i in range(len(overlap)):
        if kept[i]:
            for j in range(i + 1, len(overlap)):
                kept[j] = kept[j] and overlap[i, j] <= limit
    return np.flatnonzero(kept)


def rotated_intersection_torch(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Shared areas of rectangles (..., 5) and (..., 5), broadcast against each other, on their device, in float64."""
    a, b = torch.broadcast_tensors(a.double(), b.double())
    swap = (a[..., 2] * a[..., 3] > b[..., 2] * b[..., 3])[..., None]
    a, b = torch.where(swap, b, a), torch.where(swap, a, b)
    dx, dz = (b[..., :2] - a[..., :2]).unbind(-1)
    cos_b, sin_b = torch.cos(b[..., 4]), torch.sin(b[..., 4])
    u, v = cos_b * dx - sin_b * dz, sin_b * dx + cos_b * dz
    half_l, half_w = b[..., 2] / 2, b[..., 3] / 2
    u_low, u_high, v_low, v_high = (t[..., None] for t in (u - half_l, u + half_l, v - half_w, v + half_w))
    reference = torch.zeros_like(u_low).clamp(u_low, u_high)
    cos_d, sin_d = torch.cos(a[..., 4] - b[..., 4]), torch.sin(a[..., 4] - b[..., 4])
    length_u, length_v = cos_d * a[..., 2] / 2, -sin_d * a[..., 2] / 2
    width_u, width_v = sin_d * a[..., 3] / 2, cos_d * a[..., 3] / 2
    corners_u = torch.stack([length_u - width_u, length_u + width_u, width_u - length_u, -length_u - width_u], -1)
    corners_v = torch.stack([length_v - width_v, length_v + width_v, width_v - length_v, -length_v - width_v], -1)
    next_u, next_v = corners_u.roll(-1, -1), corners_v.roll(-1, -1)
    start, stop = corners_v.clamp(v_low, v_high), next_v.clamp(v_low, v_high)
    rise = next_v - corners_v
    slope = (next_u - corners_u) / torch.where(rise == 0, 1.0, rise)
    first, last = corners_u + (start - corners_v) * slope, corners_u + (stop - corners_v) * slope
    left, right = first.clamp(u_low, u_high), last.clamp(u_low, u_high)
    run = torch.where(left == right, 1.0, last - first)
    mean = left + (right - left) * (1.0 - 0.5 * ((left - first) + (right - first)) / run)
    area = ((mean - reference) * (stop - start)).sum(-1)
    solid = (a[..., 2:4] > 0).all(-1) & (b[..., 2:4] > 0).all(-1)
    return torch.where(solid, torch.minimum(area.clamp(min=0), a[..., 2] * a[..., 3]), 0.0)


def rotated_iou_torch(a: torch.Tensor, b: torch.Tensor, aligned: bool = False) -> torch.Tensor:
    """IoU of rectangles on any device, in float64.

    Args:
        a: (N, 5) rows x, z, length, width, yaw.
        b: (M, 5) rows; (N, 5) when ``aligned``.
        aligned: compare equal rows only.

    Returns:
        (N, M), or (N,) when ``aligned``; the values of :func:`rotated_iou` to rounding.
    """
    a, b = (a, b) if aligned else (a[:, None], b[None])
    shared = rotated_intersection_torch(a, b)
    area_a, area_b = (t[..., 2:4].double().clamp(min=0).prod(-1) for t in (a, b))
    union = area_a + area_b - shared
    return shared / torch.where(union > 0, union, 1.0)
