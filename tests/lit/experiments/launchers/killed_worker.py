"""A run that waits, once, to be killed together with the worker that it is on."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl

PATIENCE = 500.0  # seconds, of machines with much else to do; otherwise moments


class WaitsOnce(pl.Callback):
    """Writes down each step; after the second one, the first time, leaves its process's number and waits.

    Args:
        path: the file; beside it ``PATH.waiting``.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """One more step."""
        name = Path(trainer.default_root_dir).name
        with self.path.open("a") as stream:
            stream.write(f"{name} {trainer.global_step}\n")
        waiting = self.path.with_suffix(".waiting")
        if name == "none-50-s0" and trainer.global_step == 3 and not waiting.exists():
            waiting.with_suffix(".tmp").write_text(str(os.getpid()))
            waiting.with_suffix(".tmp").rename(waiting)
            time.sleep(PATIENCE)


def above(process: int) -> list[int]:
    """The processes above one, nearest first."""
    found = []
    while process > 1:
        process = int(Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[1])
        found.append(process)
    return found


def kill_worker(waiting: Path, sweep: subprocess.Popen[str]) -> None:
    """Wait for the sweep's run, then kill the worker of Ray's that it is on, the hard way."""
    until = time.monotonic() + PATIENCE
    while not waiting.exists():
        assert sweep.poll() is None, "the sweep ended and no run has begun"
        assert time.monotonic() < until, "no run has begun"
        time.sleep(0.1)
    for process in above(int(waiting.read_text())):
        if Path(f"/proc/{process}/cmdline").read_bytes().startswith(b"ray::"):
            return os.kill(process, signal.SIGKILL)
    raise AssertionError("the run is not on a worker of Ray's")
