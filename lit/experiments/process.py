"""One process of the suite: ``python -m lit`` with given words, its output in a log, ended with the one above it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from datamodules.processes import ENDS_WITH
from lit import ROOT

# Passive waiting: OpenMP threads that spin at barriers slow each other down several times on busy cores. Memory that
# glibc keeps instead of giving it back each step spares 5,700 page faults and a tenth of a small detector's step.
ENVIRONMENT = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 32),
    "MALLOC_TOP_PAD_": str(1 << 28),
}


def allowed_threads() -> int:
    """Threads of a process that nobody gave a number: OMP_NUM_THREADS where it is one, else a core each."""
    stated = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(stated) if stated.isdecimal() and int(stated) else os.cpu_count() or 1


def run_process(
    command: list[str],
    log: Path,
    threads: int,
    stop: threading.Event | None = None,
    folder: Path | None = None,
    given: Mapping[str, str] | None = None,
    mode: str = "w",
) -> int:
    """Run ``python -m lit`` with ``command``, everything it prints going to ``log``; it ends when ``stop`` is set.

    Args:
        command: the arguments.
        log: file for its output.
        threads: of the process.
        stop: ends it when set.
        folder: its working directory; None is this one's.
        given: environment variables of its own.
        mode: "w" starts the log anew, "a" goes on with it.

    Returns:
        Its exit status.
    """
    environment = {**ENVIRONMENT, **os.environ, **(given or {})}
    environment |= {"OMP_NUM_THREADS": str(threads), "PYTHONUNBUFFERED": "1", ENDS_WITH: str(os.getpid())}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    with log.open(mode) as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "lit", *command],
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=folder,
        )
        try:
            while process.poll() is None:
                if stop is not None and stop.is_set():
                    process.terminate()
                    process.wait(30)
                time.sleep(0.1)
        finally:
            if process.poll() is None:
                process.kill()
    return process.returncode


def last_line(log: Path) -> str:
    """The last non-empty line of a log, at most 300 characters."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""
