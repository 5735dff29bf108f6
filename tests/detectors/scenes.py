"""Small hand-made frames for the detector's tests."""

from __future__ import annotations

import cv2
import numpy as np

from datamodules.geometry import Boxes3D, Camera, projected_bbox, truncation
from datamodules.scene import Batch, Frame, Objects, collate


def camera(width: int = 320, height: int = 96, focal: float = 190.0) -> Camera:
    """A KITTI-like camera whose fourth column is not zero."""
    projection = np.array([[focal, 0, width / 2 - 1.5, 11.3], [0, focal, height / 2 - 4, 0.05], [0, 0, 1, 0.0027]])
    return Camera(projection, width, height)


def objects(view: Camera, boxes: Boxes3D, names: list[str]) -> Objects:
    full, bbox = projected_bbox(view, boxes, clip=False), projected_bbox(view, boxes)
    occlusion = np.zeros(len(boxes), np.int64)
    return Objects(boxes, np.array(names, dtype=str), bbox, truncation(full, bbox), occlusion, boxes.alpha)


def frame(seed: int = 0, count: int = 3, view: Camera | None = None, name: str = "Car") -> Frame:
    """Cars far enough apart to sit in cells of their own, drawn as filled outlines whose colour depends on the yaw."""
    view, rng = view or camera(), np.random.default_rng(seed)
    x, z = np.linspace(-6, 6, count) + rng.uniform(-1, 1, count), rng.uniform(9, 22, count)
    boxes = Boxes3D(
        np.column_stack([x, np.full(count, 1.65), z]),
        np.array([3.9, 1.5, 1.6]) * rng.uniform(0.9, 1.1, (count, 3)),
        rng.uniform(-np.pi, np.pi, count),
    )
    image = np.full((view.height, view.width, 3), 110, np.uint8)
    image[: view.height // 2] = 180
    for i in np.argsort(-z):
        pixels, _ = view.project(boxes.corners[i])
        hull = cv2.convexHull(np.round(pixels).astype(np.int32))
        shade = (np.array([np.cos(boxes.yaw[i]), np.sin(boxes.yaw[i]), 0.3]) * 90 + 120).astype(int)
        cv2.fillConvexPoly(image, hull, tuple(int(v) for v in shade))
        front, _ = view.project(boxes.corners[i][[0, 1, 5, 4]])
        cv2.fillConvexPoly(image, np.round(front).astype(np.int32), (240, 240, 60))
    return Frame(image.transpose(2, 0, 1), view, objects(view, boxes, [name] * count), f"{seed:06d}")


def batch(count: int = 2, **options: object) -> Batch:
    return collate([frame(seed, **options) for seed in range(count)])  # type: ignore[arg-type]
