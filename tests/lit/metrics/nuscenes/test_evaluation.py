"""nuScenes metrics: cases by hand, the reference answers, the devkit itself, and several processes."""

from __future__ import annotations

import json
import os
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datamodules.errors import InputError
from datamodules.nuscenes.boxes import DETECTION_NAMES, GlobalBoxes, GroundTruth, SampleTruth
from datamodules.nuscenes.format import write_ground_truth, write_submission
from lit.commands.bench.nuscenes import draw_samples, evaluate_with_devkit, largest_difference, measure
from lit.metrics.nuscenes.evaluation import NuscenesDetection, evaluate_boxes, evaluate_files, flatten, gather_samples
from lit.metrics.nuscenes.matching import ERRORS, UNDEFINED
from tests.lit.metrics.nuscenes.gloo_nuscenes import SAMPLES, run_two

ORACLES = Path(os.environ.get("LIFTBENCH_ORACLES", "/nonexistent"))  # more reference answers, where somebody has them
# AP of one hit and one false alarm, by the rules: precision is not made monotone, and is read linearly between recalls
LATE = (89 * 0.9 + 0.4) / 90 / 0.9  # the alarm after the hit: precision 1 but at recall 1, where it is 1/2
EARLY = float(np.mean(np.clip(np.arange(0.11, 1.005, 0.01) / 2 - 0.1, 0, None)) / 0.9)  # before it: from 0 to 1/2
Case = tuple[dict[str, SampleTruth], dict[str, GlobalBoxes]]


def boxes(places: list[tuple[float, float]], name: str = "car", **values: object) -> GlobalBoxes:
    """Boxes of one class and size at places (x, y)."""
    count = len(places)
    made = {
        "translation": np.array([(x, y, 1.0) for x, y in places], dtype=float).reshape(-1, 3),
        "size": np.tile([2.0, 4.0, 1.5], (count, 1)),
        "rotation": np.tile([1.0, 0, 0, 0], (count, 1)),
        "velocity": np.zeros((count, 2)),
        "labels": np.full(count, DETECTION_NAMES.index(name)),
        "attributes": np.full(count, 5),
        "scores": np.full(count, 0.5),
        "num_pts": np.full(count, 3),
    }
    return GlobalBoxes(**{**made, **{key: np.asarray(value) for key, value in values.items()}})


def truth(gt: GlobalBoxes, racks: list[list[float]] | None = None) -> SampleTruth:
    return SampleTruth(replace(gt, scores=np.full(len(gt), np.nan)), np.zeros(3), np.array(racks or []).reshape(-1, 10))


def score(gt: GlobalBoxes, pred: GlobalBoxes, racks: list[list[float]] | None = None) -> dict:
    return evaluate_boxes({"a": truth(gt, racks)}, {"a": replace(pred, num_pts=np.full(len(pred), -1))})


def same(result: dict, expected: object, path: str = "") -> None:
    """Every figure of ``expected`` is in ``result``, to 1e-9."""
    if isinstance(expected, dict):
        for key, value in expected.items():
            assert key in result, f"{path}/{key} is missing"
            same(result[key], value, f"{path}/{key}")
    else:
        assert result == (None if expected is None else pytest.approx(expected, abs=1e-9)), path


def compare_with_devkit(case: Case, folder: Path) -> dict:
    gt, submission = folder / "gt.json", folder / "submission.json"
    write_ground_truth(gt, GroundTruth.join(case[0]))
    write_submission(submission, case[1])
    result = evaluate_files(gt, submission)
    assert largest_difference(result, evaluate_with_devkit(gt, submission)) < 1e-9
    return result


# cases by hand


def test_ground_truth_scores_itself() -> None:
    truths, _ = draw_samples(20, 40, 1, seed=1)
    perfect = {
        token: replace(t.boxes, scores=np.linspace(0.5, 1, len(t.boxes)), num_pts=np.full(len(t.boxes), -1))
        for token, t in truths.items()
    }
    # boxes without a point are no ground truth, so detecting them would be a false alarm
    perfect = {token: p[truths[token].boxes.num_pts != 0] for token, p in perfect.items()}
    result = evaluate_boxes(truths, perfect)
    assert [result["mean_ap"], result["nd_score"]] == pytest.approx([1, 1], abs=1e-9)
    assert list(result["tp_errors"].values()) == pytest.approx([0] * 5, abs=1e-7)
    assert result["n_gt_filtered"] == result["n_pred_filtered"]


def test_a_class_without_ground_truth_counts_as_zero() -> None:
    result = score(boxes([(5, 5)]), boxes([(5, 5)]))
    assert result["label_aps"]["car"] == pytest.approx({"0.5": 1, "1.0": 1, "2.0": 1, "4.0": 1}, abs=1e-9)
    assert result["mean_ap"] == pytest.approx(0.1, abs=1e-9)
    assert result["label_tp_errors"]["bus"] == dict.fromkeys(ERRORS, 1.0)
    assert result["tp_errors"]["trans_err"] == pytest.approx(0.9)
    assert {
        name: [e for e, v in errors.items() if v is None] for name, errors in result["label_tp_errors"].items()
    } == {name: list(UNDEFINED.get(name, ())) for name in DETECTION_NAMES}


