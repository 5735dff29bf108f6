"""Jobs on this machine, a thread each that waits for the job's process."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from lit.experiments.launchers.launcher import Job


class LocalLauncher:
    """Jobs here.

    Args:
        jobs: at a time; each gets an equal share of the cores.
    """

    def __init__(self, jobs: int) -> None:
        self.jobs, self.threads = jobs, max(1, (os.cpu_count() or 1) // jobs)
        self.at_a_time = f"{jobs} at a time"
        self._stop = threading.Event()

    def __enter__(self) -> LocalLauncher:
        self._pool = ThreadPoolExecutor(self.jobs)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._stop.set()
        self._pool.shutdown(cancel_futures=kind is not None)

    def start(self, jobs: Sequence[Job]) -> list[Future[str | None]]:
        """Start jobs; see :class:`lit.experiments.launchers.launcher.Launcher`."""
        return [self._pool.submit(job.call, self._stop) for job in jobs]
