"""Runs a grid of experiments: one process and one folder a run; finished runs are skipped, failures become rows."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from datamodules.atomic_files import write_atomically
from datamodules.errors import InputError
from lit.arguments import Arguments
from lit.cli import ROOT
from lit.grid import Cell, Grid, Step, read_grid
from lit.published import FILE as PUBLISHED
from lit.published import as_json
from lit.results import FILE, SCHEMA, config_hash, read_result, write_json

LAUNCHERS = ("local", "print")


def main(argv: list[str]) -> int:
    """``python -m lit sweep GRID``."""
    parser = Arguments("sweep", __doc__ or "")
    parser.add_argument("grid", type=Path, help="grid file, such as conf/sweep/world_augmentation.yaml")
    parser.add_argument(
        "--launcher", default="local", help="local runs them here; print lists the commands, one a line"
    )
    parser.add_argument("--jobs", type=int, default=None, help="runs at a time (default: one a core)")
    parser.add_argument("--root", type=Path, default=None, help="folder for the runs instead of the grid file's")
    parser.add_argument("--seeds", type=int, nargs="+", default=None, help="only these seeds")
    parser.add_argument("--arms", nargs="+", default=None, help="only these arms")
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="KEY=VALUE", help="options for every run, such as data.root=/data/kitti"
    )
    options = parser.parse_args(argv)
    if options.launcher not in LAUNCHERS:
        raise InputError(
            f"--launcher {options.launcher}: expected {' or '.join(LAUNCHERS)}; for a cluster feed the lines of "
            "--launcher print to its array jobs (a finished run is skipped, so lines may be repeated)"
        )
    grid = select(read_grid(options.grid, options.root, overrides(options.set)), options.arms, options.seeds)
    if options.launcher == "print":
        print_commands(grid)
        return 0
    end_children_when_terminated()
    failed = run_grid(grid, options.jobs or os.cpu_count() or 1)
    from lit.leaderboard import write_all  # the sweep ends with its table

    write_all([grid.folder], grid.folder / "leaderboard.html")
    return 1 if failed else 0


def overrides(words: Sequence[str]) -> dict[str, str]:
    """Options given as KEY=VALUE.

    Raises:
        InputError: for a word that is none.
    """
    for word in words:
        if not word.partition("=")[2] or word.startswith(("-", "=")):
            raise InputError(f"--set {word}: expected KEY=VALUE such as data.root=/data/kitti")
    return {key: value for key, _, value in (word.partition("=") for word in words)}


def end_children_when_terminated() -> None:
    """Treat a polite kill like Ctrl-C: the runs under way end, too, instead of going on without their sweep."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, interrupt)


def select(grid: Grid, arms: Sequence[str] | None, seeds: Sequence[int] | None) -> Grid:
    """The part of a grid with the given arms and seeds, and the preparing steps these arms need.

    Raises:
        InputError: for an arm the grid does not have.
    """
    for arm in arms or []:
        if arm not in grid.arms:
            raise InputError(f"no arm '{arm}' in this grid: expected {', '.join(grid.arms)}")
    kept = {arm: entry for arm, entry in grid.arms.items() if not arms or arm in arms}
    steps = [step for step in grid.prepare if any(step.serves(arm) for arm in kept)]
    return replace(grid, arms=kept, seeds=list(seeds) if seeds else grid.seeds, prepare=steps)


def print_commands(grid: Grid) -> None:
    """Print what a launcher has to run, in order; preparing steps first."""
    for step in grid.prepare:
        print("python -m lit", shlex.join(step.command))
    for cell in grid.cells():
        print("python -m lit", shlex.join(cell.command))


def run_grid(grid: Grid, jobs: int) -> int:
    """Prepare, check every command, then run what is not finished.

    Args:
        grid: the grid.
        jobs: processes at a time; each gets an equal share of the cores.

    Returns:
        The number of failed runs.

    Raises:
        InputError: for a run that would be refused, before any run starts, or for a failed preparing step.
    """
    for step in grid.prepare:
        prepare(step, grid.folder)
    cells = list(grid.cells())
    from lit.trainer_cli import resolve  # imports torch: only once something is to be run

    hashes = {cell.name: config_hash(resolve(cell.command)) for cell in cells}
    if grid.published:
        write_json(grid.folder / PUBLISHED, as_json(grid.published))
    pending = [cell for cell in cells if not finished(cell.folder, hashes[cell.name])]
    pending = [cell for cell in pending if not taken_over(cell, grid.reuse, hashes[cell.name])]
    print(f"{grid.name}: {len(cells)} runs, {len(cells) - len(pending)} finished, {jobs} at a time, in {grid.folder}")
    with progress_bar() as bar, ThreadPoolExecutor(jobs) as pool:
        return _drain(pool, pending, jobs, bar, len(cells))


