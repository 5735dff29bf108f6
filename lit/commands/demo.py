"""``python -m lit demo``: world, Lift3D bank, nine detector runs and a leaderboard, small enough for two cores."""

from __future__ import annotations

import os
import time
from pathlib import Path

from lit import ROOT
from lit.arguments import Arguments
from lit.commands.sweep import end_children_when_terminated, records
from lit.experiments.grid import read_grid
from lit.experiments.grid_runner import run_grid
from lit.leaderboard.files import write_all

GRID = Path("conf/sweep/demo.yaml")


def main(argv: list[str]) -> int:
    """Run the demonstration grid from the clone's root; an interrupted one continues where it stopped."""
    parser = Arguments("demo", __doc__ or "")
    parser.add_argument("--root", type=Path, default=None, help="folder for the runs (default runs/demo)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs at a time (default: one a core)")
    options = parser.parse_args(argv)
    os.chdir(ROOT)  # the grid's paths are the clone's
    started = time.perf_counter()
    grid = read_grid(GRID, options.root)
    end_children_when_terminated()
    failed = run_grid(grid, options.jobs)
    write_all(records(grid), grid.folder / "leaderboard.html", sweeps=[grid.folder])
    print(f"demo: {time.perf_counter() - started:.0f} s. A first look: twenty labelled frames, few steps, few seeds.")
    print("The full comparison: python -m lit sweep conf/sweep/world_augmentation.yaml")
    return 1 if failed else 0
