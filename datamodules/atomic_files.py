"""Files that are either complete or absent, whatever happens to the process that writes them."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path

from datamodules.errors import DatasetNotFound, InputError


def write_atomically(path: str | Path, data: bytes | str) -> None:
    """Write beside the target and rename, so that a killed process leaves the old file or the new one, never a part.

    Args:
        path: target; missing folders above it are made.
        data: the whole content.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)  # only there when writing failed, on a full disk for example


def is_finished(index: Path, settings: Mapping[str, object], beside: Collection[str] = ()) -> bool:
    """Whether a folder whose JSON index is written last holds exactly what is asked for.

    Args:
        index: the index.
        settings: what it has to say.
        beside: what else it may hold.

    Raises:
        InputError: it was made with other settings, or the index is damaged.
    """
    if not index.is_file():
        return False
    try:
        found = json.loads(index.read_text())
    except ValueError as error:
        raise InputError(f"{index}: not valid JSON ({error}); delete the folder and write the world again") from error
    if {name: value for name, value in found.items() if name not in beside} != settings:
        raise InputError(
            f"{index.parent}: holds a world with other settings than {settings}; delete it or give another folder"
        )
    return True


def read_bytes(path: Path, kind: str) -> bytes:
    """A file's bytes.

    Args:
        path: the file.
        kind: what it should be, for the message.

    Raises:
        DatasetNotFound: it does not exist.
        InputError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise DatasetNotFound(
            f"{path} does not exist; expected {kind}; restore it or drop its id from ImageSets"
        ) from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; expected {kind} that can be read") from None
