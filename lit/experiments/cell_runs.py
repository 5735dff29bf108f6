"""One run of a grid: whether it is finished, can go on or has to start, and its process."""

from __future__ import annotations

import pickle
import shutil
import threading
import zipfile
from collections.abc import Sequence
from pathlib import Path

import torch

from datamodules.errors import InputError
from datamodules.files.folder_lock import folder_lock
from lit.experiments.grid import Cell
from lit.experiments.process import last_line, run_process
from lit.results import RESULT_FILE, SCHEMA, Result, read_result, result_file, write_record

LAST_CHECKPOINT = "last.ckpt"
TESTED = result_file("test")


def run_cell(cell: Cell, digest: str, threads: int, stop: threading.Event | None = None) -> str | None:
    """Run one cell in its own process, its output in ``log.txt``; from its last checkpoint when that is of this run.

    Args:
        cell: the run.
        digest: its key.
        threads: of the process.
        stop: ends it when set.

    Returns:
        None, or the last log line of a failed run; the failure is also recorded as the cell's ``result.json``.
    """
    if stop is not None and stop.is_set():
        return "not started"
    with folder_lock(cell.folder, f"the run {cell.name}", ".cell.lock"):
        return _run_cell(cell, digest, threads, stop)


def _run_cell(cell: Cell, digest: str, threads: int, stop: threading.Event | None) -> str | None:
    log = cell.folder / "log.txt"
    (cell.folder / RESULT_FILE).unlink(missing_ok=True)
    (cell.folder / TESTED).unlink(missing_ok=True)  # the scores of other weights
    command = cell.command
    if trained_key(cell.folder / LAST_CHECKPOINT) == digest:
        command = [*command, "--ckpt_path=last"]
    else:
        (cell.folder / LAST_CHECKPOINT).unlink(missing_ok=True)
    code = run_process(command, log, threads, stop)
    if stop is not None and stop.is_set():
        return "stopped"
    if code == 0 and (cell.folder / RESULT_FILE).is_file():
        return None
    said = last_line(log)
    error = said if said and code in (0, 1, 2) else f"exit status {code}" + (f" after: {said}" if said else "")
    write_record(cell.folder / RESULT_FILE, failure(cell, error, code))
    return error


def failure(cell: Cell, error: str, code: int) -> dict[str, object]:
    """The record of a failed run: no metrics, and why."""
    return {
        "schema": SCHEMA, "arm": cell.arm, "frames": cell.frames, "seed": cell.seed, "fold": cell.fold,
        "dataset": "", "split": "",
        "metrics": {}, "error": error, "exit_status": code, "key": None, "command": cell.command,
    }  # fmt: skip


def finished(folder: Path, digest: str) -> bool:
    """Whether a folder holds the record of a successful run with this key."""
    result = record(folder / RESULT_FILE)
    return result is not None and result.error is None and result.key is not None and result.key.digest == digest


def made_otherwise(folder: Path, digest: str) -> Result | None:
    """A folder's record of a successful run with another key, or None."""
    result = record(folder / RESULT_FILE)
    return None if result is None or result.error is not None or finished(folder, digest) else result


def tested(folder: Path, digest: str) -> bool:
    """Whether a folder holds the test set's scores of the weights that the run with this key trained."""
    result = record(folder / TESTED)
    return result is not None and (result.content.get("trained") or {}).get("digest") == digest


def record(path: Path) -> Result | None:
    """A record, or None where there is none that can be read."""
    try:
        return read_result(path)
    except InputError:
        return None


def trained_key(checkpoint: Path) -> str | None:
    """The key of the run that wrote a checkpoint; None for one that is not there, broken, or not of this suite."""
    if not checkpoint.is_file():
        return None
    try:
        content = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
        return str(content["callbacks"]["Record"]["trained"]["digest"])
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, pickle.UnpicklingError, zipfile.BadZipFile):
        return None


def taken_over(cell: Cell, places: Sequence[Path], digest: str) -> bool:
    """Take a cell's record and what lies beside it from another sweep's folder when the same run finished there."""
    for place in places:
        folder = place / cell.name
        if folder.resolve() == cell.folder.resolve() or not finished(folder, digest):
            continue
        cell.folder.mkdir(parents=True, exist_ok=True)
        content = read_result(folder / RESULT_FILE).content
        beside = [*(content.get("samples") or []), *([content["raw"]["file"]] if content.get("raw") else [])]
        for name in [*beside, LAST_CHECKPOINT, RESULT_FILE]:  # the record last
            if (folder / name).is_file():
                shutil.copy2(folder / name, cell.folder / name)
        print(f"{cell.name}: taken from {folder}")
        return True
    return False
