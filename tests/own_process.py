"""Commands in a process of their own, for libraries whose native code may end the process that they are in."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TRIES = 3


def in_own_process(
    words: Callable[[int], list[str]],
    environment: Mapping[str, str],
    beside: Callable[[int, subprocess.Popen[str]], None] | None = None,
) -> tuple[int, str, str]:
    """Run ``python -m WORDS`` in the working directory, anew when a signal ended it, which is no answer.

    Ray's driver ends its process that way when a check inside of it fails.

    Args:
        words: module and arguments of a try, by its number from 0.
        environment: beside this process's.
        beside: called while a try runs, with its number and process; it may raise once the process is gone.

    Returns:
        The number of the try that ended by itself, what it said on standard output, and on standard error.
    """
    given = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    for number in range(TRIES):
        command = [sys.executable, "-m", *words(number)]
        with subprocess.Popen(command, env=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            try:
                if beside is not None:
                    beside(number, process)
                out, err = process.communicate(timeout=500.0)
            except BaseException:
                if process.poll() is None or process.returncode >= 0:
                    process.kill()
                    raise
                continue
        if process.returncode >= 0:
            assert process.returncode == 0, f"{' '.join(command)}: exit status {process.returncode}\n{out}\n{err}"
            return number, out, err
    raise AssertionError(f"{' '.join(command)}: ended by signal {-process.returncode} {TRIES} times\n{out}\n{err}")
