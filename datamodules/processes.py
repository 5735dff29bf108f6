"""Long work: one progress bar for every command, and ordered work over processes for the writers of synthetic data."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from datamodules.cluster.ray_cluster import CLUSTER, spread_jobs

_Job = TypeVar("_Job")
_Result = TypeVar("_Result")

ENDS_WITH = "LIFTBENCH_ENDS_WITH"  # environment: the process that a command ends with
PR_SET_PDEATHSIG = 1  # linux/prctl.h
WATCH = 1.0  # seconds between looks at the parent, where the kernel does not tell


def progress_bar(console: Console | None = None, disable: bool = False) -> Progress:
    """A bar to add tasks to; without a console on standard error, and gone when done, for results go to the other."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    place = console or Console(stderr=True)
    disable = disable or (console is None and not place.is_terminal)  # where nobody looks it would leave an empty line
    return Progress(*columns, TimeRemainingColumn(), console=place, transient=console is None, disable=disable)


def track(things: Iterable[_Job], title: str, disable: bool = False, total: int | None = None) -> Iterator[_Job]:
    """Things one after the other, a bar beside them; how many they are is shown when they say so, or by ``total``."""
    with progress_bar(disable=disable) as bar:
        yield from bar.track(things, total, description=title)


def run_jobs(
    function: Callable[[_Job], _Result], jobs: Sequence[_Job], workers: int, progress: bool, title: str
) -> list[_Result]:
    """Map ``function`` over ``jobs`` and return the results in order.

    Where the environment names a Ray cluster (:data:`datamodules.cluster.ray_cluster.CLUSTER`), its workers do them.

    Args:
        function: picklable when ``workers`` > 1, or on a cluster.
        jobs: what to map.
        workers: processes; 1 stays in this one.
        progress: show a progress bar.
        title: the bar's text.
    """

    def shown(results: Iterable[_Result]) -> list[_Result]:
        return list(track(results, title, not progress, len(jobs)))

    if cluster := os.environ.get(CLUSTER):
        with termination_raises():
            return shown(spread_jobs(function, jobs, workers, cluster))
    if workers == 1 or len(jobs) < 2:
        return shown(map(function, jobs))
    # Spawned, because forked processes would inherit the ray caster's threads in an unknown state.
    context = multiprocessing.get_context("spawn")
    with (
        termination_raises(),
        ProcessPoolExecutor(workers, context, initializer=end_with_parent, initargs=(os.getpid(),)) as pool,
    ):
        try:
            return shown(pool.map(function, jobs, chunksize=max(1, min(8, len(jobs) // (4 * workers)))))
        except BaseException:  # the jobs that wait would hold up the error, or the end that was asked for
            pool.shutdown(wait=False, cancel_futures=True)
            raise


@contextmanager
def beside(function: Callable[[], _Result], worthwhile: bool = True) -> Iterator[Callable[[], _Result]]:
    """Call a function in a second process while this one does something else.

    The process is forked, as the workers of a DataLoader are: the function may use what lies in memory, but must not
    touch threads or devices. Where there is one core, or no process can be had, the function is called here, once its
    result is asked for.

    Args:
        function: what to call; its result and its errors are pickled.
        worthwhile: whether there is enough to do for another process.

    Yields:
        What waits for the function's result, or raises its error.
    """
    able = sys.platform == "linux" and len(os.sched_getaffinity(0)) > 1
    if not (worthwhile and able) or multiprocessing.current_process().daemon:  # a worker may have no children
        yield function
        return
    parent, context = os.getpid(), multiprocessing.get_context("fork")

    def call(there: Connection) -> None:
        end_with_parent(parent)
        result: Any
        try:
            result = function(), None
        except Exception as error:
            result = None, error
        there.send(result)

    def wait() -> _Result:
        try:
            while not here.poll(WATCH):  # a signal that comes just before it waits is heard a moment later
                pass
            result, error = here.recv()
        except (EOFError, OSError):  # killed, for want of memory perhaps
            return function()
        if error is not None:
            raise error
        return result

    started = False
    masked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # Ctrl-C is this process's to answer
    try:
        here, there = context.Pipe(duplex=False)
        process = context.Process(target=call, args=(there,), daemon=True)
        process.start()
        started = True
        there.close()
    except OSError:  # no more processes, or files
        pass
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, masked)
    if not started:
        yield function
        return
    try:
        yield wait
    finally:
        process.kill()  # it ended long ago, or nobody wants its result
        process.join()
        here.close()


def end_with_caller() -> None:
    """Make this process end with the one that started it, where that asked for it through the environment."""
    if caller := os.environ.pop(ENDS_WITH, None):  # not for the processes that this one starts
        end_with_parent(int(caller))


@contextmanager
def ending_children() -> Iterator[None]:
    """Inside, every ``python -m lit`` that this process starts ends with it: the other processes of a training."""
    os.environ[ENDS_WITH] = str(os.getpid())
    try:
        yield
    finally:
        os.environ.pop(ENDS_WITH, None)


def end_with_parent(parent: int | None = None) -> None:
    """Make this process end when the one that started it does, however that ended.

    Linux's kernel sends the signal; a thread that watches covers other systems, and parents that end before this call.

    Args:
        parent: the process to end with; by default the one above this.
    """
    parent = os.getppid() if parent is None else parent
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCH)
        os._exit(1)

    threading.Thread(target=watch, name="end with parent", daemon=True).start()


@contextmanager
def termination_raises() -> Iterator[None]:
    """SIGTERM, which schedulers send first, unwinds the program like Ctrl-C: what it began is closed and removed.

    Does nothing outside the main thread, which alone may set handlers.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
