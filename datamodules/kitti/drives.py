"""Which drive each KITTI frame was taken from: frames of one drive resemble each other and are resampled together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from datamodules.errors import InputError
from datamodules.files.text_files import read_text
from datamodules.randomness import derive

DRIVES_FILE = "drives.txt"


def read_drives(root: Path | str, ids: Sequence[str]) -> dict[str, str]:
    """Drive of each frame, from ``ROOT/drives.txt``: rows of id, drive and, if known, the frame within it.

    Args:
        root: of the KITTI folder.
        ids: frames whose drive is asked for.

    Returns:
        Frame to drive; nothing where the file does not exist.

    Raises:
        InputError: a row without a drive, an id named twice with two drives, or a frame without a row.
    """
    path = Path(root) / DRIVES_FILE
    if not path.is_file():
        return {}
    drives: dict[str, str] = {}
    for number, row in enumerate(read_text(path, "rows of id, drive and frame").splitlines(), 1):
        fields = row.split()
        if not fields:
            continue
        if len(fields) < 2:
            raise InputError(f"{path}:{number}: {row!r}, expected an id and its drive; complete or delete the row")
        if drives.setdefault(fields[0], fields[1]) != fields[1]:
            raise InputError(f"{path}:{number}: frame {fields[0]} is of two drives, expected one; delete a row")
    if missing := [sample_id for sample_id in ids if sample_id not in drives]:
        raise InputError(
            f"{path}: no row for frame {missing[0]}, expected one for each frame; add it or delete the file"
        )
    return {sample_id: drives[sample_id] for sample_id in ids}


def known_drives(root: Path | str, ids: Sequence[str], otherwise: str) -> dict[str, str]:
    """As :func:`read_drives`, where nothing goes on without; ``otherwise`` is what else one could do.

    Raises:
        InputError: the folder does not say which drive a frame was taken from.
    """
    if drives := read_drives(root, ids):
        return drives
    path = Path(root) / DRIVES_FILE
    raise InputError(f"{path} does not exist, expected rows of id and drive; write it, or {otherwise}")


def choose_drives(root: Path | str, ids: Sequence[str], count: int, seed: int) -> list[str]:
    """``count`` of the ids, drive after drive in an order drawn by a seed, the last drive cut; in their own order.

    So few labelled frames are few streets, as they are where somebody labels recordings one after the other. A seed's
    smaller draw is part of its larger ones.

    Raises:
        InputError: the folder does not say which drive a frame was taken from.
    """
    drives = known_drives(root, ids, "set data.subset to seed or first")
    names = sorted(set(drives.values()))
    rank = {names[number]: place for place, number in enumerate(derive(seed, "drives").permutation(len(names)))}
    chosen = set(sorted(ids, key=lambda sample_id: rank[drives[sample_id]])[:count])  # stable: a drive keeps its order
    return [sample_id for sample_id in ids if sample_id in chosen]


def part_of_drives(root: Path | str, ids: Sequence[str], part: int, parts: int) -> list[str]:
    """Those of the ids that are in one of several parts of whole drives, which are about equally large; in their order.

    Drives go, the largest first, to the part that has the fewest frames so far: everyone gets the same parts.

    Args:
        root: of the KITTI folder.
        ids: frames to be divided.
        part: which one, from 0.
        parts: how many there are.

    Raises:
        InputError: the folder does not say which drive a frame was taken from, or there are fewer drives than parts.
    """
    drives = known_drives(root, ids, "leave out data.fold")
    sizes = Counter(drives[sample_id] for sample_id in ids)
    if len(sizes) < parts:
        raise InputError(
            f"{len(ids)} frames of {len(sizes)} drives in {parts} folds: expected a drive for each; ask for fewer"
        )
    frames = [0] * parts
    chosen = {}
    for drive in sorted(sizes, key=lambda drive: (-sizes[drive], drive)):
        chosen[drive] = frames.index(min(frames))
        frames[chosen[drive]] += sizes[drive]
    return [sample_id for sample_id in ids if chosen[drives[sample_id]] == part]
