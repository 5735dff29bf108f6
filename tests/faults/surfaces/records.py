"""Records of runs and what sweeps leave beside them, as the leaderboard reads them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.errors import InputError
from datamodules.files.typed_json import read_json
from lit.experiments.design import Design, write_plan
from lit.experiments.recorded import read_recorded
from lit.leaderboard.files import write_all
from lit.metrics.kitti.curve_files import RecordedFrames, write_curves
from lit.metrics.kitti.frame_curves import Curve, FrameCurves
from lit.results import read_result, write_record
from tests.faults.surface import Surface
from tests.faults.surfaces.kitti import main_or_refused
from tests.lit.recorded_runs import METRIC, leave_record

PUBLISHED = {
    "source": "a paper, Table 1",
    "metric": "car/3d/moderate/0.7",
    "arms": {"none": [1, 2, 3], "lift3d": [3, 2, 1]},
    "others": {"y": [1, None, 2]},
}


def make_runs(folder: Path) -> None:
    """Records of two arms and two seeds, a plan, a step's marker and published figures."""
    for arm, bonus in (("none", 0.0), ("lift3d", 3.0)):
        for seed in range(2):
            leave_record(folder, arm, 50, seed, {METRIC: 10.0 + bonus + seed * 1.5})
    write_plan(folder, "grid", Design(METRIC, [("lift3d", "none")], [50], [0, 1]), finished=0)
    write_record(folder / "published.json", PUBLISHED)
    marker = {"digest": "ab", "seconds": 12.5, "command": ["prepare", "world"], "arms": ["lift3d"]}
    write_record(folder / "prepared" / "bank.json", marker)


def curves() -> RecordedFrames:
    """Two figures of three frames with two true positives each."""
    ends = np.array([0, 2, 4, 6])
    ranks, counts = np.array([5, 2, 4, 1, 3, 0]), np.array([1, 2, 1, 2, 1, 2])
    curve = Curve(np.array([2, 3, 2]), ends, ranks, ends, ranks, counts, counts + 1)
    frames = FrameCurves(np.linspace(0.1, 0.9, 6), {METRIC: curve, METRIC.replace("moderate", "easy"): curve})
    return RecordedFrames(("000000", "000001", "000002"), ("a", "a", "b"), frames, "kitti (1)")


def make_frames(folder: Path) -> None:
    """A record and the curves of its frames."""
    stated = write_curves(folder / "frame_curves_val.npz", curves())
    leave_record(folder, "none", 50, 0, {METRIC: 10.0}, raw={"file": "frame_curves_val.npz", "sha256": stated})


def read_frames(folder: Path) -> Any:
    """The curves that the record names."""
    raw = read_result(folder / "none-50-s0" / "result.json").content["raw"]
    return read_recorded(folder / raw["file"], raw["sha256"])


def make_packed(folder: Path) -> None:
    """Published results: packed records and the tables that follow."""
    make_runs(folder / "runs")
    main_or_refused(["results", "pack", str(folder / "runs"), "--out", str(folder / "docs")])
    shutil.rmtree(folder / "runs")


def check(folder: Path) -> Any:
    """Whether every published figure follows from its records: a figure that does not is told by the status."""
    if main_or_refused(["results", "check", str(folder / "docs")]):
        raise InputError("results check found figures that do not follow")
    return read_json(folder / "docs" / "leaderboard.json", dict[str, Any], "a published table")


def rank(folder: Path) -> Any:
    """The leaderboard's rows, its tables and its page."""
    out = folder.parent / "board" / "leaderboard.html"
    write_all([folder], out)
    return [out.with_suffix(suffix).read_text() for suffix in (".json", ".csv", ".md", ".html")]


SURFACES = [
    Surface("frame_curves", make_frames, read_frames, ("*.npz",), ("zip", "npz", "bytes"), share=15),
    Surface("records_zip", make_packed, check, ("docs/records.zip",), ("zip", "bytes"), share=10),
    Surface("published_tables", make_packed, check, ("docs/leaderboard.*",), ("text", "bytes"), share=10),
    Surface("result_json", make_runs, rank, ("*/result.json",), ("json", "json", "bytes"), share=40, droppable=True),
    Surface(
        "published_json", make_runs, rank, ("published.json",), ("json", "json", "bytes"), share=15, droppable=True
    ),
    Surface("design_json", make_runs, rank, ("design.json",), ("json", "json", "bytes"), share=15, droppable=True),
    Surface(
        "marker_json", make_runs, rank, ("prepared/bank.json",), ("json", "json", "bytes"), share=10, droppable=True
    ),
]
