"""Runs of all folds as one, and that a comparison by folds says what it would say of the folds together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datamodules.errors import InputError
from lit.experiments.folds import RecordedFolds, averaged, over_folds
from lit.experiments.two_level import two_level
from lit.leaderboard.board import read_board
from lit.leaderboard.tables import notes
from lit.metrics.kitti.curve_files import RecordedFrames, write_curves
from lit.metrics.kitti.figures import recorded_figures
from lit.metrics.kitti.frame_curves import trace_frames
from lit.metrics.kitti.rows import pack
from lit.results import find_results, read_result
from tests.lit.metrics.kitti.kitti_frames import random_frames
from tests.lit.recorded_runs import METRIC, leave_record


@dataclass(frozen=True)
class Simulated:
    """A run whose figure is the mean of a value a frame."""

    values: np.ndarray
    first: int = 0

    @property
    def samples(self) -> tuple[str, ...]:
        return tuple(f"{self.first + k:06d}" for k in range(len(self.values)))

    @property
    def groups(self) -> tuple[str, ...]:
        return tuple(f"drive {(self.first + k) // 2}" for k in range(len(self.values)))

    def ap(self, figure: str, frames: np.ndarray | None = None) -> float:
        return float(self.values.mean() if frames is None else self.values[frames].mean())


def left(root: Path, arm: str, seed: int, fold: tuple[int, int], value: float, **changes: Any) -> Path:
    """The record of one fold's run."""
    number, _ = fold
    stated = {"recipe": arm, "config": f"{arm} {seed} {number}"}
    path = leave_record(root / str(number), arm, 50, seed, {METRIC: value}, stated=stated, fold=list(fold), **changes)
    return path


def test_a_figure_is_the_mean_over_folds_each_over_its_own_frames() -> None:
    folds = RecordedFolds((Simulated(np.array([1.0, 2.0, 6.0])), Simulated(np.array([10.0, 20.0]), 6)))
    assert folds.samples == ("000000", "000001", "000002", "000006", "000007")
    assert folds.groups == ("drive 0", "drive 0", "drive 1", "drive 3", "drive 3")
    assert folds.ap("ap") == pytest.approx((3.0 + 15.0) / 2)
    assert folds.ap("ap", np.array([0, 4, 1, 1, 3])) == pytest.approx((5 / 3 + 15.0) / 2)
    assert folds.ap("ap", np.array([3, 3])) == pytest.approx(10.0)  # no frame of the first was drawn
    assert averaged([folds.folds[0]]) is folds.folds[0]


def test_drives_of_all_folds_are_resampled_together() -> None:
    """Of values that add up, the mean over equal folds is the mean over frames: so are the intervals."""
    rng = np.random.default_rng(0)
    values = rng.normal(0, 2, (2, 3, 24))  # arm, seed, frame
    whole = [{s: Simulated(values[a, s]) for s in range(3)} for a in range(2)]
    parted = [
        {s: averaged([Simulated(values[a, s, :12]), Simulated(values[a, s, 12:], 12)]) for s in range(3)}
        for a in range(2)
    ]
    one, two = (two_level(arm, other, "ap", ("lift3d", "none"), draws=2000) for arm, other in (whole, parted))
    assert one is not None
    assert two is not None
    assert one.both is not None
    assert two.both is not None
    assert (two.scenes, two.frames) == (12, 24)
    assert two.delta == pytest.approx(one.delta)
    assert two.both == pytest.approx(one.both, abs=0.25 * (one.both[1] - one.both[0]))


def test_records_of_folds_become_one_and_other_records_stay(tmp_path: Path) -> None:
    for number, value in enumerate((10.0, 20.0, 60.0)):
        left(tmp_path, "none", 1, (number, 3), value, injected_objects=number)
    plain = leave_record(tmp_path, "lift3d", 50, 1, {METRIC: 7.0})
    found, left_out = over_folds(list(find_results([tmp_path])))
    assert not left_out
    assert [(run.arm, run.split, run.metrics[METRIC]) for run in found] == [
        ("lift3d", "val", 7.0), ("none", "3 folds", pytest.approx(30.0)),
    ]  # fmt: skip
    assert found[0] == read_result(plain)
    assert [run.fold for run in found[1].runs] == [(0, 3), (1, 3), (2, 3)]
    for number in range(3):
        left(tmp_path, "none", 2, (number, 3), 10.0)
    row = next(row for row in read_board([tmp_path]).rows if row["arm"] == "none")
    assert (row["seeds"], row["flags"], row["injected_objects"]) == ([1, 2], [], pytest.approx((0 + 1 + 2 + 36) / 6))
    assert row["commits"] == ["c0ffee"]


