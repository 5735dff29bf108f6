"""Arrays of a posed image set that memory does not hold: uncompressed on disk, read where they are looked at."""

from __future__ import annotations

import hashlib
import shutil
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.errors import InputError, printable
from datamodules.files.atomic_files import read_bytes
from datamodules.files.mapped_arrays import mapped_arrays

FOLDER = ".arrays"


class MappedViews:
    """Some views of some objects in an array (N, V, ...) on disk; processes of one machine share what they read.

    Indexed like the array of the chosen objects and views: by object, by object and view, and by whatever follows.
    An index that leaves out the view gives all chosen views.

    Args:
        base: (N, V, ...) the mapped array.
        objects: rows of ``base``; None for all.
        views: columns of ``base``; None for all.
    """

    def __init__(self, base: np.ndarray, objects: np.ndarray | None = None, views: np.ndarray | None = None) -> None:
        self.base = base
        self.objects = np.arange(base.shape[0]) if objects is None else objects
        self.views = np.arange(base.shape[1]) if views is None else views

    @property
    def shape(self) -> tuple[int, ...]:
        return len(self.objects), len(self.views), *self.base.shape[2:]

    @property
    def ndim(self) -> int:
        return self.base.ndim

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.base.dtype

    def __len__(self) -> int:
        return len(self.objects)

    def __getitem__(self, key: Any) -> np.ndarray:
        keys = key if isinstance(key, tuple) else (key,)
        if Ellipsis in [part for part in keys if not isinstance(part, np.ndarray)]:
            place = next(number for number, part in enumerate(keys) if part is Ellipsis)
            keys = (*keys[:place], *[slice(None)] * (self.ndim - len(keys) + 1), *keys[place + 1 :])
        first, second, rest = keys[0], keys[1] if len(keys) > 1 else slice(None), keys[2:]
        rows, columns = self.objects[first], self.views[second]
        if np.ndim(rows) and isinstance(second, slice):
            return np.stack([np.asarray(self.base[(row, columns, *rest)]) for row in rows])
        if isinstance(first, slice) and np.ndim(columns):
            raise InputError(f"index {key}: expected objects by number before views by number")
        return np.asarray(self.base[(rows, columns, *rest)])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        whole = self[:]
        return whole if dtype is None else whole.astype(dtype)

    def subset(self, objects: np.ndarray, views: Sequence[int] | slice) -> MappedViews:
        """Some of its objects and views; nothing is read."""
        return MappedViews(self.base, self.objects[objects], self.views[views])


def map_objects(
    folder: Path,
    ids: Sequence[str],
    read: Callable[[str], Mapping[str, np.ndarray]],
    first: Mapping[str, np.ndarray],
    required: Collection[str],
) -> dict[str, np.ndarray]:
    """Arrays (N, V, ...) of all objects, mapped from files under ``folder`` that are written once.

    Files that are missing, cut short or of another shape are written anew; changed bytes within one are not noticed,
    as gigabytes would have to be read for that at each start.

    Args:
        folder: of the posed image set; the files are known by its index and the objects' sizes and times.
        ids: the objects.
        read: arrays (V, ...) of one object; what one object lacks is left out for all.
        first: arrays of the first object, which all are compared with.
        required: arrays that every object has.

    Raises:
        InputError: there is not enough room on the disk.
    """
    stamp = hashlib.sha256(read_bytes(folder / "posed.json", "a posed image set's index"))
    for name in ids:
        path = folder / f"{name}.npz"
        if not path.is_file():
            read(name)  # says so
        found = path.stat()
        stamp.update(f"{name} {found.st_size} {found.st_mtime_ns}".encode())
    place = folder / FOLDER / stamp.hexdigest()[:16]

    def build(building: Path) -> None:
        _stack(building, ids, read)

    if place.is_dir():
        try:
            return _fitting(mapped_arrays(place, "unpacked views", build), len(ids), first, required)
        except ValueError as error:
            said = printable(str(error).split("\n")[0])
            warnings.warn(f"{place}: unpacked views are damaged ({said}); unpacked anew", stacklevel=3)
            shutil.rmtree(place, ignore_errors=True)
    return mapped_arrays(place, "unpacked views", build)


def _fitting(
    mapped: dict[str, np.ndarray], count: int, first: Mapping[str, np.ndarray], required: Collection[str]
) -> dict[str, np.ndarray]:
    """The mapped arrays, if they can be those of ``count`` objects.

    Args:
        mapped: what there is.
        count: of objects.
        first: arrays of the first one.
        required: arrays that there must be; of others some object may have none.

    Raises:
        ValueError: one is missing or of another shape or type.
    """
    for key, value in first.items():
        found = mapped.get(key)
        if found is None and key not in required:
            continue
        if found is None or found.shape != (count, *value.shape) or found.dtype != value.dtype:
            raise ValueError(f"{key}.npy is {'missing' if found is None else f'{found.dtype} {found.shape}'}")
    return mapped


def _stack(building: Path, ids: Sequence[str], read: Callable[[str], Mapping[str, np.ndarray]]) -> None:
    """Write the arrays of all objects, one after the other."""
    maps: dict[str, Any] = {}
    for row, name in enumerate(ids):
        arrays = read(name)
        if not row:
            _check_room(building.parent, len(ids) * sum(value.nbytes for value in arrays.values()))
            for key, value in arrays.items():
                shape = (len(ids), *value.shape)
                maps[key] = np.lib.format.open_memmap(building / f"{key}.npy", "w+", value.dtype, shape)
        for key in list(maps):
            if key in arrays:
                maps[key][row] = arrays[key]
            else:
                del maps[key]
                (building / f"{key}.npy").unlink()
    for mapped in maps.values():
        mapped.flush()


def _check_room(folder: Path, wanted: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < wanted:
        raise InputError(
            f"{folder}: {free / 2**30:.1f} GiB free, expected {wanted / 2**30:.1f} for unpacked views; make room"
        )
