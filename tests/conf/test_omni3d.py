"""The Omni3D experiment on files of the tiny world: a step with injected cars, and its grid's arms."""

from __future__ import annotations

from pathlib import Path

import pytest

from lit.cli import ROOT, main
from lit.experiments.grid import read_grid
from lit.results import read_result
from lit.trainer_cli import resolve

CONF = ROOT / "conf"


def test_it_trains_with_injected_cars_and_scores_ap3d(tiny_world: Path, tmp_path: Path) -> None:
    files = tmp_path / "files"
    assert main(["prepare", "omni3d", "--root", str(tiny_world), "--out", str(files)]) == 0
    words = ["--data.root", str(tiny_world), "--data.batch_size", "2", "--data.train_frames", "12"]
    words += ["--data.train_file", str(files / "train.json"), "--data.val_file", str(files / "val.json")]
    words += ["--data.injection", str(CONF / "injection" / "mesh.yaml"), "--data.injection.probability", "1.0"]
    words += ["--data.road_masks", str(tiny_world / "training" / "road_2")]
    words += ["--trainer.default_root_dir", str(tmp_path / "run"), "--trainer.max_steps", "3"]
    words += ["--trainer.enable_progress_bar", "false"]
    assert main(["fit", "-c", str(CONF / "experiment" / "omni3d_centernet.yaml"), *words]) == 0
    record = read_result(tmp_path / "run" / "result.json").content
    assert record["injected_objects"] > 0
    assert {"omni3d/AP2D", "omni3d/AP3D", "omni3d/AP3D/0.25"} <= set(record["metrics"])
    assert record["evaluator"]["name"] == "omni3d"
    assert record["dataset"] == f"{tiny_world.name} (Omni3D)"


def test_the_grid_plans_the_rows_of_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    grid = read_grid(CONF / "sweep" / "omni3d_world.yaml")
    assert grid.design.primary == "omni3d/AP3D"
    assert grid.design.comparisons == [("dst", "none"), ("dst_camera", "dst"), ("dst_camera", "camera")]
    resolved = {cell.arm: resolve(cell.command)["data"]["init_args"] for cell in grid.cells() if cell.seed == 0}
    assert {arm for arm, data in resolved.items() if data["injection"]} == {"dst", "dst_camera"}
    assert {arm for arm, data in resolved.items() if data["augment"]["init_args"]["pitch"]} == {"camera", "dst_camera"}
    assert all(step.serves("dst_camera") == step.serves("dst") for step in grid.prepare)
    assert [step.name for step in grid.prepare if step.serves("none")] == [
        "world",
        "test_world",
        "omni3d",
        "omni3d_test",
    ]
