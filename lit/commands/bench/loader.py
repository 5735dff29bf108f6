"""``bench loader``: what injection costs a data loader, at KITTI's size and for six cameras of nuScenes' size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lit.commands.bench import inject as bench_inject
from lit.commands.bench import surround as bench_surround
from lit.commands.bench.timing import one_thread
from lit.commands.report import report


def run(out: str | Path | None = None) -> dict[str, Any]:
    """Measure all parts on one thread.

    Args:
        out: JSON file to write, or None.

    Returns:
        The figures of both ``measure`` functions.
    """
    with one_thread():
        measured = bench_inject.measure() | bench_surround.measure()
    report("bench loader: three objects at 375 x 1242 and around 6 x 900 x 1600, CPU time of one thread", measured, out)
    return measured
