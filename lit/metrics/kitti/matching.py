"""Matching and precision of the KITTI object benchmark, compiled; the rules are those of the C++ development kit.

Everything is float64. A detection counts as overlapping above a limit, strictly. The three overlaps are 0 the image
box, 1 the ground rectangle, 2 the volume.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from datamodules.rotated_iou import rectangle_intersection
from lit.metrics.kitti.rows import ALPHA, BBOX, HEIGHT, LENGTH, OCCLUSION, TRUNCATION, WIDTH, YAW, X, Y, Z

RECALL_POINTS = 41
MIN_HEIGHT = np.array([40.0, 25.0, 25.0])  # pixels, easy, moderate, hard
MAX_OCCLUSION = np.array([0.0, 1.0, 2.0])
MAX_TRUNCATION = np.array([0.15, 0.3, 0.5])
NEIGHBOUR_OF = np.array([3, 4, -1])  # of car, pedestrian, cyclist: van, person_sitting, none
DONT_CARE = 5
NO_SCORE = -1e7  # the development kit's "no detection"


@njit(nogil=True, cache=True)
def _image_overlap(g: np.ndarray, d: np.ndarray, share_of_detection: bool) -> float:
    width = min(g[BBOX + 2], d[BBOX + 2]) - max(g[BBOX], d[BBOX])
    height = min(g[BBOX + 3], d[BBOX + 3]) - max(g[BBOX + 1], d[BBOX + 1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    own = (d[BBOX + 2] - d[BBOX]) * (d[BBOX + 3] - d[BBOX + 1])
    if share_of_detection:
        return shared / own
    return shared / (own + (g[BBOX + 2] - g[BBOX]) * (g[BBOX + 3] - g[BBOX + 1]) - shared)


@njit(nogil=True, cache=True)
def _solid_overlaps(g: np.ndarray, d: np.ndarray) -> tuple[float, float]:
    """IoU on the ground and IoU of the volumes."""
    if g[LENGTH] <= 0 or g[WIDTH] <= 0 or d[LENGTH] <= 0 or d[WIDTH] <= 0:
        return 0.0, 0.0
    shared = rectangle_intersection(g[X], g[Z], g[LENGTH], g[WIDTH], g[YAW], d[X], d[Z], d[LENGTH], d[WIDTH], d[YAW])
    if shared <= 0:
        return 0.0, 0.0
    area_g, area_d = g[LENGTH] * g[WIDTH], d[LENGTH] * d[WIDTH]
    ground = shared / (area_g + area_d - shared)
    height = min(g[Y], d[Y]) - max(g[Y] - g[HEIGHT], d[Y] - d[HEIGHT])
    if height <= 0:
        return ground, 0.0
    volume = shared * height
    return ground, volume / (area_g * g[HEIGHT] + area_d * d[HEIGHT] - volume)


@njit(nogil=True, cache=True)
def overlapping_pairs(
    gt: np.ndarray, gt_offsets: np.ndarray, det: np.ndarray, det_offsets: np.ndarray, floor: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """All pairs that any rule can match, ordered by ground truth, then by detection.

    Args:
        gt: (G, 16) rows, det: (D, 16) rows, with the offsets of their frames.
        floor: least overlap limit that will be asked for.

    Returns:
        start (G + 1,) of each object's pairs; detection (P,) of each pair; values (P, 4): the three overlaps and the
        orientation similarity; and for each detection (D,) the largest share of its image box in one DontCare area.
    """
    start = np.zeros(len(gt) + 1, np.int64)
    detection, values = np.empty(1024, np.int64), np.empty((1024, 4))
    unlabelled = np.zeros(len(det))
    count = 0
    for frame in range(len(gt_offsets) - 1):
        for i in range(gt_offsets[frame], gt_offsets[frame + 1]):
            code = int(gt[i, 0])
            target = code - 3 if 3 <= code <= 4 else code
            for j in range(det_offsets[frame], det_offsets[frame + 1]):
                if code == DONT_CARE:
                    unlabelled[j] = max(unlabelled[j], _image_overlap(gt[i], det[j], True))
                if target > 2:
                    continue
                # low detections of any class can absorb an object, see detection_states
                if det[j, 0] != target and abs(det[j, BBOX + 3] - det[j, BBOX + 1]) >= MIN_HEIGHT[0]:
                    continue
                image = _image_overlap(gt[i], det[j], False)
                ground, volume = _solid_overlaps(gt[i], det[j])
                if image > floor or ground > floor or volume > floor:
                    if count == len(detection):
                        detection = np.concatenate((detection, np.empty_like(detection)))
                        values = np.concatenate((values, np.empty_like(values)))
                    detection[count] = j
                    values[count, 0], values[count, 1], values[count, 2] = image, ground, volume
                    values[count, 3] = (1.0 + math.cos(gt[i, ALPHA] - det[j, ALPHA])) / 2.0
                    count += 1
            start[i + 1] = count
    return start, detection[:count], values[:count], unlabelled


@njit(nogil=True, cache=True)
def object_states(
    gt: np.ndarray, target: int, difficulty: int, near: float = -math.inf, far: float = math.inf
) -> np.ndarray:
    """(G,) int8: 0 counts, 1 ignored (absorbs detections), -1 another class.

    Args:
        gt: (G, 16) rows.
        target: the evaluated class.
        difficulty: 0 easy, 1 moderate, 2 hard.
        near: least depth (z, m) of an object that counts; a nearer one is ignored.
        far: objects from this depth on are ignored.
    """
    states = np.full(len(gt), -1, np.int8)
    for i in range(len(gt)):
        if gt[i, 0] == target:
            states[i] = (
                gt[i, OCCLUSION] > MAX_OCCLUSION[difficulty]
                or gt[i, TRUNCATION] > MAX_TRUNCATION[difficulty]
                or gt[i, BBOX + 3] - gt[i, BBOX + 1] <= MIN_HEIGHT[difficulty]
                or gt[i, Z] < near
                or gt[i, Z] >= far
            )
        elif gt[i, 0] == NEIGHBOUR_OF[target]:
            states[i] = 1
    return states


@njit(nogil=True, cache=True)
def detection_states(
    det: np.ndarray, target: int, difficulty: int, near: float = -math.inf, far: float = math.inf
) -> np.ndarray:
    """(D,) int8: 0 counts, 1 ignored because it is low (whatever its class), -1 another class.

    2 lies outside the depths asked for: it matches like one that counts, and is no false alarm when it matches nothing.
    Arguments as in :func:`object_states`.
    """
    states = np.full(len(det), -1, np.int8)
    for j in range(len(det)):
        if abs(det[j, BBOX + 1] - det[j, BBOX + 3]) < MIN_HEIGHT[difficulty]:
            states[j] = 1
        elif det[j, 0] == target:
            states[j] = 0 if near <= det[j, Z] < far else 2
    return states


@njit(nogil=True, cache=True)
def select_pairs(
    start: np.ndarray,
    detection: np.ndarray,
    overlap: np.ndarray,
    gt_states: np.ndarray,
    det_states: np.ndarray,
    limit: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What one evaluation needs: (object state, first pair, last pair) of objects with pairs; pairs; detections."""
    objects = np.empty((len(gt_states), 3), np.int64)
    pairs = np.empty(len(detection), np.int64)
    n_objects, n_pairs = 0, 0
    for i in range(len(gt_states)):
        if gt_states[i] < 0:
            continue
        first = n_pairs
        for p in range(start[i], start[i + 1]):
            if det_states[detection[p]] >= 0 and overlap[p] > limit:
                pairs[n_pairs] = p
                n_pairs += 1
        if n_pairs > first:
            objects[n_objects, 0], objects[n_objects, 1], objects[n_objects, 2] = gt_states[i], first, n_pairs
            n_objects += 1
    return objects[:n_objects], pairs[:n_pairs], detection[pairs[:n_pairs]]


