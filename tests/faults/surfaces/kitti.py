"""KITTI folders that other tools wrote: labels, calibrations, planes, splits, results."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.geometry import Boxes3D
from datamodules.images import write_image
from datamodules.kitti.datamodule import KittiDataModule, KittiDataset
from datamodules.kitti.format import write_calibration, write_label, write_plane
from datamodules.randomness import derive
from datamodules.scene import Objects
from lit.cli import main
from tests.faults import plausible
from tests.faults.surface import Surface

IDS = ("000000", "000001", "000002")
NAMES = ("Car", "Pedestrian", "Cyclist", "Van")
PROJECTION = np.array([[180.2, 0, 155.7, 12.1], [0, 179.0, 43.9, 0.05], [0, 0, 1, 0.002]])


def objects(seed: int, scored: bool = False) -> Objects:
    """A frame's rows: cars, persons, a van; results are the labels of the same seed, moved a little."""
    rng = derive(seed, "kitti")
    count = 6
    center = np.column_stack([rng.uniform(-8, 8, count), np.full(count, 1.7), rng.uniform(8, 30, count)])
    boxes = Boxes3D(center, rng.uniform(1.4, 4, (count, 3)), rng.uniform(-3, 3, count))
    left, top = rng.uniform(10, 200, count), rng.uniform(5, 40, count)
    bbox = np.column_stack([left, top, left + rng.uniform(30, 90, count), top + rng.uniform(27, 50, count)])
    names = np.array([NAMES[i] for i in (0, 0, 1, 2, 0, 3)])
    noise = derive(seed, "noise").normal(0, 0.02, (count, 3)) if scored else 0
    boxes = Boxes3D(boxes.center + noise, boxes.dims, boxes.yaw)
    unknown = np.full(count, -1.0)
    truncation, occlusion = (
        (unknown, unknown.astype(np.int64)) if scored else (np.zeros(count), np.zeros(count, np.int64))
    )
    score = np.linspace(0.9, 0.3, count) if scored else None
    return Objects(boxes, names, bbox, truncation, occlusion, boxes.alpha, score)


def write_tree(folder: Path) -> None:
    """A KITTI folder of three frames with ground planes."""
    for number, name in enumerate(IDS):
        training = folder / "training"
        image = derive(number, "image").integers(0, 256, (3, 24, 32), dtype=np.uint8)
        write_image(training / "image_2" / f"{name}.png", image)
        write_label(training / "label_2" / f"{name}.txt", objects(number), digits=2)
        write_calibration(training / "calib" / f"{name}.txt", PROJECTION)
        write_plane(training / "planes" / f"{name}.txt", np.array([-0.0029, -0.9999, 0.0139, 1.65]))
    (folder / "ImageSets").mkdir()
    for split in ("train", "val"):
        (folder / "ImageSets" / f"{split}.txt").write_text("".join(f"{name}\n" for name in IDS))


def read_frames(folder: Path) -> Any:
    """Everything that training reads of the folder, with what it warns of."""
    KittiDataModule(str(folder), val_split="train", size=(48, 160), workers=0, on_error="raise").setup("fit")
    reader = KittiDataset(folder, "train", extras=True)
    return [reader.ids, [reader.read(index) for index in range(len(reader))]]


def check(folder: Path) -> Any:
    """What ``prepare kitti`` says, but for the pictures."""
    import contextlib
    import io

    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        status = main_or_refused(["prepare", "kitti", "--root", str(folder)])
    return [status, out.getvalue()]


def main_or_refused(argv: list[str]) -> int:
    """A command's status; a refusal is raised as the error that the command line printed."""
    import contextlib
    import io

    from datamodules.errors import InputError

    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        status = main(argv)
    if status == 2:
        raise InputError(said.getvalue().removeprefix("error: ").rstrip("\n"))
    return status


def write_results(folder: Path) -> None:
    """Labels, results and a split file."""
    for number, name in enumerate(IDS):
        write_label(folder / "gt" / f"{name}.txt", objects(number), digits=2)
        write_label(folder / "pred" / f"{name}.txt", objects(number, scored=True), digits=2)
    (folder / "val.txt").write_text("".join(f"{name}\n" for name in IDS[:2]))


def evaluate(folder: Path, split: bool = False) -> Any:
    """The figures of ``evaluate kitti``."""
    out = folder.parent / "figures.json"
    words = ["evaluate", "kitti", "--gt", str(folder / "gt"), "--pred", str(folder / "pred"), "--out", str(out)]
    main_or_refused([*words, *(["--split", str(folder / "val.txt")] if split else [])])
    return json.loads(out.read_text())


LABELS, RESULTS = plausible.kitti_rows((15,)), plausible.kitti_rows((16,))
IDENTIFIERS = plausible.names(r"\d{6}")
BOTH = ("text", "text", "text", "bytes")
SURFACES = [
    Surface("kitti_label", write_tree, read_frames, ("training/label_2/*",), BOTH, LABELS, 60),
    Surface("kitti_calib", write_tree, read_frames, ("training/calib/*",), BOTH, plausible.kitti_calibration, 30),
    Surface("kitti_plane", write_tree, read_frames, ("training/planes/*",), BOTH, plausible.kitti_plane, 30),
    Surface("kitti_imagesets", write_tree, read_frames, ("ImageSets/train.txt",), BOTH, IDENTIFIERS, 30),
    Surface(
        "kitti_tree",
        write_tree,
        check,
        ("training/label_2/*", "training/calib/*", "ImageSets/*"),
        BOTH,
        plausible.any_change,
    ),
    Surface("kitti_results", write_results, evaluate, ("pred/*",), BOTH, RESULTS, 60),
    Surface("kitti_gt", write_results, evaluate, ("gt/*",), BOTH, LABELS, 60),
    Surface("kitti_split_file", write_results, partial(evaluate, split=True), ("val.txt",), BOTH, IDENTIFIERS),
]
