"""What every launcher is given and gives back: jobs that may be repeated, and why each failed."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol

from lit.experiments.process import last_line, run_process

SPREAD = {
    "posed", "labelled", "depth-images", "dst-renders", "dst-prompts", "dst-in-place", "world", "surround", "gan-views",
}  # fmt: skip
ENDED = (130, 143)  # exit statuses of what a signal ended politely


@dataclass(frozen=True)
class Job:
    """A preparing step, a run, or a run's scores on the test set.

    Attributes:
        name: shown.
        words: the arguments after ``python -m lit`` that do it on any machine. They may be given again: what is done
            is skipped, what stopped goes on from its checkpoint.
        log: file for what these print.
        call: the same in this process; takes an event that ends it, and says why it failed, or None.
        spreads: it hands its work to other workers of a cluster, and needs no core of its own.
    """

    name: str
    words: list[str]
    log: Path
    call: Callable[[threading.Event], str | None]
    spreads: bool = False


class Launcher(Protocol):
    """Runs jobs somewhere; a context manager, whose end after an error ends the jobs under way.

    Attributes:
        jobs: how many it takes at a time.
        threads: of each.
        at_a_time: the first of these in words.
    """

    jobs: int
    threads: int
    at_a_time: str

    def __enter__(self) -> Launcher: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def start(self, jobs: Sequence[Job]) -> list[Future[str | None]]:
        """Start jobs that wait for nothing any more; each future says why one failed, or None."""
        ...


def spreads(command: Sequence[str]) -> bool:
    """Whether a preparing step's command hands its work to a cluster's workers where there is one."""
    return command[0] == "predict" or (command[0] == "prepare" and bool(SPREAD & set(command[1:2])))


def execute(
    words: list[str], log: str, folder: str, threads: int, given: Mapping[str, str], patience: float = 0.0
) -> str | None:
    """Do a job on a worker, in a process of its own that ends with this one.

    Args:
        words: the job's.
        log: absolute path of its log, which goes on where an earlier try stopped.
        folder: the working directory.
        threads: of the process.
        given: environment variables of its own.
        patience: seconds to wait after a signal ended the process. It is meant for this one, too, which must not
            report a failure before it comes: the scheduler gives the job to another worker.

    Returns:
        Why it failed, or None.
    """
    path = Path(log)
    path.parent.mkdir(parents=True, exist_ok=True)
    code = run_process(words, path, threads, folder=Path(folder), given=given, mode="a")
    if code < 0 or code in ENDED:
        time.sleep(patience)
    return (last_line(path) or f"exit status {code}") if code else None


def cause(job: Job, error: str | None) -> str | None:
    """Why a job failed, without what its command's last line begins with."""
    for start in (f"{job.name}: failed: ", "error: "):
        error = error.removeprefix(start) if error else error
    return error


def placed(job: Job) -> tuple[str, str]:
    """Absolute path of a job's log, and the working directory."""
    return str(Path(job.log).absolute()), os.getcwd()
