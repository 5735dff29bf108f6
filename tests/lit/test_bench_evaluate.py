"""The evaluator's benchmark: its files are seeded, and the evaluator keeps its budget on them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lit import bench_evaluate
from lit.bench_evaluate import DETECTIONS, OBJECTS, run, write_frames


def test_files_are_seeded_and_as_large_as_promised(tmp_path: Path) -> None:
    first, second = write_frames(tmp_path / "a", frames=5), write_frames(tmp_path / "b", frames=9)
    for one, other, rows in zip(first, second, (OBJECTS, DETECTIONS)):
        for path in sorted(one.iterdir()):
            assert path.read_bytes() == (other / path.name).read_bytes()
            assert len(path.read_text().splitlines()) == rows


def test_run_writes_its_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_evaluate, "FRAMES", 100)
    monkeypatch.setattr(bench_evaluate.write_frames, "__defaults__", (100, 0))
    measured = run(tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text()) == measured
    assert 0 < measured["kitti_cpu_seconds"] < 1
    assert measured["car_3d_moderate"] > 10
