"""Text that people and other tools wrote, on any system: one reader for all of it."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Collection
from pathlib import Path

from datamodules.errors import DatasetNotFound, InputError
from datamodules.files.checksums import verify

CONTROL = re.compile(r"[\x01-\x08\x0b\x0c\x0e-\x1f\x7f]")
MARKS = {  # UTF-32 first: its little-endian mark begins with UTF-16's
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def read_text(path: str | Path, expected: str) -> str:
    """A text file's content, whatever wrote it: its byte order mark decides the encoding, every line ends in ``\\n``.

    Without a mark it is UTF-8, also where the system's locale says otherwise.

    Args:
        path: the file.
        expected: what it should be, for the message.

    Raises:
        DatasetNotFound: it does not exist.
        InputError: it cannot be read, is no text, or differs from its checksum.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise DatasetNotFound(f"{path} does not exist; expected {expected}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); expected {expected}") from None
    verify(path, content)
    return decoded(content, path, expected)


def decoded(content: bytes, path: str | Path, expected: str) -> str:
    """The text of a file's bytes; see :func:`read_text`.

    Raises:
        InputError: the bytes are no text.
    """
    encoding = next((name for mark, name in MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: byte {error.start} is no {encoding.removesuffix('-sig').upper()}; expected {expected}, "
            "saved as UTF-8"
        ) from None
    if "\0" in text:  # UTF-16 without a mark, or no text at all
        raise InputError(f"{path}: holds a NUL character; expected {expected}, saved as UTF-8")
    if strange := CONTROL.search(text):  # some would part columns or rows in one reader and not in another
        raise InputError(f"{path}: holds the control character {strange[0]!r}; expected {expected}; remove it")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_cells(path: str | Path, expected: str, needed: Collection[str]) -> list[tuple[int, dict[str, str]]]:
    """Line number and cells by column, without spaces around them, of each row of a CSV file whose first line names
    the columns; what a row lacks at its end is empty.

    Args:
        path: the file.
        expected: what it should be, for the message.
        needed: columns that have to be there.

    Raises:
        DatasetNotFound: it does not exist.
        InputError: as :func:`read_text`; a column is missing; or a row has more cells than columns, of which readers
            would drop the last: a comma stands in a cell without quotes.
    """
    reader = csv.reader(io.StringIO(read_text(path, expected)), skipinitialspace=True)
    try:
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if row]
    except csv.Error as error:
        raise InputError(
            f"{path}: line {reader.line_num}: {error}; expected {expected}; is a quote left open there?"
        ) from None
    header = rows[0][1] if rows else []
    if missing := sorted(set(needed) - set(header)):
        raise InputError(f"{path}: no column {', '.join(missing)}; expected {', '.join(needed)}")
    for number, row in rows[1:]:
        if any(row[len(header) :]):
            raise InputError(
                f"{path}: line {number}: {len(row)} cells, expected {len(header)} ({', '.join(header)}); put quotes "
                "about cells with commas"
            )
    empty = [""] * len(header)
    return [(number, dict(zip(header, [*row, *empty]))) for number, row in rows[1:]]
