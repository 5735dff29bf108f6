"""Frames as mmdetection3d's camera heads know them: labels in, predictions out, as arrays without its classes.

Its camera boxes are this suite's: bottom-centre (x, y, z), dims (l, h, w), yaw about +y, in the camera frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from datamodules.geometry import Boxes3D, Camera, clip_bbox, projected_bbox, wrap_angle
from datamodules.nuscenes.boxes import ATTRIBUTES_OF
from datamodules.scene import Objects

# The order of the attribute head of official weights; the last entry stands for objects without any.
ATTRIBUTES = (
    "cycle.with_rider", "cycle.without_rider", "pedestrian.moving", "pedestrian.standing",
    "pedestrian.sitting_lying_down", "vehicle.moving", "vehicle.parked", "vehicle.stopped", "",
)  # fmt: skip


@dataclass(frozen=True)
class Labels:
    """Training labels of one frame.

    Attributes:
        boxes: (N, 9) float32 box, then velocity along x and z in m/s, 0 where unknown.
        bbox: (N, 4) float32 image boxes, pixels.
        label: (N,) int64 class.
        center: (N, 2) float32 projected 3D centre, pixels; may lie outside the image.
        depth: (N,) float32 depth of the 3D centre, metres.
        attribute: (N,) int64 into :data:`ATTRIBUTES`.
    """

    boxes: np.ndarray
    bbox: np.ndarray
    label: np.ndarray
    center: np.ndarray
    depth: np.ndarray
    attribute: np.ndarray

    def __len__(self) -> int:
        return len(self.label)


def training_labels(objects: Objects, camera: Camera, classes: Sequence[str], inside: bool = False) -> Labels:
    """Labels of the objects that the official pipeline trains on.

    Left out are other classes, objects whose centre is not in front of the camera, and image boxes that are clear of
    the image or narrower or lower than a pixel (mmdetection3d: ``get_2d_boxes`` and ``NuScenesMonoDataset``).

    Args:
        inside: leave out centres outside the image too, which heatmap heads cannot teach.
    """
    number = {name: index for index, name in enumerate(classes)}
    label = np.array([number.get(str(name), -1) for name in objects.names], np.int64)
    boxes = objects.boxes
    center, depth = camera.project(boxes.center - np.array([0.0, 0.5, 0.0]) * boxes.dims[:, 1:2])
    bbox = clip_bbox(objects.bbox, camera.width, camera.height)
    chosen = (label >= 0) & (depth > 0) & (bbox[:, 2:] - bbox[:, :2] >= 1).all(1)
    if inside:
        chosen &= ((center >= 0) & (center <= [camera.width - 1, camera.height - 1])).all(1)
    velocity = np.zeros((len(label), 2)) if objects.velocity is None else np.nan_to_num(objects.velocity)
    index = {name: i for i, name in enumerate(ATTRIBUTES)}
    names = [""] * len(label) if objects.attribute is None else objects.attribute
    attribute = np.array([index.get(str(name), index[""]) for name in names], np.int64)
    rows = np.column_stack([boxes.center, boxes.dims, boxes.yaw, velocity])
    floats = (value[chosen].astype(np.float32) for value in (rows, bbox, center, depth))
    rows, bbox, center, depth = floats
    return Labels(rows, bbox, label[chosen], center, depth, attribute[chosen])


def predictions(
    boxes: np.ndarray, score: np.ndarray, label: np.ndarray, attribute: np.ndarray | None, camera: Camera,
    classes: Sequence[str],
) -> Objects:  # fmt: skip
    """Objects of one frame, best first.

    Boxes wholly behind the camera, which no image shows, are dropped.

    Args:
        boxes: (N, 7) or, with velocity, (N, 9) rows as in :class:`Labels`.
        score: (N,).
        label: (N,) class.
        attribute: (N,) into :data:`ATTRIBUTES`; one that the class cannot have becomes its default. None without.
        camera: of the image the boxes are in.
        classes: names by class.
    """
    order = np.argsort(-score, kind="stable")
    rows = boxes[order].astype(np.float64)
    found = Boxes3D(rows[:, :3], rows[:, 3:6], wrap_angle(rows[:, 6]))
    bbox = projected_bbox(camera, found)
    names, count = np.array(classes)[label[order]].astype(str), len(order)
    attributes = None
    if attribute is not None:
        pairs = zip(names, attribute[order])
        attributes = np.array([fitting(str(name), ATTRIBUTES[index]) for name, index in pairs], dtype=str)
    objects = Objects(
        found, names, bbox, np.full(count, -1.0), np.full(count, -1, np.int64), found.alpha,
        score[order].astype(np.float64),
        velocity=rows[:, 7:9] if rows.shape[1] == 9 else None, attribute=attributes,
    )  # fmt: skip
    return objects[np.isfinite(bbox).all(1)]


def tilt_correction(boxes: np.ndarray, camera: Camera) -> np.ndarray:
    """(N,) radians that FCOS3D's and PGD's decoded yaw lacks in a camera whose projection is not upper triangular.

    Their local yaw is measured from the ray to the box's centre, atan2(x, z), but decoding takes the ray's angle from
    the image column alone, atan2(u - c, f). The two differ where the label frame is level and the camera is not: by up
    to 0.0025 on a real nuScenes sample, 0.013 on the surround world (mean 0.0004 on both).

    Args:
        boxes: (N, 7 or more) decoded rows as in :class:`Labels`.
        camera: that they were decoded with.
    """
    rows, matrix = boxes.astype(np.float64), camera.projection
    column = camera.project(rows[:, :3] - np.array([0.0, 0.5, 0.0]) * rows[:, 4:5])[0][:, 0]
    taken = np.arctan2(column - matrix[0, 2], matrix[0, 0])
    return np.asarray(wrap_angle(np.arctan2(rows[:, 0], rows[:, 2]) - taken))


def fitting(name: str, attribute: str) -> str:
    """The attribute if the class can have it, else the class's default."""
    allowed = ATTRIBUTES_OF.get(name, ("",))
    return attribute if attribute in allowed else allowed[0]
