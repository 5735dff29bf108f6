"""Memory of a process, and of the machine, as Linux tells it; and processor time."""

from __future__ import annotations

import math
import os
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


def children_peak() -> float:
    """Megabytes that the largest ended child held, pages that it shared with this process included."""
    try:
        from resource import RUSAGE_CHILDREN, getrusage
    except ImportError:  # no Unix
        return 0.0
    return 1.024e-3 * getrusage(RUSAGE_CHILDREN).ru_maxrss


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
