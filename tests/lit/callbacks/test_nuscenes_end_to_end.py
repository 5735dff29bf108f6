"""nuScenes from files to figures: six cameras merged, one process and two, the submission file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest

from datamodules.nuscenes.boxes import GlobalBoxes, SampleTruth
from datamodules.nuscenes.datamodule import NuscenesDataModule, NuscenesDataset
from datamodules.randomness import derive
from datamodules.scene import Batch, Objects
from lit.callbacks.drawing import Drawing
from lit.callbacks.nuscenes_metrics import NuscenesMetrics
from lit.metrics.nuscenes.evaluation import evaluate_boxes
from tests.lit.detection_training import trainer


class Oracle(pl.LightningModule):
    """Predicts every camera's labels, moved and scored by chance but the same in whatever process and batch."""

    spread = 0.0

    def validation_step(self, batch: Batch, batch_idx: int) -> Any:
        return [self.found(objects, name) for objects, name in zip(batch.objects, batch.sample_ids)]

    test_step = validation_step

    def found(self, objects: Objects, name: str) -> Objects:
        rng = derive(0, name, "noise")
        moved = objects.boxes.center + rng.normal(0, self.spread, (len(objects), 3)) * np.array([1, 0, 1])
        boxes = replace(objects.boxes, center=moved)
        return replace(objects, boxes=boxes, score=rng.random(len(objects)))


class Noisy(Oracle):
    spread = 0.8


class OddSamples(NuscenesDataModule):
    """Five samples instead of six."""

    def setup(self, stage: str | None = None) -> None:
        super().setup(stage)
        self.val_reader = NuscenesDataset(self.val_reader.samples[:5], self.val_reader.root)


def data(root: Path, kind: type[NuscenesDataModule] = NuscenesDataModule) -> NuscenesDataModule:
    everything = str(root / "ImageSets" / "trainval.txt")
    return kind(str(root), "v1.0-world", everything, everything, batch_size=6, seed=0)


def test_labels_against_themselves(tiny_surround: Path, tmp_path: Path) -> None:
    """Labels of all cameras, merged, are the annotations that some camera sees: precision is perfect."""
    callback = NuscenesMetrics(path=str(tmp_path / "submission.json"))
    run = trainer(tmp_path, [callback, Drawing(frames=6, every_steps=0)])
    figures = run.test(Oracle(), data(tiny_surround), verbose=False)[0]
    assert figures["nuscenes/mATE"] < 1e-6
    assert figures["nuscenes/mASE"] < 1e-6
    assert figures["nuscenes/mAOE"] < 1e-6
    assert figures["nuscenes/mAP"] > 0.5  # what no camera sees in full is annotated, too
    written = json.loads((tmp_path / "submission.json").read_text())
    assert len(written["results"]) == 6
    for boxes in written["results"].values():
        places = [tuple(np.round(box["translation"], 3)) for box in boxes]
        assert len(places) == len(set(places)), "an object that two cameras see was submitted twice"


def test_two_processes_equal_one(tiny_surround: Path, tmp_path: Path) -> None:
    """Five samples on two processes: one of them sees a sample again."""
    figures = []
    for options in ({}, {"devices": 2, "strategy": "ddp_spawn"}):
        run = trainer(tmp_path, [NuscenesMetrics()], **options)
        figures.append(run.validate(Noisy(), data(tiny_surround, OddSamples), verbose=False)[0])
    assert figures[0] == figures[1]
    assert 0.01 < figures[0]["nuscenes/mAP"] < 0.9


def test_the_callback_scores_what_the_functions_score(tiny_surround: Path, tmp_path: Path) -> None:
    module, loaded = Noisy(), data(tiny_surround)
    loaded.setup("validate")
    truths: dict[str, SampleTruth] = {}
    found: dict[str, GlobalBoxes] = {}
    for batch in loaded.val_dataloader():
        truths |= dict(loaded.sample_truths(batch))
        found |= dict(loaded.sample_predictions(module.validation_step(batch, 0), batch))
    figures = trainer(tmp_path, [NuscenesMetrics()]).validate(module, data(tiny_surround), verbose=False)[0]
    assert figures["nuscenes/mAP"] == pytest.approx(evaluate_boxes(truths, found)["mean_ap"], rel=1e-6)
