"""What each frame adds to a KITTI AP, so that the AP of any choice of frames follows exactly, without the detections.

The development kit's first pass matches within a frame and yields the scores of its true positives. Its second pass, at
a threshold, again matches within a frame: the frame's true and reported detections are step functions of the threshold.
Only thresholds matter that are the score of a true positive of some frame, so a step is kept as the rank of such a
score, and whatever scores below all of them is left out. Nothing of this depends on which other frames are evaluated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit

from lit.metrics.kitti.figures import Figure
from lit.metrics.kitti.matching import (
    RECALL_POINTS,
    count_reported,
    detection_states,
    excused_detections,
    hit_scores,
    interpolate,
    object_states,
    overlapping_pairs,
    sample_thresholds,
    select_pairs,
)
from lit.metrics.kitti.rows import SCORE, Table


@dataclass(frozen=True)
class Curve:
    """One figure's contributions of F frames. Frame i owns ``hits[hit_offsets[i]:hit_offsets[i + 1]]``, likewise steps.

    Attributes:
        counted: (F,) int64 number of objects that count.
        hit_offsets: (F + 1,) int64.
        hits: (H,) int64 ranks of the true positives' scores of the first pass, descending within a frame.
        step_offsets: (F + 1,) int64.
        steps: (S,) int64 ranks of the thresholds down to which a step reaches, descending within a frame.
        true: (S,) int64 true positives of the frame at that threshold.
        reported: (S,) int64 true and false positives of the frame at that threshold.
    """

    counted: np.ndarray
    hit_offsets: np.ndarray
    hits: np.ndarray
    step_offsets: np.ndarray
    steps: np.ndarray
    true: np.ndarray
    reported: np.ndarray


@dataclass(frozen=True)
class FrameCurves:
    """Contributions of F frames to some figures.

    Attributes:
        scores: (U,) float64 ascending, the scores of all true positives; ranks point into it.
        curves: figure by name ("car/3d/moderate/0.5") to its contributions.
    """

    scores: np.ndarray
    curves: Mapping[str, Curve]


def trace_frames(gt: Table, pred: Table, figures: Sequence[Figure]) -> FrameCurves:
    """What each frame of two tables adds to some figures."""
    floor = min(figure.limit for figure in figures)
    pairs = overlapping_pairs(gt.rows, gt.offsets, pred.rows, pred.offsets, floor)
    scores = np.ascontiguousarray(pred.rows[:, SCORE])
    traced = {}
    for figure in figures:
        where = figure.target, figure.difficulty, figure.near, figure.far
        states = object_states(gt.rows, *where), detection_states(pred.rows, *where)
        offsets = gt.offsets, pred.offsets
        traced[figure.name] = _trace(*pairs, figure.metric, figure.limit, scores, *states, *offsets)
    known = np.unique(np.concatenate([hits for _, _, hits, *_ in traced.values()]))
    curves = {}
    for name, (counted, hit_counts, hits, step_counts, steps, true, reported) in traced.items():
        ranks = [np.searchsorted(known, found) for found in (hits, steps)]
        ends = [np.concatenate([[0], np.cumsum(counts)]) for counts in (hit_counts, step_counts)]
        curves[name] = Curve(counted, ends[0], ranks[0], ends[1], ranks[1], true, reported)
    return FrameCurves(known, curves)


def ap40(curve: Curve, frames: np.ndarray | None = None) -> float:
    """AP40 in percent of some frames, to the last digit that of the evaluator on these frames.

    Args:
        curve: of a figure.
        frames: (N,) indices, with repeats: a frame that stands twice counts as two frames. None for each frame once.
    """
    size = len(curve.counted)
    weights = np.ones(size, np.int64) if frames is None else np.bincount(frames, minlength=size)
    return mean_of_40(weighted_precision(weights, *vars(curve).values()))


def mean_of_40(precision: np.ndarray) -> float:
    """AP40 in percent of a curve's 41 points."""
    return float(precision[1:].sum() / 40 * 100)


