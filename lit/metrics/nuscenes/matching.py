"""Filters, matching and curves of the nuScenes detection benchmark; the rules are those of nuscenes-devkit 1.2.0.

Configuration detection_cvpr_2019. Everything is float64, and sums run in the devkit's order, because scores that tie
and distances on a limit are decided by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numba import njit

from datamodules.nuscenes.boxes import CLASS_RANGES, DETECTION_NAMES, GlobalBoxes

DISTANCE_LIMITS = np.array([0.5, 1.0, 2.0, 4.0])  # m between the centres on the ground; a match is strictly nearer
ERROR_LIMIT = 2  # index of the limit at which errors of true positives are measured
ERRORS = ("trans_err", "scale_err", "orient_err", "vel_err", "attr_err")
UNDEFINED = {"traffic_cone": ("orient_err", "vel_err", "attr_err"), "barrier": ("vel_err", "attr_err")}
POINTS = 101  # recalls 0, 0.01, .., 1
FIRST = 11  # the first recall point that counts: above 0.1
MIN_PRECISION = 0.1
_CYCLES = [DETECTION_NAMES.index(name) for name in ("bicycle", "motorcycle")]


@dataclass(frozen=True)
class Filtered:
    """Boxes that count, with the sample of each.

    Attributes:
        boxes: N boxes.
        sample: (N,) int64 index of the sample in the ground truth.
    """

    boxes: GlobalBoxes
    sample: np.ndarray

    def take(self, index: np.ndarray) -> Filtered:
        """Some of them, in the order given."""
        return Filtered(self.boxes[index], self.sample[index])

    def of_class(self, code: int) -> Filtered:
        """Those of one class."""
        return self.take(np.flatnonzero(self.boxes.labels == code))


def filter_boxes(
    boxes: GlobalBoxes,
    sample: np.ndarray,
    ego: np.ndarray,
    racks: np.ndarray,
    rack_offsets: np.ndarray,
    ranges: Mapping[str, float] = CLASS_RANGES,
) -> Filtered:
    """Drop boxes out of their class's range, with no point inside, and cycles in bicycle racks.

    Args:
        boxes: N annotations or predictions (whose number of points is -1, so that none is dropped for it).
        sample: (N,) index of each box's sample.
        ego: (S, 3) place of the car in each sample, m.
        racks: (B, 10) bicycle racks of all samples, with their offsets (S + 1,).
        ranges: class to metres from the car.
    """
    limits = np.array([ranges[name] for name in DETECTION_NAMES])
    apart = boxes.translation[:, :2] - ego[sample, :2]
    kept = (np.sqrt((apart**2).sum(1)) < limits[boxes.labels]) & (boxes.num_pts != 0)
    counts = np.diff(rack_offsets)
    if len(racks):
        for box in np.flatnonzero(kept & np.isin(boxes.labels, _CYCLES) & (counts[sample] > 0)):
            first, last = rack_offsets[sample[box]], rack_offsets[sample[box] + 1]
            kept[box] = not any(_inside(boxes.translation[box], rack) for rack in racks[first:last])
    return Filtered(boxes, sample).take(np.flatnonzero(kept))


def _inside(point: np.ndarray, rack: np.ndarray) -> bool:
    """Whether a point lies in a turned box, its faces included: the projections on three edges from one corner."""
    width, length, height = rack[3:6]
    matrix = _rotation(rack[6:])
    corners = np.array([[1, 1, 1], [-1, 1, 1], [1, -1, 1], [1, 1, -1]]) * np.array([length, width, height]) / 2
    corners = corners @ matrix.T + rack[:3]
    edges, reach = corners[1:] - corners[0], point - corners[0]
    return all(0 <= edge @ reach <= edge @ edge for edge in edges)


def _rotation(quaternion: np.ndarray) -> np.ndarray:
    """(3, 3) rotation matrix of a quaternion w, x, y, z of any length."""
    w, x, y, z = quaternion / np.linalg.norm(quaternion)
    return np.array(
        [
            [w * w + x * x - y * y - z * z, 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), w * w - x * x + y * y - z * z, 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), w * w - x * x - y * y + z * z],
        ]
    )


@njit(nogil=True, cache=True)
def match(
    pred_xy: np.ndarray, pred_sample: np.ndarray, gt_xy: np.ndarray, gt_start: np.ndarray, limits: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Give each prediction the nearest free annotation of its sample, for each distance limit on its own.

    Args:
        pred_xy: (P, 2) places of the predictions of one class, best first.
        pred_sample: (P,) their samples.
        gt_xy: (G, 2) places of the annotations of that class, grouped by sample.
        gt_start: (S + 1,) offsets of the groups.
        limits: (L,) distances, m.

    Returns:
        (L, P) index of the matched annotation or -1, and (L, P) its distance.
    """
    hits = np.full((len(limits), len(pred_xy)), -1, np.int64)
    distances = np.full((len(limits), len(pred_xy)), np.inf)
    taken = np.zeros((len(limits), len(gt_xy)), np.bool_)
    for p in range(len(pred_xy)):
        for g in range(gt_start[pred_sample[p]], gt_start[pred_sample[p] + 1]):
            dx, dy = pred_xy[p, 0] - gt_xy[g, 0], pred_xy[p, 1] - gt_xy[g, 1]
            distance = np.sqrt(dx * dx + dy * dy)
            for k in range(len(limits)):
                if distance < distances[k, p] and not taken[k, g]:
                    hits[k, p], distances[k, p] = g, distance
        for k in range(len(limits)):
            if distances[k, p] < limits[k]:
                taken[k, hits[k, p]] = True
            else:
                hits[k, p] = -1
    return hits, distances


