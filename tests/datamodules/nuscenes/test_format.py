"""nuScenes files: what is written is read again, and every bad value is refused in one line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datamodules.errors import InputError
from datamodules.nuscenes.boxes import BOX_COLUMNS, DETECTION_NAMES, GlobalBoxes, GroundTruth, SampleBoxes, SampleTruth
from datamodules.nuscenes.format import (
    META,
    read_ground_truth,
    read_submission,
    write_ground_truth,
    write_submission,
)

BOX = {
    "translation": [1.5, -2, 0.25],
    "size": [2, 4.5, 1.5],
    "rotation": [1, 0, 0, 0],
    "velocity": [0.5, -0.5],
    "detection_name": "car",
    "attribute_name": "vehicle.parked",
}
PREDICTED = {**BOX, "sample_token": "b", "detection_score": 0.75}


def rows(count: int, seed: int, scored: bool) -> GlobalBoxes:
    rng = np.random.default_rng(seed)
    values = rng.normal(0, 10, (count, BOX_COLUMNS))
    values[:, 3:6] = np.abs(values[:, 3:6]) + 0.1
    values[:, 6:10] /= 10  # of a quaternion
    values[:, 12], values[:, 13] = rng.integers(0, 10, count), rng.integers(-1, 8, count)
    values[:, 14] = rng.random(count) if scored else np.nan
    values[:, 15] = -1 if scored else rng.integers(0, 9, count)
    values[::3, 10:12] = np.nan
    return GlobalBoxes.from_rows(values)


def submission(path: Path, box: dict[str, Any], **other: Any) -> Path:
    """A file of three samples; the second holds a good box and the given one."""
    content = {"meta": META, "results": {"a": [], "b": [PREDICTED, box], "c": []}, **other}
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))
    return path


def ground_truth(path: Path, box: dict[str, Any], **other: Any) -> Path:
    empty = {"ego_translation": [0, 0, 0], "bikeracks": [], "boxes": []}
    path.write_text(json.dumps({"a": empty, "b": {**empty, "boxes": [box], **other}}))
    return path


def refused(read: Callable[[Path], object], path: Path, message: str) -> None:
    """The reader stops with one line that names the file and holds the message."""
    with pytest.raises(InputError) as error:
        read(path)
    line = str(error.value)
    assert line.startswith(f"{path}: ")
    assert message in line
    assert "\n" not in line


def test_submission_is_read_as_written(tmp_path: Path) -> None:
    samples = {"b": rows(5, 0, True), "a": GlobalBoxes.empty(), "c": rows(2, 1, True)}
    write_submission(tmp_path / "new" / "sub.json", samples, {**META, "use_lidar": True})
    read = read_submission(tmp_path / "new" / "sub.json")
    assert read.meta == {**META, "use_lidar": True}
    assert read.samples.tokens == ("b", "a", "c")
    assert read.samples.offsets.tolist() == [0, 5, 5, 7]
    for token, boxes in read.samples.split().items():
        np.testing.assert_array_equal(boxes.rows, samples[token].rows)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["sub.json"]
    np.testing.assert_array_equal(read.samples.boxes.rows, SampleBoxes.join(samples).boxes.rows)


def test_ground_truth_is_read_as_written(tmp_path: Path) -> None:
    racks = np.array([[1, 2, 3, 4, 5, 6, 1, 0, 0, 0.5]])
    truths = {
        "b": SampleTruth(rows(4, 2, False), np.array([1.0, 2, 3]), racks),
        "a": SampleTruth(GlobalBoxes.empty(), np.zeros(3), racks[:0]),
    }
    write_ground_truth(tmp_path / "gt.json", GroundTruth.join(truths))
    read = read_ground_truth(tmp_path / "gt.json").split()
    assert list(read) == ["b", "a"]
    for token, sample in read.items():
        np.testing.assert_array_equal(sample.boxes.rows, truths[token].boxes.rows)
        np.testing.assert_array_equal(sample.ego_translation, truths[token].ego_translation)
        np.testing.assert_array_equal(sample.bikeracks, truths[token].bikeracks)


@pytest.mark.parametrize("velocity", [[None, None], [float("nan"), 1]])
def test_unknown_velocities_are_allowed(tmp_path: Path, velocity: list) -> None:
    """The devkit leaves the pair out of the velocity error, whichever side does not know."""
    gt = read_ground_truth(ground_truth(tmp_path / "gt.json", {**BOX, "velocity": velocity, "num_pts": 3}))
    assert np.isnan(gt.samples.boxes.velocity[0, 0])
    pred = read_submission(submission(tmp_path / "sub.json", {**PREDICTED, "velocity": velocity}))
    assert np.isnan(pred.samples.boxes.velocity[1, 0])


def test_integers_and_further_fields_are_read(tmp_path: Path) -> None:
    box = {**PREDICTED, "detection_score": 1, "num_pts": 0, "tracking_id": "7"}
    boxes = read_submission(submission(tmp_path / "sub.json", box)).samples.boxes
    assert boxes.scores.tolist() == [0.75, 1]
    assert boxes.num_pts.tolist() == [-1, 0]


def test_all_encodings_and_spaced_keys_are_read(tmp_path: Path) -> None:
    path = submission(tmp_path / "sub.json", {**PREDICTED, "velocity": [float("nan"), 1]})
    expected = read_submission(path).samples.boxes.rows
    text = path.read_text()
    for content in (text.encode("utf-8-sig"), text.encode("utf-16"), text.replace('":', '" :').encode()):
        path.write_bytes(content)
        np.testing.assert_array_equal(read_submission(path).samples.boxes.rows, expected)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            '"detection_score": 0.75',
            '"detection_score": 0.75, "detection_score": 0.5',
            "'detection_score' stands twice",
        ),
        ('"size": [2,', '"size": [9, 9, 9], "size" : [2,', "the key 'size' stands twice in one object"),
        ('"use_map"', '"use_lidar"', "the key 'use_lidar' stands twice in one object"),
    ],
)
def test_no_key_stands_twice(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = submission(tmp_path / "sub.json", PREDICTED)
    path.write_text(path.read_text().replace(old, new, 1))
    refused(read_submission, path, message)


def test_a_token_may_hold_what_numbers_are_made_of(tmp_path: Path) -> None:
    path, token = tmp_path / "sub.json", "a:NaN, null"
    write_submission(path, {token: GlobalBoxes.from_rows(rows(4, 0, True).rows)})
    assert read_submission(path).samples.tokens == (token,)


BAD_VALUES = [
    ({"translation": [1e7, 2, 3]}, "translation [10000000.0, 2.0, 3.0], expected three finite numbers (x, y, z in m)"),
    ({"translation": [10**400, 2, 3]}, "translation [1000000000"),
    ({"translation": [True, 2, 3]}, "translation [True, 2, 3], expected three finite numbers"),
    ({"size": [2, 1001, 1]}, "size [2.0, 1001.0, 1.0], expected three finite numbers above 0"),
    ({"rotation": [11, 0, 0, 0]}, "rotation [11.0, 0.0, 0.0, 0.0], expected a quaternion"),
    ({"velocity": [1001, 0]}, "velocity [1001.0, 0.0], expected two finite numbers"),
    ({"num_pts": 10**9}, "num_pts 1000000000, expected a whole number of points"),
    ({"num_pts": True}, "num_pts True, expected a whole number of points"),
    (
        {"detection_name": "Car"},
        f"detection_name 'Car', expected one of {', '.join(DETECTION_NAMES)}; did you mean 'car'?",
    ),
    ({"translation": [1, 2]}, "translation [1, 2], expected three finite numbers"),
    ({"translation": [1, 2, float("nan")]}, "translation [1.0, 2.0, nan], expected three finite numbers"),
    ({"translation": [1, float("inf"), 0]}, "translation [1.0, inf, 0.0], expected three finite numbers"),
    ({"translation": ["1", 2, 3]}, "translation ['1', 2, 3], expected three finite numbers"),
    ({"translation": None}, "translation None, expected three finite numbers"),
    ({"size": [2, 0, 1]}, "size [2.0, 0.0, 1.0], expected three finite numbers above 0"),
    ({"size": [2, -1, 1]}, "size [2.0, -1.0, 1.0], expected three finite numbers above 0"),
    ({"size": [2, 1, 1, 1]}, "size [2, 1, 1, 1], expected three"),
    ({"rotation": [0, 0, 0, 0]}, "rotation [0.0, 0.0, 0.0, 0.0], expected a quaternion"),
    ({"rotation": [1, 0, 0]}, "rotation [1, 0, 0], expected a quaternion of four"),
    ({"velocity": [1, 0, 0]}, "velocity [1, 0, 0], expected two finite numbers"),
    ({"velocity": [float("inf"), 0]}, "velocity [inf, 0.0], expected two finite numbers"),
    ({"detection_name": "cat"}, "detection_name 'cat', expected one of car, truck"),
    ({"detection_name": ["car"]}, "detection_name ['car'], expected one of car, truck"),
    ({"attribute_name": "parked"}, "attribute_name 'parked', expected '' or one of pedestrian.moving"),
]


@pytest.mark.parametrize(("change", "message"), BAD_VALUES)
def test_bad_values_are_named_on_both_sides(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = submission(tmp_path / "sub.json", {**PREDICTED, **change})
    refused(read_submission, path, f"sample b, box 1: {message}")
    path = ground_truth(tmp_path / "gt.json", {**BOX, "num_pts": 1, **change})
    refused(read_ground_truth, path, f"sample b, box 0: {message}")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"detection_score": float("nan")}, "detection_score nan, expected a finite number"),
        ({"detection_score": 1.5}, "detection_score 1.5, expected a finite number from 0 to 1"),
        ({"detection_score": -0.5}, "detection_score -0.5, expected a finite number from 0 to 1"),
        ({"detection_score": "0.5"}, "detection_score '0.5', expected a finite number"),
        ({"detection_score": None}, "detection_score None, expected a finite number"),
        ({"sample_token": "a"}, "sample_token 'a', expected 'b' as its key"),
        ({"num_pts": 1.5}, "num_pts 1.5, expected a whole number"),
    ],
)
def test_bad_predictions_are_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = submission(tmp_path / "sub.json", {**PREDICTED, **change})
    refused(read_submission, path, f"sample b, box 1: {message}")


@pytest.mark.parametrize("key", [*PREDICTED])
def test_missing_fields_are_named(tmp_path: Path, key: str) -> None:
    path = submission(tmp_path / "sub.json", {name: value for name, value in PREDICTED.items() if name != key})
    refused(read_submission, path, f"sample b, box 1: has no {key}; add it")


def test_files_that_are_no_submission(tmp_path: Path) -> None:
    path = tmp_path / "sub.json"
    refused(read_submission, path, ": not found; expected a nuScenes submission")
    path.write_text('{"meta": {}, "results": ')
    refused(read_submission, path, "no valid JSON")
    path.write_bytes(b"\xff\xfe\x00")
    refused(read_submission, path, "byte 2 is no UTF-16")
    path.write_text("[]")
    refused(read_submission, path, "no object 'results'")
    refused(read_submission, submission(path, PREDICTED, meta=None), "no object 'meta'")
    refused(read_submission, submission(path, PREDICTED, results={"a": {}}), "sample a: dict, expected a list of boxes")
    refused(read_submission, submission(path, PREDICTED, results={"a": [3]}), "sample a, box 0: 3, expected an object")
    many = {"b": [PREDICTED] * 501}
    refused(read_submission, submission(path, PREDICTED, results=many), "sample b: 501 boxes, expected at most 500")


def test_a_repeated_sample_is_refused(tmp_path: Path) -> None:
    path = submission(tmp_path / "sub.json", PREDICTED)
    path.write_text(path.read_text().replace('"c": []', '"b": []'))
    refused(read_submission, path, "the key 'b' stands twice in one object")
    path = ground_truth(tmp_path / "gt.json", {**BOX, "num_pts": 1})
    text = path.read_text()
    path.write_text(text[:-1] + ", " + text[text.index('"b"') :].replace('"num_pts": 1', '"num_pts": 2'))
    refused(read_ground_truth, path, "the key 'b' stands twice in one object")


def test_files_that_are_no_ground_truth(tmp_path: Path) -> None:
    path, box = tmp_path / "gt.json", {**BOX, "num_pts": 1}
    path.write_text("{}")
    refused(read_ground_truth, path, "holds no samples")
    path.write_text('{"a": []}')
    refused(read_ground_truth, path, "sample a: expected an object with ego_translation, bikeracks and boxes")
    refused(read_ground_truth, ground_truth(path, box, ego_translation=[0, 0]), "sample b: ego_translation [0, 0]")
    refused(
        read_ground_truth, ground_truth(path, box, bikeracks=[{"size": [1]}]), "sample b: bicycle rack {'size': [1]}"
    )
    flat = {"translation": [0, 0, 0], "size": [1, 0, 1], "rotation": [1, 0, 0, 0]}
    refused(
        read_ground_truth,
        ground_truth(path, box, bikeracks=[flat]),
        "sample b: bicycle rack [0.0, 0.0, 0.0, 1.0, 0.0, 1.0, ",
    )
    refused(read_ground_truth, ground_truth(path, BOX), "sample b, box 0: has no num_pts; add it")


def test_what_cannot_be_evaluated_is_not_written(tmp_path: Path) -> None:
    path, good = tmp_path / "sub.json", rows(3, 0, True)
    many = GlobalBoxes.from_rows(np.tile(good.rows[:1], (501, 1)))
    refused(lambda p: write_submission(p, {"a": many}), path, "sample a: 501 boxes, expected at most 500")
    unscored = replace(good, scores=np.full(3, np.nan))
    refused(lambda p: write_submission(p, {"a": good, "b": unscored}), path, "sample b, box 0: detection_score nan")
    refused(lambda p: write_submission(p, {"a": good}, {"use_camera": True}), path, "meta {'use_camera': True}")
    assert not path.exists()


def test_reading_needs_no_torch() -> None:
    code = "import sys; import datamodules.nuscenes.format; print('torch' in sys.modules)"
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("value", [2147483648, 10**400, float("nan"), "3", True])
def test_a_place_beyond_any_city_is_refused(tmp_path: Path, value: object) -> None:
    path = tmp_path / "gt.json"
    path.write_text(json.dumps({"a": {"ego_translation": [value, 0, 0], "bikeracks": [], "boxes": []}}))
    with pytest.raises(InputError, match=r"sample a: ego_translation .*expected three numbers within"):
        read_ground_truth(path)
