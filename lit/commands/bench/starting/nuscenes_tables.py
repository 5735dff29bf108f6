"""``bench nuscenes-tables``: time and memory of the nuScenes reader before its first picture, and of the devkit.

Each figure is of a process of its own that does nothing else: time and memory count from after its imports, those of
the second process that decodes half of large tables included. "Peak" is all memory that they held at once; "private"
what the first keeps that no other process shares, which is what each further rank of a machine costs.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from datamodules.errors import InputError
from lit.commands.bench.starting.process_memory import ForksWatch, available_memory, cpu_time, process_memory
from lit.commands.bench.starting.table_writer import VERSION, write_large_tables
from lit.commands.report import report

HERE = "lit.commands.bench.starting.nuscenes_tables"
DEVKIT_BYTES = 10 << 30  # that nuscenes-devkit may take at trainval's whole size


def run(
    out: str | Path | None = None,
    share: float | Sequence[float] = 0.1,
    root: str | Path | None = None,
    devkit: bool = True,
) -> dict[str, Any]:
    """Measure a first start, the next one, and nuscenes-devkit, on the same tables.

    Args:
        out: JSON file to write, or None.
        share: of trainval's size, one or several; tables of that shape are written for it.
        root: a nuScenes folder with the tables of trainval and its pictures, instead.
        devkit: whether the devkit is measured; it is left out where memory is too small for it.

    Returns:
        ``tables_cold_seconds``, ``tables_warm_seconds`` and ``tables_devkit_seconds``, each also ``_cpu_seconds``,
        ``_peak_mb``, ``_private_mb`` and ``_anonymous_mb``; of several shares each key ends in its share.

    Raises:
        InputError: a share is not in (0, 1].
    """
    shares = [share] if isinstance(share, int | float) else list(share)
    for one in shares:
        if not 0 < one <= 1:
            raise InputError(f"--share {one}: expected above 0 and at most 1")
    if root is not None and not Path(root).is_dir():
        raise InputError(f"--root {root}: no such folder, expected a nuScenes folder")
    measured: dict[str, Any] = {}
    for one in shares[: 1 if root is not None else None]:
        figures = {"tables_share": one} | of_one_share(one, devkit) if root is None else of_folder(Path(root), devkit)
        measured |= figures if len(shares) == 1 else {f"{key}_{one:g}": value for key, value in figures.items()}
    report("bench nuscenes-tables: one process, from its imports to the first picture", measured, out)
    return measured


def of_one_share(share: float, devkit: bool) -> dict[str, Any]:
    """Figures of tables that are written for it; the devkit where there is memory for it."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        samples = write_large_tables(data, share)
        time.sleep(2.1)  # tables that changed this moment are not cached
        return {"tables_samples": samples} | of_folder(data, devkit and available_memory() > share * DEVKIT_BYTES)


def of_folder(data: Path, devkit: bool) -> dict[str, Any]:
    """Figures of the tables in a folder."""
    measured: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as cache:
        for name in ("cold", "warm"):
            measured |= in_own_process(HERE, name, str(data), cache)
    if devkit and find_spec("nuscenes") is not None:
        measured |= in_own_process(HERE, "devkit", str(data))
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
    before, cpu, wall = process_memory(), cpu_time(), time.perf_counter()
    with ForksWatch() as forks:
        kept = (set_up_devkit if name == "devkit" else set_up)(*arguments)
        wall, cpu, after = time.perf_counter() - wall, cpu_time() - cpu, process_memory()
    figures = {"seconds": wall, "cpu_seconds": cpu}
    figures |= {f"{kind}_mb": after[kind] - before[kind] for kind in after if kind != "resident"}
    if "peak_mb" in figures:
        figures["peak_mb"] += forks.most
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
        said = done.stderr.strip().split("\n")[-1]
        cause = re.sub(r"^[\w.]+: ", "", said)  # without the error's class
        raise InputError(f"the reader stopped: {cause}")
    return json.loads(done.stdout.strip().split("\n")[-1])
