"""Which drive each KITTI frame was taken from: frames of one drive resemble each other and are resampled together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from datamodules.errors import InputError
from datamodules.files.text_files import read_text

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
            f"{path}: no row for frame {missing[0]}, expected one for each evaluated frame; add it or delete the file"
        )
    return {sample_id: drives[sample_id] for sample_id in ids}