@pytest.mark.parametrize(
    ("gt", "pred", "expected"),
    [
        (boxes([(5, 5)]), boxes([(5, 6)]), [0, 0, 1, 1]),  # 1 m is not nearer than 1 m
        (boxes([(50, 0), (3, 4)]), boxes([(3, 4)]), [1] * 4),  # 50 m is out of range, and so no miss
        (boxes([(3, 4)]), boxes([(3, 4), (30, 40)], scores=[0.5, 0.9]), [1] * 4),  # nor a false alarm
        (boxes([(3, 4), (9, 9)], num_pts=[1, 0]), boxes([(3, 4)]), [1] * 4),  # nobody can see it
        (boxes([(3, 4)]), boxes([(3, 4), (3, 4)], scores=[0.9, 0.5]), [LATE] * 4),  # a double is a false alarm
        (boxes([(3, 4)]), boxes([(3, 4), (20, 4)], scores=[0.9, 0.9]), [EARLY] * 4),  # of a tie the later is first
        (boxes([(3, 4)]), boxes([(20, 4), (3, 4)], scores=[0.9, 0.9]), [LATE] * 4),
        (boxes([]), boxes([(3, 4)]), [0] * 4),
        (boxes([(3, 4)]), boxes([]), [0] * 4),
        (boxes([(3, 4)]), boxes([(3, 4)], name="bus"), [0] * 4),
    ],
)
def test_rules_by_hand(gt: GlobalBoxes, pred: GlobalBoxes, expected: list[float]) -> None:
    assert list(score(gt, pred)["label_aps"]["car"].values()) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("name", "kept"), [("bicycle", 0), ("motorcycle", 0), ("pedestrian", 1)])
def test_bicycle_racks_hide_cycles_on_both_sides(name: str, kept: int) -> None:
    quarter = [np.cos(np.pi / 4), 0, 0, np.sin(np.pi / 4)]
    rack = [[5, 5, 1, 1, 8, 3, *quarter]]  # turned, its 8 m of length lie along y
    inside, outside = (5.4, 8.9), (8.9, 5.4)
    result = score(boxes([inside, outside], name), boxes([inside, outside], name), rack)
    assert result["n_gt_filtered"] == result["n_pred_filtered"] == 1 + kept
    assert result["mean_dist_aps"][name] == pytest.approx(1)


def test_errors_by_hand() -> None:
    turned = [[np.cos(np.pi / 2 - 0.1), 0, 0, np.sin(np.pi / 2 - 0.1)]]  # by pi - 0.2
    found: dict[str, Any] = {"rotation": turned, "size": [[2.0, 4.0, 3.0]], "velocity": [[3.0, 4.0]], "attributes": [6]}
    errors = score(boxes([(5, 5)]), boxes([(5, 6.5)], **found))["label_tp_errors"]["car"]
    assert list(errors.values()) == pytest.approx([1.5, 0.5, np.pi - 0.2, 5, 1])
    barrier = score(boxes([(5, 5)], "barrier"), boxes([(5, 5)], "barrier", **found))["label_tp_errors"]["barrier"]
    assert barrier["orient_err"] == pytest.approx(0.2)
    unknown = score(boxes([(5, 5)], velocity=[[np.nan, 0.0]], attributes=[-1]), boxes([(5, 5)], **found))
    errors = unknown["label_tp_errors"]["car"]
    assert errors["vel_err"] == errors["attr_err"] == 1  # nothing known in any match


def test_flat_names() -> None:
    flat = flatten(score(boxes([(5, 5)]), boxes([(5, 5)])))
    assert {"mAP", "NDS", "mATE", "mASE", "mAOE", "mAVE", "mAAE", "car/AP", "car/AP/0.5", "barrier/AOE"} <= set(flat)
    assert not {"traffic_cone/AOE", "barrier/AVE"} & set(flat)
    assert all(isinstance(value, float) for value in flat.values())


def test_impossible_input_is_refused() -> None:
    one = boxes([(5, 5)])
    with pytest.raises(InputError, match=r"predictions: sample a, box 0: translation \[nan.*; drop the box"):
        score(one, boxes([(np.nan, 5)]))
    with pytest.raises(InputError, match=r"label 10, expected 0\.\.9"):
        score(boxes([(5, 5)], labels=[10]), one)
    with pytest.raises(InputError, match=r"detection_score -0\.5, expected a finite number from 0 to 1"):
        score(boxes([(5, 5), (9, 9)]), boxes([(5, 5)], scores=[-0.5]))
    with pytest.raises(InputError, match="sample b of ground truth has no entry"):
        evaluate_boxes({"a": truth(one), "b": truth(one)}, {"a": one})
    with pytest.raises(InputError, match=r"sample b \(and 1 more\) is not in ground truth"):
        evaluate_boxes({"a": truth(one)}, {"a": one, "b": one, "c": one})


