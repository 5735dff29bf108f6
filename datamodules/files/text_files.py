"""Text that people and other tools wrote, on any system: one reader for all of it."""

from __future__ import annotations

import codecs
import re
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
