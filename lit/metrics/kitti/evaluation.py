"""KITTI average precision (image box, ground rectangle, 3D box) and orientation similarity, as the C++ devkit.

Reference: A. Geiger et al., KITTI object development kit, evaluate_object.cpp, with 41 recall points; AP40 is the mean
of points 1..40 (Simonelli et al. 2019), AP11 of points 0, 4, .., 40. All figures are percent. What the development kit
does not evaluate is None: a class that was never detected, and the orientation similarity once one detection has
alpha -10.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from datamodules.errors import InputError, printable
from datamodules.files.text_files import read_text
from datamodules.kitti.format import DIFFICULTIES
from datamodules.scene import Objects
from lit.metrics.gathered_rows import GatheredRows
from lit.metrics.kitti.figures import (
    IOU_LIMITS,
    OVERLAPS,
    DepthRanges,
    ExtraIous,
    Figure,
    checked_depths,
    checked_ious,
    depth_figures,
    recorded_figures,
)
from lit.metrics.kitti.frame_curves import FrameCurves, mean_of_40, trace_frames
from lit.metrics.kitti.left_out import warn_of_left_out
from lit.metrics.kitti.matching import detection_states, object_states, overlapping_pairs, precision_curves
from lit.metrics.kitti.rows import (
    ALPHA,
    BBOX,
    COLUMNS,
    EVALUATED,
    HEIGHT,
    LENGTH,
    SCORE,
    WIDTH,
    Table,
    X,
    Y,
    Z,
    list_frames,
    pack,
    read_table,
)
from lit.metrics.sample_keys import sample_key

Pairs = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # of overlapping_pairs
VERSION = "devkit-2017-r40-1"  # recorded beside every figure; changes when a figure could


def evaluate_folders(
    gt_dir: str | os.PathLike[str],
    pred_dir: str | os.PathLike[str],
    extra_ious: ExtraIous | None = None,
    split: str | os.PathLike[str] | None = None,
    depth_ranges: DepthRanges | None = None,
    class_map: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Evaluate a folder of result files against a folder of label files.

    Args:
        gt_dir: label_2 rows in ``<id>.txt``; its files are the frames, every one of them.
        pred_dir: result rows (16 columns) in ``<id>.txt``; a frame without a file counts as one without detections,
            with a warning that says how many there are.
        extra_ious: further IoU limits by class, such as ``{"car": [0.5, 0.3]}``.
        split: file of ids, one a line (ImageSets/val.txt), that restricts the frames.
        depth_ranges: [near, far] in metres, far None for no end; see :mod:`lit.metrics.kitti.figures`.
        class_map: names in the files to names of KITTI's classes.

    Returns:
        ``{"ap40": {class: {"bbox"|"bev"|"3d"|"aos": [easy, moderate, hard] or None}}, "ap11": ...}`` in percent,
        with ``extra_ious`` ``"extra": {"car/3d/moderate/0.5": AP40}``, and with ``depth_ranges``
        ``"depth": {"car/3d/moderate/0.5/0-20m": AP40}``.

    Raises:
        InputError: a missing folder or label file, folders without a common frame, or a broken row (file and line).
    """
    labelled = list_frames(gt_dir)
    if not labelled:
        raise InputError(f"{gt_dir}: holds no .txt label files; point it at a folder such as training/label_2")
    predicted = set(list_frames(pred_dir))
    frames = _read_split(split, set(labelled), gt_dir) if split is not None else labelled
    if not predicted.intersection(frames):
        raise InputError(f"{pred_dir}: no result file is named like a frame of {gt_dir} (such as {frames[0]}.txt)")
    gt, _ = read_table(gt_dir, frames, scored=False, checked=True, class_map=class_map)
    pred, missing = read_table(pred_dir, frames, scored=True, checked=True, class_map=class_map)
    if missing:
        cure = "write empty files for frames without detections, or name the evaluated frames with a split file"
        warnings.warn(
            f"{pred_dir}: {len(missing)} of {len(frames)} frames have no result file (first {missing[0]}.txt) "
            f"and count as frames without detections; {cure}",
            stacklevel=2,
        )
    warn_of_left_out(gt_dir, pred_dir, labelled, gt, pred)
    return evaluate_tables(gt, pred, extra_ious, depth_ranges)


