"""Carries out a grid: preparing steps one after the other, and runs beside them as soon as what they need is there."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec
from rich.console import Console
from rich.progress import Progress

from datamodules.errors import InputError
from datamodules.files.folder_lock import folder_lock
from datamodules.processes import progress_bar, track
from lit.experiments.cell_runs import finished, made_otherwise, run_cell, taken_over, tested
from lit.experiments.design import note, write_plan
from lit.experiments.grid import Cell, Grid, Step
from lit.experiments.launchers.launcher import Job, Launcher, spreads
from lit.experiments.launchers.local import LocalLauncher
from lit.experiments.process import allowed_threads, last_line, run_process
from lit.experiments.published import FILE as PUBLISHED_FILE
from lit.experiments.step_runs import is_done, prepare
from lit.provenance import Contents, RunKey, hash_of_values, run_key
from lit.results import RESULT_FILE, write_record

Otherwise = Literal["refuse", "again", "keep"]
ARRIVES = 10.0  # seconds that a network file system may take to show here what another machine has written


@dataclass(frozen=True)
class Away:
    """Other machines than this one, and how they are told which sweep a job is of.

    Attributes:
        launcher: runs the jobs there.
        words: the arguments after ``python -m lit`` that mean this sweep, without what chooses a step or a run.
    """

    launcher: Launcher
    words: Sequence[str] = field(default_factory=tuple)


def run_grid(
    grid: Grid, jobs: int, whole: Grid | None = None, otherwise: Otherwise = "refuse", away: Away | None = None
) -> int:
    """Check every command, state the plan, then prepare and run what is not finished, and score the test set.

    Args:
        grid: the grid, or a part of it.
        jobs: processes at a time; each run gets an equal share of the cores.
        whole: the grid that it is a part of; the test set is looked at when all its planned runs are finished.
        otherwise: what to do with finished runs whose key differs: refuse to go on, run them "again", or "keep" them.
        away: where the jobs run, if not here.

    Returns:
        The number of failed runs.

    Raises:
        InputError: for a run that would be refused, before anything starts, for runs made otherwise, or for a failed
            preparing step, after the runs that do without it.
    """
    with folder_lock(grid.folder, f"the sweep {grid.name}"):
        return _run_grid(grid, whole or grid, otherwise, away or Away(LocalLauncher(jobs)))


def _run_grid(grid: Grid, whole: Grid, otherwise: Otherwise, away: Away) -> int:
    with away.launcher:  # first of all: it may be out of reach
        keys = CellKeys(list(whole.cells()) + list(grid.cells()))
        cells, moment = list(grid.cells()), Contents()
        pending = [cell for cell in cells if not finished(cell.folder, keys.digest(cell, moment))]
        pending = [cell for cell in pending if not taken_over(cell, grid.reuse, keys.digest(cell, moment))]
        pending = left_to_run(grid, pending, keys, moment, otherwise)
        write_plan(grid.folder, grid.name, grid.design, len(list(grid.folder.glob(f"*/{RESULT_FILE}"))))
        if grid.published:
            write_record(grid.folder / PUBLISHED_FILE, msgspec.to_builtins(grid.published))
        told = f"{len(cells)} runs, {len(cells) - len(pending)} finished, {away.launcher.at_a_time}"
        print(f"{grid.name}: {told}, in {grid.folder}")
        with progress_bar(Console()) as bar:
            failed = GridRun(grid, pending, keys, away, bar).finish(len(cells))
        return failed or score_test_set(whole, keys, away)


def run_one(grid: Grid, cell: Cell, otherwise: Otherwise = "refuse", threads: int | None = None) -> int:
    """Make one run unless it is finished, from its last checkpoint if it has one; safe to repeat.

    Args:
        grid: the whole grid.
        cell: the run.
        otherwise: as in :func:`run_grid`.
        threads: of its process; by default OMP_NUM_THREADS, else one a core.

    Returns:
        0, or 1 when it failed.

    Raises:
        InputError: a preparing step that it needs is not done.
    """
    for step in grid.prepare:
        if step.serves(cell.arm, cell.bank) and not is_done(step, grid):
            raise InputError(
                f"{cell.name}: the preparing step '{step.name}' is not done; run `python -m lit sweep GRID --step "
                f"{step.name}` first (`--launcher print` lists the order)"
            )
    keys, moment = CellKeys([cell]), Contents()
    digest = keys.digest(cell, moment)
    if finished(cell.folder, digest) or taken_over(cell, grid.reuse, digest):
        print(f"{cell.name}: finished before")
        return 0
    if not left_to_run(grid, [cell], keys, moment, otherwise):
        print(f"{cell.name}: kept as it was made")
        return 0
    write_plan(grid.folder, grid.name, grid.design, len(list(grid.folder.glob(f"*/{RESULT_FILE}"))))
    error = run_cell(cell, digest, threads or allowed_threads())
    print(f"{cell.name}: {f'failed: {error}' if error else 'done'}")
    return 1 if error else 0


class CellKeys:
    """Keys of a grid's runs, as the files they read stand at a moment.

    Args:
        cells: the runs; all their command lines are checked at once.

    Raises:
        InputError: for anything a run would refuse.
    """

    def __init__(self, cells: list[Cell]) -> None:
        from lit.trainer_cli import resolve  # imports torch: only once something is to be run

        known: dict[str, dict[str, Any]] = {}
        for cell in cells:
            if cell.name not in known:
                known[cell.name] = resolve(cell.command)
        self._configs = known

    def key(self, cell: Cell, moment: Contents | None = None) -> RunKey:
        """A run's key now."""
        return run_key(self._configs[cell.name], moment, cell.varied)

    def digest(self, cell: Cell, moment: Contents | None = None) -> str:
        """A run's key now, in 16 hex digits."""
        return self.key(cell, moment).digest


