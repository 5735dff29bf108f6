from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest

from datamodules.kitti.format import read_label
from datamodules.randomness import derive
from datamodules.scene import Batch, Objects
from lit.callbacks.detection_metrics import KittiMetrics
from lit.metrics.kitti.curve_files import read_curves
from lit.metrics.kitti.evaluation import evaluate_folders
from tests.lit.detection_training import data, trainer


class Oracle(pl.LightningModule):
    """Predicts the labels."""

    def validation_step(self, batch: Batch, batch_idx: int) -> Any:
        return [scored(objects) for objects in batch.objects]

    test_step = validation_step


def scored(objects: Objects) -> Objects:
    known = objects[objects.names != "DontCare"]
    return Objects(
        known.boxes, known.names, known.bbox, known.truncation, known.occlusion, known.alpha, np.ones(len(known)) * 0.9
    )


class Noisy(Oracle):
    """Predicts labels moved and scored by chance, the same for a frame in whatever process and batch it comes."""

    def validation_step(self, batch: Batch, batch_idx: int) -> Any:
        return [moved(scored(o), derive(0, name, "noise")) for o, name in zip(batch.objects, batch.sample_ids)]


def moved(objects: Objects, rng: np.random.Generator) -> Objects:
    center = objects.boxes.center + rng.normal(0, 0.15, (len(objects), 3))
    return replace(objects, boxes=replace(objects.boxes, center=center), score=rng.random(len(objects)))


def validated(root: Path, folder: Path, **options: object) -> Mapping[str, float]:
    run = trainer(folder, [KittiMetrics(**options)])  # type: ignore[arg-type]
    return run.validate(Oracle(), data(root), verbose=False)[0]


def test_ground_truth_against_itself(tiny_world: Path, tmp_path: Path) -> None:
    figures = validated(tiny_world, tmp_path, reference_width=1242)
    assert figures["car/3d/easy/0.7"] == pytest.approx(figures["car/bbox/easy/0.7"])
    assert figures["car/3d/moderate/0.5"] > 20  # AP40 of so few objects: they cannot reach all 40 recall points
    assert {"car/3d/moderate/0.3", "pedestrian/bev/hard/0.5", "car/aos/easy/0.7"} <= set(figures)


def test_reference_width_lets_small_images_keep_kittis_height_limits(tiny_world: Path, tmp_path: Path) -> None:
    native = validated(tiny_world, tmp_path)
    scaled = validated(tiny_world, tmp_path, reference_width=1242)
    assert scaled["car/3d/moderate/0.5"] > native["car/3d/moderate/0.5"]


def test_prefixes_choose_what_is_logged(tiny_world: Path, tmp_path: Path) -> None:
    figures = validated(tiny_world, tmp_path, prefixes=["car/3d/"])
    assert figures
    assert all(name.startswith("car/3d/") for name in figures)


def test_test_writes_result_files_that_score_the_same(tiny_world: Path, tmp_path: Path) -> None:
    callback = KittiMetrics(folder=str(tmp_path / "out"))
    figures = trainer(tmp_path, [callback]).test(Oracle(), data(tiny_world), verbose=False)[0]
    files = sorted((tmp_path / "out").glob("*.txt"))
    assert len(files) == 6
    assert all(read_label(f).score is not None for f in files if f.read_text())
    split = tiny_world / "ImageSets" / "val.txt"
    again = evaluate_folders(tiny_world / "training" / "label_2", tmp_path / "out", split=split)
    assert again["ap40"]["car"]["3d"][1] == pytest.approx(figures["car/3d/moderate/0.7"])


def test_two_processes_equal_one(tiny_world: Path, tmp_path: Path) -> None:
    """Five frames on two processes: one of them sees a frame again."""
    (tmp_path / "training").symlink_to(tiny_world / "training")
    (tmp_path / "ImageSets").mkdir()
    for split, count in (("train", 12), ("val", 5)):
        names = (tiny_world / "ImageSets" / f"{split}.txt").read_text().split()[:count]
        (tmp_path / "ImageSets" / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))
    figures = []
    for options in ({}, {"devices": 2, "strategy": "ddp_spawn"}):
        run = trainer(tmp_path, [KittiMetrics(reference_width=1242)], **options)
        figures.append(run.validate(Noisy(), data(tmp_path, batch_size=1), verbose=False)[0])
    assert figures[0] == figures[1]
    assert figures[0]["car/3d/moderate/0.5"] > 5


def test_states_its_evaluator() -> None:
    assert KittiMetrics().evaluator["name"] == "kitti"
    assert "1242" in KittiMetrics(reference_width=1242).evaluator["name"]


def test_leaves_what_each_frame_adds(tiny_world: Path, tmp_path: Path) -> None:
    callback = KittiMetrics(reference_width=1242, depth_ranges=[[0, 20], [20, None]])
    run = trainer(tmp_path, [callback])
    figures = run.validate(Noisy(), data(tiny_world), verbose=False)[0]
    entry = callback.raw["val"]
    path = tmp_path / entry["file"]
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    assert (path.name, entry["sha256"]) == (f"frame_curves_val_{checksum[:12]}.npz", checksum)
    frames = read_curves(path)
    assert set(frames.samples) == set((tiny_world / "ImageSets" / "val.txt").read_text().split())
    assert frames.groups == frames.samples  # each frame of the world is a scene of its own
    names = [f"car/3d/moderate/{limit}" for limit in (0.7, 0.5, 0.3)]
    assert set(frames.curves.curves) == {f"{name}{depth}" for name in names for depth in ("", "/0-20m", "/20m+")}
    for name in (*names, "car/3d/moderate/0.5/0-20m", "car/3d/moderate/0.3/20m+"):
        assert np.float32(frames.ap(name)) == np.float32(figures[name])
    assert figures["car/3d/moderate/0.5/0-20m"] > 5
    assert "car/3d/moderate/0.7/0-20m" not in figures


def test_frames_of_a_drive_form_a_group(tiny_world: Path, tmp_path: Path) -> None:
    for name in ("training", "ImageSets"):
        (tmp_path / name).symlink_to(tiny_world / name)
    ids = (tiny_world / "ImageSets" / "val.txt").read_text().split()
    (tmp_path / "drives.txt").write_text("".join(f"{name} drive_{k // 4}\n" for k, name in enumerate(ids)))
    trainer(tmp_path, [KittiMetrics()]).test(Noisy(), data(tmp_path), verbose=False)
    frames = read_curves(next(tmp_path.glob("frame_curves_test_*.npz")))
    assert dict(zip(frames.samples, frames.groups)) == {name: f"drive_{k // 4}" for k, name in enumerate(ids)}
