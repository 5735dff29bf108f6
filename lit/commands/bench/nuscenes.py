"""Processor time of the nuScenes evaluator and of nuscenes-devkit on a validation split's worth of boxes.

Same work on both sides: each starts from the two JSON files (ground truth and submission), parses, filters, matches and
summarises, in one thread, with its code loaded and warm. The devkit's own functions do its part; only its database is
replaced by a table in memory, built from the parsed ground truth.
"""

from __future__ import annotations

import json
import tempfile
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from datamodules.nuscenes.boxes import (
    ATTRIBUTE_NAMES,
    BOX_COLUMNS,
    DETECTION_NAMES,
    GlobalBoxes,
    GroundTruth,
    SampleTruth,
)
from datamodules.nuscenes.format import write_ground_truth, write_submission
from datamodules.randomness import derive
from lit.commands.bench.timing import timed
from lit.metrics.nuscenes.evaluation import evaluate_files, flatten

SAMPLES, OBJECTS, DETECTIONS = 6000, 20, 30
TOLERANCE = 1e-9
_SHARES = np.array([0.36, 0.08, 0.03, 0.04, 0.03, 0.2, 0.03, 0.03, 0.1, 0.1])
_SIZES = np.array(
    [
        *([1.9, 4.6, 1.7], [2.5, 7.0, 2.9], [2.9, 11.0, 3.5], [2.9, 12.0, 3.9], [2.8, 6.5, 3.2]),
        *([0.7, 0.7, 1.8], [0.8, 2.1, 1.5], [0.6, 1.7, 1.3], [0.4, 0.4, 1.1], [2.5, 0.5, 1.0]),
    ]
)


def draw_samples(
    count: int, objects: int, detections: int, seed: int
) -> tuple[dict[str, SampleTruth], dict[str, GlobalBoxes]]:
    """Seeded samples with every rule in play: ranges, empty boxes, bicycle racks, unknown velocities, tied scores.

    Two detections in three are noisy copies of objects, the rest are false.

    Returns:
        Truth and predictions by sample token.
    """
    truths, preds = {}, {}
    for index in range(count):
        rng = derive(seed, index, "bench_nuscenes")
        token, ego = f"{index:032x}", np.round(np.append(rng.uniform(500, 1500, 2), 0.0), 3)
        rows = _objects(rng, objects, ego)
        rows[:, 14], rows[:, 15] = np.nan, rng.choice([0, 1, 5, 40], objects, p=[0.1, 0.2, 0.3, 0.4])
        rows[rng.random(objects) < 0.05, 10:12] = np.nan
        found = np.concatenate([rows[np.arange(detections) % max(objects, 1)] if objects else rows])
        false = np.arange(len(found)) >= 2 * detections // 3
        found[:, :2] += np.where(false[:, None], 10.0, 0.7) * rng.normal(0, 1, (len(found), 2))
        found[:, 3:6] *= rng.uniform(0.8, 1.2, (len(found), 3))
        found[:, 6:10] += rng.normal(0, 0.1, (len(found), 4))
        found[:, 10:12] = np.nan_to_num(found[:, 10:12]) + rng.normal(0, 0.5, (len(found), 2))
        found[:, 14] = np.round(np.where(false, 0.7, 1.0) * rng.random(len(found)), 3)
        found[:, 15] = -1
        found[:, :12] = np.round(found[:, :12], 3)
        racks = np.array([[*rng.uniform(-40, 40, 2) + ego[:2], 1, 12, 12, 4, 1, 0, 0, rng.normal()]] * (index % 8 == 0))
        truths[token] = SampleTruth(GlobalBoxes.from_rows(rows), ego, racks.reshape(-1, 10))
        preds[token] = GlobalBoxes.from_rows(found)
    return truths, preds


def _objects(rng: np.random.Generator, count: int, ego: np.ndarray) -> np.ndarray:
    """(count, 16) rows of annotations up to 60 m around the car; see :attr:`GlobalBoxes.rows`."""
    rows = np.zeros((count, BOX_COLUMNS))
    labels = rng.choice(len(DETECTION_NAMES), count, p=_SHARES)
    rows[:, :3] = ego + np.column_stack([rng.uniform(-45, 45, (count, 2)), np.ones(count)])
    rows[:, 3:6] = _SIZES[labels] * rng.uniform(0.9, 1.1, (count, 1))
    yaw = rng.uniform(-np.pi, np.pi, count)
    rows[:, 6], rows[:, 9] = np.cos(yaw / 2), np.sin(yaw / 2)
    rows[:, 10:12] = rng.normal(0, 3, (count, 2))
    rows[:, 12], rows[:, 13] = labels, rng.integers(-1, len(ATTRIBUTE_NAMES), count)
    rows[:, :12] = np.round(rows[:, :12], 3)
    return rows


def write_files(
    folder: Path, samples: int = SAMPLES, objects: int = OBJECTS, detections: int = DETECTIONS, seed: int = 0
) -> tuple[Path, Path]:
    """Write seeded ground truth and a submission.

    Returns:
        The two JSON files.
    """
    truths, preds = draw_samples(samples, objects, detections, seed)
    gt, submission = folder / "gt.json", folder / "submission.json"
    write_ground_truth(gt, GroundTruth.join(truths))
    write_submission(submission, preds)
    return gt, submission