def evaluate_objects(
    gt: Sequence[Objects],
    pred: Sequence[Objects],
    extra_ious: ExtraIous | None = None,
    depth_ranges: DepthRanges | None = None,
) -> dict[str, Any]:
    """Evaluate predictions in memory; frame i of ``pred`` belongs to frame i of ``gt``. See :func:`evaluate_folders`.

    Raises:
        InputError: predictions without scores, or values that are not finite.
        ValueError: the two have different lengths.
    """
    if len(gt) != len(pred):
        raise ValueError(f"{len(gt)} labelled and {len(pred)} predicted frames: expected one prediction per frame")
    return evaluate_tables(pack(gt, scored=False), pack(pred, scored=True), extra_ious, depth_ranges)


def evaluate_tables(
    gt: Table, pred: Table, extra_ious: ExtraIous | None = None, depth_ranges: DepthRanges | None = None
) -> dict[str, Any]:
    """Evaluate two tables of the same frames. See :func:`evaluate_folders`."""
    extra, depths = checked_ious(extra_ious or {}), checked_depths(depth_ranges or ())
    floor = min([*IOU_LIMITS.values(), *(limit for limits in extra.values() for limit in limits)])
    pairs = overlapping_pairs(gt.rows, gt.offsets, pred.rows, pred.offsets, floor)
    scores = np.ascontiguousarray(pred.rows[:, SCORE])
    oriented = not (pred.rows[:, ALPHA] == -10).any()
    result: dict[str, Any] = {"ap40": {}, "ap11": {}}
    figures: dict[str, float] = {}
    for target, name in enumerate(EVALUATED):
        states = [
            (object_states(gt.rows, target, level), detection_states(pred.rows, target, level)) for level in range(3)
        ]
        evaluated = _evaluated(pred.rows[pred.rows[:, 0] == target])
        curves: dict[str, list[np.ndarray] | None] = dict.fromkeys((*OVERLAPS, "aos"))
        for index, metric in enumerate(OVERLAPS):
            start, detection, values, unlabelled = pairs
            both = {
                limit: [
                    precision_curves(start, detection, values, index, limit, scores, unlabelled, gt_states, det_states)
                    for gt_states, det_states in states
                ]
                for limit in {IOU_LIMITS[name], *extra.get(name, ())}
            }
            if evaluated[metric]:
                curves[metric] = [precision for precision, _ in both[IOU_LIMITS[name]]]
                if metric == "bbox" and oriented:
                    curves["aos"] = [similarity for _, similarity in both[IOU_LIMITS[name]]]
            for limit in extra.get(name, ()):
                for difficulty, (precision, _) in zip(DIFFICULTIES, both[limit]):
                    figures[f"{name}/{metric}/{difficulty}/{limit:g}"] = mean_of_40(precision)
        for kind, mean in (("ap40", mean_of_40), ("ap11", _ap11)):
            result[kind][name] = {
                key: None if value is None else [mean(curve) for curve in value] for key, value in curves.items()
            }
    if extra_ious is not None:
        result["extra"] = figures
    if depth_ranges is not None:
        result["depth"] = {
            figure.name: mean_of_40(_precision(pairs, gt, pred, figure)) for figure in depth_figures(extra, depths)
        }
    return result


def flatten(result: dict[str, Any]) -> dict[str, float]:
    """AP40 figures of a result by name, such as ``car/3d/moderate/0.7``, extra limits and depth ranges included.

    A class without detections scores 0 here, so that every run has the same names; an undefined AOS is left out.
    """
    flat: dict[str, float] = {}
    for name, by_metric in result["ap40"].items():
        for metric, values in by_metric.items():
            if values is None and metric == "aos":
                continue
            for difficulty, value in zip(DIFFICULTIES, values or (0.0, 0.0, 0.0)):
                flat[f"{name}/{metric}/{difficulty}/{IOU_LIMITS[name]:g}"] = value
    return {**flat, **result.get("extra", {}), **result.get("depth", {})}


