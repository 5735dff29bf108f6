"""Records of runs and what sweeps leave beside them, as the leaderboard reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lit.leaderboard.files import write_all
from lit.results import SCHEMA, write_json
from tests.faults.surface import Surface

METRICS = ("car/3d/moderate/0.5", "car/3d/easy/0.5")
PUBLISHED = {
    "source": "a paper, Table 1",
    "metric": "car/3d/moderate/0.7",
    "arms": {"none": [1, 2, 3], "lift3d": [3, 2, 1]},
    "others": {"y": [1, None, 2]},
}


def make_runs(folder: Path) -> None:
    """Records of two arms and two seeds, one with a picture, and published figures."""
    for arm, bonus in (("none", 0.0), ("lift3d", 3.0)):
        for seed in range(2):
            record = {
                "schema": SCHEMA, "arm": arm, "frames": 50, "seed": seed, "dataset": "world", "split": "val",
                "human_labels": True, "metrics": dict.fromkeys(METRICS, 10.0 + bonus + seed * 1.5), "steps": 100,
                "evaluator": {"name": "kitti", "version": "1"}, "injected_objects": 12, "images_per_second": 30.5,
                "duration_seconds": 12.5, "device": "1 x cpu", "versions": {"torch": "2.6"}, "git_commit": "abc",
                "config_hash": "0123456789abcdef", "config": {"seed_everything": seed}, "samples": [],
            }  # fmt: skip
            write_json(folder / f"{arm}-50-s{seed}" / "result.json", record)
    write_json(folder / "published.json", PUBLISHED)


def rank(folder: Path) -> Any:
    """The leaderboard's rows, its tables and its page."""
    out = folder.parent / "board" / "leaderboard.html"
    rows = write_all([folder], out)
    return [
        json.loads(json.dumps(rows)),
        *((out.with_suffix(suffix)).read_text() for suffix in (".csv", ".md", ".html")),
    ]


SURFACES = [
    Surface("result_json", make_runs, rank, ("*/result.json",), ("json", "json", "bytes"), share=40, droppable=True),
    Surface(
        "published_json", make_runs, rank, ("published.json",), ("json", "json", "bytes"), share=15, droppable=True
    ),
]
