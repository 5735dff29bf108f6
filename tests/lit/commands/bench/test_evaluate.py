"""The evaluator's benchmark: its files are seeded, and the evaluator keeps its budget on them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lit.commands.bench import geometry as bench_geometry
from lit.commands.bench import image_metrics as bench_image_metrics
from lit.commands.bench import kitti as bench_kitti
from lit.commands.bench import nuscenes as bench_nuscenes
from lit.commands.bench.evaluate import run
from lit.commands.bench.kitti import DETECTIONS, OBJECTS, write_frames


def test_files_are_seeded_and_as_large_as_promised(tmp_path: Path) -> None:
    first, second = write_frames(tmp_path / "a", frames=5), write_frames(tmp_path / "b", frames=9)
    for one, other, rows in zip(first, second, (OBJECTS, DETECTIONS)):
        for path in sorted(one.iterdir()):
            assert path.read_bytes() == (other / path.name).read_bytes()
            assert len(path.read_text().splitlines()) == rows


def test_run_writes_its_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All parts, on sets small enough for a test."""
    monkeypatch.setattr(bench_kitti, "FRAMES", 100)
    monkeypatch.setattr(bench_kitti.write_frames, "__defaults__", (100, 0))
    monkeypatch.setattr(bench_nuscenes, "SAMPLES", 60)
    monkeypatch.setattr(bench_image_metrics, "DIMS", 64)
    monkeypatch.setattr(bench_image_metrics._Ready, "dims", 64)
    monkeypatch.setattr(bench_image_metrics._Ready, "num_features", 64)
    monkeypatch.setattr(bench_image_metrics, "SIZES", {"2048": 90, "1000": 40})
    monkeypatch.setattr(bench_geometry.measure, "__defaults__", (20,))
    measured = run(tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text()) == measured
    assert 0 < measured["kitti_cpu_seconds"] < 1
    assert measured["kitti_car_3d_moderate"] > 10
    assert {"nuscenes_ratio", "fid_ratio_2048", "fid_ratio_1000", "nfs_ratio"} <= set(measured)
    assert measured["nfs_difference"] < 1e-9
    assert measured["fid_relative_difference_1000"] < 1e-4