def test_a_run_without_all_its_folds_is_left_out_and_said(tmp_path: Path) -> None:
    left(tmp_path, "none", 0, (0, 2), 10.0)
    with pytest.raises(InputError, match="no run has all its folds: none at 50 frames, seed 0: of 2 folds only 0"):
        read_board([tmp_path])
    left(tmp_path, "none", 0, (1, 2), 10.0)
    left(tmp_path, "none", 1, (0, 2), 10.0)
    left(tmp_path, "none", 1, (1, 2), 10.0, error="out of memory")
    board = read_board([tmp_path])
    assert [row["seeds"] for row in board.rows] == [[0]]
    assert board.left_out == ["none at 50 frames, seed 1: of 2 folds only 0 with the same options, code and data"]
    assert f"Left out: {board.left_out[0]}." in notes(board)


@pytest.mark.parametrize("changes", [{"recipe": "other options"}, {"evaluator": {"name": "kitti", "version": "0"}}])
def test_folds_that_differ_in_more_than_the_fold_are_no_run(tmp_path: Path, changes: dict[str, Any]) -> None:
    left(tmp_path, "none", 0, (0, 2), 10.0)
    other = {"evaluator": changes["evaluator"]} if "evaluator" in changes else {}
    path = left(tmp_path, "none", 0, (1, 2), 10.0, **other)
    run = read_result(path)
    runs = [
        read_result(tmp_path / "0" / path.parent.name / path.name),
        replace(run, recipe=changes.get("recipe", run.recipe)),
    ]
    found, left_out = over_folds(runs)
    assert not found
    assert len(left_out) == 2


def test_folds_of_two_sweeps_and_a_fold_beyond_the_last_are_refused(tmp_path: Path) -> None:
    left(tmp_path, "none", 0, (0, 2), 10.0)
    left(tmp_path / "again", "none", 0, (0, 2), 10.0)
    with pytest.raises(InputError, match="two records of fold 0 of arm none, seed 0, expected one"):
        over_folds(list(find_results([tmp_path])))
    with pytest.raises(InputError, match=r"fold \[7, 3\], expected \[k, n\] with k below n"):
        read_result(left(tmp_path / "beyond", "none", 0, (7, 3), 10.0))


def test_scores_beside_a_training_are_no_fold_of_it(tmp_path: Path) -> None:
    """What `validate` leaves has a row of its own, flagged, and takes nothing from the training's."""
    for number in range(2):
        path = left(tmp_path, "none", 0, (number, 2), 10.0)
        run = read_result(path)
        assert run.key is not None
        trained = {"digest": run.key.digest, "recipe": run.recipe, "ground": run.ground}
        scored = left(tmp_path / "scored", "none", 0, (number, 2), 30.0, trained=trained)
        scored.rename(path.with_name("result_validate.json"))
    board = read_board([tmp_path])
    assert [(row["metrics"][METRIC]["mean"], bool(row["flags"])) for row in board.rows] == [(10.0, True), (30.0, True)]


def test_a_leaderboard_of_folds_compares_over_all_drives(tmp_path: Path) -> None:
    """From records and raw files as runs leave them: the plan's page needs nothing else."""
    figures = recorded_figures({"car": [0.5]}, ())
    for seed, arm, number in product(range(2), ("none", "lift3d"), range(2)):
        gt, pred = random_frames(10 * seed + number + 5 * (arm == "none"), 12)
        curves = trace_frames(pack(gt, scored=False), pack(pred, scored=True), figures)
        samples = tuple(f"{120 * number + k:06d}" for k in range(12))
        frames = RecordedFrames(samples, tuple(f"drive {int(one) // 3}" for one in samples), curves)
        path = left(tmp_path, arm, seed, (number, 2), 0.0)
        raw = {"file": "frame_curves_val.npz", "sha256": write_curves(path.parent / "frame_curves_val.npz", frames)}
        left(tmp_path, arm, seed, (number, 2), frames.ap(METRIC), raw=raw)
    board = read_board([tmp_path])
    entry = next(found for found in board.planned if found["arm"] == "lift3d")
    assert (entry["split"], entry["difference"]["seeds"]) == ("2 folds", [0, 1])
    two = entry["difference"]["two_level"]
    assert (two["frames"], two["scenes"], two["seeds"]) == (24, 8, 2)
    assert two["delta"] == pytest.approx(entry["difference"]["delta"])
