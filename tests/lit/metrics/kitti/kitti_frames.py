"""Frames of labels and detections that bring every rule of the KITTI evaluation into play."""

from __future__ import annotations

import numpy as np

from datamodules.geometry import Boxes3D
from datamodules.scene import Objects


def objects(rows: list[tuple], scores: list[float] | None = None) -> Objects:
    """Objects from (name, left, top, right, bottom[, x, z, yaw, occlusion, truncation])."""
    full = [(*row, *(0.0, 20.0, 0.0, 0, 0.0)[len(row) - 5 :]) for row in rows]
    places = np.array([row[5:8] for row in full], dtype=float).reshape(-1, 3)
    center = np.column_stack([places[:, 0], np.full(len(full), 1.6), places[:, 1]])
    return Objects(
        Boxes3D(center, np.tile([4.0, 1.5, 2.0], (len(full), 1)), places[:, 2]),
        np.array([row[0] for row in full], dtype=str),
        np.array([row[1:5] for row in full], dtype=float).reshape(-1, 4),
        np.array([row[9] for row in full], dtype=float),
        np.array([row[8] for row in full], dtype=np.int64),
        places[:, 2],
        None if scores is None else np.array(scores, dtype=float),
    )


def random_frames(seed: int, frames: int, ties: bool = False) -> tuple[list[Objects], list[Objects]]:
    """Labels and detections with every rule in play: low boxes, neighbours, DontCare, doubles, ties, odd spelling."""
    rng = np.random.default_rng(seed)
    names = ["Car", "car", "Van", "Pedestrian", "Person_sitting", "Cyclist", "DontCare", "Truck"]
    gt, pred = [], []
    for _ in range(frames):
        rows, found, scores = [], [], []
        for _ in range(rng.integers(0, 7)):
            name = rng.choice(names, p=[0.3, 0.1, 0.1, 0.15, 0.05, 0.1, 0.1, 0.1])
            left, top = rng.uniform(0, 600, 2)
            box = (left, top, left + rng.uniform(30, 120), top + rng.choice([24.0, 25, 38, 40, 41, 80]))
            place = (rng.uniform(-5, 5), rng.uniform(10, 14), rng.uniform(-4, 4))
            rows.append((name, *box, *place, rng.integers(0, 4), rng.choice([0, 0, 0.15, 0.3, 0.6])))
            for _ in range(rng.integers(0, 4)):
                moved = np.array(box) + rng.normal(0, 1, 4)
                shifted = np.array(place) + rng.normal(0, [0.1, 0.1, 0.02])
                label = "Car" if name in ("DontCare", "Van") else rng.choice([name, "Pedestrian"], p=[0.9, 0.1])
                found.append((label, *moved, *shifted))
                scores.append(float(rng.integers(-3, 3)) if ties else rng.normal())
        gt.append(objects(rows))
        pred.append(objects(found, scores))
    return gt, pred
