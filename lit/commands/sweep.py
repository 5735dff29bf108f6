"""Runs a grid of experiments: one process and one folder a run; finished runs are skipped, failures become rows."""

from __future__ import annotations

import shlex
import signal
import threading
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar, get_args

from datamodules.errors import InputError, closest, listed
from lit.arguments import Arguments, positive
from lit.commands.launch_options import add_launch_options, launcher_of, require_launcher
from lit.experiments.grid import Grid, Step, read_grid
from lit.experiments.grid_runner import Away, CellKeys, Otherwise, run_grid, run_one
from lit.experiments.step_runs import prepare

OTHERWISE = get_args(Otherwise)
T = TypeVar("T")


def main(argv: list[str]) -> int:
    """``python -m lit sweep GRID``."""
    parser = Arguments("sweep", __doc__ or "")
    parser.add_argument("grid", type=Path, help="grid file, such as conf/sweep/world_augmentation.yaml")
    add_launch_options(parser)
    parser.add_argument("--root", type=Path, default=None, help="folder for the runs instead of the grid file's")
    parser.add_argument("--seeds", type=int, nargs="+", default=None, help="only these seeds")
    parser.add_argument("--arms", nargs="+", default=None, help="only these arms")
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="KEY=VALUE", help="options for every run, such as data.root=/data/kitti"
    )
    parser.add_argument("--cell", default=None, metavar="NAME", help="only this run: skipped, continued or started")
    parser.add_argument("--step", default=None, metavar="NAME", help="only this preparing step, unless it is done")
    parser.add_argument(
        "--threads",
        type=positive,
        default=None,
        help="of a --cell (default OMP_NUM_THREADS, else one a core) or a --step",
    )
    parser.add_argument(
        "--otherwise", choices=OTHERWISE, default="refuse", help="finished runs with another key: %(choices)s"
    )
    options = parser.parse_args(argv)
    require_launcher(options)
    whole = read_grid(options.grid, options.root, overrides(options.set))
    grid = select(whole, options.arms, options.seeds)
    if options.launcher == "print":
        CellKeys(list({cell.arm: cell for cell in grid.cells()}.values()))  # refuses what a run of an arm would refuse
        print_commands(grid, options)
        return 0
    end_children_when_terminated()
    if options.step:
        steps = {step.name: step for step in whole.prepare}
        prepare(named(options.step, steps, "--step"), whole, threads=options.threads)
        return 0
    if options.cell:
        cells = {cell.name: cell for cell in grid.cells()}
        return run_one(whole, named(options.cell, cells, "--cell"), options.otherwise, options.threads)
    launcher = launcher_of(options)
    words = () if options.launcher == "local" else this_sweep(options)
    failed = run_grid(grid, launcher.jobs, whole, options.otherwise, Away(launcher, words))
    from lit.leaderboard.files import write_all  # the sweep ends with its table

    write_all(records(whole, grid), grid.folder / "leaderboard.html", sweeps=[grid.folder])
    return 1 if failed else 0


def named(name: str, things: Mapping[str, T], option: str) -> T:
    """The thing that an option names.

    Raises:
        InputError: there is none of that name.
    """
    if name not in things:
        raise InputError(f"{option} {name}: expected one of {listed(things)}{closest(name, things)}")
    return things[name]


def records(*grids: Grid) -> list[Path]:
    """The records of the grids' own runs, not whatever lies in their folder."""
    found = [path for grid in grids for cell in grid.cells() for path in sorted(cell.folder.glob("result*.json"))]
    return list(dict.fromkeys(found))


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


def this_sweep(options: Namespace) -> list[str]:
    """The arguments that mean this sweep on any machine, without what chooses a step or a run of it."""
    words = ["sweep", str(options.grid)]
    words += ["--root", str(options.root)] if options.root else []
    words += ["--arms", *options.arms] if options.arms else []
    words += ["--seeds", *map(str, options.seeds)] if options.seeds else []
    words += ["--set", *options.set] if options.set else []
    return words + (["--otherwise", options.otherwise] if options.otherwise != "refuse" else [])


def print_commands(grid: Grid, options: Namespace) -> None:
    """Print what a launcher has to run, one command a line, and in a comment what must be done before it."""
    common = ["python", "-m", "lit", *this_sweep(options)]
    done: list[Step] = []
    for step in grid.prepare:
        before = [other.name for other in done if any(other.serves(arm, step.bank) for arm in step.arms or grid.arms)]
        print_line([*common, "--step", step.name], before)
        done.append(step)
    for cell in grid.cells():
        before = [step.name for step in grid.prepare if step.serves(cell.arm, cell.bank)]
        print_line([*common, "--cell", cell.name], before)


def print_line(words: Sequence[str], before: Sequence[str]) -> None:
    """One command, a shell's comment behind it."""
    print(shlex.join(words) + (f"  # after: {' '.join(before)}" if before else ""))