def match_class(gt: Filtered, pred: Filtered, samples: int) -> tuple[Filtered, np.ndarray, np.ndarray]:
    """Predictions of one class, best first, and of each the annotation it finds and its distance; see :func:`match`."""
    # Reversed, so that among equal scores the later box of the submission comes first.
    order = np.argsort(pred.boxes.scores, kind="stable")[::-1]
    pred = pred.take(order)
    start = np.searchsorted(gt.sample, np.arange(samples + 1))
    places = (np.ascontiguousarray(boxes.translation[:, :2]) for boxes in (pred.boxes, gt.boxes))
    pred_xy, gt_xy = places
    return pred, *match(pred_xy, pred.sample, gt_xy, start, DISTANCE_LIMITS)


def average_precision(found: np.ndarray, objects: int) -> float:
    """AP of predictions, best first.

    Args:
        found: (P,) bool, whether each matches an annotation.
        objects: number of annotations.
    """
    if not found.any():
        return 0.0
    hit_count = np.cumsum(found).astype(np.float64)
    precision = hit_count / np.arange(1, len(found) + 1)
    curve = np.interp(np.linspace(0, 1, POINTS), hit_count / objects, precision, right=0)
    return float(np.mean(np.maximum(curve[FIRST:] - MIN_PRECISION, 0))) / (1 - MIN_PRECISION)


def evaluate_class(gt: Filtered, pred: Filtered, name: str, samples: int) -> tuple[list[float], dict[str, float]]:
    """Average precision at each limit, and the errors of true positives, of one class.

    Args:
        gt: annotations of the class, in the order of the samples.
        pred: predictions of the class, in the submission's order.
        name: the class.
        samples: number of samples.

    Returns:
        Four APs, and the five errors; NaN for one that the class does not have.
    """
    pred, hits, distances = match_class(gt, pred, samples)
    recalls = np.linspace(0, 1, POINTS)
    precisions = []
    errors = dict.fromkeys(ERRORS, 1.0)
    for k in range(len(DISTANCE_LIMITS)):
        found = hits[k] >= 0
        precisions.append(average_precision(found, len(gt.boxes)))
        if not found.any():
            continue
        recall = np.cumsum(found).astype(np.float64) / len(gt.boxes)
        confidence = np.interp(recalls, recall, pred.boxes.scores, right=0)
        last = int(np.flatnonzero(confidence)[-1]) if confidence.any() else 0
        if k == ERROR_LIMIT and last >= FIRST:
            pairs = _errors(gt.boxes[hits[k][found]], pred.boxes[found], distances[k][found], name)
            scores = pred.boxes.scores[found]
            for error, values in pairs.items():
                curve = np.interp(confidence[::-1], scores[::-1], _running_mean(values)[::-1])[::-1]
                errors[error] = float(np.mean(curve[FIRST : last + 1]))
    return precisions, {**errors, **dict.fromkeys(UNDEFINED.get(name, ()), np.nan)}


def _errors(gt: GlobalBoxes, pred: GlobalBoxes, distances: np.ndarray, name: str) -> dict[str, np.ndarray]:
    """The five errors (M,) of M matched pairs; NaN where the annotation does not say."""
    shared = np.minimum(gt.size, pred.size).prod(1)
    union = gt.size.prod(1) + pred.size.prod(1) - shared
    period = np.pi if name == "barrier" else 2 * np.pi  # a barrier's front cannot be told from its back
    turn = (_yaw(gt.rotation) - _yaw(pred.rotation) + period / 2) % period - period / 2
    speed = pred.velocity - gt.velocity
    return {
        "trans_err": distances,
        "scale_err": 1 - shared / union,
        "orient_err": np.abs(turn),
        "vel_err": np.sqrt(speed[:, 0] ** 2 + speed[:, 1] ** 2),
        "attr_err": np.where(gt.attributes < 0, np.nan, gt.attributes != pred.attributes),
    }


def _yaw(rotation: np.ndarray) -> np.ndarray:
    """Direction (N,) of the forward axis on the ground, radians."""
    w, x, y, z = (rotation / np.linalg.norm(rotation, axis=1, keepdims=True)).T
    return np.arctan2(2 * (x * y + w * z), w * w + x * x - y * y - z * z)


def _running_mean(values: np.ndarray) -> np.ndarray:
    """Mean of the values so far without NaN; 0 before the first, 1 throughout when there is none."""
    known = ~np.isnan(values)
    if not known.any():
        return np.ones(len(values))
    counts = np.cumsum(known)
    return np.nancumsum(values) / np.maximum(counts, 1)
