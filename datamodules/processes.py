"""Ordered work over processes, for the writers of synthetic data."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

from rich.progress import track

_Job = TypeVar("_Job")
_Result = TypeVar("_Result")


def run_jobs(
    function: Callable[[_Job], _Result], jobs: Sequence[_Job], workers: int, progress: bool, title: str
) -> list[_Result]:
    """Map ``function`` over ``jobs`` and return the results in order.

    Args:
        function: picklable when ``workers`` > 1.
        jobs: what to map.
        workers: processes; 1 stays in this one.
        progress: show a progress bar.
        title: the bar's text.
    """

    def shown(results: Iterable[_Result]) -> list[_Result]:
        return list(track(results, title, total=len(jobs), disable=not progress))

    if workers == 1 or len(jobs) < 2:
        return shown(map(function, jobs))
    # Spawned, because forked processes would inherit the ray caster's threads in an unknown state.
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        return shown(pool.map(function, jobs, chunksize=max(1, min(8, len(jobs) // (4 * workers)))))
