"""Painted cars whose true outlines are known."""

from __future__ import annotations

import cv2
import numpy as np

from datamodules.assets.crops.outlines import CAR_SOLIDS, solid_outline
from datamodules.geometry import Boxes3D, Camera, canonical_projection, projected_bbox
from datamodules.scene import Frame, Objects

CAMERA = Camera(np.array([[700.0, 0, 300, 40], [0, 700, 90, 0.2], [0, 0, 1, 0.003]]), 600, 180)
DIMS = (3.9, 1.5, 1.6)


def car_boxes(*rows: tuple[float, float, float]) -> Boxes3D:
    """Boxes of cars from (x, z, yaw)."""
    return Boxes3D.concatenate([Boxes3D.single([x, 1.65, z], DIMS, yaw) for x, z, yaw in rows])


def hiding_box() -> Boxes3D:
    """A wide, tall car straight ahead, which hides whatever stands behind it."""
    return Boxes3D.single([0.0, 1.65, 8.0], (5.0, 2.5, 2.6), -1.57)


def painted_frame(boxes: Boxes3D, masks: bool = True, sample_id: str = "000001", name: str = "Car") -> Frame:
    """Cars of one colour each on mottled ground; nearer ones hide others, and labels know the visible rectangle."""
    rng = np.random.default_rng(0)
    mottled = cv2.resize(rng.integers(60, 110, (45, 150, 3), dtype=np.uint8), (CAMERA.width, CAMERA.height))
    image, instances = mottled.copy(), np.zeros((CAMERA.height, CAMERA.width), np.uint8)
    projections = canonical_projection(CAMERA, boxes)
    for row in np.argsort(-boxes.center[:, 2]):
        drawn = solid_outline(projections[row], CAR_SOLIDS, CAMERA.height, CAMERA.width)
        image[drawn] = (200 - 50 * (row % 3), 30, 40 + 60 * (row % 4))
        instances[drawn] = row + 1
    bbox = projected_bbox(CAMERA, boxes)
    for row in range(len(boxes)):
        rows, columns = np.nonzero(instances == row + 1)
        if len(rows):
            bbox[row] = columns.min(), rows.min(), columns.max(), rows.max()
    n = len(boxes)
    objects = Objects(boxes, np.full(n, name), bbox, np.zeros(n), np.zeros(n, np.int64), boxes.alpha)
    return Frame(image.transpose(2, 0, 1), CAMERA, objects, sample_id, instances=instances if masks else None)


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.count_nonzero(one & other) / np.count_nonzero(one | other))


class Frames(list[Frame]):
    """A data set in memory."""

    def read(self, index: int) -> Frame:
        return self[index]