@njit(nogil=True, cache=True)
def weighted_precision(
    weights: np.ndarray,
    counted: np.ndarray,
    hit_offsets: np.ndarray,
    hits: np.ndarray,
    step_offsets: np.ndarray,
    steps: np.ndarray,
    true: np.ndarray,
    reported: np.ndarray,
) -> np.ndarray:
    """(41,) interpolated precision when frame i counts ``weights[i]`` times; the other arguments are a curve's."""
    pooled = np.zeros(hits.max() + 1 if len(hits) else 0, np.int64)
    objects, total = 0, 0
    for frame in range(len(weights)):
        objects += weights[frame] * counted[frame]
        for h in range(hit_offsets[frame], hit_offsets[frame + 1]):
            pooled[hits[h]] += weights[frame]
            total += weights[frame]
    ranked = np.empty(total)
    position = 0
    for rank in range(len(pooled) - 1, -1, -1):
        ranked[position : position + pooled[rank]] = rank
        position += pooled[rank]
    thresholds = sample_thresholds(ranked, objects)
    counts = np.zeros((RECALL_POINTS, 2), np.int64)
    for frame in range(len(weights)):
        if weights[frame] == 0:
            continue
        first, last = step_offsets[frame], step_offsets[frame + 1]
        step = first
        for t in range(len(thresholds)):
            while step < last and steps[step] >= thresholds[t]:
                step += 1
            if step > first:
                counts[t, 0] += weights[frame] * true[step - 1]
                counts[t, 1] += weights[frame] * reported[step - 1]
    precision = np.zeros(RECALL_POINTS)
    for t in range(len(thresholds)):
        if counts[t, 1] > 0:
            precision[t] = counts[t, 0] / counts[t, 1]
    interpolate(precision, len(thresholds))
    return precision


@njit(nogil=True, cache=True)
def _trace(
    start: np.ndarray,
    detection: np.ndarray,
    values: np.ndarray,
    unlabelled: np.ndarray,
    metric: int,
    limit: float,
    scores: np.ndarray,
    gt_states: np.ndarray,
    det_states: np.ndarray,
    gt_offsets: np.ndarray,
    det_offsets: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Objects that count (F,), numbers of hits (F,), hits' scores; numbers of steps (F,), their scores and counts."""
    frames = len(gt_offsets) - 1
    counted, hit_counts, step_counts = np.zeros((3, frames), np.int64)
    hits = np.empty(len(gt_states))
    n_hits, n_steps = 0, 0
    for f in range(frames):
        part = _frame(f, start, detection, values, metric, limit, gt_states, det_states, gt_offsets, det_offsets)
        objects, matches, own = part
        first, last = det_offsets[f], det_offsets[f + 1]
        found = hit_scores(objects, matches[0], scores[first:last], own)
        hits[n_hits : n_hits + len(found)] = found
        n_hits += len(found)
        hit_counts[f] = len(found)
        counted[f] = np.sum(gt_states[gt_offsets[f] : gt_offsets[f + 1]] == 0)
    known = np.unique(hits[:n_hits])
    steps = np.empty(len(scores))
    counts = np.empty((2, len(scores)), np.int64)
    for f in range(frames):
        part = _frame(f, start, detection, values, metric, limit, gt_states, det_states, gt_offsets, det_offsets)
        objects, matches, own = part
        first, last = det_offsets[f], det_offsets[f + 1]
        likely = scores[first:last]
        alarms = np.sort(likely[own == 0])
        excused = excused_detections(unlabelled[first:last], own, metric, limit)
        taken = np.full(last - first, -1, np.int64)
        ranks = np.unique(np.searchsorted(known, likely[own >= 0], side="right"))
        before_true, before_reported = 0, 0
        for k in range(len(ranks) - 1, -1, -1):
            if ranks[k] == 0:
                continue  # below every true positive
            threshold = known[ranks[k] - 1]
            true, reported, _ = count_reported(objects, matches, likely, own, alarms, excused, taken, k, threshold)
            if true != before_true or reported != before_reported:
                steps[n_steps], counts[0, n_steps], counts[1, n_steps] = threshold, true, reported
                n_steps += 1
                step_counts[f] += 1
                before_true, before_reported = true, reported
    return counted, hit_counts, hits[:n_hits], step_counts, steps[:n_steps], counts[0, :n_steps], counts[1, :n_steps]


@njit(nogil=True, cache=True)
def _frame(
    frame: int,
    start: np.ndarray,
    detection: np.ndarray,
    values: np.ndarray,
    metric: int,
    limit: float,
    gt_states: np.ndarray,
    det_states: np.ndarray,
    gt_offsets: np.ndarray,
    det_offsets: np.ndarray,
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray, np.ndarray], np.ndarray]:
    """One frame's objects, its pairs and its detections' states, numbered within the frame."""
    low, high = gt_offsets[frame], gt_offsets[frame + 1]
    first, last = start[low], start[high]
    own = det_states[det_offsets[frame] : det_offsets[frame + 1]]
    near = detection[first:last] - det_offsets[frame]
    part = values[first:last]
    objects, pairs, chosen = select_pairs(
        start[low : high + 1] - first, near, part[:, metric], gt_states[low:high], own, limit
    )
    return objects, (chosen, part[pairs, metric], part[pairs, 3]), own