@njit(nogil=True, cache=True)
def hit_scores(objects: np.ndarray, detection: np.ndarray, scores: np.ndarray, det_states: np.ndarray) -> np.ndarray:
    """Scores of the true positives when each object takes its best-scored free detection, descending."""
    taken = np.zeros(len(det_states), np.bool_)
    hits = np.empty(len(objects))
    count = 0
    for o in range(len(objects)):
        best, best_score = -1, NO_SCORE
        for p in range(objects[o, 1], objects[o, 2]):
            j = detection[p]
            if not taken[j] and scores[j] > best_score:
                best, best_score = j, scores[j]
        if best >= 0:
            taken[best] = True
            if objects[o, 0] == 0 and det_states[best] != 1:
                hits[count] = best_score
                count += 1
    return np.sort(hits[:count])[::-1]


@njit(nogil=True, cache=True)
def sample_thresholds(hits: np.ndarray, n_gt: int) -> np.ndarray:
    """Scores at which recall comes nearest to 0, 1/40, .., 1; at most 41.

    Args:
        hits: scores of the true positives, descending.
        n_gt: number of objects that count.
    """
    thresholds = np.empty(RECALL_POINTS)
    count, current = 0, 0.0
    for i in range(len(hits)):
        left = (i + 1) / n_gt
        last = i == len(hits) - 1
        right = left if last else (i + 2) / n_gt
        if right - current < current - left and not last:
            continue
        if count < RECALL_POINTS:
            thresholds[count] = hits[i]
            count += 1
        current += 1 / (RECALL_POINTS - 1.0)  # the reference accumulates, and its rounding decides ties
    return thresholds[:count]


