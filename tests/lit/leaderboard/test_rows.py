"""Known numbers: paired tests against scipy, label equivalence by hand, and the files of a leaderboard."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from datamodules.errors import InputError
from lit.experiments.statistics import equivalent_frames, frames_at, holm, paired_difference
from lit.leaderboard.board import read_board
from lit.leaderboard.files import write_all
from tests.lit.recorded_runs import METRIC, leave_record

NONE = {0: 10.0, 1: 12.0, 2: 11.0, 3: 9.0}
LIFT3D = {0: 13.0, 1: 13.5, 2: 15.0, 3: 12.0, 9: 99.0}  # seed 9 has no partner


def record(root: Path, arm: str, frames: int, seed: int, value: float | None, error: str | None = None) -> None:
    metrics = {} if value is None else {METRIC: value, "car/bev/easy/0.7": value / 2}
    leave_record(root, arm, frames, seed, metrics, error=error)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for seed, value in NONE.items():
        record(tmp_path, "none", 50, seed, value)
        record(tmp_path, "none", 100, seed, value + 2)
        record(tmp_path, "none", 200, seed, value + 6)
    for seed, value in LIFT3D.items():
        record(tmp_path, "lift3d", 50, seed, value)
    record(tmp_path, "mesh", 50, 0, 10.5)
    record(tmp_path, "mesh", 50, 1, None, "RuntimeError: <out of memory>")
    return tmp_path


def test_paired_difference_is_scipys() -> None:
    found = paired_difference(LIFT3D, NONE)
    assert found is not None
    assert found.seeds == [0, 1, 2, 3]
    reference = stats.ttest_rel([LIFT3D[s] for s in range(4)], [NONE[s] for s in range(4)])
    interval = reference.confidence_interval(0.95)
    assert (found.delta, found.p) == pytest.approx((2.875, reference.pvalue))
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


def test_degenerate_differences() -> None:
    assert paired_difference({0: 1.0}, {1: 2.0}) is None
    single = paired_difference({0: 1.0}, {0: 3.0})
    assert single is not None
    assert (single.delta, single.p, single.low) == (-2.0, None, None)
    for constant in (NONE, {seed: value + 2.0 for seed, value in NONE.items()}):  # copies, no repetitions
        same = paired_difference(constant, NONE)
        assert same is not None
        assert (same.p, same.low, same.high) == (None, None, None)


def test_label_equivalence_by_hand() -> None:
    frames, curve = np.array([50, 100, 200, 400]), np.array([10.0, 20.0, 30.0, 40.0])
    assert frames_at(frames, curve, 20.0) == pytest.approx(100)
    assert frames_at(frames, curve, 25.0) == pytest.approx(100 * np.sqrt(2))  # linear in log(frames)
    assert frames_at(frames, curve, 10.0) == pytest.approx(50)
    assert frames_at(frames, curve, 40.1) == np.inf
    assert frames_at(frames, curve, 9.9) == 0
    dip = np.array([1.0, 3.0, 2.0, 4.0])  # becomes 1, 2.5, 2.5, 4
    assert frames_at(frames, dip, 2.5) == pytest.approx(100)
    assert frames_at(frames, dip, 3.25) == pytest.approx(200 * np.sqrt(2))


def test_label_equivalence_interval_is_paired() -> None:
    curve = {50: NONE, 100: {s: v + 10 for s, v in NONE.items()}}
    arm = {s: v + 5 for s, v in NONE.items()}  # half way up for every seed: no spread however the seeds vary
    found = equivalent_frames(curve, arm)
    assert found is not None
    assert (found["value"], found["low"], found["high"]) == (70.7, 70.7, 70.7)
    assert found["seeds"] == [0, 1, 2, 3]
    assert equivalent_frames({50: NONE}, arm) is None
    above = equivalent_frames(curve, {s: v + 11 for s, v in NONE.items()})
    assert above is not None
    assert above["value"] == ">100"


def test_rows_files_and_page(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "out" / "board.html"
    rows = write_all([runs], page).rows
    assert rows == json.loads(page.with_suffix(".json").read_text())["rows"]
    assert [(r["arm"], r["frames"]) for r in rows] == [
        ("lift3d", 50), ("mesh", 50), ("none", 50), ("none", 100), ("none", 200),
    ]  # fmt: skip
    lift3d = rows[0]
    assert lift3d["seeds"] == [0, 1, 2, 3, 9]
    entry = lift3d["metrics"][METRIC]
    assert entry["values"] == list(LIFT3D.values())
    assert entry["std"] == pytest.approx(np.std(list(LIFT3D.values()), ddof=1))
    assert set(entry["vs"]) == {"none", "mesh"}
    assert set(entry["vs"]["none"]) >= {"delta", "low", "high", "p"}
    assert rows[1]["metrics"][METRIC]["std"] is None
    assert "frames_equivalent" in lift3d
    text = page.read_text()
    assert "http://" not in text
    assert "https://" not in text
    assert "&lt;out of memory&gt;" in text
    assert "has a single seed: no claim" in text
    table = list(csv.DictReader(page.with_suffix(".csv").open()))
    assert len(table) == 2 * len(rows)
    assert "| road_world val | lift3d | 50 | 5 |" in page.with_suffix(".md").read_text()
    assert "Failed: " in capsys.readouterr().out


def test_unknown_metric_is_refused(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"did you mean 'car/3d/moderate/0\.5'"):
        write_all([runs], tmp_path / "board.html", "car/3d/modrate/0.5")


def test_holm_is_the_textbook_s() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_the_same_run_twice_is_refused(runs: Path, tmp_path: Path) -> None:
    leave_record(runs / "again", "none", 50, 0, {METRIC: 10.0})
    with pytest.raises(InputError, match="two records of arm none, 50 frames, seed 0"):
        write_all([runs], tmp_path / "board.html")


def test_rows_of_other_code_are_split_flagged_and_not_compared(runs: Path, tmp_path: Path) -> None:
    for seed in (20, 21):
        leave_record(runs, "lift3d", 50, seed, {METRIC: 30.0 + seed}, key="b")
    page = tmp_path / "board.html"
    rows = write_all([runs], page).rows
    mixed = [row for row in rows if row["arm"] == "lift3d"]
    assert sorted(row["seeds"] for row in mixed) == [[0, 1, 2, 3, 9], [20, 21]]
    assert all("have other code: a row of their own" in row["flags"][0] for row in mixed)
    newer = next(row for row in mixed if row["seeds"] == [20, 21])
    assert newer["metrics"][METRIC]["vs"] == {}  # nothing else was made by that code
    assert "have other code" in page.read_text()
    assert "have other code" in page.with_suffix(".md").read_text()


@pytest.mark.parametrize(
    ("own", "theirs", "compared"),
    [
        ({"model.start_from": "1"}, {}, True),  # what the arm is about: a start, a network in its loss
        ({"model.start_from": "1"}, {"model.start_from": "2"}, False),
        ({"model.start_from": "1"}, {"model.loss.weights": "1"}, True),
        ({"data.masks": "1"}, {}, False),
    ],
)
def test_weights_of_one_arm_alone_keep_it_comparable(
    tmp_path: Path, own: dict[str, str], theirs: dict[str, str], compared: bool
) -> None:
    for arm, read in (("clip", own), ("none", theirs)):
        leave_record(tmp_path, arm, 50, 0, {METRIC: 1.0}, stated={"contents": {"data.root": "1", **read}})
    row = next(row for row in read_board([tmp_path]).rows if row["arm"] == "clip")
    assert ("none" in row["metrics"][METRIC]["vs"]) == compared


def test_seeds_that_agree_in_every_digit_support_no_claim(tmp_path: Path) -> None:
    for seed, value in {0: 10.0, 1: 10.0, 2: 11.0}.items():
        leave_record(tmp_path, "lift3d", 50, seed, {METRIC: value + 5, "car/bev/easy/0.7": value})
        leave_record(tmp_path, "none", 50, seed, {METRIC: 10.0 - seed})
    row = next(row for row in write_all([tmp_path], tmp_path / "board.html").rows if row["arm"] == "lift3d")
    assert row["flags"] == ["seeds 0 and 1 agree in every digit: one run counted twice, no claim"]
    assert row["metrics"][METRIC]["vs"]["none"]["holm"] is None
