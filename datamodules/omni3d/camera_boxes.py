"""Boxes of any rotation in the frame of a picture's pinhole camera, labelled or predicted, as Omni3D compares them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datamodules.geometry import Columns, rotation_y
from datamodules.omni3d.ignore import EVALUATION, IgnoreRule
from datamodules.omni3d.rows import Omni3DRows
from datamodules.scene import Objects


@dataclass(frozen=True)
class CameraBoxes(Columns):
    """N boxes.

    Attributes:
        names: (N,) str class names.
        bbox: (N, 4) left, top, right, bottom in pixels of the stored picture.
        center: (N, 3) middle in the pinhole's frame, metres.
        dims: (N, 3) length, height, width along the box's own x, y and z, metres; zeros where there is no box.
        rotation: (N, 3, 3) of these axes into that frame.
        score: (N,) of predictions, None for labels.
        ignored: (N,) bool of labels, None for predictions.
    """

    names: np.ndarray
    bbox: np.ndarray
    center: np.ndarray
    dims: np.ndarray
    rotation: np.ndarray
    score: np.ndarray | None = None
    ignored: np.ndarray | None = None


def truth_boxes(rows: Omni3DRows, height: int, names: np.ndarray, rule: IgnoreRule = EVALUATION) -> CameraBoxes:
    """Annotations of a picture as they are evaluated; those without any rectangle are left out.

    Args:
        rows: N annotations.
        height: rows of the picture.
        names: (N,) their classes.
        rule: what is ignored.
    """
    bbox = rows.rectangles(rule.rectangles)
    sized = rows.valid & (rows.dims > 0).all(1)
    dims = np.where(sized[:, None], rows.dims[:, ::-1], 0.0)
    boxes = CameraBoxes(names, bbox, rows.center, dims, rows.rotation, ignored=rule.ignored(rows, height))
    return boxes[np.isfinite(bbox).all(1)]


def predicted_boxes(objects: Objects, pose: np.ndarray, pixels: np.ndarray) -> CameraBoxes:
    """Predictions in the pinhole's frame and in pixels of the stored picture.

    Args:
        objects: with scores, in the label frame.
        pose: (3, 4) label frame to the pinhole's (:func:`datamodules.omni3d.rows.pinhole_pose`).
        pixels: (3, 3) pixels of the rectangles to those of the stored picture, without rotation.
    """
    boxes = objects.boxes
    middle = boxes.center - np.array([0.0, 0.5, 0.0]) * boxes.dims[:, 1:2]
    scale, shift = np.tile(np.diag(pixels)[:2], 2), np.tile(pixels[:2, 2], 2)
    return CameraBoxes(
        objects.names,
        objects.bbox * scale + shift,
        middle @ pose[:, :3].T + pose[:, 3],
        np.maximum(boxes.dims, 0.0),
        pose[:, :3] @ rotation_y(boxes.yaw),
        np.asarray(objects.score, np.float64),
    )


def boxes_of_corners(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centre (N, 3), length, height, width (N, 3) and rotation (N, 3, 3) of boxes by their corners (N, 8, 3).

    Corners come in the order of :data:`datamodules.omni3d.rows.CORNERS`. Where they span no volume the rotation is the
    identity and the size 0.
    """
    center = corners.mean(1)
    # Of each axis the mean of its four edges.
    along = (corners[:, [1, 2, 5, 6]] - corners[:, [0, 3, 4, 7]]).mean(1)
    down = (corners[:, [3, 2, 7, 6]] - corners[:, [0, 1, 4, 5]]).mean(1)
    across = (corners[:, 4:] - corners[:, :4]).mean(1)
    axes = np.stack([along, down, across], -1)
    dims = np.linalg.norm(axes, axis=1)
    solid = (dims > 0).all(1)
    rotation = np.where(solid[:, None, None], axes / np.where(dims > 0, dims, 1.0)[:, None], np.eye(3))
    return center, np.where(solid[:, None], dims, 0.0), rotation
