"""Checksums of a folder that this suite wrote, compared whenever one of its files is read.

``checksums.json`` lies at the folder's top and holds a digest of each file, by its path from there, and one of itself.
Every reader of :mod:`datamodules.files` and of :mod:`datamodules.images` asks :func:`verify`, so nothing has to know
which folders have one. What others wrote has none, and is read as it is.
"""

from __future__ import annotations

import json
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

from datamodules.errors import InputError

CHECKSUMS = "checksums.json"
FOLDERS_ABOVE = 3  # folders above a file in which its checksums may lie
SEAL = "itself"
DIGEST = 16  # bytes
AGAIN = "copy it again, or delete the folder and write it again"


def digest_of(content: bytes | memoryview) -> str:
    """32 hexadecimal digits that stand for some bytes."""
    return blake2b(content, digest_size=DIGEST).hexdigest()


def checksums_text(files: dict[str, str]) -> str:
    """The content of ``checksums.json``.

    Args:
        files: digest of each file by its path from the folder, with slashes.
    """
    return json.dumps({"files": dict(sorted(files.items())), SEAL: _seal(files)}, indent=1) + "\n"


def verify(path: Path, content: bytes) -> None:
    """Compare a file's bytes with its checksum, where a folder above it has one.

    Raises:
        InputError: they differ, or the checksums themselves are damaged.
    """
    stated = _stated(path)
    if stated is not None and stated[1] != digest_of(content):
        raise _differs(path, stated[0])


def verify_file(path: Path) -> None:
    """As :func:`verify`, of a file that is too large to be held; it is only read where a checksum is stated.

    Raises:
        InputError: as :func:`verify`.
        OSError: the file cannot be read.
    """
    stated = _stated(path)
    if stated is None:
        return
    digest = blake2b(digest_size=DIGEST)
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    if stated[1] != digest.hexdigest():
        raise _differs(path, stated[0])


def _stated(path: Path) -> tuple[Path, str] | None:
    """The list that holds a file's digest, and the digest; the nearest list decides: masks that were written anew into
    a world have their own."""
    for folder in list(path.parents)[:FOLDERS_ABOVE]:
        files = read_checksums(folder)
        if files is not None:
            stated = files.get(path.relative_to(folder).as_posix())
            return None if stated is None else (folder / CHECKSUMS, stated)
    return None


def _differs(path: Path, checksums: Path) -> InputError:
    return InputError(f"{path}: differs from its checksum in {checksums}, expected the file as it was written; {AGAIN}")


def require_checksums(index: Path) -> None:
    """Refuse a folder whose index says that it has checksums, and that has none.

    Raises:
        InputError: they are missing, or do not hold the index.
    """
    if index.name not in (read_checksums(index.parent) or {}):
        raise InputError(f"{index.parent / CHECKSUMS}: missing or without {index.name}, expected beside it; {AGAIN}")


def read_checksums(folder: Path) -> dict[str, str] | None:
    """Digests of a folder's files, or None where it has none.

    Raises:
        InputError: the list is damaged.
    """
    path = folder / CHECKSUMS
    try:
        found = path.stat()
    except OSError:
        return None
    return _read(path, found.st_mtime_ns, found.st_size, found.st_ino)


@lru_cache(maxsize=16)
def _read(path: Path, *_: int) -> dict[str, str]:
    """The list of a file, kept until the file changes."""
    try:
        content = json.loads(path.read_bytes())
        files: dict[str, str] = content["files"]
        if content[SEAL] == _seal(files):
            return files
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    raise InputError(f"{path}: damaged, expected the checksums of its folder; {AGAIN}")


def _seal(files: dict[str, str]) -> str:
    return digest_of(json.dumps(sorted(files.items())).encode())
