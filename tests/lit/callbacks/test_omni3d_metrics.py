"""Omni3D from files to figures: labels against themselves at any size, the result file, other data, and learning."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest

from datamodules.base import DetectionDataModule
from datamodules.nuscenes.datamodule import NuscenesDataModule
from datamodules.omni3d.datamodule import Omni3DDataModule
from datamodules.randomness import derive
from datamodules.scene import Batch, Objects
from lit.callbacks.detection.omni3d_metrics import Omni3DMetrics
from lit.cli import main
from lit.experiments.recorded import read_recorded
from lit.metrics.omni3d.evaluation import evaluate_files, flatten
from tests.lit.detection_training import data, trainer


class Oracle(pl.LightningModule):
    """Predicts the labels."""

    classes = ("Car", "Van")
    spread = 0.0

    def validation_step(self, batch: Batch, batch_idx: int) -> Any:
        return [self.found(objects, name) for objects, name in zip(batch.objects, batch.sample_ids)]

    test_step = predict_step = validation_step

    def found(self, objects: Objects, name: str) -> Objects:
        known = objects[objects.boxes.dims[:, 0] > 0]
        rng = derive(0, name, "noise")
        moved = known.boxes.center + rng.normal(0, self.spread, (len(known), 3)) * np.array([1, 0, 1])
        return replace(known, boxes=replace(known.boxes, center=moved), score=rng.random(len(known)))


class Noisy(Oracle):
    spread = 0.6


@pytest.fixture(scope="module")
def files(tiny_world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the tiny world's files of Omni3D."""
    folder = tmp_path_factory.mktemp("omni3d")
    assert main(["prepare", "omni3d", "--root", str(tiny_world), "--out", str(folder)]) == 0
    return folder


def omni3d(root: Path, files: Path, **options: Any) -> Omni3DDataModule:
    chosen = {"batch_size": 4, "seed": 0, **options}
    return Omni3DDataModule(str(root), str(files / "train.json"), str(files / "val.json"), **chosen)


@pytest.mark.parametrize(
    "options", [{}, {"size": (48, 160)}, {"size": (128, 352), "fit": "pad"}], ids=["stored", "resized", "padded"]
)
def test_labels_against_themselves(options: dict[str, Any], tiny_world: Path, files: Path, tmp_path: Path) -> None:
    run = trainer(tmp_path, [Omni3DMetrics()])
    figures = run.test(Oracle(), omni3d(tiny_world, files, **options), verbose=False)[0]
    assert {"omni3d/AP2D", "omni3d/AP3D", "omni3d/Car/AP3D", "omni3d/AP3D/far"} <= set(figures)
    assert figures == pytest.approx(dict.fromkeys(figures, 100.0), abs=1e-4)


def test_the_result_file_says_the_same_to_the_command(
    tiny_world: Path, files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    callback = Omni3DMetrics(["Car"], prefixes=["AP"])
    figures = trainer(tmp_path, [callback]).test(Noisy(), omni3d(tiny_world, files), verbose=False)[0]
    assert 5 < figures["omni3d/AP3D"] < 95
    assert all(name.startswith("omni3d/AP") for name in figures)
    recorded = read_recorded(tmp_path / callback.raw["test"]["file"], callback.raw["test"]["sha256"])
    assert recorded.ap("omni3d/AP3D") == pytest.approx(figures["omni3d/AP3D"], abs=1e-4)
    assert len(recorded.samples) == 6
    out, found = tmp_path / "figures.json", tmp_path / "omni3d_results.json"
    words = ["evaluate", "omni3d", "--gt", str(files / "val.json"), "--pred", str(found), "--out", str(out)]
    assert main([*words, "--categories", "car"]) == 0
    written = flatten(json.loads(out.read_text()))
    assert {f"omni3d/{name}": value for name, value in written.items() if name.startswith("AP")} == pytest.approx(
        figures, abs=1e-4
    )
    text = capsys.readouterr().out
    assert f"{written['AP3D']:.2f}" in text
    assert "6 images" in text
    every = flatten(evaluate_files(files / "val.json", found))
    assert every["car/AP3D"] == written["AP3D"]
    assert main([*words, "--categories", "cra"]) == 2
    assert "category 'cra': expected one of" in capsys.readouterr().err
    rows = json.loads(found.read_text())
    found.write_text(json.dumps([{**rows[0], "image_id": 99}]))
    assert main(words) == 2
    assert f"result 0: image 99 is not in {files / 'val.json'}; evaluate the file it is for" in capsys.readouterr().err


def test_other_data_are_scored_as_their_files_would_be(
    tiny_world: Path, tiny_surround: Path, files: Path, tmp_path: Path
) -> None:
    """A KITTI folder's labels, and those of cameras that are tilted against the label frame."""
    from_file = trainer(tmp_path, [Omni3DMetrics()]).validate(Noisy(), omni3d(tiny_world, files), verbose=False)[0]
    sources: list[DetectionDataModule] = [data(tiny_world)]
    every = str(tiny_surround / "ImageSets" / "trainval.txt")
    sources.append(NuscenesDataModule(str(tiny_surround), "v1.0-world", every, every, batch_size=6, seed=0))
    one, two = (
        trainer(tmp_path, [Omni3DMetrics(classes)]).validate(module, source, verbose=False)[0]
        for source, classes, module in zip(sources, (None, ["car"]), (Noisy(), Oracle()))
    )
    same = {name for name in from_file if "AP3D" in name}
    assert {name: one[name] for name in same} == pytest.approx({name: from_file[name] for name in same}, abs=1e-4)
    assert two["omni3d/AP3D"] == pytest.approx(100.0, abs=1e-4)
    assert not (tmp_path / "omni3d_results.json").exists()
