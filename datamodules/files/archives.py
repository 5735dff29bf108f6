"""Zip archives (.zip, .npz, PyTorch's files) that others may have written: bounded before anything is unpacked."""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO

from datamodules.errors import DatasetNotFound, InputError, printable

# What zipfile and its decoders raise on damaged, encrypted or strange archives; they have no common base.
DAMAGE = (
    *(ArithmeticError, EOFError, LookupError, MemoryError, OSError, RuntimeError, ValueError),
    *(struct.error, zipfile.BadZipFile, zlib.error),
)
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
DEFLATED = 1032  # bytes that one byte of deflate can become at most
MOST_BYTES = 1 << 31  # of an entry that is read at once
BLOCK = 1 << 22
MANY, COMMENT = 0xFFFF, 1 << 16  # what stands for a larger number; most bytes after an archive's end


def open_archive(path: str | Path, expected: str) -> zipfile.ZipFile:
    """Open an archive whose directory is sound: plain or deflated entries of possible sizes, each name once.

    Args:
        path: the file.
        expected: what it should be, for the messages.

    Raises:
        DatasetNotFound: it does not exist.
        InputError: it is no such archive; says why.
    """
    path = Path(path)
    if not path.exists():
        raise DatasetNotFound(f"{path} does not exist; expected {expected}")
    try:
        archive = zipfile.ZipFile(path)
        size, entries = path.stat().st_size, archive.infolist()
        stated = _stated_entries(path)
    except DAMAGE as error:
        raise InputError(f"{path}: cannot be read ({reason(error)}); expected {expected}; write it again") from error
    if stated not in (len(entries), MANY):
        archive.close()
        raise InputError(
            f"{path}: states {stated} entries and lists {len(entries)}; expected {expected}; copy it again"
        )
    names: set[str] = set()
    for entry in entries:
        if problem := _problem(entry, names, size):
            archive.close()
            raise InputError(printable(f"{path}: {entry.filename[:80]} {problem}; expected {expected}; write it again"))
        names.add(entry.filename)
    return archive


def read_entry(archive: zipfile.ZipFile, name: str, expected: str) -> bytes:
    """The bytes of an entry, compared with their checksum.

    Raises:
        InputError: it is damaged, or larger than 2 GiB.
    """
    where = printable(f"{archive.filename}: {name[:80]}")
    try:
        if (size := archive.getinfo(name).file_size) > MOST_BYTES:
            raise InputError(f"{where} holds {size} bytes, at most {MOST_BYTES} are read at once; expected {expected}")
        return archive.read(name)
    except InputError:
        raise
    except DAMAGE as error:
        raise InputError(f"{where} cannot be read ({reason(error)}); expected {expected}; write it again") from error


def open_entry(archive: zipfile.ZipFile, name: str, expected: str) -> IO[bytes]:
    """An entry as a stream.

    Raises:
        InputError: its own header is damaged.
    """
    try:
        return archive.open(name)
    except DAMAGE as error:
        where = printable(f"{archive.filename}: {name[:80]}")
        raise InputError(f"{where} cannot be read ({reason(error)}); expected {expected}; write it again") from error


def verify_archive(archive: zipfile.ZipFile, expected: str) -> None:
    """Compare every entry with its checksum, in constant memory.

    Raises:
        InputError: names the first that differs.
    """
    for entry in archive.infolist():
        try:
            with archive.open(entry) as file:
                while file.read(BLOCK):
                    pass
        except DAMAGE as error:
            where = printable(f"{archive.filename}: {entry.filename[:80]}")
            raise InputError(f"{where} is damaged ({reason(error)}); expected {expected}; copy it again") from error


def reason(error: BaseException) -> str:
    """What an exception says, in at most 100 printable characters of one line."""
    return printable(" ".join(str(error).split())[:100]) or type(error).__name__


def _stated_entries(path: Path) -> int:
    """How many entries the end of an archive states; :data:`MANY` where the number does not fit there."""
    with path.open("rb") as file:
        file.seek(-min(path.stat().st_size, COMMENT + 22), 2)
        tail = file.read()
    place = tail.rindex(b"PK\x05\x06")
    return int.from_bytes(tail[place + 10 : place + 12], "little")


def _problem(entry: zipfile.ZipInfo, names: set[str], size: int) -> str:
    """What is wrong with an entry's place in the directory; empty when nothing is."""
    if entry.filename in names:
        return "stands twice in it"
    if entry.flag_bits & 1:
        return "is encrypted"
    if entry.compress_type not in METHODS:
        return f"is compressed by method {entry.compress_type}, expected none or deflate"
    most = entry.compress_size * (1 if entry.compress_type == zipfile.ZIP_STORED else DEFLATED)
    if entry.compress_size > size or entry.file_size > most:
        return f"states {entry.file_size} bytes out of {entry.compress_size} in a file of {size}"
    return ""
