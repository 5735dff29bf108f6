"""``bench setups``: time and memory before the first picture, of KITTI's 7,481 frames and of 500,000 posed views.

Measured as ``bench nuscenes-tables`` is: each figure in a process of its own that does nothing else, from after its
imports. Pictures are copies of one, so the folders are written in seconds; labels and indices are of full size.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.errors import InputError
from datamodules.geometry import Boxes3D, Camera, projected_bbox
from datamodules.images import write_image
from datamodules.kitti.format import format_label, write_calibration
from datamodules.objects.posed_images import write_object, write_posed_index
from datamodules.randomness import derive
from datamodules.scene import Objects
from lit.commands.bench.starting.nuscenes_tables import in_own_process
from lit.commands.bench.starting.process_memory import process_memory
from lit.commands.report import report

KITTI_FRAMES, OBJECTS_A_FRAME = 7481, 7
POSED_VIEWS, VIEWS_AN_OBJECT, SIDE = 500_000, 50, 64
BATCHES = 200  # drawn after the start: what they leave behind would grow with a training
CAMERA = Camera(np.array([[721.5, 0, 609.6, 44.9], [0, 721.5, 172.9, 0.2], [0, 0, 1, 0.003]]), 1242, 375)


def run(out: str | Path | None = None, share: float = 1.0) -> dict[str, Any]:
    """Measure the start on both, and of the posed set also the next one, which finds its views unpacked.

    Args:
        out: JSON file to write, or None.
        share: of both sizes.

    Returns:
        ``kitti_frames``, ``kitti_seconds``, ``posed_views``, ``posed_cold_seconds``, ``posed_warm_seconds``, each also
        ``_cpu_seconds``, ``_peak_mb``, ``_private_mb`` and ``_anonymous_mb``, and of the posed set ``_growth_mb`` over
        200 batches, of what is no file's.

    Raises:
        InputError: the share is not in (0, 1].
    """
    if not 0 < share <= 1:
        raise InputError(f"--share {share}: expected above 0 and at most 1")
    with tempfile.TemporaryDirectory() as folder:
        kitti, posed = Path(folder) / "kitti", Path(folder) / "posed"
        measured: dict[str, Any] = {"kitti_frames": write_frames_of_labels(kitti, share)}
        measured["posed_views"] = write_views(posed, share)
        for name, place in (("kitti", kitti), ("posed_cold", posed), ("posed_warm", posed)):
            measured |= in_own_process("lit.commands.bench.starting.setups", name, str(place))
    report("bench setups: one process, from its imports to the first picture", measured, out)
    return measured


def write_frames_of_labels(root: Path, share: float) -> int:
    """Write a KITTI folder whose labels and calibrations are of full size, and whose pictures are one.

    Args:
        root: the folder.
        share: of KITTI's frames.

    Returns:
        The number of frames, half of them in each split.
    """
    count = max(round(KITTI_FRAMES * share), 2)
    training, ids = root / "training", [f"{number:06d}" for number in range(count)]
    for name in ("label_2", "calib", "image_2"):
        (training / name).mkdir(parents=True)
    (root / "ImageSets").mkdir()
    first = training / "image_2" / f"{ids[0]}.png"
    write_image(first, np.zeros((3, 375, 1242), np.uint8))
    write_calibration(root / "calibration.txt", CAMERA.projection)
    calibration = (root / "calibration.txt").read_text()
    for name in ids:
        (training / "label_2" / f"{name}.txt").write_text(format_label(_objects(name), 2))
        (training / "calib" / f"{name}.txt").write_text(calibration)
        if name != ids[0]:
            link_or_copy(first, training / "image_2" / f"{name}.png")
    for split, part in (("train", ids[: count // 2]), ("val", ids[count // 2 :])):
        (root / "ImageSets" / f"{split}.txt").write_text("".join(f"{name}\n" for name in part))
    return count


def write_views(folder: Path, share: float) -> int:
    """Write a posed image set whose objects have the views of one.

    Args:
        folder: of the set.
        share: of its views.

    Returns:
        The number of views.
    """
    folder.mkdir()
    count = max(round(POSED_VIEWS * share / VIEWS_AN_OBJECT), 2)
    ids = [f"car-{number:05d}" for number in range(count)]
    rng = derive(0, "bench_setups")
    rgba = np.zeros((VIEWS_AN_OBJECT, SIDE, SIDE, 4), np.uint8)
    rgba[:, 16:48, 16:48] = [*rng.integers(0, 256, 3), 255]
    projection = np.tile(np.array([[24.0, 0, 32, 256], [0, 24, 32, 256], [0, 0, 1, 8]]), (VIEWS_AN_OBJECT, 1, 1))
    write_object(folder, ids[0], {"rgba": rgba, "projection": projection})
    for name in ids[1:]:
        link_or_copy(folder / f"{ids[0]}.npz", folder / f"{name}.npz")
    dims = np.tile([4.2, 1.5, 1.75], (count, 1))
    write_posed_index(folder, "Car", SIDE, VIEWS_AN_OBJECT, ids, dims, "copies of one object, for a bench")
    return count * VIEWS_AN_OBJECT


def link_or_copy(source: Path, target: Path) -> None:
    """The same bytes under another name, without their room where the file system can."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _objects(name: str) -> Objects:
    rng, count = derive(0, name, "bench_setups"), OBJECTS_A_FRAME
    depth = rng.uniform(6, 60, count)
    center = np.column_stack([rng.uniform(-0.6, 0.6, count) * depth, np.full(count, 1.65), depth])
    dims = rng.uniform([3.2, 1.3, 1.5], [5, 1.9, 2.0], (count, 3))
    boxes = Boxes3D(center, dims, rng.uniform(-np.pi, np.pi, count))
    names = rng.choice(["Car", "Van", "Pedestrian"], count)
    zero = np.zeros(count)
    return Objects(boxes, names, projected_bbox(CAMERA, boxes), zero, zero.astype(np.int64), boxes.alpha)


def measure(name: str, place: str) -> None:
    """Print the figures of one kind, as JSON; in a process of its own."""
    from datamodules.kitti.datamodule import KittiDataModule
    from datamodules.objects.posed_datamodule import PosedDataModule

    data = KittiDataModule(place) if name == "kitti" else PosedDataModule(place, create=False, views_per_object=1)
    before, cpu, wall = process_memory(), time.process_time(), time.perf_counter()
    data.setup("fit")
    wall, cpu, after = time.perf_counter() - wall, time.process_time() - cpu, process_memory()
    figures = {"seconds": wall, "cpu_seconds": cpu} | {
        f"{kind}_mb": after[kind] - before[kind] for kind in after if kind != "resident"
    }
    if isinstance(data, PosedDataModule):
        batches = iter(data.train_dataloader())
        next(batches)
        settled = process_memory()
        for _ in range(min(BATCHES, data.hparams["steps_per_epoch"]) - 1):
            next(batches)
        later = process_memory()
        figures["growth_mb"] = later.get("anonymous", 0.0) - settled.get("anonymous", 0.0)
    print(json.dumps({f"{name}_{key}": round(value, 3) for key, value in figures.items()}))
