"""Figures of depth ranges: rules by hand, a second evaluator, and that a range of everything changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from datamodules.errors import InputError
from datamodules.kitti.format import write_label
from lit.commands.evaluate.command import main
from lit.metrics.kitti.evaluation import KittiAP, evaluate_objects, flatten
from tests.lit.metrics.kitti.kitti_frames import objects, random_frames
from tests.lit.metrics.kitti.kitti_reference import ap40

NEAR = ("Car", 100, 100, 200, 150, 0, 19)
FAR = ("Car", 300, 100, 400, 150, 5, 30)
RANGES: list[list[float | None]] = [[0, 20], [20, None]]


@pytest.mark.parametrize("ties", [False, True])
def test_agrees_with_a_second_evaluator(ties: bool) -> None:
    gt, pred = random_frames(5 + ties, 60, ties)
    ranges: list[list[float | None]] = [[0, 11.5], [11.5, 12.5], [12.5, None]]
    result = evaluate_objects(gt, pred, {"car": [0.5, 0.3]}, ranges)
    figures = result["depth"]
    bounds = {"0-11.5m": (-1e9, 11.5), "11.5-12.5m": (11.5, 12.5), "12.5m+": (12.5, 1e9)}
    assert list(figures) == [f"car/3d/moderate/{limit}/{name}" for limit in (0.5, 0.3) for name in bounds]
    for limit in (0.5, 0.3):
        for name, depths in bounds.items():
            expected = ap40(gt, pred, "car", "3d", 1, limit, depths)
            assert figures[f"car/3d/moderate/{limit}/{name}"] == pytest.approx(expected, abs=1e-9)
    assert max(figures.values()) > 1
    assert flatten(result).items() >= figures.items()


@pytest.mark.parametrize("ties", [False, True])
def test_a_range_of_everything_is_the_plain_figure(ties: bool) -> None:
    gt, pred = random_frames(7 + ties, 60, ties)
    result = evaluate_objects(gt, pred, {"car": [0.5, 0.3]}, [[0, None]])
    for limit in (0.5, 0.3):
        plain = result["extra"][f"car/3d/moderate/{limit}"]
        assert result["depth"][f"car/3d/moderate/{limit}/0m+"] == plain > 1


def ranged(rows: list[tuple], found: list[tuple], scores: list[float]) -> list[float]:
    """AP40 of cars nearer and farther than 20 m, of the same frame many times."""
    gt, pred = [objects(rows)] * 41, [objects(found, scores)] * 41
    return list(evaluate_objects(gt, pred, {"car": [0.3]}, RANGES)["depth"].values())


def at(row: tuple, depth: float) -> tuple:
    return (*row[:6], depth)


@pytest.mark.parametrize(
    ("rows", "found", "near", "far"),
    [
        ([NEAR, FAR], [NEAR, FAR], 100, 100),
        ([NEAR, FAR], [NEAR], 100, 0),
        ([NEAR, FAR], [NEAR, at(FAR, 50)], 100, 0),  # a false alarm is that of its own range
        ([NEAR, FAR], [NEAR, FAR, at(FAR, 50)], 100, 50),
        ([NEAR, FAR], [NEAR, FAR, at(FAR, 10)], 50, 100),
        ([at(NEAR, 19.9), FAR], [at(NEAR, 20.1), FAR], 100, 100),  # a match counts where its object lies
        ([at(NEAR, 20.0), FAR], [at(NEAR, 19.9), FAR], 0, 100),  # the far end is the next range's
    ],
)
def test_rules_by_hand(rows: list[tuple], found: list[tuple], near: float, far: float) -> None:
    assert ranged(rows, found, [0.9] * len(found)) == pytest.approx([near, far], abs=1e-9)


def test_ranges_without_car_limits_use_kittis_own() -> None:
    gt, pred = random_frames(3, 5)
    assert list(evaluate_objects(gt, pred, None, RANGES)["depth"]) == [
        "car/3d/moderate/0.7/0-20m",
        "car/3d/moderate/0.7/20m+",
    ]


@pytest.mark.parametrize(
    "ranges", [[[20, 0]], [[None, 20]], [[-1, 5]], [[0]], [[0, 1, 2]], [[0, 20], [0, 20]], [[float("nan"), 3]]]
)
def test_impossible_ranges_are_refused(ranges: list[list[float | None]]) -> None:
    with pytest.raises(InputError, match="depth_ranges holds"):
        KittiAP(depth_ranges=ranges)


def test_the_command_asks_for_ranges(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for k in range(41):
        write_label(tmp_path / "gt" / f"{k}.txt", objects([NEAR, FAR]))
        write_label(tmp_path / "pred" / f"{k}.txt", objects([NEAR], [0.5]))
    out = tmp_path / "figures.json"
    arguments = ["kitti", "--gt", str(tmp_path / "gt"), "--pred", str(tmp_path / "pred"), "--out", str(out)]
    assert main([*arguments, "--extra-ious", "car=0.5", "--depth-ranges", "0-20", "20-40", "40+"]) == 0
    written = json.loads(out.read_text())["depth"]
    assert list(written.values()) == pytest.approx([100, 0, 0])
    assert list(written)[-1] == "car/3d/moderate/0.5/40m+"
    assert "0-20m" in capsys.readouterr().out
    for wrong in ("20", "a-b", "+", "20-10", "5-9+"):
        with pytest.raises(InputError, match=r"depth[-_]ranges"):
            main([*arguments, "--depth-ranges", wrong])
