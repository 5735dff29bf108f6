"""How benches measure: on one thread, by processor time."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import cv2
import torch

T = TypeVar("T")


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """One thread for torch and OpenCV, and for other linear algebra where threadpoolctl is there to say so."""
    threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(ImportError):
                from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

                stack.enter_context(threadpool_limits(1))
            yield
    finally:
        torch.set_num_threads(threads[0])
        cv2.setNumThreads(threads[1])


def timed(work: Callable[[], T]) -> tuple[T, float, float]:
    """What a call returns, its processor seconds and its wall seconds."""
    cpu, wall = time.process_time(), time.perf_counter()
    found = work()
    return found, time.process_time() - cpu, time.perf_counter() - wall


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Median processor time of a call after one that does not count."""
    work()
    return statistics.median(timed(work)[1] for _ in range(repeats))
