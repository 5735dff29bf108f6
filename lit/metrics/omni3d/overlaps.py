"""Exact intersection over union of boxes of any rotation, in float64.

Two boxes that stand on one axis share a rectangle on the ground times a height
(:func:`datamodules.rotated_iou.rectangle_intersection`); they are compared in the first one's own axes, so it matters
not how its camera is tilted. Of others the twelve half-spaces are intersected by SciPy (Qhull) and the hull's volume is
taken. Omni3D's own evaluation clips triangle meshes in float32 (pytorch3d's ``iou_box3d``).
"""

from __future__ import annotations

import numpy as np
from numba import njit
from scipy.optimize import linprog
from scipy.spatial import ConvexHull, HalfspaceIntersection

from datamodules.omni3d.camera_boxes import CameraBoxes
from datamodules.rotated_iou import rectangle_intersection

SAME_AXIS = 1e-4  # sine of the angle up to which two boxes count as standing on one axis
UNDECIDED = -1.0
FLAT = 1e-7  # metres; bodies in which no larger ball fits share nothing


def iou_3d(a: CameraBoxes, b: CameraBoxes) -> np.ndarray:
    """(N, M) IoU of boxes a (N) and b (M); 0 where one has no volume."""
    parts = []
    for boxes in (a, b):
        parts += [np.ascontiguousarray(values, np.float64) for values in (boxes.center, boxes.dims, boxes.rotation)]
    shared = _on_one_axis(*parts)
    for i, j in np.argwhere(shared == UNDECIDED):
        shared[i, j] = intersection_volume(*(part[i] for part in parts[:3]), *(part[j] for part in parts[3:]))
    volumes = [boxes.dims.prod(1) for boxes in (a, b)]
    union = volumes[0][:, None] + volumes[1][None] - shared
    return np.asarray(shared / np.where(union > 0, union, 1.0))


def iou_2d(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(N, M) IoU of rectangles (N, 4) and (M, 4) of left, top, right, bottom, as pycocotools computes it."""
    width, height = (
        np.minimum(a[:, None, k + 2], b[None, :, k + 2]) - np.maximum(a[:, None, k], b[None, :, k]) for k in (0, 1)
    )
    shared = np.maximum(width, 0) * np.maximum(height, 0)
    areas = [(boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) for boxes in (a, b)]
    union = areas[0][:, None] + areas[1][None] - shared
    return np.asarray(shared / np.where(union > 0, union, 1.0))


def intersection_volume(
    center_a: np.ndarray, dims_a: np.ndarray, turn_a: np.ndarray, center_b: np.ndarray, dims_b: np.ndarray,
    turn_b: np.ndarray,
) -> float:  # fmt: skip
    """Volume (m^3) that two boxes share, whatever their rotations.

    Args:
        center_a, center_b: (3,) middles, metres.
        dims_a, dims_b: (3,) sizes along each box's own axes.
        turn_a, turn_b: (3, 3) of these axes into the common frame.
    """
    normals, limits = [], []
    for center, dims, turn in ((np.zeros(3), dims_a, turn_a), (center_b - center_a, dims_b, turn_b)):
        for sign in (1.0, -1.0):
            normals.append(sign * turn.T)
            limits.append(dims / 2 + sign * turn.T @ center)
    sides, offsets = np.concatenate(normals), np.concatenate(limits)
    # The largest ball that fits: its middle is the inner point that Qhull starts from.
    lengths = np.linalg.norm(sides, axis=1)
    system = np.column_stack([sides, lengths])
    ball = linprog([0, 0, 0, -1], A_ub=system, b_ub=offsets, bounds=[(None, None)] * 3 + [(0, None)])
    if not ball.success or ball.x[3] < FLAT:
        return 0.0
    found = HalfspaceIntersection(np.column_stack([sides, -offsets]), ball.x[:3])
    return float(ConvexHull(found.intersections, qhull_options="QJ").volume)


@njit(nogil=True, cache=True)
def _on_one_axis(
    center_a: np.ndarray, dims_a: np.ndarray, turn_a: np.ndarray, center_b: np.ndarray, dims_b: np.ndarray,
    turn_b: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """(N, M) shared volumes; :data:`UNDECIDED` where two boxes that may touch stand on different axes."""
    out = np.zeros((len(center_a), len(center_b)))
    shift, along = np.empty(3), np.empty((3, 2))
    for i in range(len(center_a)):
        for j in range(len(center_b)):
            if dims_a[i].min() <= 0.0 or dims_b[j].min() <= 0.0:
                continue
            apart, reach_a, reach_b = 0.0, 0.0, 0.0
            for k in range(3):
                apart += (center_b[j, k] - center_a[i, k]) ** 2
                reach_a += dims_a[i, k] ** 2
                reach_b += dims_b[j, k] ** 2
            if 4.0 * apart > (np.sqrt(reach_a) + np.sqrt(reach_b)) ** 2:
                continue
            for row in range(3):  # b's middle, its x and its y axis, in a's axes
                shift[row], along[row, 0], along[row, 1] = 0.0, 0.0, 0.0
                for k in range(3):
                    shift[row] += turn_a[i, k, row] * (center_b[j, k] - center_a[i, k])
                    along[row, 0] += turn_a[i, k, row] * turn_b[j, k, 0]
                    along[row, 1] += turn_a[i, k, row] * turn_b[j, k, 1]
            if along[0, 1] ** 2 + along[2, 1] ** 2 > SAME_AXIS**2:
                out[i, j] = UNDECIDED
                continue
            high = min(dims_a[i, 1] / 2, shift[1] + dims_b[j, 1] / 2)
            low = max(-dims_a[i, 1] / 2, shift[1] - dims_b[j, 1] / 2)
            if high <= low:
                continue
            yaw = np.arctan2(-along[2, 0], along[0, 0])
            out[i, j] = (high - low) * rectangle_intersection(
                0.0, 0.0, dims_a[i, 0], dims_a[i, 2], 0.0, shift[0], shift[2], dims_b[j, 0], dims_b[j, 2], yaw
            )
    return out
