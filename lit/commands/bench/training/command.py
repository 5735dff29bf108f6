"""Runs the trainings one after the other and writes one record."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch

from datamodules.errors import InputError, closest
from lit import ROOT
from lit.commands.bench.training.cases import (
    BY_NAME,
    CASES,
    CONF,
    INJECTED_PAIRS,
    SHORT_TRAINING,
    Case,
    places_of,
    write_backbone,
    write_inputs,
)
from lit.commands.bench.training.device_render import measure_render
from lit.commands.report import report
from lit.provenance import git_commit
from lit.results import RESULT_FILE, write_output

STEPS, WARM = 30, 5
TINY_STEPS = 3
LONGEST = 150.0  # seconds of one training: what hangs must not cost the others their turn
STEP_TIMES = "--trainer.callbacks+=lit.callbacks.step_times.StepTimes"
FRAMES_OF = ("kitti_centernet", "nuscenes_fcos3d", "world_centernet")  # experiments that read frames
ON_DEVICE = "injection itself runs in the loader's workers alone; what is measured on the device is the voxel renderer"


class How(NamedTuple):
    """How trainings are timed; see :func:`run`."""

    tiny: bool
    steps: int | None = None
    parts: bool = False
    batch: int | None = None
    workers: int | None = None


def run(
    out: str | Path | None = None,
    dry_run: bool = False,
    only: Sequence[str] | None = None,
    steps: int | None = None,
    parts: bool = False,
    batch: int | None = None,
    workers: int | None = None,
) -> dict[str, Any]:
    """Time trainings that this machine has the packages for.

    Args:
        out: JSON file to write, or None.
        dry_run: tiny networks and pictures on the CPU: shows that the record comes, its figures mean nothing.
        only: names of trainings, those of ``BY_NAME``, too; by default all of ``CASES``, the renderer, and a short
            training to its end.
        steps: steps that are timed.
        parts: also say where the time goes.
        batch: pictures, or objects, a step in place of the published number.
        workers: of the loaders; by default as many as there are cores beyond two, at most twelve.

    Returns:
        ``machine``, ``trainings`` (of each the figures of :class:`lit.callbacks.step_times.StepTimes`, or ``failed``
        with its last line), ``injected_share`` (:func:`left_with_injection`), ``render`` on the device, and
        ``short_training``.

    Raises:
        InputError: an unknown name.
    """
    known = {**CASES, **BY_NAME}
    for name in only or []:
        if name not in known:
            raise InputError(f"--only {name}: expected one of {', '.join(known)}{closest(name, known)}")
    device = "cuda" if torch.cuda.is_available() and not dry_run else "cpu"
    began = time.perf_counter()
    record: dict[str, Any] = {"machine": machine(device), "dry_run": dry_run, "commit": git_commit()}
    with tempfile.TemporaryDirectory() as folder:
        chosen, how = list(CASES if only is None else only), How(dry_run, steps, parts, batch, workers)
        used = places_of([*(known[name] for name in chosen), *([SHORT_TRAINING] if only is None else [])], dry_run)
        places = write_inputs(Path(folder), dry_run, used)
        if "backbone" in used and find_spec("mmdet3d"):
            write_backbone(places["backbone"])
        record["trainings"] = {name: _timed(name, known[name], places, Path(folder), how) for name in chosen}
        record["injected_share"] = left_with_injection(record["trainings"])
        if only is None:
            record["render"] = {**measure_render(device, tiny=dry_run), "note": ON_DEVICE}
            record["short_training"] = _short(places, Path(folder), dry_run)
    record["seconds"] = round(time.perf_counter() - began, 1)
    if out:
        write_output(out, record)
    report(f"bench training on {record['machine']['device']}", _flat(record), None)
    return record


def left_with_injection(trainings: dict[str, dict[str, Any]]) -> dict[str, float]:
    """The share of a training's speed that is left with objects in every frame, where both were timed.

    Args:
        trainings: their figures by name.

    Returns:
        By the training's name that of pictures a second, and as ``NAME_cpu`` that of pictures a processor second of
        the training's own process, which other work on the machine does not change; without workers that process is
        the loader, too.
    """
    found: dict[str, float] = {}
    for plain, injected in INJECTED_PAIRS:
        without, with_ = trainings.get(plain, {}), trainings.get(injected, {})
        if "seconds_per_step" in without and "seconds_per_step" in with_:
            found[plain] = with_["pictures_per_second"] / without["pictures_per_second"]
            found[f"{plain}_cpu"] = without["cpu_seconds_per_step"] / with_["cpu_seconds_per_step"]
    return found


def machine(device: str) -> dict[str, Any]:
    """What the figures are of."""
    cuda = device == "cuda"
    return {
        "device": torch.cuda.get_device_name() if cuda else f"{platform.machine()} CPU, no GPU",
        "memory_gb": round(torch.cuda.get_device_properties(0).total_memory / 1e9, 1) if cuda else None,
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
    }


def command_line(case: Case, places: dict[str, Path], root: Path, tiny: bool, workers: int | None = None) -> list[str]:
    """A training's words, without what limits its length."""
    options = f"{case.words} {case.tiny if tiny else case.full}".format(**places)
    trainer = ["--trainer.devices", "1", "--trainer.strategy", "auto", "--trainer.enable_progress_bar", "false"]
    trainer += ["--trainer.accelerator", "cpu" if tiny or not torch.cuda.is_available() else "gpu"]
    if workers is None:
        workers = 0 if tiny else max(min((os.cpu_count() or 1) - 2, 12), 0)
    loading = ["--data.workers" if case.experiment in FRAMES_OF else "--data.num_workers", str(workers)]
    root_dir = ["--trainer.default_root_dir", str(root), "--trainer.num_sanity_val_steps", "0"]
    experiment = str(CONF / "experiment" / f"{case.experiment}.yaml")
    return ["fit", "-c", experiment, *trainer, *options.split(), *loading, *root_dir]