class _Database:
    """Stands in for ``nuscenes.NuScenes``: the four tables that the devkit's filters ask for."""

    def __init__(self, truth: dict[str, Any]) -> None:
        self.truth = truth

    def get(self, table: str, token: str) -> dict[str, Any]:
        """A record as the devkit wants it; an annotation's token is the sample's with the rack's number."""
        if table == "sample":
            racks = range(len(self.truth[token]["bikeracks"]))
            return {"data": {"LIDAR_TOP": token}, "anns": [f"{token}/{i}" for i in racks]}
        if table == "sample_data":
            return {"ego_pose_token": token}
        if table == "ego_pose":
            return {"translation": self.truth[token]["ego_translation"]}
        sample, number = token.split("/")
        return {"category_name": "static_object.bicycle_rack", **self.truth[sample]["bikeracks"][int(number)]}


def evaluate_with_devkit(gt_json: Path, submission_json: Path) -> dict[str, Any]:
    """The summary of nuscenes-devkit for the same two files."""
    loaders, classes = import_module("nuscenes.eval.common.loaders"), import_module("nuscenes.eval.common.data_classes")
    box_type = import_module("nuscenes.eval.detection.data_classes").DetectionBox
    config = import_module("nuscenes.eval.common.config").config_factory("detection_cvpr_2019")
    pred, _ = loaders.load_prediction(str(submission_json), config.max_boxes_per_sample, box_type)
    truth = json.loads(gt_json.read_bytes())
    gt = classes.EvalBoxes()
    for token, sample in truth.items():
        for box in sample["boxes"]:
            box["velocity"] = [np.nan if value is None else value for value in box["velocity"]]
        gt.add_boxes(token, [box_type.deserialize({"sample_token": token, **box}) for box in sample["boxes"]])
    database = _Database(truth)
    ready = []
    for boxes in (gt, pred):
        placed = loaders.add_center_dist(database, boxes)
        ready.append(loaders.filter_eval_boxes(database, placed, config.class_range))
    state = SimpleNamespace(gt_boxes=ready[0], pred_boxes=ready[1], cfg=config, verbose=False)
    metrics, _ = import_module("nuscenes.eval.detection.evaluate").DetectionEval.evaluate(state)
    return json.loads(json.dumps(metrics.serialize()))


def largest_difference(result: dict[str, Any], reference: dict[str, Any]) -> float:
    """The largest difference between our figures and the devkit's; NaN there must be undefined here.

    Raises:
        AssertionError: the two have different figures.
    """
    nothing = {"label_tp_errors": {}, **reference}
    errors = {
        name: {error: None if value != value else value for error, value in by_error.items()}
        for name, by_error in nothing["label_tp_errors"].items()
    }
    ours, theirs = flatten(result), flatten({**reference, "label_tp_errors": errors})
    assert ours.keys() == theirs.keys(), set(ours) ^ set(theirs)
    return max(abs(ours[name] - theirs[name]) for name in ours)


def measure(samples: int | None = None) -> dict[str, Any]:
    """Time both evaluators on the same files, and check that they agree.

    Args:
        samples: fewer samples than a validation split, for tests.

    Returns:
        ``nuscenes_cpu_seconds`` and ``nuscenes_wall_seconds`` of ours, ``nuscenes_devkit_cpu_seconds`` and
        ``nuscenes_ratio`` (theirs by ours), both None without nuscenes-devkit, which ``nuscenes_devkit`` then says;
        ``nuscenes_largest_difference``, and the size of the set.

    Raises:
        AssertionError: a figure differs by more than 1e-9.
    """
    samples = SAMPLES if samples is None else samples
    measured: dict[str, Any] = {"nuscenes_ratio": None, "nuscenes_devkit_cpu_seconds": None}
    with tempfile.TemporaryDirectory() as folder:
        (warm := Path(folder) / "warm").mkdir()
        small, full = write_files(warm, 40), write_files(Path(folder), samples)
        evaluate_files(*small)  # loads the compiled code
        result, cpu, wall = timed(lambda: evaluate_files(*full))
        if find_spec("nuscenes") is None:
            measured["nuscenes_devkit"] = "not installed: pip install nuscenes-devkit to compare"
        else:
            evaluate_with_devkit(*small)
            reference, reference_cpu, _ = timed(lambda: evaluate_with_devkit(*full))
            difference = largest_difference(result, reference)
            assert difference <= TOLERANCE, difference
            measured.update(nuscenes_ratio=reference_cpu / cpu, nuscenes_devkit_cpu_seconds=reference_cpu)
            measured["nuscenes_largest_difference"] = difference
    return {
        **measured,
        "nuscenes_cpu_seconds": cpu,
        "nuscenes_wall_seconds": wall,
        "nuscenes_samples": samples,
        "nuscenes_objects_per_sample": OBJECTS,
        "nuscenes_detections_per_sample": DETECTIONS,
        "nuscenes_map": result["mean_ap"],
    }
