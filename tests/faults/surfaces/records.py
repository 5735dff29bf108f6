"""Records of runs and what sweeps leave beside them, as the leaderboard reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lit.experiments.design import Design, write_plan
from lit.leaderboard.files import write_all
from lit.results import write_record
from tests.faults.surface import Surface
from tests.lit.recorded_runs import leave_record

METRICS = ("car/3d/moderate/0.5", "car/3d/easy/0.5")
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
            leave_record(folder, arm, 50, seed, {name: 10.0 + bonus * (1 + seed) + seed for name in METRICS})
    write_plan(folder, "grid", Design(METRICS[0], [("lift3d", "none")], [50], [0, 1]), finished=0)
    write_record(folder / "published.json", PUBLISHED)
    marker = {"digest": "ab", "seconds": 12.5, "command": ["prepare", "world"], "arms": ["lift3d"]}
    write_record(folder / "prepared" / "bank.json", marker)


def rank(folder: Path) -> Any:
    """The leaderboard's rows, its tables and its page."""
    out = folder.parent / "board" / "leaderboard.html"
    board = write_all([folder], out)
    return [
        json.loads(json.dumps(board.plain())),
        *((out.with_suffix(suffix)).read_text() for suffix in (".csv", ".md", ".html")),
    ]


SURFACES = [
    Surface("result_json", make_runs, rank, ("*/result.json",), ("json", "json", "bytes"), share=40, droppable=True),
    Surface(
        "published_json", make_runs, rank, ("published.json",), ("json", "json", "bytes"), share=15, droppable=True
    ),
    Surface("design_json", make_runs, rank, ("design.json",), ("json", "json", "bytes"), share=15, droppable=True),
    Surface(
        "marker_json", make_runs, rank, ("prepared/bank.json",), ("json", "json", "bytes"), share=10, droppable=True
    ),
]
