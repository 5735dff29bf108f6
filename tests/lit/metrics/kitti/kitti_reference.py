"""A second KITTI evaluator, written rule by rule from the development kit's description: slow, and with shapely."""

from __future__ import annotations

import numpy as np
from shapely.geometry import Polygon

from datamodules.scene import Objects

LIMITS = {"car": 0.7, "pedestrian": 0.5, "cyclist": 0.5}
NEIGHBOURS = {"car": "van", "pedestrian": "person_sitting", "cyclist": None}


def image_overlap(a: np.ndarray, b: np.ndarray, own: bool = False) -> float:
    """IoU of two rectangles, or the share of ``a`` inside ``b``."""
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0
    area_a, area_b = (a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1])
    return w * h / area_a if own else w * h / (area_a + area_b - w * h)


def overlap(gt: Objects, i: int, pred: Objects, j: int, metric: str) -> float:
    """The overlap of one object and one detection."""
    if metric in ("bbox", "aos"):
        return image_overlap(pred.bbox[j], gt.bbox[i])
    a, b = gt.boxes[[i]], pred.boxes[[j]]
    if (a.dims <= 0).any() or (b.dims <= 0).any():
        return 0.0
    first, second = (Polygon(box.corners[0, :4][:, [0, 2]]) for box in (a, b))
    shared = first.intersection(second).area
    if metric == "bev":
        return shared / (first.area + second.area - shared)
    bottom, top = (
        min(a.center[0, 1], b.center[0, 1]),
        max(a.center[0, 1] - a.dims[0, 1], b.center[0, 1] - b.dims[0, 1]),
    )
    volume = shared * max(0.0, bottom - top)
    return volume / (np.prod(a.dims) + np.prod(b.dims) - volume)


def match(
    gt: Objects, pred: Objects, gt_state: list[int], det_state: list[int], values: np.ndarray, limit: float
) -> list[float]:
    """Pass 1 of one frame: the scores of the true positives."""
    assert pred.score is not None
    likely, taken, scores = pred.score, set(), []
    for i, state in enumerate(gt_state):
        free = [j for j in range(len(pred)) if det_state[j] >= 0 and j not in taken and values[i, j] > limit]
        if state < 0 or not free:
            continue
        best = max(free, key=lambda j: (likely[j], -j))
        taken.add(best)
        if state == 0 and det_state[best] == 0:
            scores.append(float(likely[best]))
    return scores


def count(
    gt: Objects,
    pred: Objects,
    gt_state: list[int],
    det_state: list[int],
    values: np.ndarray,
    limit: float,
    threshold: float,
    metric: str,
    depths: tuple[float, float],
) -> tuple[int, int, float]:
    """Pass 2 of one frame: true positives, false positives, orientation similarity."""
    assert pred.score is not None
    likely, taken, hits, likeness = pred.score, set(), 0, 0.0
    kept = [j for j in range(len(pred)) if det_state[j] >= 0 and likely[j] >= threshold]
    for i, state in enumerate(gt_state):
        free = [j for j in kept if j not in taken and values[i, j] > limit]
        valid = [j for j in free if det_state[j] == 0]
        if state < 0 or not free:
            continue
        best = max(valid, key=lambda j: (values[i, j], -j)) if valid else free[0]
        taken.add(best)
        if state == 0 and det_state[best] == 0:
            hits += 1
            likeness += (1 + np.cos(gt.alpha[i] - pred.alpha[best])) / 2
    inside = (pred.boxes.center[:, 2] >= depths[0]) & (pred.boxes.center[:, 2] < depths[1])
    false = [j for j in kept if j not in taken and det_state[j] == 0 and inside[j]]
    if metric in ("bbox", "aos"):
        areas = [gt.bbox[i] for i in range(len(gt)) if gt.names[i].lower() == "dontcare"]
        false = [j for j in false if not any(image_overlap(pred.bbox[j], area, True) > limit for area in areas)]
    return hits, len(false), likeness


def ap40(
    gt: list[Objects],
    pred: list[Objects],
    name: str,
    metric: str,
    difficulty: int,
    limit: float,
    depths: tuple[float, float] = (-np.inf, np.inf),
) -> float:
    """AP40 in percent of objects at some depths."""
    occlusion, truncation, height = difficulty, (0.15, 0.3, 0.5)[difficulty], (40, 25, 25)[difficulty]
    frames, scores, n_gt = [], [], 0
    for g, p in zip(gt, pred):
        gt_state, det_state = [], []
        for i in range(len(g)):
            low = g.bbox[i, 3] - g.bbox[i, 1] <= height
            hard = low or g.occlusion[i] > occlusion or g.truncation[i] > truncation
            hard = hard or not depths[0] <= g.boxes.center[i, 2] < depths[1]
            kind = g.names[i].lower()
            gt_state.append(int(hard) if kind == name else 1 if kind == NEIGHBOURS[name] else -1)
        for j in range(len(p)):
            low = abs(p.bbox[j, 3] - p.bbox[j, 1]) < height
            det_state.append(1 if low else 0 if p.names[j].lower() == name else -1)
        n_gt += gt_state.count(0)
        values = np.array([[overlap(g, i, p, j, metric) for j in range(len(p))] for i in range(len(g))])
        frame = (g, p, gt_state, det_state, values.reshape(len(g), len(p)))
        frames.append(frame)
        scores += match(*frame, limit)
    thresholds, current = [], 0.0
    scores.sort(reverse=True)
    for k, score in enumerate(scores):
        left, last = (k + 1) / n_gt, k == len(scores) - 1
        right = left if last else (k + 2) / n_gt
        if right - current < current - left and not last:
            continue
        thresholds.append(score)
        current += 1 / 40
    curve = np.zeros(41)
    for k, threshold in enumerate(thresholds):
        counts = [count(*frame, limit, threshold, metric, depths) for frame in frames]
        hits, false, likeness = (sum(column) for column in zip(*counts))
        if hits + false:
            curve[k] = (likeness if metric == "aos" else hits) / (hits + false)
    for k in range(len(thresholds)):
        curve[k] = curve[k:].max()
    return float(curve[1:].mean() * 100)
