"""The preparing steps of a grid: each runs once, and again when it or what it builds on changed."""

from __future__ import annotations

import os
import shlex
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from datamodules.errors import InputError
from datamodules.files.folder_lock import folder_lock
from lit.experiments.cell_runs import LAST_CHECKPOINT, trained_key
from lit.experiments.grid import Grid, Step
from lit.experiments.process import last_line, run_process
from lit.provenance import run_key
from lit.results import read_record, write_record


def prepare(
    step: Step,
    grid: Grid,
    say: Callable[[str], None] = print,
    stop: threading.Event | None = None,
    threads: int | None = None,
) -> None:
    """Run a preparing step unless a marker says that this very step was done and its files are there.

    Markers and logs lie in the sweep's ``prepared``; those of the sweeps whose runs it takes over count as well.

    Args:
        step: the step.
        grid: its grid.
        say: takes messages.
        stop: ends the step when set.
        threads: of its process; by default half of the cores, small networks gain no more.

    Raises:
        InputError: when it fails or does not leave what it should.
    """
    if place := is_done(step, grid):
        say(f"{step.name}: done before{'' if place == grid.folder else f' in {place}'}")
        name = f"{step.name}.json"
        marker = read_record(place / "prepared" / name, "a step's marker")
        if place != grid.folder or marker["arms"] != step.arms:  # what it cost stands beside this sweep's rows, too
            write_record(grid.folder / "prepared" / name, {**marker, "arms": step.arms})
        return
    with folder_lock(grid.folder / "prepared", f"what step {step.name} prepares", f".{step.name}.lock"):
        _make(step, grid, say, stop, threads or max(1, (os.cpu_count() or 1) // 2))


def _make(step: Step, grid: Grid, say: Callable[[str], None], stop: threading.Event | None, threads: int) -> None:
    say(f"{step.name}: python -m lit {shlex.join(step.command)}")
    marker = grid.folder / "prepared" / f"{step.name}.json"
    marker.unlink(missing_ok=True)
    started = time.perf_counter()
    log = marker.with_suffix(".log")
    code = run_process([*step.command, *going_on(step)], log, threads, stop)
    if code:
        raise InputError(f"preparing step '{step.name}' failed: {last_line(log) or f'exit status {code}'} (log: {log})")
    for path in step.creates:
        if not Path(path).exists():
            raise InputError(f"preparing step '{step.name}' left no {path}; check its command in the grid file")
    seconds = round(time.perf_counter() - started, 1)
    write_record(marker, {"digest": grid.digest(step), "seconds": seconds, "command": step.command, "arms": step.arms})
    say(f"{step.name}: done in {seconds:.0f} s")


def going_on(step: Step) -> list[str]:
    """What lets a stopped training go on; as with a run, its checkpoint has to be of this very command's key."""
    checkpoint = next((Path(path) for path in step.creates if Path(path).name == LAST_CHECKPOINT), None)
    if step.command[0] != "fit" or checkpoint is None or (trained := trained_key(checkpoint)) is None:
        return []
    from lit.trainer_cli import resolve  # imports torch: only once something is to be run

    return ["--ckpt_path=last"] if trained == run_key(resolve(step.command)).digest else []


def is_done(step: Step, grid: Grid) -> Path | None:
    """The folder whose marker says that this very step was done and whose files are there; None without one."""
    digest = grid.digest(step)
    for place in (grid.folder, *grid.reuse) if all(Path(path).exists() for path in step.creates) else ():
        with suppress(InputError):
            marker = read_record(place / "prepared" / f"{step.name}.json", "a step's marker")
            if marker.get("digest") == digest:
                return place
    return None
