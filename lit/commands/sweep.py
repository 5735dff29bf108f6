"""Runs a grid of experiments: one process and one folder a run; finished runs are skipped, failures become rows."""

from __future__ import annotations

import os
import shlex
import signal
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from datamodules.errors import InputError
from lit.arguments import Arguments
from lit.experiments.grid import Grid, read_grid
from lit.experiments.grid_runner import run_grid

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
    from lit.leaderboard.files import write_all  # the sweep ends with its table

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
