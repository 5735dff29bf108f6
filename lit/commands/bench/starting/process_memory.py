"""Memory of a process, and of the machine, as Linux tells it; and processor time."""

from __future__ import annotations

import math
import os
import threading
from contextlib import suppress
from pathlib import Path


def process_memory(process: int | str = "self") -> dict[str, float]:
    """Megabytes of a process, where the system tells (Linux).

    Args:
        process: its number.

    Returns:
        ``peak`` and ``resident``, all that it held and holds, files that it maps included; ``private``, what no other
        process shares, pages of files that no other maps right now among it; ``anonymous``, what is no file's. Nothing
        on other systems, or of a process that has ended.
    """
    try:
        status = Path(f"/proc/{process}/status").read_text()
        rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
    except OSError:
        return {}
    lines = (line.split() for line in (status + rollup).split("\n"))
    said = {words[0].rstrip(":"): float(words[1]) for words in lines if words[2:] == ["kB"]}
    private = said["Private_Clean"] + said["Private_Dirty"]
    return {
        "peak": said["VmHWM"] / 1e3,
        "resident": said["VmRSS"] / 1e3,
        "private": private / 1e3,
        "anonymous": said["Anonymous"] / 1e3,
    }


class ForksWatch(threading.Thread):
    """Looks, all the while, at what the processes that this one forks hold beyond what it held itself.

    Attributes:
        most: megabytes that the largest held.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most = 0.0
        self.done = threading.Event()
        self.base = _anonymous("self")

    def run(self) -> None:
        while not self.done.wait(0.02):
            for task in Path("/proc/self/task").glob("*/children"):
                with suppress(OSError):
                    for child in task.read_text().split():
                        self.most = max(self.most, _anonymous(child) - self.base)

    def __enter__(self) -> ForksWatch:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.join()


def _anonymous(process: str) -> float:
    """Megabytes that are no file's; 0 where nothing tells."""
    with suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text().split("\n"):
            if line.startswith("RssAnon:"):
                return float(line.split()[1]) / 1e3
    return 0.0


def cpu_time() -> float:
    """Seconds of processor time of this process and of its ended children."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def available_memory() -> float:
    """Bytes that processes may still take; infinite where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text().split("\n")
    except OSError:
        return math.inf
    return next((1024.0 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), math.inf)
