"""``bench loader``: what injection costs a data loader, at KITTI's sizes and for six cameras of nuScenes' size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lit.commands.bench import inject as bench_inject
from lit.commands.bench import real_sizes as bench_sizes
from lit.commands.bench import surround as bench_surround
from lit.commands.bench.timing import one_thread
from lit.commands.report import report


def run(out: str | Path | None = None, root: str | Path | None = None) -> dict[str, Any]:
    """Measure all parts on one thread.

    Args:
        out: JSON file to write, or None.
        root: a KITTI folder whose frames are injected into; by default the road world's.

    Returns:
        The figures of all ``measure`` functions.
    """
    with one_thread():
        measured = bench_sizes.measure(root) | bench_inject.measure() | bench_surround.measure()
    report("bench loader: injection at training's sizes and distances, CPU time of one thread", measured, out)
    return measured
