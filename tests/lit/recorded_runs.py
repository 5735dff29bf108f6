"""Records as runs leave them, for tests of what reads them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lit.results import SCHEMA, write_record

METRIC = "car/3d/moderate/0.5"


def leave_record(
    root: Path, arm: str, frames: int, seed: int, metrics: Mapping[str, float], key: str = "a",
    stated: Mapping[str, Any] | None = None, **changes: Any,
) -> Path:  # fmt: skip
    """Write the record of one run.

    Args:
        root: the sweep's folder.
        arm: its name.
        frames: labelled frames.
        seed: of the run.
        metrics: name to value.
        key: stands for code, libraries and data: runs with another one are not compared.
        stated: fields of the record's key in place of those that follow from ``key``.
        changes: other fields.
    """
    content: dict[str, Any] = {
        "schema": SCHEMA, "arm": arm, "frames": frames, "seed": seed, "dataset": "road_world", "split": "val",
        "metrics": dict(metrics), "error": None, "injected_objects": 12, "images_per_second": 30.0,
        "evaluator": {"name": "kitti", "version": "1"}, "git_commit": "c0ffee",
        "key": {
            "config": f"{arm}{frames}{seed}", "recipe": f"{arm}{frames}{key}", "ground": key, "code": key,
            "contents": {}, "versions": {"torch": "2"}, **(stated or {}),
        },
    }  # fmt: skip
    path = root / f"{arm}-{frames}-s{seed}" / "result.json"
    write_record(path, content | changes)
    return path
