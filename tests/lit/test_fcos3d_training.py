"""FCOS3D from its configuration files, through the command line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lit.cli import ROOT, main
from lit.results import read_result
from lit.trainer_cli import resolve

MODELS = sorted((ROOT / "conf" / "model").glob("fcos3d_*.yaml"))
EXPERIMENT = ["-c", str(ROOT / "conf" / "experiment" / "world_centernet.yaml")]
KITTI = ["--model.detector.classes", "[Car, Pedestrian, Cyclist]"]


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_every_file_resolves_without_mmdet3d(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mmdet3d", None)
    model = resolve(["fit", *EXPERIMENT, "--model", str(path)])["model"]
    assert model["init_args"]["detector"]["class_path"] == "detectors.fcos3d.FCOS3D"


def test_the_small_one_trains_and_is_scored(tiny_world: Path, tmp_path: Path) -> None:
    pytest.importorskip("mmdet3d")
    small = ["--model", str(ROOT / "conf" / "model" / "fcos3d_small.yaml"), *KITTI]
    words = ["--data.root", str(tiny_world), "--data.batch_size", "2", "--trainer.default_root_dir", str(tmp_path)]
    brief = ["--trainer.max_steps", "2", "--trainer.enable_progress_bar", "false"]
    assert main(["fit", *EXPERIMENT, *small, *words, *brief]) == 0
    assert "car/3d/moderate/0.7" in read_result(tmp_path / "result.json").metrics


def test_without_mmdet3d_the_command_stops_with_one_line(
    tiny_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from detectors.fcos3d import openmmlab

    openmmlab.cache_clear()
    for name in ("mmdet3d", "mmdet3d.models"):
        monkeypatch.setitem(sys.modules, name, None)
    small = ["--model", str(ROOT / "conf" / "model" / "fcos3d_small.yaml")]
    words = ["--data.root", str(tiny_world), "--trainer.default_root_dir", str(tmp_path)]
    assert main(["fit", *EXPERIMENT, *small, *words]) == 2
    line = capsys.readouterr().err.strip()
    assert "run `make openmmlab`" in line
    assert "\n" not in line