class KittiAP(GatheredRows):
    """KITTI AP over any number of processes: rows are gathered, and a frame that several processes saw counts once.

    Args:
        extra_ious: further IoU limits by class, such as ``{"car": [0.5, 0.3]}``.
        depth_ranges: [near, far] in metres; see :func:`evaluate_folders`.
        traced: also find what each frame adds to the figures, from which those of any choice of frames follow.

    Attributes:
        trace: what the last ``compute`` of a traced metric found: keys (F,) of its frames, and their contributions.
    """

    frames: list[torch.Tensor]
    gt_rows: list[torch.Tensor]
    pred_rows: list[torch.Tensor]

    def __init__(
        self,
        extra_ious: ExtraIous | None = None,
        depth_ranges: DepthRanges | None = None,
        traced: bool = False,
        **kwargs: Any,
    ) -> None:
        frames = torch.zeros(0, 3, dtype=torch.int64)  # key, objects, detections
        rows = torch.zeros(0, COLUMNS, dtype=torch.float64)
        super().__init__(frames=frames, gt_rows=rows, pred_rows=rows, **kwargs)
        self.extra_ious = checked_ious(extra_ious) if extra_ious is not None else None
        self.depth_ranges = checked_depths(depth_ranges) if depth_ranges is not None else None
        self.traced = traced
        self.trace: tuple[list[int], FrameCurves] | None = None  # no return value: torchmetrics knows tensors only

    def update(self, sample_ids: Sequence[str], gt: Sequence[Objects], pred: Sequence[Objects]) -> None:
        """Add the labels and predictions of some frames.

        Raises:
            ValueError: the three have different lengths.
        """
        if not len(sample_ids) == len(gt) == len(pred):
            lengths = f"{len(sample_ids)} sample ids, {len(gt)} labelled and {len(pred)} predicted frames"
            raise ValueError(f"{lengths}: expected as many of each")
        labels, predictions = pack(gt, scored=False), pack(pred, scored=True)
        keys = np.array([sample_key(sample_id) for sample_id in sample_ids], dtype=np.int64)
        frames = np.column_stack([keys, np.diff(labels.offsets), np.diff(predictions.offsets)])
        self.keep(frames=frames, gt_rows=labels.rows, pred_rows=predictions.rows)

    def compute(self) -> dict[str, Any]:
        """The result of :func:`evaluate_tables` over all distinct frames, in the order of their keys."""
        frames = self.held("frames").numpy()
        _, first = np.unique(frames[:, 0], return_index=True)
        tables = []
        for column, name in ((1, "gt_rows"), (2, "pred_rows")):
            offsets = np.concatenate([[0], np.cumsum(frames[:, column])])
            tables.append(Table(self.held(name).numpy(), offsets).take(first))
        if self.traced:
            recorded = recorded_figures(self.extra_ious or {}, self.depth_ranges or ())
            self.trace = frames[first, 0].tolist(), trace_frames(tables[0], tables[1], recorded)
        return evaluate_tables(tables[0], tables[1], self.extra_ious, self.depth_ranges)


def _precision(pairs: Pairs, gt: Table, pred: Table, figure: Figure) -> np.ndarray:
    """(41,) precision of one figure."""
    start, detection, values, unlabelled = pairs
    where = figure.target, figure.difficulty, figure.near, figure.far
    states = object_states(gt.rows, *where), detection_states(pred.rows, *where)
    scores = np.ascontiguousarray(pred.rows[:, SCORE])
    metric, limit = figure.metric, figure.limit
    return precision_curves(start, detection, values, metric, limit, scores, unlabelled, *states)[0]


def _ap11(curve: np.ndarray) -> float:
    return float(curve[::4].sum() / 11 * 100)


def _evaluated(rows: np.ndarray) -> dict[str, bool]:
    """Whether the development kit evaluates a class, given its detections: one with valid values is enough."""
    ground = (rows[:, X] != -1000) & (rows[:, Z] != -1000) & (rows[:, WIDTH] > 0) & (rows[:, LENGTH] > 0)
    volume = ground & (rows[:, Y] != -1000) & (rows[:, HEIGHT] > 0)
    return {"bbox": bool((rows[:, BBOX] >= 0).any()), "bev": bool(ground.any()), "3d": bool(volume.any())}


def _read_split(path: str | os.PathLike[str], labelled: set[str], gt_dir: str | os.PathLike[str]) -> list[str]:
    lines = read_text(os.fspath(path), "a split file of one id a line").split("\n")
    names = [name for line in lines if (name := line.strip(" \t"))]
    for name in names:
        if name not in labelled:
            raise InputError(
                f"{path}: frame {printable(name[:80])} has no label file in {gt_dir}; correct the split or the folder"
            )
    if not names:
        raise InputError(f"{path}: holds no ids; expected one a line, such as 000042")
    return list(dict.fromkeys(names))
