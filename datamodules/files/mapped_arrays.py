"""Folders of ``.npy`` files that are written once, by one process of a machine, and mapped by all of them.

What is mapped lies in the page cache once, whoever looks at it, and only where it is looked at.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from datamodules.files.atomic_files import disk_refusals
from datamodules.files.folder_lock import folder_lock

BUILDING = ".building"


def mapped_arrays(place: Path, written: str, build: Callable[[Path], None]) -> dict[str, np.ndarray]:
    """The arrays of a folder by the names of its files; it is written where it does not exist.

    The folder above belongs to this place: what else lies there is another state of the same thing, and goes.

    Args:
        place: the folder, named after the state of what its arrays come from.
        written: what is written there, for the message of whoever may not write.
        build: writes ``NAME.npy`` files into an empty folder, which then gets its name.

    Raises:
        InputError: the disk refuses.
        ValueError: a file there is no array, or cut short.
    """
    if not place.is_dir():
        with disk_refusals(place):
            place.parent.mkdir(parents=True, exist_ok=True)
        with folder_lock(place.parent, written, wait=True), disk_refusals(place):
            if not place.is_dir():  # or another process has written it meanwhile
                _write(place, build)
    return {path.stem: _mapped(path) for path in sorted(place.glob("*.npy"))}


def _mapped(path: Path) -> np.ndarray:
    """One array.

    Raises:
        ValueError: it is none, or cut short; of an empty file NumPy says so in another way.
    """
    try:
        found: np.ndarray = np.load(path, mmap_mode="r")
    except (EOFError, ValueError) as error:
        raise ValueError(f"{path.name}: {error}") from None
    return found


def _write(place: Path, build: Callable[[Path], None]) -> None:
    """Build under another name and rename the folder, so that it is complete or not there."""
    for old in place.parent.iterdir():  # of another state, or of a process that died
        if old.is_dir():
            shutil.rmtree(old, ignore_errors=True)
    building = place.parent / BUILDING
    building.mkdir()
    try:
        build(building)
        os.rename(building, place)
    finally:
        shutil.rmtree(building, ignore_errors=True)