def _timed(name: str, case: Case, places: dict[str, Path], folder: Path, how: How) -> dict[str, Any]:
    """The figures of a training, or what it failed with."""
    if find_spec(case.module) is None:
        return {"failed": f"needs {case.module}: make openmmlab"}
    warm = 1 if how.tiny or how.steps else WARM
    count = warm + (how.steps or (TINY_STEPS if how.tiny else STEPS))
    path = folder / f"{name}.json"
    line = command_line(case, places, folder / name, how.tiny, how.workers)
    line += [f"--{case.batch}", str(how.batch)] if how.batch else []
    if case.experiment in FRAMES_OF:
        line += ["--data.samples_per_epoch", str(count * (how.batch or (2 if how.tiny else 8)))]
    line += ["--trainer.max_epochs", "1", "--trainer.limit_train_batches", str(count)]
    line += ["--trainer.limit_val_batches", "0"]
    line += [STEP_TIMES, f"--trainer.callbacks.path={path}", f"--trainer.callbacks.warm={warm}"]
    line += [f"--trainer.callbacks.parts={str(how.parts).lower()}"]
    if problem := _fit(line, None if how.steps else LONGEST):
        return {"failed": problem}
    return dict(json.loads(path.read_text()))


def _short(places: dict[str, Path], folder: Path, tiny: bool) -> dict[str, Any]:
    """A small detector trained and scored."""
    root, began = folder / "short", time.perf_counter()
    line = command_line(SHORT_TRAINING, places, root, tiny)
    if tiny:
        line += ["--trainer.max_steps", "2", "--data.batch_size", "2"]
    if problem := _fit(line, LONGEST):
        return {"failed": problem}
    record = json.loads((root / RESULT_FILE).read_text())
    figures = {name: value for name, value in record["metrics"].items() if name == "car/3d/moderate/0.5"}
    took = round(time.perf_counter() - began, 1)
    return {"seconds": took, "steps": record["steps"], "pictures_per_second": record["images_per_second"], **figures}


def _fit(line: list[str], limit: float | None) -> str:
    """Run a training; what it failed with, or nothing."""
    command = [sys.executable, "-m", "lit", *line]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=limit)
    except subprocess.TimeoutExpired:
        return f"not done after {limit:.0f} s"
    said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[-1]
    return f"status {done.returncode}: {said[:300]}" if done.returncode else ""


def _flat(record: dict[str, Any]) -> dict[str, Any]:
    """The figures of a record in one level, for the table."""
    flat: dict[str, Any] = {}
    for name, figures in {**record["trainings"], **{key: record[key] for key in record if key == "render"}}.items():
        flat |= {f"{name} {key}": value for key, value in figures.items() if not isinstance(value, dict)}
        flat |= {f"{name} {key}": share for key, share in figures.get("share", {}).items()}
    flat |= {f"{name} injected share": share for name, share in record["injected_share"].items()}
    flat |= {f"short training {key}": value for key, value in record.get("short_training", {}).items()}
    return flat | {"seconds": record["seconds"]}
