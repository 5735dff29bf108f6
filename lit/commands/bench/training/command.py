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
from typing import Any

import torch

from datamodules.errors import InputError, closest
from lit import ROOT
from lit.commands.bench.training.cases import CASES, CONF, SHORT_TRAINING, Case, write_backbone, write_inputs
from lit.commands.bench.training.device_render import measure_render
from lit.commands.report import report
from lit.provenance import git_commit
from lit.results import RESULT_FILE, write_output

STEPS, WARM = 30, 5
TINY_STEPS = 3
LONGEST = 150.0  # seconds of one training: what hangs must not cost the others their turn
STEP_TIMES = "--trainer.callbacks+=lit.callbacks.step_times.StepTimes"
ON_DEVICE = "injection itself runs in the loader's workers alone; what is measured on the device is the voxel renderer"


def run(
    out: str | Path | None = None,
    dry_run: bool = False,
    only: Sequence[str] | None = None,
    steps: int | None = None,
    parts: bool = False,
) -> dict[str, Any]:
    """Time every training that this machine has the packages for.

    Args:
        out: JSON file to write, or None.
        dry_run: tiny networks and pictures on the CPU: shows that the record comes, its figures mean nothing.
        only: names of trainings; by default all, the renderer, and a short training to its end.
        steps: steps that are timed.
        parts: also say where the time goes.

    Returns:
        ``machine``, ``trainings`` (of each the figures of :class:`lit.callbacks.step_times.StepTimes`, or ``failed``
        with its last line), ``render`` on the device, and ``short_training``.

    Raises:
        InputError: an unknown name.
    """
    for name in only or []:
        if name not in CASES:
            raise InputError(f"--only {name}: expected one of {', '.join(CASES)}{closest(name, CASES)}")
    device = "cuda" if torch.cuda.is_available() and not dry_run else "cpu"
    began = time.perf_counter()
    record: dict[str, Any] = {"machine": machine(device), "dry_run": dry_run, "commit": git_commit()}
    with tempfile.TemporaryDirectory() as folder:
        places = write_inputs(Path(folder), dry_run)
        if not dry_run and find_spec("mmdet3d") and (only is None or any("fcos3d" in name for name in only)):
            write_backbone(places["backbone"])
        record["trainings"] = {
            name: _timed(name, case, places, Path(folder), (steps, dry_run, parts))
            for name, case in CASES.items()
            if only is None or name in only
        }
        if only is None:
            record["render"] = {**measure_render(device, tiny=dry_run), "note": ON_DEVICE}
            record["short_training"] = _short(places, Path(folder), dry_run)
    record["seconds"] = round(time.perf_counter() - began, 1)
    if out:
        write_output(out, record)
    report(f"bench training on {record['machine']['device']}", _flat(record), None)
    return record


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


def command_line(case: Case, places: dict[str, Path], root: Path, tiny: bool) -> list[str]:
    """A training's words, without what limits its length."""
    options = f"{case.words} {case.tiny if tiny else case.full}".format(**places)
    trainer = ["--trainer.devices", "1", "--trainer.strategy", "auto", "--trainer.enable_progress_bar", "false"]
    trainer += ["--trainer.accelerator", "cpu" if tiny or not torch.cuda.is_available() else "gpu"]
    workers = "num_workers" if case.experiment.startswith(("lift3d", "stylegan2")) else "workers"
    loading = [f"--data.{workers}", str(0 if tiny else max(min((os.cpu_count() or 1) - 2, 12), 0))]
    root_dir = ["--trainer.default_root_dir", str(root), "--trainer.num_sanity_val_steps", "0"]
    experiment = str(CONF / "experiment" / f"{case.experiment}.yaml")
    return ["fit", "-c", experiment, *trainer, *options.split(), *loading, *root_dir]


def _timed(
    name: str, case: Case, places: dict[str, Path], folder: Path, how: tuple[int | None, bool, bool]
) -> dict[str, Any]:
    """The figures of a training, or what it failed with."""
    steps, tiny, parts = how
    if find_spec(case.module) is None:
        return {"failed": f"needs {case.module}: make openmmlab"}
    warm = 1 if tiny or steps else WARM
    count = warm + (steps or (TINY_STEPS if tiny else STEPS))
    path = folder / f"{name}.json"
    line = command_line(case, places, folder / name, tiny)
    if case.experiment in ("kitti_centernet", "nuscenes_fcos3d"):
        line += ["--data.samples_per_epoch", str(count * 8 if not tiny else count * 2)]
    line += [
        "--trainer.max_epochs",
        "1",
        "--trainer.limit_train_batches",
        str(count),
        "--trainer.limit_val_batches",
        "0",
    ]
    line += [STEP_TIMES, f"--trainer.callbacks.path={path}", f"--trainer.callbacks.warm={warm}"]
    line += [f"--trainer.callbacks.parts={str(parts).lower()}"]
    if problem := _fit(line, None if steps else LONGEST):
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
    flat |= {f"short training {key}": value for key, value in record.get("short_training", {}).items()}
    return flat | {"seconds": record["seconds"]}
