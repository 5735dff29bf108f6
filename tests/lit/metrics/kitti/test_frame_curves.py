"""What each frame adds to AP: any choice of frames scores as the evaluator says, to the last digit; files of it."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.errors import DatasetNotFound, InputError
from lit.metrics.kitti.curve_files import RecordedFrames, read_curves, write_curves
from lit.metrics.kitti.evaluation import evaluate_tables, flatten
from lit.metrics.kitti.figures import Figure, figure, recorded_figures
from lit.metrics.kitti.frame_curves import FrameCurves, ap40, trace_frames
from lit.metrics.kitti.rows import Table, pack
from tests.lit.metrics.kitti.kitti_frames import random_frames

EXTRA = {"car": [0.5, 0.3]}
RANGES: list[list[float | None]] = [[0, 11.5], [11.5, 12.5], [12.5, None]]


@cache
def traced(seed: int, count: int, ties: bool) -> tuple[Table, Table, FrameCurves]:
    gt, pred = random_frames(seed, count, ties)
    tables = pack(gt, scored=False), pack(pred, scored=True)
    others = [figure("pedestrian", "bbox", "hard", 0.5), figure("car", "bbox", "easy", 0.7)]
    return *tables, trace_frames(*tables, [*recorded_figures(EXTRA, RANGES), *others])


def evaluated(gt: Table, pred: Table) -> dict[str, float]:
    everything = flatten(evaluate_tables(gt, pred, EXTRA, RANGES))
    plain = flatten(evaluate_tables(gt, pred, None, RANGES))  # the ranges at KITTI's own limit
    return {**plain, **everything}


@pytest.mark.parametrize(("seed", "ties"), [(1, False), (2, True)])
def test_all_frames_score_as_evaluated(seed: int, ties: bool) -> None:
    gt, pred, curves = traced(seed, 60, ties)
    expected = evaluated(gt, pred)
    assert len(curves.curves) == 3 * 4 + 2
    for name, curve in curves.curves.items():
        assert ap40(curve) == ap40(curve, np.arange(60)) == expected[name], name
    assert expected["car/3d/moderate/0.3"] > 10


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    source=st.sampled_from([(1, 60, False), (2, 60, True), (3, 7, False), (4, 7, True)]),
    picks=st.lists(st.integers(0, 10_000), min_size=1, max_size=120),
)
def test_any_frames_score_as_evaluated(source: tuple[int, int, bool], picks: list[int]) -> None:
    gt, pred, curves = traced(*source)
    frames = np.array(picks) % source[1]
    expected = evaluated(gt.take(frames), pred.take(frames))
    for name, curve in curves.curves.items():
        assert ap40(curve, frames) == expected[name], name


def test_what_scores_below_every_true_positive_is_left_out() -> None:
    gt, pred = random_frames(1, 40)
    tables = pack(gt, scored=False), pack(pred, scored=True)
    only: list[Figure] = [figure("car", "3d", "moderate", 0.5)]
    before = trace_frames(*tables, only).curves[only[0].name]
    rows = np.repeat(tables[1].rows, 2, axis=0)
    rows[1::2, 15] -= 100
    after = trace_frames(tables[0], Table(rows, tables[1].offsets * 2), only).curves[only[0].name]
    for name, values in vars(before).items():
        np.testing.assert_array_equal(values, getattr(after, name))


def test_frames_without_anything() -> None:
    gt, pred = random_frames(1, 4)
    none = [objects[np.zeros(len(objects), bool)] for objects in pred]
    curves = trace_frames(pack(gt, scored=False), pack(none, scored=True), recorded_figures(EXTRA, RANGES))
    assert {ap40(curve) for curve in curves.curves.values()} == {0.0}
    assert {ap40(curve, np.zeros(0, np.int64)) for curve in curves.curves.values()} == {0.0}


# files


def recorded(ties: bool = False) -> RecordedFrames:
    curves = traced(1 + ties, 60, ties)[2]
    names = tuple(f"{k:06d}" for k in range(60))
    return RecordedFrames(names, tuple(f"drive_{k // 7}" for k in range(60)), curves, "kitti (1)")


@pytest.mark.parametrize("ties", [False, True])
def test_a_file_gives_the_same_figures(tmp_path: Path, ties: bool) -> None:
    frames = recorded(ties)
    checksum = write_curves(tmp_path / "a.npz", frames)
    assert (
        checksum
        == write_curves(tmp_path / "b.npz", frames)
        == hashlib.sha256((tmp_path / "a.npz").read_bytes()).hexdigest()
    )
    again = read_curves(tmp_path / "a.npz")
    assert (again.samples, again.groups, again.evaluator) == (frames.samples, frames.groups, frames.evaluator)
    np.testing.assert_array_equal(again.curves.scores, frames.curves.scores)
    picks = np.random.default_rng(0).integers(0, 60, 60)
    for name, curve in frames.curves.curves.items():
        for field, values in vars(curve).items():
            np.testing.assert_array_equal(values, getattr(again.curves.curves[name], field))
        assert again.ap(name, picks) == frames.ap(name, picks)
    with pytest.raises(InputError, match=r"'car/3d/easy/0\.9' is not recorded"):
        again.ap("car/3d/easy/0.9")


def test_scores_of_detectors_are_kept_as_float32(tmp_path: Path) -> None:
    gt, pred = random_frames(1, 20)
    found = pack(pred, scored=True)
    found.rows[:, 15] = found.rows[:, 15].astype(np.float32)
    curves = trace_frames(pack(gt, scored=False), found, recorded_figures(EXTRA, ()))
    names = tuple(map(str, range(20)))
    write_curves(tmp_path / "a.npz", RecordedFrames(names, names, curves))
    with np.load(tmp_path / "a.npz", allow_pickle=False) as stored:
        assert stored["scores"].dtype == np.float32
    np.testing.assert_array_equal(read_curves(tmp_path / "a.npz").curves.scores, curves.scores)


def test_damaged_files_are_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with pytest.raises(DatasetNotFound, match="does not exist"):
        read_curves(path)
    write_curves(path, recorded())
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    damaged = [b"", content[:100], content[:-30], b"no archive"]
    for _ in range(100):
        changed = bytearray(content)
        changed[rng.integers(len(content))] ^= 1 << rng.integers(8)
        damaged.append(bytes(changed))
    complaints = [complaint for complaint in (refusal(path, data) for data in damaged) if complaint]
    assert not [complaint for complaint in complaints if "\n" in complaint]
    assert len(complaints) > 60  # the rest of an archive's bytes, dates for example, say nothing


def refusal(path: Path, data: bytes) -> str | None:
    path.write_bytes(data)
    try:
        read_curves(path)
    except InputError as error:
        return str(error)
    return None


@pytest.mark.parametrize("name", ["version", "samples", "counted", "hits", "true", "scores"])
def test_arrays_that_do_not_fit_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.npz"
    write_curves(path, recorded())
    with np.load(path, allow_pickle=False) as stored:
        arrays = {key: stored[key] for key in stored.files}
    arrays[name] = np.array(99, np.uint8) if name == "version" else arrays[name][:-1]
    np.savez(path, **arrays)
    with pytest.raises(InputError, match="expected frame curves"):
        read_curves(path)
