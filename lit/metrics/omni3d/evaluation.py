"""AP2D and AP3D as Omni3D evaluates them (G. Brazil et al., Omni3D, CVPR 2023, section 5), in percent.

COCO's average precision, at 2D IoU .5 to .95 of rectangles and at 3D IoU .05 to .5 of boxes, in steps of .05; the mean
over classes, thresholds and 101 recalls. Three ranges each: 2D by the rectangle's area, 3D by depth (near below 10 m,
far beyond 35 m). Labels that :data:`datamodules.omni3d.ignore.EVALUATION` ignores count for nothing. As in the official
evaluation, an area that is marked as ignored (KITTI's DontCare) excuses no prediction: matching is within a class.
Differences: 3D IoU is exact and in float64; a class that no picture has is left out of every mean; predictions away
from every label are wrong ones on Objectron and SUN RGB-D, too, whose labels are known not to be complete (the official
evaluation excuses there those that no label of their class overlaps by .3 in the picture).
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from datamodules.errors import InputError, closest
from datamodules.omni3d.camera_boxes import CameraBoxes, truth_boxes
from datamodules.omni3d.format import read_omni3d, read_results
from datamodules.omni3d.vocabulary import IGNORED_CATEGORIES
from lit.metrics.gathered_rows import GatheredRows
from lit.metrics.omni3d.matching import MOST_PREDICTIONS, PictureMatches, match_predictions
from lit.metrics.omni3d.overlaps import iou_2d, iou_3d
from lit.metrics.sample_keys import sample_key

Traced = dict[tuple[str, str], PictureMatches]  # by class and mode, "2D" or "3D"
VERSION = "omni3d-0.1-1"  # recorded beside every figure; changes when a figure could
LEAST_IOUS = {"2D": np.linspace(0.5, 0.95, 10), "3D": np.linspace(0.05, 0.5, 10)}
SINGLE = {"2D": (0.5, 0.75, 0.95), "3D": (0.15, 0.25, 0.5)}  # thresholds that are reported alone
RANGES = {  # of the area in pixels and of the depth in metres
    "2D": {"all": (0.0, 1e10), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)},
    "3D": {"all": (0.0, 1e5), "near": (0.0, 10.0), "medium": (10.0, 35.0), "far": (35.0, 1e5)},
}
PARTIAL = ("Objectron", "SUNRGBD")  # in the names of released files
WIDTH_OF_ROWS = 21  # class, score or 1 where ignored, rectangle, middle, size, rotation


def evaluate_files(
    gt_json: str | os.PathLike[str], results_json: str | os.PathLike[str], categories: Sequence[str] | None = None
) -> dict[str, Any]:
    """Evaluate a result file against a file of Omni3D.

    Args:
        gt_json: see :func:`datamodules.omni3d.format.read_omni3d`.
        results_json: see :func:`datamodules.omni3d.format.read_results`.
        categories: evaluated ones; None for all of the file that are not ignored.

    Returns:
        See :func:`evaluate_boxes`.

    Raises:
        InputError: a file that cannot be read, an unknown category, or nothing that counts is labelled.
    """
    truth = read_omni3d(os.fspath(gt_json))
    if partial := next((name for name in PARTIAL if name in truth.path.stem), None):
        warnings.warn(
            f"{truth.path}: {partial} is not labelled throughout; Omni3D's own evaluation excuses predictions "
            "away from its labels, which count as wrong here: its published figures are higher",
            stacklevel=2,
        )
    known = [name for _, name in sorted(truth.categories.items()) if name not in IGNORED_CATEGORIES]
    for name in categories or ():
        if name not in known:
            raise InputError(f"category {name!r}: expected one of {', '.join(known)}{closest(name, known)}")
    boxes = []
    for index, picture in enumerate(truth.pictures):
        rows = truth.rows_of_picture(index)
        boxes.append(truth_boxes(rows, picture.height, rows.category))
    order = np.argsort([picture.id for picture in truth.pictures])  # whose equal scores come first
    found = read_results(os.fspath(results_json), truth)
    return evaluate_boxes([boxes[k] for k in order], [found[k] for k in order], categories or known)


def evaluate_boxes(truth: Sequence[CameraBoxes], pred: Sequence[CameraBoxes], classes: Sequence[str]) -> dict[str, Any]:
    """Evaluate predictions in memory; picture i of ``pred`` belongs to picture i of ``truth``.

    Returns:
        ``"AP2D"``, ``"AP3D"``; for each ``"AP2D/0.5"``, ``"AP3D/near"`` and their like; ``"classes"``: class to its
        ``"AP2D"`` and ``"AP3D"``; in percent, None where nothing is labelled; and counts: ``"images"``, ``"labels"``,
        ``"ignored"``, ``"predictions"``.

    Raises:
        ValueError: the two have different lengths.
        InputError: predictions without scores, values that are not finite, or nothing that counts is labelled.
    """
    if len(truth) != len(pred):
        raise ValueError(f"{len(truth)} labelled and {len(pred)} predicted pictures: expected as many of each")
    pairs = [(_packed(gt, classes), _packed(found, classes)) for gt, found in zip(truth, pred)]
    return _evaluate(pairs, classes)[0]


def flatten(result: dict[str, Any]) -> dict[str, float]:
    """Figures by name: AP2D, AP3D, AP3D/0.25, AP3D/near, .., car/AP3D, ..; without undefined ones."""
    flat = {name: value for name, value in result.items() if name.startswith("AP") and value is not None}
    for name, figures in result["classes"].items():
        flat |= {f"{name}/{figure}": value for figure, value in figures.items() if value is not None}
    return flat


class Omni3DAP(GatheredRows):
    """AP2D and AP3D over any number of processes: rows are gathered, and a picture that several saw counts once.

    Pictures are ordered by the digests of their ids, so that ties of scores do not depend on the processes.

    Args:
        classes: names that are evaluated; boxes of others are left out.

    Attributes:
        trace: what the last ``compute`` found: keys (S,) of its pictures, and by class and mode what predictions count
            as over the whole range.
    """

    pictures: list[torch.Tensor]
    gt_rows: list[torch.Tensor]
    pred_rows: list[torch.Tensor]

    def __init__(self, classes: Sequence[str], **kwargs: Any) -> None:
        pictures = torch.zeros(0, 3, dtype=torch.int64)  # key, labels, predictions
        rows = torch.zeros(0, WIDTH_OF_ROWS, dtype=torch.float64)
        super().__init__(pictures=pictures, gt_rows=rows, pred_rows=rows, **kwargs)
        self.classes = tuple(classes)
        self.trace: tuple[list[int], Traced] | None = None  # no return value: torchmetrics knows tensors only

    def update(self, sample_ids: Sequence[str], truth: Sequence[CameraBoxes], pred: Sequence[CameraBoxes]) -> None:
        """Add the labels and predictions of some pictures.

        Raises:
            ValueError: the three have different lengths.
            InputError: predictions without scores, or values that are not finite.
        """
        if not len(sample_ids) == len(truth) == len(pred):
            lengths = f"{len(sample_ids)} sample ids, {len(truth)} labelled and {len(pred)} predicted pictures"
            raise ValueError(f"{lengths}: expected as many of each")
        for sample_id, gt, found in zip(sample_ids, truth, pred):
            labels, predictions = _packed(gt, self.classes), _packed(found, self.classes)
            counts = np.array([[sample_key(sample_id), len(labels), len(predictions)]], dtype=np.int64)
            self.keep(pictures=counts, gt_rows=labels, pred_rows=predictions)

    def compute(self) -> dict[str, Any]:
        """The result of :func:`evaluate_boxes` over all distinct pictures."""
        pictures = self.held("pictures").numpy()
        _, first = np.unique(pictures[:, 0], return_index=True)
        parts = []
        for column, name in ((1, "gt_rows"), (2, "pred_rows")):
            cuts = np.cumsum(pictures[:, column])[:-1]
            parts.append(np.split(self.held(name).numpy(), cuts) if len(pictures) else [])
        result, matches = _evaluate([(parts[0][k], parts[1][k]) for k in first], self.classes)
        self.trace = pictures[first, 0].tolist(), matches
        return result


def _packed(boxes: CameraBoxes, classes: Sequence[str]) -> np.ndarray:
    """(N, 21) rows of the evaluated classes; of predictions the best hundred of each class, best first."""
    number = {name: index for index, name in enumerate(classes)}
    label = np.array([number.get(str(name), -1) for name in boxes.names], np.float64)
    second = boxes.score if boxes.ignored is None else boxes.ignored
    if second is None:
        raise InputError("predictions without scores: expected one for each box; rank them first")
    flat = (boxes.bbox, boxes.center, boxes.dims, boxes.rotation.reshape(-1, 9))
    rows = np.column_stack([label, np.asarray(second, np.float64), *flat])[label >= 0]
    if not np.isfinite(rows).all():
        raise InputError("boxes or scores that are not finite: expected numbers; leave such boxes out")
    if boxes.ignored is not None:
        return rows
    ranked = rows[np.argsort(-rows[:, 1], kind="stable")]
    best = [np.flatnonzero(ranked[:, 0] == k)[:MOST_PREDICTIONS] for k in range(len(classes))]
    return ranked[np.sort(np.concatenate([np.zeros(0, np.int64), *best]))]


def _boxes(rows: np.ndarray) -> CameraBoxes:
    """Packed rows as boxes again, without names."""
    return CameraBoxes(rows[:, 0], rows[:, 2:6], rows[:, 6:9], rows[:, 9:12], rows[:, 12:].reshape(-1, 3, 3))


def _measure(rows: np.ndarray, mode: str) -> np.ndarray:
    """(N,) what the ranges are of: area of the rectangle, or depth of the middle."""
    return (rows[:, 4] - rows[:, 2]) * (rows[:, 5] - rows[:, 3]) if mode == "2D" else rows[:, 8]


def _evaluate(pairs: Sequence[tuple[np.ndarray, np.ndarray]], classes: Sequence[str]) -> tuple[dict[str, Any], Traced]:
    """The figures, and of each class and mode what its predictions count as over the whole range."""
    if not any((gt[:, 1] == 0).any() for gt, _ in pairs):
        labels = sum(len(gt) for gt, _ in pairs)
        raise InputError(
            f"no label that counts among {len(pairs)} pictures ({labels} of {', '.join(classes)}, all ignored): "
            "expected at least one; evaluate other classes or pictures"
        )
    found: dict[str, Any] = {}
    traced: Traced = {}
    by_class: dict[str, dict[str, float | None]] = {name: {} for name in classes}
    for mode, ranges in RANGES.items():
        matches = {name: _class_matches(pairs, k, mode) for k, name in enumerate(classes)}
        traced |= {(name, mode): spans["all"] for name, spans in matches.items()}
        tables = {
            name: {span: of_range.precisions() for span, of_range in spans.items()} for name, spans in matches.items()
        }
        for place, span in enumerate(ranges):
            columns = [table[span] for table in tables.values()]
            known = np.stack([column for column in columns if column is not None] or [np.full(10, np.nan)])
            figure = f"AP{mode}" if span == "all" else f"AP{mode}/{span}"
            found[figure] = _percent(known.mean())
            if place == 0:
                for limit in SINGLE[mode]:
                    column = int(np.argmin(np.abs(LEAST_IOUS[mode] - limit)))
                    found[f"AP{mode}/{limit:g}"] = _percent(known[:, column].mean())
        for name, table in tables.items():
            whole = table["all"]
            by_class[name][f"AP{mode}"] = None if whole is None else _percent(whole.mean())
    counts = {
        "images": len(pairs),
        "labels": int(sum((gt[:, 1] == 0).sum() for gt, _ in pairs)),
        "ignored": int(sum((gt[:, 1] != 0).sum() for gt, _ in pairs)),
        "predictions": sum(len(pred) for _, pred in pairs),
    }
    return {**found, "classes": by_class, **counts}, traced


def _percent(value: float | np.floating) -> float | None:
    return None if np.isnan(value) else 100.0 * float(value)


def _class_matches(pairs: Sequence[tuple[np.ndarray, np.ndarray]], label: int, mode: str) -> dict[str, PictureMatches]:
    """What the predictions of one class count as, by range."""
    kept = list(_overlapping(pairs, label, mode))
    scores = np.concatenate([np.zeros(0), *(pred[:, 1] for _, _, pred, _ in kept)])
    sample = np.repeat(np.array([k for k, *_ in kept], np.int64), [len(pred) for _, _, pred, _ in kept])
    found = {}
    for span, (low, high) in RANGES[mode].items():
        states, counted = [np.zeros((len(LEAST_IOUS[mode]), 0), np.int8)], np.zeros(len(pairs), np.int64)
        for picture, gt, pred, overlaps in kept:
            beyond = [(measure < low) | (measure > high) for measure in (_measure(gt, mode), _measure(pred, mode))]
            ignored = beyond[0] | (gt[:, 1] != 0)
            counted[picture] = (~ignored).sum()
            states.append(match_predictions(overlaps, ignored, beyond[1], LEAST_IOUS[mode]))
        found[span] = PictureMatches(counted, sample, scores, np.concatenate(states, 1))
    return found


def _overlapping(
    pairs: Sequence[tuple[np.ndarray, np.ndarray]], label: int, mode: str
) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
    """Number, labels, predictions and their IoU (D, G) of one class, of the pictures that have any."""
    for picture, (gt_rows, pred_rows) in enumerate(pairs):
        gt, pred = gt_rows[gt_rows[:, 0] == label], pred_rows[pred_rows[:, 0] == label]
        if len(gt) or len(pred):
            if mode == "2D":
                yield picture, gt, pred, iou_2d(pred[:, 2:6], gt[:, 2:6])
            else:
                yield picture, gt, pred, iou_3d(_boxes(pred), _boxes(gt))
