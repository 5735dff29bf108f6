"""Where the columns of nuScenes' tables are kept: arrays in a cache folder, mapped by all processes of a machine.

A state of the tables is known by their names, sizes and dates. Another state takes the place of the one before, and so
does a cache that is damaged or of something else: it holds nothing that cannot be made again.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
import warnings
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec
import numpy as np

from datamodules.errors import InputError, printable
from datamodules.files.mapped_arrays import mapped_arrays
from datamodules.nuscenes.table_columns import COLUMN_KINDS, TEXT_COLUMNS, Problems, TableColumns
from datamodules.nuscenes.table_stream import LARGE_TABLES, TABLES, table_states, total_size

FORMAT = 1  # of the columns
SETTLED = 2.0  # s since a table's last change, before which another one might bear the same date
COLUMN_INDEX = "columns.json"


class _Index(msgspec.Struct):
    """What a cache says of itself: its state, a checksum of each array, and what is wrong with single samples."""

    state: str
    checksums: dict[str, int]
    problems: dict[str, list[tuple[int, int, int, str]]]


def user_cache() -> Path:
    """The folder for what can be made again, in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "liftbench"


def cache_place(folder: Path, cache: str | os.PathLike[str] | None) -> Path | None:
    """The folder of the columns of some tables as they are now; None where they are better decoded each time.

    Args:
        folder: of the tables.
        cache: folder that the user chose; None stands for the user's cache, and for tables that are worth it.
    """
    found = table_states(folder)
    if len(found) < len(TABLES):
        return None  # whoever reads them says so
    changed = max(one.st_mtime for one in found.values())
    if not 0 <= time.time() - changed < SETTLED and (cache or total_size(found) >= LARGE_TABLES):
        stamps = [f"{name} {one.st_size} {one.st_mtime_ns}" for name, one in found.items()]
        state = hashlib.sha256("\n".join([str(FORMAT), *stamps]).encode()).hexdigest()[:16]
        whose = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
        return Path(cache or user_cache()) / "nuscenes" / f"{folder.name}-{whose}" / state
    return None


def cached_columns(
    place: Path, read: Callable[[], tuple[TableColumns, Problems]]
) -> tuple[TableColumns, Problems, bool]:
    """The columns at a place, made where they are not there.

    Args:
        place: of :func:`cache_place`.
        read: decodes the tables.

    Returns:
        The columns, what is wrong with single samples, and whether the columns are mapped: where the folder cannot be
        written, this process keeps its own, and a warning says so.

    Raises:
        InputError: what ``read`` raises.
    """
    if place.is_dir():
        try:
            return *_checked(place, mapped_arrays(place, "", lambda _: None)), True
        except (OSError, ValueError) as error:
            reason = printable(str(error).split("\n")[0])
            warnings.warn(f"{place}: no cache of these tables ({reason}); they are decoded anew", stacklevel=4)
            shutil.rmtree(place, ignore_errors=True)
    elif place.is_file():
        with suppress(OSError):
            place.unlink()  # no cache is a file
    made: list[tuple[TableColumns, Problems]] = []
    refused: list[InputError] = []

    def build(folder: Path) -> None:
        try:
            made.append(read())
        except InputError as error:
            refused.append(error)
            raise
        _write(folder, place.name, *made[0])

    try:
        return *_checked(place, mapped_arrays(place, "columns of nuScenes' tables", build)), True
    except (InputError, OSError, ValueError) as error:
        if refused:
            raise refused[0] from None
        said = f"{error}; every process decodes the tables for itself; data.table_cache names another folder"
        warnings.warn(printable(said), stacklevel=4)
    return *(made[0] if made else read()), False


def _write(folder: Path, state: str, columns: TableColumns, problems: Problems) -> None:
    checksums = {}
    for name, column in columns.items():
        np.save(folder / f"{name}.npy", column)
        checksums[name] = zlib.crc32(np.ascontiguousarray(column).data)
    said = {
        step: [(sample, *order, str(error)) for sample, (order, error) in mine.items()]
        for step, mine in problems.found.items()
    }
    (folder / COLUMN_INDEX).write_bytes(msgspec.json.encode(_Index(state, checksums, said)))


def _checked(place: Path, columns: TableColumns) -> tuple[TableColumns, Problems]:
    """The mapped columns, compared with what their index says, and the problems that it holds.

    Raises:
        OSError, ValueError: they are not what they should be.
    """
    index = msgspec.json.decode((place / COLUMN_INDEX).read_bytes(), type=_Index)
    if index.state != place.name:
        raise ValueError("it is of other tables")
    wanted = dict(COLUMN_KINDS)
    for name in TEXT_COLUMNS:
        wanted |= {name: (np.uint8, ()), f"{name}_ends": (np.int64, ())}
    if wanted.keys() != columns.keys():
        raise ValueError(f"it has not the columns {', '.join(sorted(wanted.keys() ^ columns.keys()))}")
    for name, (kind, shape) in wanted.items():
        column = columns[name]
        if column.dtype != kind or column.shape[1:] != shape or zlib.crc32(column.data) != index.checksums.get(name):
            raise ValueError(f"its column {name} is damaged")
    problems = Problems()
    for step, mine in index.problems.items():
        for sample, first, second, said in mine:
            problems.add(step, sample, (first, second), InputError(said))
    return {name: np.asarray(column) for name, column in columns.items()}, problems