@njit(nogil=True, cache=True)
def count_reported(
    objects: np.ndarray,
    pairs: tuple[np.ndarray, np.ndarray, np.ndarray],
    scores: np.ndarray,
    det_states: np.ndarray,
    counted: np.ndarray,
    excused: np.ndarray,
    taken: np.ndarray,
    stamp: int,
    threshold: float,
) -> tuple[int, int, float]:
    """True positives at one threshold, all positives, and the summed orientation similarity of the true ones.

    Args:
        objects: (O, 3) of :func:`select_pairs`.
        pairs: detection, overlap and orientation similarity of each pair.
        scores: (D,) of the detections, with their states (D,).
        det_states: see :func:`detection_states`.
        counted: scores of the detections that count, ascending.
        excused: detections that count, but not as false alarms.
        taken: (D,) the last stamp at which a detection was taken; changed.
        stamp: of this call.
        threshold: least score of a detection that is reported.
    """
    detection, overlap, likeness = pairs
    hits, outside, absorbed, likeness_sum = 0, 0, 0, 0.0
    for o in range(len(objects)):
        best, best_overlap = -1, 0.0
        only_ignored = False
        for p in range(objects[o, 1], objects[o, 2]):
            j = detection[p]
            if taken[j] == stamp or scores[j] < threshold:
                continue
            if det_states[j] != 1 and (overlap[p] > best_overlap or only_ignored):
                best, best_overlap, only_ignored = p, overlap[p], False
            elif det_states[j] == 1 and best < 0:
                best, only_ignored = p, True
        if best < 0:
            continue
        taken[detection[best]] = stamp
        if only_ignored:
            continue
        if objects[o, 0] == 0:
            hits += 1
            outside += det_states[detection[best]] == 2
            likeness_sum += likeness[best]
        else:
            absorbed += det_states[detection[best]] == 0
    for j in excused:
        absorbed += taken[j] != stamp and scores[j] >= threshold
    reported = len(counted) - int(np.searchsorted(counted, threshold)) - absorbed + outside
    return hits, reported, likeness_sum


@njit(nogil=True, cache=True)
def excused_detections(unlabelled: np.ndarray, det_states: np.ndarray, metric: int, limit: float) -> np.ndarray:
    """Detections that count and lie in a DontCare area: no false alarms, in the image."""
    return np.flatnonzero((det_states == 0) & (unlabelled > limit)) if metric == 0 else np.empty(0, np.int64)


@njit(nogil=True, cache=True)
def interpolate(curve: np.ndarray, last: int) -> None:
    """Make a curve monotone in place: the maximum over later points, up to the last threshold."""
    for t in range(last - 2, -1, -1):
        curve[t] = max(curve[t], curve[t + 1])


@njit(nogil=True, cache=True)
def precision_curves(
    start: np.ndarray,
    detection: np.ndarray,
    values: np.ndarray,
    metric: int,
    limit: float,
    scores: np.ndarray,
    unlabelled: np.ndarray,
    gt_states: np.ndarray,
    det_states: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Interpolated precision (41,) and orientation similarity (41,) of one class, metric, difficulty and limit."""
    precision, similarity = np.zeros(RECALL_POINTS), np.zeros(RECALL_POINTS)
    objects, pairs, detection = select_pairs(start, detection, values[:, metric], gt_states, det_states, limit)
    matches = (detection, values[pairs, metric], values[pairs, 3])
    thresholds = sample_thresholds(hit_scores(objects, detection, scores, det_states), np.sum(gt_states == 0))
    counted = np.sort(scores[det_states == 0])
    excused = excused_detections(unlabelled, det_states, metric, limit)
    taken = np.full(len(scores), -1, np.int64)
    for t in range(len(thresholds)):
        hits, reported, likeness = count_reported(
            objects, matches, scores, det_states, counted, excused, taken, t, thresholds[t]
        )
        if reported > 0:
            precision[t], similarity[t] = hits / reported, likeness / reported
    interpolate(precision, len(thresholds))
    interpolate(similarity, len(thresholds))
    return precision, similarity
