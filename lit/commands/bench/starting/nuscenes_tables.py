"""``bench nuscenes-tables``: time and memory of the nuScenes reader before its first picture, and of the devkit.

Each figure is of a process of its own that does nothing else: time and memory count from after its imports. "Peak" is
all memory that the process held at once; "private" what it keeps that no other process shares, which is what each
further rank of a machine costs.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from datamodules.errors import InputError
from lit.commands.bench.starting.process_memory import process_memory
from lit.commands.bench.starting.table_writer import VERSION, write_large_tables
from lit.commands.report import report

HERE = "lit.commands.bench.starting.nuscenes_tables"
LARGEST_FOR_DEVKIT = 0.3  # share of trainval; at the whole size it takes some 10 GB


def run(
    out: str | Path | None = None, share: float = 0.1, root: str | Path | None = None, devkit: bool = True
) -> dict[str, Any]:
    """Measure a first start, the next one, and nuscenes-devkit, on the same tables.

    Args:
        out: JSON file to write, or None.
        share: of trainval's size; tables of that shape are written for it.
        root: a nuScenes folder with the tables of trainval and its pictures, instead.
        devkit: whether the devkit is measured; it is left out of large shares.

    Returns:
        ``tables_cold_seconds``, ``tables_warm_seconds`` and ``tables_devkit_seconds``, each also ``_cpu_seconds``,
        ``_peak_mb`` and ``_private_mb``.

    Raises:
        InputError: the share is not in (0, 1].
    """
    if not 0 < share <= 1:
        raise InputError(f"--share {share}: expected above 0 and at most 1")
    measured: dict[str, Any] = {"tables_share": share if root is None else None}
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        data = place / "data" if root is None else Path(root)
        if root is None:
            measured["tables_samples"] = write_large_tables(data, share)
            time.sleep(2.1)  # tables that changed this moment are not cached
        for name in ("cold", "warm"):
            measured |= in_own_process(HERE, name, str(data), str(place / "cache"))
        if devkit and find_spec("nuscenes") is not None and (root is not None or share <= LARGEST_FOR_DEVKIT):
            measured |= in_own_process(HERE, "devkit", str(data))
    report("bench nuscenes-tables: one process, from its imports to the first picture", measured, out)
    return measured


def set_up(root: str, cache: str) -> object:
    """What a rank of a training does before it reads pictures."""
    module = _imported("cold")(root, table_cache=cache)
    module.setup("fit")
    return module


def set_up_devkit(root: str) -> object:
    """The devkit's database of the same tables."""
    return _imported("devkit")(VERSION, root, verbose=False)


def _imported(name: str) -> Any:
    module, name = (
        ("nuscenes", "NuScenes") if name == "devkit" else ("datamodules.nuscenes.datamodule", "NuscenesDataModule")
    )
    return getattr(import_module(module), name)


def measure(name: str, *arguments: str) -> None:
    """Print the figures of one kind, as JSON; in a process of its own."""
    _imported(name)
    before, cpu, wall = process_memory(), time.process_time(), time.perf_counter()
    kept = (set_up_devkit if name == "devkit" else set_up)(*arguments)
    wall, cpu, after = time.perf_counter() - wall, time.process_time() - cpu, process_memory()
    figures = {"seconds": wall, "cpu_seconds": cpu}
    figures |= {f"{kind}_mb": after[kind] - before[kind] for kind in after if kind != "resident"}
    assert kept is not None
    print(json.dumps({f"tables_{name}_{key}": round(value, 3) for key, value in figures.items()}))


def in_own_process(module: str, *arguments: str) -> dict[str, Any]:
    """What a module's ``measure`` prints, called in a new process.

    Raises:
        InputError: it ended with an error.
    """
    code = f"from {module} import measure; measure(*{arguments!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        raise InputError(f"the reader stopped: {done.stderr.strip().split(chr(10))[-1]}")
    return json.loads(done.stdout.strip().split("\n")[-1])
