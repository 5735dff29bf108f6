"""``bench loader-memory``: what a loader's process holds while it injects into one frame after another."""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.assets.bank import AssetBank
from datamodules.assets.bank_writer import AssetBankWriter
from datamodules.augment import Augment
from datamodules.errors import InputError
from datamodules.injection.compositing import Compositor
from datamodules.injection.injection import Injection
from datamodules.injection.placement import Placement
from datamodules.kitti.datamodule import KittiDataModule
from datamodules.processes import track
from datamodules.randomness import derive
from datamodules.scene import REAL
from datamodules.world.road_world import write_world
from lit.commands.bench.inject import baked_car
from lit.commands.bench.starting.process_memory import process_memory
from lit.commands.report import report

FRAMES, BATCH = 100_000, 8
WORLD, SIZE = 200, (96, 320)  # frames that are read again and again, and their height and width
CARS = 96  # more than a bank keeps ready: objects come and go
POINTS = 20  # at which the memory is read
KINDS = ("resident", "private")


def run(
    out: str | Path | None = None,
    frames: int = FRAMES,
    root: str | Path | None = None,
    bank: str | Path | None = None,
) -> dict[str, Any]:
    """Read frames of a KITTI folder through one worker, one to three objects injected into each.

    Everything is as in a training but the network: frames are decoded each time, injected into with the shipped arms'
    settings, augmented, brought to 96 x 320, and handed over in batches of eight.

    Args:
        out: JSON file to write, or None.
        frames: how many.
        root: the folder; by default a road world of 200 frames at 96 x 320, written for it.
        bank: a bank; by default 96 voxel cars, written for it.

    Returns:
        ``frames``, ``injected_objects``, ``seconds``; ``at``, the frames read at each point, and there the
        ``loader_resident_mb``, ``loader_private_mb`` of the worker and ``main_private_mb`` of the process that asks
        it; of each the ``growth`` since the first tenth of the frames, and the ``slope`` of a line through what
        follows it, in MB per 100,000 frames.

    Raises:
        InputError: fewer frames than points, or a system that does not tell a process's memory.
    """
    if frames < POINTS * BATCH:
        raise InputError(f"--frames {frames}: expected at least {POINTS * BATCH}")
    if not process_memory():
        raise InputError("bench loader-memory: this system does not tell a process's memory; expected Linux")
    with tempfile.TemporaryDirectory() as folder:
        if root is None:
            root = write_world(
                Path(folder) / "world", train=WORLD, val=1, width=SIZE[1], height=SIZE[0], progress=False
            )
        measured = _measure(frames, root, _written(Path(folder) / "bank") if bank is None else bank)
    report("bench loader-memory: one worker, objects in every frame", measured, out)
    return measured


def _written(folder: Path) -> Path:
    """A bank of cars of all colours."""
    rng = derive(0, "bench_loader_memory")
    with AssetBankWriter(folder, generator="bench") as writer:
        for number in range(CARS):
            red, green, blue = rng.integers(20, 230, 3).tolist()
            writer.write(baked_car((red, green, blue), number))
    return folder


def _measure(frames: int, root: str | Path, bank: str | Path) -> dict[str, Any]:
    compositor = Compositor(occluders="instances", noise=True)
    placement = Placement(plane="boxes", depth=(5.0, 45.0))
    injection = Injection(AssetBank(bank), placement, compositor, probability=1.0, count=(1, 3))
    augment = Augment(flip=0.5, scale=(0.9, 1.1), shift=0.05, brightness=0.2, contrast=0.2, saturation=0.2, hue=0.02)
    data = KittiDataModule(
        str(root), batch_size=BATCH, workers=1, seed=0, size=SIZE, injection=injection, augment=augment,
        samples_per_epoch=frames,
    )  # fmt: skip
    data.setup("fit")
    wanted = np.linspace(0, frames // BATCH, POINTS + 1).astype(int)[1:].tolist()
    told: dict[str, list[float]] = {name: [] for name in ("at", *(f"loader_{kind}_mb" for kind in KINDS))}
    told["main_private_mb"] = []
    objects, began = 0, time.perf_counter()
    batches = iter(data.train_dataloader())
    (worker,) = multiprocessing.active_children()
    for number, batch in enumerate(track(batches, "batches", total=frames // BATCH), 1):
        objects += sum(int((one.provenance != REAL).sum()) for one in batch.objects)
        if number in wanted:
            theirs, ours = process_memory(worker.pid or 0), process_memory()
            if not theirs:
                break  # it has done its last batch
            told["at"].append(number * BATCH)
            for kind in KINDS:
                told[f"loader_{kind}_mb"].append(round(theirs[kind], 2))
            told["main_private_mb"].append(round(ours["private"], 2))
    figures: dict[str, Any] = {"frames": number * BATCH, "injected_objects": objects}
    figures["seconds"] = round(time.perf_counter() - began, 1)
    for name, values in told.items():
        if name != "at":
            figures |= drift(told["at"], values, name.removesuffix("_mb"))
    return {**figures, **told}


def drift(at: list[float], values: list[float], name: str) -> dict[str, float]:
    """How a figure grows after the first tenth of the frames.

    Args:
        at: frames read at each point.
        values: the figure there.
        name: of it.

    Returns:
        ``NAME_growth_mb`` from there to the end, and ``NAME_slope_mb`` of the line that fits best, per 100,000 frames.
    """
    skipped = min(max(1, len(at) // 10), len(at) - 2)
    x, y = np.array(at[skipped:], float), np.array(values[skipped:], float)
    slope = float(np.polyfit(x, y, 1)[0]) * 100_000
    return {f"{name}_growth_mb": round(float(y[-1] - y[0]), 2), f"{name}_slope_mb": round(slope, 2)}
