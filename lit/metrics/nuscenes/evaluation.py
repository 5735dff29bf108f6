"""nuScenes detection metrics: mAP, NDS and the errors of true positives, as nuscenes-devkit 1.2.0 computes them.

Configuration detection_cvpr_2019 (H. Caesar et al., nuScenes, CVPR 2020, section 3.1). AP and NDS are fractions.
Errors: translation (m), scale (1 - IoU), orientation (rad), velocity (m/s), attribute (1 - accuracy). An error that a
class does not have (orientation, velocity and attribute of cones, velocity and attribute of barriers) is None.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import distributed

from datamodules.errors import InputError, printable
from datamodules.nuscenes.box_checks import check_boxes, check_truth
from datamodules.nuscenes.boxes import (
    BOX_COLUMNS,
    CLASS_RANGES,
    DETECTION_NAMES,
    GlobalBoxes,
    GroundTruth,
    SampleBoxes,
    SampleTruth,
    offsets_of,
    take_groups,
)
from datamodules.nuscenes.format import read_ground_truth, read_submission
from lit.metrics.gathered_rows import GatheredRows
from lit.metrics.nuscenes.left_out import warn_of_foreign_classes
from lit.metrics.nuscenes.matching import (
    DISTANCE_LIMITS,
    ERRORS,
    Filtered,
    evaluate_class,
    filter_boxes,
    match_class,
)
from lit.metrics.nuscenes.sample_matches import ClassMatches
from lit.metrics.sample_keys import sample_key

VERSION = "detection_cvpr_2019-1"  # recorded beside every figure; changes when a figure could
MAP_WEIGHT = 5
SHORT = dict(zip(ERRORS, ("ATE", "ASE", "AOE", "AVE", "AAE")))


def evaluate_files(gt_json: str | os.PathLike[str], submission_json: str | os.PathLike[str]) -> dict[str, Any]:
    """Evaluate a submission against ground truth in one JSON file.

    Args:
        gt_json: see :func:`datamodules.nuscenes.format.read_ground_truth`.
        submission_json: official submission format, with an entry for every sample and no other.

    Returns:
        The devkit's summary: ``mean_ap``, ``nd_score``, ``tp_errors`` and ``tp_scores`` by error, ``mean_dist_aps`` by
        class, ``label_aps[class]["0.5"|"1.0"|"2.0"|"4.0"]``, ``label_tp_errors[class][error]`` (None where the class
        does not have it), and the numbers of boxes left after filtering, ``n_gt_filtered`` and ``n_pred_filtered``.

    Raises:
        InputError: a file that cannot be read or evaluated, or another set of samples.
    """
    return evaluate_submission(read_ground_truth(gt_json), submission_json, str(gt_json))


def evaluate_submission(
    truth: GroundTruth, submission_json: str | os.PathLike[str], gt_name: str = "ground truth"
) -> dict[str, Any]:
    """Evaluate a submission against annotations in memory; warns of classes that no annotation has.

    Raises:
        InputError: see :func:`evaluate_files`.
    """
    pred, pred_name = read_submission(submission_json).samples, str(submission_json)
    result = evaluate_tables(truth, pred, gt_name, pred_name)
    warn_of_foreign_classes(truth, pred, gt_name, pred_name)
    return result


def evaluate_boxes(truth: Mapping[str, SampleTruth], pred: Mapping[str, GlobalBoxes]) -> dict[str, Any]:
    """Evaluate predictions in memory, both by sample token. See :func:`evaluate_files`.

    Raises:
        InputError: values that cannot be evaluated, or another set of samples.
    """
    packed, found = GroundTruth.join(truth), SampleBoxes.join(pred)
    check_truth(packed, "ground truth")
    check_boxes(found, "predictions", scored=True)
    return evaluate_tables(packed, found)


def evaluate_tables(
    truth: GroundTruth,
    pred: SampleBoxes,
    gt_name: str = "ground truth",
    pred_name: str = "predictions",
    ranges: Mapping[str, float] = CLASS_RANGES,
) -> dict[str, Any]:
    """Evaluate checked tables. See :func:`evaluate_files`.

    Args:
        truth: annotations.
        pred: predictions; among equal scores the later box of this table comes first.
        gt_name: where the annotations come from, for messages.
        pred_name: where the predictions come from.
        ranges: class to metres from the car within which its boxes count; the benchmark's.

    Raises:
        InputError: the two hold different samples.
    """
    gt, found = _filtered(truth, pred, ranges, gt_name, pred_name)
    samples = len(truth.samples.tokens)
    aps: dict[str, dict[str, float]] = {}
    errors: dict[str, dict[str, float]] = {}
    for code, name in enumerate(DETECTION_NAMES):
        one, other = gt.of_class(code), found.of_class(code)
        precisions, errors[name] = evaluate_class(one, other, name, samples)
        aps[name] = {str(limit): precision for limit, precision in zip(DISTANCE_LIMITS.tolist(), precisions)}
    summary = _summarise(aps, errors)
    return {**summary, "n_gt_filtered": len(gt.boxes), "n_pred_filtered": len(found.boxes)}


def trace_samples(
    truth: GroundTruth, pred: SampleBoxes, ranges: Mapping[str, float] = CLASS_RANGES
) -> dict[str, ClassMatches]:
    """What each sample adds to the AP of each class; samples in the order of the annotations.

    Raises:
        InputError: the two hold different samples.
    """
    gt, found = _filtered(truth, pred, ranges, "ground truth", "predictions")
    samples = len(truth.samples.tokens)
    traced = {}
    for code, name in enumerate(DETECTION_NAMES):
        one = gt.of_class(code)
        ranked, hits, _ = match_class(one, found.of_class(code), samples)
        counted = np.bincount(one.sample, minlength=samples)
        traced[name] = ClassMatches(counted, ranked.sample, ranked.boxes.scores, hits >= 0)
    return traced


def flatten(result: dict[str, Any]) -> dict[str, float]:
    """Figures of a result by name: mAP, NDS, mATE, .., car/AP, car/AP/0.5, .., car/ATE, ..; without undefined ones."""
    flat = {"mAP": result["mean_ap"], "NDS": result["nd_score"]}
    flat.update({f"m{SHORT[error]}": value for error, value in result["tp_errors"].items()})
    for name in DETECTION_NAMES:
        flat[f"{name}/AP"] = result["mean_dist_aps"][name]
        flat.update({f"{name}/AP/{limit}": value for limit, value in result["label_aps"][name].items()})
        errors = result["label_tp_errors"][name].items()
        flat.update({f"{name}/{SHORT[error]}": value for error, value in errors if value is not None})
    return flat


class NuscenesDetection(GatheredRows):
    """nuScenes metrics over any number of processes.

    Rows are gathered, and a sample that several processes saw counts once. Samples are ordered by the digests
    of their tokens, so that ties of scores do not depend on the processes.

    Args:
        traced: also find what each sample adds to AP, from which that of any choice of samples follows.
        ranges: class to metres from the car within which its boxes count, in place of the benchmark's for that class.

    Attributes:
        trace: what the last ``compute`` of a traced metric found: keys (S,) of its samples, and their matches by class.
    """

    samples: list[torch.Tensor]
    ego: list[torch.Tensor]
    racks: list[torch.Tensor]
    gt_rows: list[torch.Tensor]
    pred_rows: list[torch.Tensor]

    def __init__(self, traced: bool = False, ranges: Mapping[str, float] | None = None, **kwargs: Any) -> None:
        samples = torch.zeros(0, 4, dtype=torch.int64)  # key, racks, boxes, predictions
        ego, racks, rows = (torch.zeros(0, width, dtype=torch.float64) for width in (3, 10, BOX_COLUMNS))
        super().__init__(samples=samples, ego=ego, racks=racks, gt_rows=rows, pred_rows=rows, **kwargs)
        self.traced, self.ranges = traced, {**CLASS_RANGES, **(ranges or {})}
        self.trace: tuple[list[int], dict[str, ClassMatches]] | None = None

    def update(self, tokens: Sequence[str], truths: Sequence[SampleTruth], preds: Sequence[GlobalBoxes]) -> None:
        """Add the annotations and predictions of some samples.

        Raises:
            ValueError: the three have different lengths.
            InputError: values that cannot be evaluated.
        """
        if not len(tokens) == len(truths) == len(preds):
            lengths = f"{len(tokens)} sample tokens, {len(truths)} annotated and {len(preds)} predicted samples"
            raise ValueError(f"{lengths}: expected as many of each")
        truth, pred = GroundTruth.join(dict(zip(tokens, truths))), SampleBoxes.join(dict(zip(tokens, preds)))
        check_truth(truth, "ground truth")
        check_boxes(pred, "predictions", scored=True)
        keys = np.array([sample_key(token) for token in pred.tokens], dtype=np.int64)
        counts = [np.diff(offsets) for offsets in (truth.rack_offsets, truth.samples.offsets, pred.offsets)]
        self.keep(
            samples=np.column_stack([keys, *counts]),
            ego=truth.ego_translation,
            racks=truth.bikeracks,
            gt_rows=truth.samples.boxes.rows,
            pred_rows=pred.boxes.rows,
        )

    def compute(self) -> dict[str, Any]:
        """The result of :func:`evaluate_tables` over all distinct samples."""
        samples = self.held("samples").numpy()
        _, first = np.unique(samples[:, 0], return_index=True)
        tables, offsets = [], []
        for column, name in ((1, "racks"), (2, "gt_rows"), (3, "pred_rows")):
            members, taken = take_groups(offsets_of(samples[:, column]), first)
            tables.append(self.held(name).numpy()[members])
            offsets.append(taken)
        tokens = tuple(str(key) for key in samples[first, 0])
        gt = SampleBoxes(tokens, offsets[1], GlobalBoxes.from_rows(tables[1]))
        truth = GroundTruth(gt, self.held("ego").numpy()[first], tables[0], offsets[0])
        found = SampleBoxes(tokens, offsets[2], GlobalBoxes.from_rows(tables[2]))
        if self.traced:
            self.trace = samples[first, 0].tolist(), trace_samples(truth, found, self.ranges)
        return evaluate_tables(truth, found, ranges=self.ranges)


def gather_samples(samples: Mapping[str, GlobalBoxes]) -> dict[str, GlobalBoxes]:
    """Samples of all ranks, each once, in the order of their keys: ties of scores then fall as in the metric."""
    shards: list[dict[str, GlobalBoxes]] = [dict(samples)]
    if distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1:
        shards = [{}] * distributed.get_world_size()
        distributed.all_gather_object(shards, dict(samples))
    joined: dict[str, GlobalBoxes] = {}
    for shard in shards:
        for token, boxes in shard.items():
            joined.setdefault(token, boxes)
    return {token: joined[token] for token in sorted(joined, key=sample_key)}


def _filtered(
    truth: GroundTruth, pred: SampleBoxes, ranges: Mapping[str, float], gt_name: str, pred_name: str
) -> tuple[Filtered, Filtered]:
    """Annotations and predictions that count."""
    index = {token: i for i, token in enumerate(truth.samples.tokens)}
    _check_tokens(index, pred.tokens, gt_name, pred_name)
    owners = np.array([index[token] for token in pred.tokens], dtype=np.int64)
    counting = (truth.ego_translation, truth.bikeracks, truth.rack_offsets, ranges)
    gt_sample = np.repeat(np.arange(len(index)), np.diff(truth.samples.offsets))
    gt = filter_boxes(truth.samples.boxes, gt_sample, *counting)
    return gt, filter_boxes(pred.boxes, np.repeat(owners, np.diff(pred.offsets)), *counting)


def _summarise(aps: dict[str, dict[str, float]], errors: dict[str, dict[str, float]]) -> dict[str, Any]:
    """Means over limits and classes, scores and NDS."""
    means = {name: float(np.mean(list(values.values()))) for name, values in aps.items()}
    mean_ap = float(np.mean(list(means.values())))
    mean_errors = {error: float(np.nanmean([errors[name][error] for name in errors])) for error in ERRORS}
    scores = {error: max(0.0, 1 - value) for error, value in mean_errors.items()}
    nds = (MAP_WEIGHT * mean_ap + float(np.sum(list(scores.values())))) / (MAP_WEIGHT + len(scores))
    return {
        "mean_ap": mean_ap,
        "nd_score": nds,
        "tp_errors": mean_errors,
        "tp_scores": scores,
        "mean_dist_aps": means,
        "label_aps": aps,
        "label_tp_errors": {
            name: {error: None if np.isnan(value) else value for error, value in by_error.items()}
            for name, by_error in errors.items()
        },
    }


def _check_tokens(expected: Mapping[str, int], found: Sequence[str], gt_name: str, pred_name: str) -> None:
    present = set(found)
    missing = [token for token in expected if token not in present]
    unknown = [token for token in found if token not in expected]
    if missing:
        counted = f"one of {len(missing)} missing out of {len(expected)}"
        cure = "give every sample a list, [] where nothing was found"
        raise InputError(printable(f"{pred_name}: sample {missing[0]} of {gt_name} has no entry, {counted}; {cure}"))
    if unknown:
        more = f" (and {len(unknown) - 1} more)" if len(unknown) > 1 else ""
        problem = f"{pred_name}: sample {unknown[0]}{more} is not in {gt_name}, which has {len(expected)} samples"
        raise InputError(printable(f"{problem}; evaluate the split it is for"))
