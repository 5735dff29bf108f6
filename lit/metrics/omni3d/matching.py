"""COCO's matching of predictions and labels and its interpolated precision, which Omni3D takes over for 3D boxes.

Within a picture and class, predictions take labels from the best score on: of the labels that are free and overlap
enough, the one that overlaps most; an ignored label only where no other is left. Who takes an ignored label, or takes
none and lies outside the range that is asked for, counts as nothing. Checked against pycocotools' COCOeval.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

MOST_PREDICTIONS = 100  # of a class in a picture
RECALLS = np.linspace(0.0, 1.0, 101)
WRONG, RIGHT, UNCOUNTED = 0, 1, 2  # what a prediction counts as


@njit(nogil=True, cache=True)
def match_predictions(overlaps: np.ndarray, ignored: np.ndarray, outside: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """What each prediction of a picture counts as, at each least IoU.

    Args:
        overlaps: (D, G) IoU of predictions, best first, and labels.
        ignored: (G,) bool labels that count for nothing.
        outside: (D,) bool predictions that lie outside the range.
        limits: (T,) least IoU.

    Returns:
        (T, D) int8 of :data:`WRONG`, :data:`RIGHT` and :data:`UNCOUNTED`.
    """
    predictions, labels = overlaps.shape
    order = np.concatenate((np.flatnonzero(~ignored), np.flatnonzero(ignored)))
    states = np.empty((len(limits), predictions), np.int8)
    for t in range(len(limits)):
        taken = np.zeros(labels, np.bool_)
        for d in range(predictions):
            best, found = min(limits[t], 1.0 - 1e-10), -1
            for g in order:
                if taken[g]:
                    continue
                if found > -1 and not ignored[found] and ignored[g]:
                    break
                if overlaps[d, g] >= best:
                    best, found = overlaps[d, g], g
            if found > -1:
                taken[found] = True
                states[t, d] = UNCOUNTED if ignored[found] else RIGHT
            else:
                states[t, d] = UNCOUNTED if outside[d] else WRONG
    return states


def average_precisions(scores: np.ndarray, states: np.ndarray, labels: int) -> np.ndarray | None:
    """AP at each least IoU: the mean, over 101 recalls, of the best precision at this recall or beyond.

    Args:
        scores: (D,) of all predictions of a class, picture after picture.
        states: (T, D) of :func:`match_predictions`.
        labels: how many count.

    Returns:
        (T,) in [0, 1], or None where nothing is labelled.
    """
    if labels == 0:
        return None
    ranked = states[:, np.argsort(-scores, kind="stable")]
    right, wrong = np.cumsum(ranked == RIGHT, 1), np.cumsum(ranked == WRONG, 1)
    recall = right / labels
    precision = right / (right + wrong + np.spacing(1))
    best = np.maximum.accumulate(precision[:, ::-1], 1)[:, ::-1]
    found = np.zeros(len(states))
    for t in range(len(states)):
        place = np.searchsorted(recall[t], RECALLS, side="left")
        reached = place < recall.shape[1]
        found[t] = best[t][place[reached]].sum() / len(RECALLS)
    return found


@dataclass(frozen=True)
class PictureMatches:
    """What the predictions of one class count as, in S pictures and one range; of any choice of pictures AP follows.

    Attributes:
        counted: (S,) int64 labels that count.
        sample: (P,) int64 picture of each prediction, picture after picture.
        scores: (P,) float64.
        states: (T, P) int8 of :func:`match_predictions`.
    """

    counted: np.ndarray
    sample: np.ndarray
    scores: np.ndarray
    states: np.ndarray

    def precisions(self, weights: np.ndarray | None = None) -> np.ndarray | None:
        """(T,) AP at each least IoU when picture i counts ``weights[i]`` times; None where nothing is labelled."""
        if weights is None:
            return average_precisions(self.scores, self.states, int(self.counted.sum()))
        times = weights[self.sample]
        scores, states = np.repeat(self.scores, times), np.repeat(self.states, times, axis=1)
        return average_precisions(scores, states, int(weights @ self.counted))
