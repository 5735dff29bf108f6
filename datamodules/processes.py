"""Long work: one progress bar for every command, and ordered work over processes for the writers of synthetic data."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

_Job = TypeVar("_Job")
_Result = TypeVar("_Result")


def progress_bar(console: Console | None = None, disable: bool = False) -> Progress:
    """A bar to add tasks to; without a console on standard error, and gone when done, for results go to the other."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    place = console or Console(stderr=True)
    return Progress(*columns, TimeRemainingColumn(), console=place, transient=console is None, disable=disable)


def track(things: Iterable[_Job], title: str, disable: bool = False, total: int | None = None) -> Iterator[_Job]:
    """Things one after the other, a bar beside them; how many they are is shown when they say so, or by ``total``."""
    with progress_bar(disable=disable) as bar:
        yield from bar.track(things, total, description=title)


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
        return list(track(results, title, not progress, len(jobs)))

    if workers == 1 or len(jobs) < 2:
        return shown(map(function, jobs))
    # Spawned, because forked processes would inherit the ray caster's threads in an unknown state.
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        return shown(pool.map(function, jobs, chunksize=max(1, min(8, len(jobs) // (4 * workers)))))