def left_to_run(grid: Grid, cells: list[Cell], keys: CellKeys, moment: Contents, otherwise: Otherwise) -> list[Cell]:
    """Of the runs without a record of their key, those that are to be made.

    Raises:
        InputError: some were finished with another key, and nobody said what is to become of them.
    """
    old = [(cell, found) for cell in cells if (found := made_otherwise(cell.folder, keys.digest(cell, moment)))]
    if otherwise == "refuse" and old:
        cell, found = old[0]
        theirs, ours = found.key, keys.key(cell, moment)
        parts = ("code", "config", "contents", "versions")
        differs = [part for part in parts if theirs and getattr(theirs, part) != getattr(ours, part)]
        raise InputError(
            f"{cell.folder} and {len(old) - 1} other finished runs have other {' and '.join(differs) or 'keys'}, "
            "expected one key for all; --otherwise again runs them anew, --otherwise keep leaves them (the page splits "
            "and flags their rows), --root writes elsewhere"
        )
    kept = {cell.name for cell, _ in old} if otherwise == "keep" else set()
    return [cell for cell in cells if cell.name not in kept]


def score_test_set(grid: Grid, keys: CellKeys, away: Away) -> int:
    """Score the final weights of all planned runs on the held-out test set, once, when all of them are finished.

    Returns:
        The number of runs that could not be scored.
    """
    if not grid.test:
        return 0
    moment = Contents()
    cells = [cell for cell in grid.cells() if cell.seed in grid.design.seeds]
    digests = {cell.name: keys.digest(cell, moment) for cell in cells}
    if missing := [cell.name for cell in cells if not finished(cell.folder, digests[cell.name])]:
        print(f"test set: not looked at, {len(missing)} planned runs are not finished ({missing[0]} first)")
        return 0
    left = [cell for cell in cells if not tested(cell.folder, digests[cell.name])]
    if not left:
        return 0
    note(grid.folder, f"test set scored for {len(cells)} runs of keys {hash_of_values(digests)}")
    futures = away.launcher.start([test_job(grid, cell, away.launcher.threads) for cell in left])
    errors = list(track((future.result() for future in futures), "test set", total=len(left)))
    for cell, error in zip(left, errors, strict=True):
        if error:
            print(f"{cell.name}: not scored on the test set: {error}")
    return sum(map(bool, errors))


def test_job(grid: Grid, cell: Cell, threads: int) -> Job:
    """The job that scores a finished run on the test set."""
    words, log = grid.test_command(cell), cell.folder / "log_test.txt"

    def call(stop: threading.Event) -> str | None:
        return last_line(log) or "failed" if run_process(words, log, threads, stop) else None

    return Job(f"{cell.name}-test", words, log, call)


