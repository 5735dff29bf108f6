"""Carries out a grid: preparing steps one after the other, and runs beside them as soon as what they need is there."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import Progress

from datamodules.errors import InputError
from datamodules.files.atomic_files import write_atomically
from datamodules.processes import progress_bar
from lit import ROOT
from lit.experiments.grid import Cell, Grid, Step
from lit.experiments.published import FILE as PUBLISHED_FILE
from lit.results import RESULT_FILE, SCHEMA, config_hash, read_result, write_json


def run_grid(grid: Grid, jobs: int) -> int:
    """Check every command, then prepare and run what is not finished.

    Args:
        grid: the grid.
        jobs: processes at a time; each run gets an equal share of the cores.

    Returns:
        The number of failed runs.

    Raises:
        InputError: for a run that would be refused, before anything starts, or for a failed preparing step, after the
            runs that do without it.
    """
    cells = list(grid.cells())
    from lit.trainer_cli import resolve  # imports torch: only once something is to be run

    hashes = {cell.name: config_hash(resolve(cell.command)) for cell in cells}
    if grid.published:
        write_json(grid.folder / PUBLISHED_FILE, msgspec.to_builtins(grid.published))
    pending = [cell for cell in cells if not finished(cell.folder, hashes[cell.name])]
    pending = [cell for cell in pending if not taken_over(cell, grid.reuse, hashes[cell.name])]
    print(f"{grid.name}: {len(cells)} runs, {len(cells) - len(pending)} finished, {jobs} at a time, in {grid.folder}")
    with progress_bar(Console()) as bar:
        return GridRun(grid, pending, jobs, bar).finish(len(cells))


class GridRun:
    """The jobs of a grid that are left, and those under way.

    One step is under way at a time, in the file's order, because later ones build on earlier ones; a run starts when
    every step that serves its arm is done. After a failed step only runs that need neither it nor a later one go on.

    Args:
        grid: the grid.
        pending: its runs that are to be made, in order.
        jobs: steps and runs at a time.
        bar: shows the runs, and takes the messages.
    """

    def __init__(self, grid: Grid, pending: list[Cell], jobs: int, bar: Progress) -> None:
        self.grid, self.pending, self.jobs, self.bar = grid, list(pending), jobs, bar
        self.steps = [step for step in grid.prepare if any(step.serves(cell.arm) for cell in pending)]
        self.missing = list(self.steps)  # not done yet, failed ones included
        self.stop = threading.Event()
        self.running: dict[Future[str | None], Step | Cell] = {}

    def finish(self, total: int) -> int:
        """Do everything. Returns the number of failed runs; raises InputError after a failed step.

        Args:
            total: runs of the grid, finished ones included.
        """
        failed, broken = 0, ""
        task = self.bar.add_task("runs", total=total, completed=total - len(self.pending))
        with ThreadPoolExecutor(self.jobs) as pool:
            try:
                while self.fill(pool):
                    done, _ = wait(self.running, return_when=FIRST_COMPLETED)
                    for future in done:
                        job, error = self.running.pop(future), future.result()
                        if isinstance(job, Step):
                            broken = error or broken
                            if error is None:
                                self.missing.remove(job)
                            continue
                        failed += error is not None
                        self.bar.advance(task)
                        self.say(f"{job.name}: {f'failed: {error}' if error else 'done'}")
            except BaseException:
                self.stop.set()
                for future in self.running:
                    future.cancel()
                raise
        if broken:
            raise InputError(broken)
        return failed

    def fill(self, pool: ThreadPoolExecutor) -> bool:
        """Start what may start now, steps first. Returns whether anything is under way."""
        while len(self.running) < self.jobs:
            busy = any(isinstance(job, Step) for job in self.running.values())
            ready = (c for c in self.pending if not any(step.serves(c.arm) for step in self.missing))
            if self.steps and not busy and self.steps[0] is self.missing[0]:
                step = self.steps.pop(0)
                self.running[pool.submit(self.prepare, step)] = step
            elif (cell := next(ready, None)) is not None:
                self.pending.remove(cell)
                self.running[pool.submit(run_cell, cell, self.jobs, self.stop)] = cell
            else:
                break
        return bool(self.running)

    def prepare(self, step: Step) -> str | None:
        """Why a step failed, or None."""
        try:
            prepare(step, self.grid, self.say, self.stop)
        except InputError as error:
            self.say(str(error))
            return str(error)
        return None

    def say(self, text: str) -> None:
        """Print a line above the progress bar."""
        self.bar.console.print(text, markup=False, highlight=False, soft_wrap=True)


def run_cell(cell: Cell, jobs: int, stop: threading.Event) -> str | None:
    """Run one cell in its own process, its output in ``log.txt``.

    Returns:
        None, or the last log line of a failed run; the failure is also recorded as the cell's ``result.json``.
    """
    if stop.is_set():
        return "not started"
    cell.folder.mkdir(parents=True, exist_ok=True)
    log = cell.folder / "log.txt"
    (cell.folder / RESULT_FILE).unlink(missing_ok=True)
    code = run_process(cell.command, log, threads=max(1, (os.cpu_count() or 1) // jobs), stop=stop)
    if stop.is_set():
        return "stopped"
    if code == 0 and (cell.folder / RESULT_FILE).is_file():
        return None
    error = last_line(log) or f"exit status {code}"
    write_json(cell.folder / RESULT_FILE, failure(cell, error, code))
    return error


def failure(cell: Cell, error: str, code: int) -> dict[str, object]:
    """The record of a failed run: no metrics, and why."""
    return {
        "schema": SCHEMA, "arm": cell.arm, "frames": cell.frames, "seed": cell.seed, "dataset": "", "split": "",
        "metrics": {}, "error": error, "exit_status": code, "config_hash": None, "command": cell.command,
    }  # fmt: skip


def run_process(command: list[str], log: Path, threads: int, stop: threading.Event | None = None) -> int:
    """Run ``python -m lit`` with ``command``, everything it prints going to ``log``; it ends when ``stop`` is set."""
    # Passive waiting: OpenMP threads that spin at barriers slow each other down several times on busy cores.
    environment = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ}
    environment |= {"OMP_NUM_THREADS": str(threads), "PYTHONUNBUFFERED": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    with log.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "lit", *command], stdout=stream, stderr=subprocess.STDOUT, env=environment
        )
        try:
            while process.poll() is None:
                if stop is not None and stop.is_set():
                    process.terminate()
                    process.wait(30)
                time.sleep(0.1)
        finally:
            if process.poll() is None:
                process.kill()
    return process.returncode


def prepare(step: Step, grid: Grid, say: Callable[[str], None] = print, stop: threading.Event | None = None) -> None:
    """Run a preparing step unless a marker says that this very step was done and its files are there.

    Markers and logs lie in the sweep's ``prepared``; those of the sweeps whose runs it takes over count as well.

    Args:
        step: the step.
        grid: its grid.
        say: takes messages.
        stop: ends the step when set.

    Raises:
        InputError: when it fails or does not leave what it should.
    """
    marker, digest = grid.folder / "prepared" / step.name, grid.digest(step)
    if all(Path(path).exists() for path in step.creates):
        for place in (grid.folder, *grid.reuse):
            known = place / "prepared" / step.name
            if known.is_file() and known.read_text() == digest:
                say(f"{step.name}: done before{'' if place == grid.folder else f' in {place}'}")
                return
    say(f"{step.name}: python -m lit {shlex.join(step.command)}")
    marker.parent.mkdir(parents=True, exist_ok=True)
    marker.unlink(missing_ok=True)
    started = time.perf_counter()
    log = marker.with_suffix(".log")
    threads = max(1, (os.cpu_count() or 1) // 2)  # small networks gain no more
    code = run_process(step.command, log, threads, stop)
    if code:
        raise InputError(f"preparing step '{step.name}' failed: {last_line(log) or f'exit status {code}'} (log: {log})")
    for path in step.creates:
        if not Path(path).exists():
            raise InputError(f"preparing step '{step.name}' left no {path}; check its command in the grid file")
    write_atomically(marker, digest)
    say(f"{step.name}: done in {time.perf_counter() - started:.0f} s")


def finished(folder: Path, digest: str) -> bool:
    """Whether a folder holds the record of a successful run with this configuration hash."""
    try:
        result = read_result(folder / RESULT_FILE)
    except InputError:
        return False
    return result.error is None and result.content.get("config_hash") == digest


def taken_over(cell: Cell, places: Sequence[Path], digest: str) -> bool:
    """Take a cell's record and pictures from another sweep's folder when the same run finished there."""
    for place in places:
        folder = place / cell.name
        if folder.resolve() != cell.folder.resolve() and finished(folder, digest):
            cell.folder.mkdir(parents=True, exist_ok=True)
            pictures = read_result(folder / RESULT_FILE).content.get("samples") or []
            for name in [*pictures, RESULT_FILE]:  # the record last
                shutil.copy2(folder / name, cell.folder / name)
            print(f"{cell.name}: taken from {folder}")
            return True
    return False


def last_line(log: Path) -> str:
    """The last non-empty line of a log, at most 300 characters."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""