def progress_bar() -> Progress:
    """The suite's progress display."""
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()
    )


def _drain(pool: ThreadPoolExecutor, pending: list[Cell], jobs: int, bar: Progress, total: int) -> int:
    failed = 0
    task = bar.add_task("runs", total=total, completed=total - len(pending))
    stop = threading.Event()
    waiting: dict[Future[str | None], Cell] = {}
    try:
        waiting = {pool.submit(run_cell, cell, jobs, stop): cell for cell in pending}
        left = set(waiting)
        while left:
            done, left = wait(left, return_when=FIRST_COMPLETED)
            for future in done:
                cell, error = waiting[future], future.result()
                failed += error is not None
                bar.advance(task)
                bar.console.print(
                    f"{cell.name}: {f'failed: {error}' if error else 'done'}", markup=False, highlight=False
                )
    except BaseException:
        stop.set()
        for future in waiting:
            future.cancel()
        raise
    return failed


def run_cell(cell: Cell, jobs: int, stop: threading.Event) -> str | None:
    """Run one cell in its own process, its output in ``log.txt``.

    Returns:
        None, or the last log line of a failed run; the failure is also recorded as the cell's ``result.json``.
    """
    if stop.is_set():
        return "not started"
    cell.folder.mkdir(parents=True, exist_ok=True)
    log = cell.folder / "log.txt"
    (cell.folder / FILE).unlink(missing_ok=True)
    code = run_process(cell.command, log, threads=max(1, (os.cpu_count() or 1) // jobs), stop=stop)
    if stop.is_set():
        return "stopped"
    if code == 0 and (cell.folder / FILE).is_file():
        return None
    error = last_line(log) or f"exit status {code}"
    write_json(cell.folder / FILE, failure(cell, error, code))
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


def prepare(step: Step, folder: Path) -> None:
    """Run a preparing step unless its marker says that this very step was done and its files are there.

    Raises:
        InputError: when it fails or does not leave what it should.
    """
    marker = folder / "prepared" / step.name
    if marker.is_file() and marker.read_text() == step.digest and all(Path(p).exists() for p in step.creates):
        print(f"{step.name}: done before")
        return
    print(f"{step.name}: python -m lit {shlex.join(step.command)}", flush=True)
    marker.parent.mkdir(parents=True, exist_ok=True)
    marker.unlink(missing_ok=True)
    started = time.perf_counter()
    log = marker.with_suffix(".log")
    code = run_process(step.command, log, threads=max(1, (os.cpu_count() or 1) // 2))  # small networks gain no more
    if code:
        raise InputError(f"preparing step '{step.name}' failed: {last_line(log) or f'exit status {code}'} (log: {log})")
    for path in step.creates:
        if not Path(path).exists():
            raise InputError(f"preparing step '{step.name}' left no {path}; check its command in the grid file")
    write_atomically(marker, step.digest)
    print(f"{step.name}: done in {time.perf_counter() - started:.0f} s")


def finished(folder: Path, digest: str) -> bool:
    """Whether a folder holds the record of a successful run with this configuration hash."""
    try:
        result = read_result(folder / FILE)
    except InputError:
        return False
    return result.error is None and result.content.get("config_hash") == digest


def taken_over(cell: Cell, places: Sequence[Path], digest: str) -> bool:
    """Take a cell's record and pictures from another sweep's folder when the same run finished there."""
    for place in places:
        folder = place / cell.name
        if folder.resolve() != cell.folder.resolve() and finished(folder, digest):
            cell.folder.mkdir(parents=True, exist_ok=True)
            for name in [*(read_result(folder / FILE).content.get("samples") or []), FILE]:  # the record last
                shutil.copy2(folder / name, cell.folder / name)
            print(f"{cell.name}: taken from {folder}")
            return True
    return False


def last_line(log: Path) -> str:
    """The last non-empty line of a log, at most 300 characters."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""