# reference answers


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not ORACLES.is_dir():
        pytest.skip("LIFTBENCH_ORACLES names no folder of reference answers")
    folder = tmp_path_factory.mktemp("oracles")
    with tarfile.open(ORACLES / "nusc_cases.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


def test_reference_answers(cases: Path) -> None:
    expected = json.loads((ORACLES / "nusc_expected.json").read_text())["cases"]
    assert expected
    for case, answers in expected.items():
        (gt,) = cases.rglob(f"{case}.gt.json")
        result = evaluate_files(gt, gt.with_name(f"{case}.sub.json"))
        same(result, answers["metrics"], case)
        json.dumps(result, allow_nan=False)


# the devkit


@pytest.mark.parametrize("seed", range(6))
def test_equals_the_devkit(seed: int, tmp_path: Path) -> None:
    """Random samples; seeds bring ties, absent classes, samples without boxes, unknown velocities of predictions."""
    pytest.importorskip("nuscenes")
    truths, preds = draw_samples(25, 14, 24, seed)
    for index, (token, found) in enumerate(preds.items()):
        if seed % 2:
            preds[token] = found = replace(found, scores=np.round(found.scores, 1))
        if seed == 2:
            preds[token] = found = found[found.labels != 0]
            truths[token] = replace(truths[token], boxes=truths[token].boxes[truths[token].boxes.labels != 5])
        if seed == 3 and index % 3 == 0:
            preds[token] = found[:0]
            truths[token] = replace(truths[token], boxes=truths[token].boxes[: index % 2])
        if seed == 4:
            preds[token] = replace(found, velocity=np.where(found.velocity > 1, np.nan, found.velocity))
        if seed == 5:
            coarse = replace(truths[token].boxes, translation=np.round(truths[token].boxes.translation * 2) / 2)
            truths[token] = replace(
                truths[token], boxes=coarse, ego_translation=np.round(truths[token].ego_translation)
            )
            preds[token] = replace(found, translation=np.round(found.translation * 2) / 2)
    shuffled = np.random.default_rng(seed).permutation(list(preds)).tolist()
    result = compare_with_devkit((truths, {token: preds[token] for token in shuffled}), tmp_path)
    assert result["n_pred_filtered"] > 100


def test_equals_the_devkit_where_nearly_nothing_is_found(tmp_path: Path) -> None:
    pytest.importorskip("nuscenes")
    truths, preds = draw_samples(10, 14, 24, seed=9)
    few = {token: found[:0] for token, found in preds.items()}
    few[next(iter(few))] = next(iter(preds.values()))[:1]
    assert compare_with_devkit((truths, few), tmp_path)["mean_ap"] < 0.1


def test_bench_measures_both() -> None:
    pytest.importorskip("nuscenes")
    measured = measure(samples=50)
    assert measured["nuscenes_ratio"] > 1
    assert measured["nuscenes_largest_difference"] < 1e-9
    assert measured["nuscenes_samples"] == 50


def test_bench_says_that_the_devkit_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lit.commands.bench.nuscenes.find_spec", lambda name: None)
    measured = measure(samples=5)
    assert measured["nuscenes_ratio"] is None
    assert "not installed" in measured["nuscenes_devkit"]


# the torchmetrics class


def test_metric_equals_the_function_and_drops_repeats() -> None:
    truths, preds = draw_samples(SAMPLES, 12, 20, seed=4)
    tokens = list(truths)
    metric = NuscenesDetection()
    for chosen in (tokens[:13], tokens[13:], tokens[5:8]):
        metric.update(chosen, [truths[token] for token in chosen], [preds[token] for token in chosen])
    same(metric.compute(), evaluate_boxes(truths, gather_samples(preds)))  # ties follow the order of the keys
    metric.reset()
    assert metric.compute()["mean_ap"] == 0  # no sample at all
    with pytest.raises(ValueError, match="as many of each"):
        metric.update(tokens, [truths[tokens[0]]], [])
    with pytest.raises(InputError, match="detection_score nan"):
        metric.update(tokens[:1], [truths[tokens[0]]], [truths[tokens[0]].boxes])


def test_two_processes_equal_one(tmp_path: Path) -> None:
    """An odd-sized set, padded with its first sample as DistributedSampler does; a rank, and both, that saw nothing."""
    everything = [*range(SAMPLES)]
    cases = {"padded": [everything[::2], [*everything[1::2], 0]], "one": [everything, []], "none": [[], []]}
    run_two(tmp_path, cases)
    truths, preds = draw_samples(SAMPLES, 12, 20, seed=4)
    expected = evaluate_boxes(truths, gather_samples(preds))
    for rank in range(2):
        for case in ("padded", "one"):
            same(json.loads((tmp_path / f"{case}{rank}.json").read_text()), expected, case)
            gathered = json.loads((tmp_path / f"{case}{rank}.tokens.json").read_text())
            assert gathered == list(gather_samples(preds))
        assert json.loads((tmp_path / f"none{rank}.json").read_text())["mean_ap"] == 0
        assert json.loads((tmp_path / f"none{rank}.tokens.json").read_text()) == []