class GridRun:
    """The jobs of a grid that are left, and those under way.

    One step is under way at a time, in the file's order, because later ones build on earlier ones; a run starts when
    every step that serves its arm is done. After a failed step only runs that need neither it nor a later one go on.

    Args:
        grid: the grid.
        pending: its runs that are to be made, in order.
        keys: of its runs.
        away: where they run.
        bar: shows the runs, and takes the messages.
    """

    def __init__(self, grid: Grid, pending: list[Cell], keys: CellKeys, away: Away, bar: Progress) -> None:
        self.grid, self.pending, self.keys, self.away, self.bar = grid, list(pending), keys, away, bar
        self.steps = [step for step in grid.prepare if any(step.serves(cell.arm, cell.bank) for cell in pending)]
        self.missing = list(self.steps)  # not done yet, failed ones included
        self.running: dict[Future[str | None], Step | Cell] = {}

    def finish(self, total: int) -> int:
        """Do everything. Returns the number of failed runs; raises InputError after a failed step.

        Args:
            total: runs of the grid, finished ones included.
        """
        failed, broken = 0, ""
        task = self.bar.add_task("runs", total=total, completed=total - len(self.pending))
        while self.fill():
            done, _ = wait(self.running, return_when=FIRST_COMPLETED)
            for future in done:
                job, error = self.running.pop(future), future.result()
                if isinstance(job, Step):
                    broken = error or broken
                    if error is None:
                        self.missing.remove(job)
                    if self.away.words:
                        self.say(f"{job.name}: {f'failed: {error}' if error else 'done'}")
                    continue
                error = error or self.unseen(job)
                failed += error is not None
                self.bar.advance(task)
                self.say(f"{job.name}: {f'failed: {error}' if error else 'done'}")
        if broken:
            raise InputError(broken)
        return failed

    def fill(self) -> bool:
        """Start what may start now, steps first. Returns whether anything is under way."""
        taken: list[Step | Cell] = []
        while len(self.running) + len(taken) < self.away.launcher.jobs:
            busy = any(isinstance(job, Step) for job in [*self.running.values(), *taken])
            ready = (c for c in self.pending if not any(step.serves(c.arm, c.bank) for step in self.missing))
            if self.steps and not busy and self.steps[0] is self.missing[0]:
                taken.append(self.steps.pop(0))
            elif (cell := next(ready, None)) is not None:
                self.pending.remove(cell)
                taken.append(cell)
            else:
                break
        jobs = [self.step_job(job) if isinstance(job, Step) else self.cell_job(job) for job in taken]
        self.running |= zip(self.away.launcher.start(jobs), taken) if jobs else ()
        return bool(self.running)

    def cell_job(self, cell: Cell) -> Job:
        """A run."""

        def call(stop: threading.Event) -> str | None:
            return run_cell(cell, self.keys.digest(cell), threads, stop)

        threads = self.away.launcher.threads
        words = [*self.away.words, "--cell", cell.name, "--threads", str(threads)]
        return Job(cell.name, words, self.log(cell.name), call)

    def step_job(self, step: Step) -> Job:
        """A preparing step; where it runs here, it says itself what becomes of it."""

        def call(stop: threading.Event) -> str | None:
            try:
                prepare(step, self.grid, self.say, stop)
            except InputError as error:
                self.say(str(error))
                return str(error)
            return None

        words = [*self.away.words, "--step", step.name, "--threads", str(self.away.launcher.threads)]
        return Job(step.name, words, self.log(step.name), call, spreads(step.command))

    def log(self, name: str) -> Path:
        """What another machine says of a job."""
        return self.grid.folder / "launched" / f"{name}.log"

    def unseen(self, cell: Cell) -> str | None:
        """That a run which is said to be done left nothing here; a network file system may need a moment."""
        until = time.monotonic() + ARRIVES
        while not (cell.folder / RESULT_FILE).is_file():
            if time.monotonic() > until:
                return f"its worker left no {RESULT_FILE} in {cell.folder}; expected a folder that all machines share"
            time.sleep(0.2)
        return None

    def say(self, text: str) -> None:
        """Print a line above the progress bar."""
        self.bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
