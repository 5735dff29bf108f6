"""Rows of nuScenes' tables, decoded in blocks: a gigabyte of JSON goes by in a few megabytes of memory.

A table is one JSON list of rows. A block ends after a row, where a comma and another row follow; should that comma
stand inside a text, the block has an odd number of quotes, cannot be decoded, and is joined with what follows. So a
table is read in blocks exactly where it would be read at once.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from operator import attrgetter
from pathlib import Path
from typing import Any, get_args

import msgspec
import numpy as np

from datamodules.errors import DatasetNotFound, InputError, printable
from datamodules.files.checksums import verify_file
from datamodules.files.text_files import MARKS, decoded
from datamodules.files.typed_json import quoted
from datamodules.nuscenes.table_rows import (
    QUICK_FORMS,
    ROWS,
    WANTED,
    QuickPoseRow,
    as_written,
    decoded_row,
    read_numbers,
)

TABLES = (
    "attribute", "calibrated_sensor", "category", "ego_pose", "instance",
    "sample", "sample_annotation", "sample_data", "scene", "sensor",
)  # fmt: skip
TABLE_FILES = "DATAROOT/VERSION/{" + ",".join(TABLES) + "}.json"
LARGE_TABLES = 32 << 20  # bytes of tables; fewer are decoded before anybody notices
BLOCK = 1 << 19  # bytes that are decoded at once
NEXT_ROW = re.compile(rb"\}\s*(,)\s*\{")
TOKEN = attrgetter("token")
COLON = ord(":")
KEY_PATTERN = re.compile(rb'"\s*:')


def read_rows(
    folder: Path, table: str, block: int | None = None, wanted: Mapping[str, Any] | None = None
) -> Iterator[list[Any]]:
    """The rows of a table, some thousands at a time; :mod:`datamodules.nuscenes.table_rows` says what they are.

    Args:
        folder: of the tables.
        table: its name.
        block: bytes a block; by default :data:`BLOCK`.
        wanted: tokens of the rows that are of use, if not all are.

    Raises:
        DatasetNotFound: there is no such file.
        InputError: it is no table, a row is not what it has to be, or two rows have one token.
    """
    path = folder / f"{table}.json"
    hashes = []
    look = None if wanted is None else _Wanted(wanted)
    for rows in _blocks(path, block or BLOCK):
        hashes.append(np.fromiter(map(hash, map(TOKEN, rows)), np.int64, len(rows)))
        yield _whole_rows(path, rows if look is None else look.among(rows, hashes[-1]))
    ordered = np.sort(np.concatenate(hashes)) if hashes else np.zeros(0, np.int64)
    if (ordered[1:] == ordered[:-1]).any():
        _refuse_doubles(path, set(ordered[1:][ordered[1:] == ordered[:-1]].tolist()))


class _Wanted:
    """Finds the rows of some tokens; most others are turned down by a few bits of their hashes, many at once."""

    def __init__(self, tokens: Mapping[str, Any]) -> None:
        self.tokens = tokens
        self.last = max(1 << 10, 8 << len(tokens).bit_length()) - 1
        self.some = np.zeros(self.last + 1, np.bool_)
        self.some[np.fromiter(map(hash, tokens), np.int64, len(tokens)) & self.last] = True

    def among(self, rows: list[Any], hashes: np.ndarray) -> list[Any]:
        found = map(rows.__getitem__, np.flatnonzero(self.some[hashes & self.last]).tolist())
        return [row for row in found if row.token in self.tokens]


def table_states(folder: Path) -> dict[str, os.stat_result]:
    """What the file system says of the tables that are there."""
    found = {}
    for name in TABLES:
        with suppress(OSError):  # whoever reads it says so
            found[name] = (folder / f"{name}.json").stat()
    return found


def total_size(states: Mapping[str, os.stat_result]) -> int:
    """Bytes of some tables."""
    return sum(one.st_size for one in states.values())


@contextmanager
def unchanged(folder: Path) -> Iterator[int]:
    """Tables that stay as they are while they are read.

    Yields:
        Their size, bytes.

    Raises:
        InputError: one changed meanwhile.
    """
    before = table_states(folder)
    yield total_size(before)
    after = table_states(folder)
    for name in TABLES:
        told = [
            one and (one.st_size, one.st_mtime_ns, one.st_ctime_ns, one.st_ino)
            for one in (before.get(name), after.get(name))
        ]
        if told[0] != told[1]:
            cure = "expected the same table all along; start again once nobody writes it"
            raise InputError(f"{folder / name}.json: changed while the tables were read, {cure}")


def missing_table(path: Path, error: OSError) -> DatasetNotFound:
    """What is raised where a table cannot be read."""
    cause = f"{path}: cannot be read ({error.strerror}); expected {TABLE_FILES}"
    return DatasetNotFound(f"{cause}; download the version's metadata")


def lacks(folder: Path, table: str, token: str, field: str) -> InputError:
    """What is raised where a row lacks a field that is needed."""
    place = printable(f"{folder / table}.json: row {token}")
    return InputError(f"{place} has no {field}; copy all tables of one release again")


def dangles(folder: Path, table: str, other: str, token: object) -> InputError:
    """What is raised where a row names one of another table that is not there."""
    cure = "copy all tables of one release again"
    return InputError(
        printable(f"{folder / table}.json: names {other} {token!r}, which {other}.json does not hold; {cure}")
    )


def _blocks(path: Path, size: int) -> Iterator[list[Any]]:
    """Rows by block, each checked."""
    try:
        verify_file(path)
        with path.open("rb") as file:
            head = file.read(size)
            if len(head) < size or head.startswith(tuple(MARKS)) or b"\0" in head[:4]:  # UTF-16 is no table's size
                yield _decode(path, head + file.read(), 0)
                return
            yield from _parts(path, head, file.read, size)
    except OSError as error:
        raise missing_table(path, error) from error


def _parts(path: Path, rest: bytes, read: Callable[[int], bytes], size: int) -> Iterator[list[Any]]:
    opening, start = b"", 0  # the first part brings its own bracket
    step = size
    while more := read(step):
        cut = _last_row(rest)
        if cut:
            part = b"".join((opening, memoryview(rest)[:cut], b"]"))
            rows = _fast(path, part)
            if rows is None:  # perhaps cut inside a text, or a table that is none: the next block tells
                rows = _whole(path, part)
            if rows is not None:
                yield rows
                opening, start, rest = b"[", start + cut + 1, rest[cut + 1 :]
        step = max(size, len(rest))  # more and more where nothing could be decoded
        rest += more
    yield _decode(path, opening + rest, start - len(opening))


def _last_row(buffer: bytes) -> int:
    """Where the last comma between two rows stands; 0 for none."""
    end = len(buffer)
    while (end := buffer.rfind(b"}", 0, end)) > 0:
        if found := NEXT_ROW.match(buffer, end):
            return found.start(1)
    return 0


def _decode(path: Path, raw: bytes, offset: int) -> list[Any]:
    """The rows of a list.

    Raises:
        InputError: it is none, or holds a row that is not what it has to be.
    """
    rows = _fast(path, raw)
    if rows is not None:
        return rows
    try:
        raw[: len(raw) if offset else 0].decode()
    except UnicodeDecodeError as error:
        place = f"{path}: byte {offset + error.start} is no UTF-8"
        raise InputError(f"{place}; expected a nuScenes table, saved as UTF-8") from None
    return _strict(path, decoded(raw, path, "a nuScenes table"), offset)


def _whole(path: Path, raw: bytes) -> list[Any] | None:
    """As :func:`_decode`, or None where what was cut off is needed to say what is wrong."""
    try:
        text = raw.decode()
        json.loads(text)
    except (ValueError, RecursionError):
        return None
    return _strict(path, text, 0)


def _fast(path: Path, raw: bytes) -> list[Any] | None:
    """Rows, or None where a closer look is needed."""
    decoder, fit = _FAST[path.stem]
    try:
        rows: list[Any] = decoder.decode(raw)
        if not rows:
            return rows
        if isinstance(rows[0], QuickPoseRow) and not raw.isascii():
            raw.decode()
        first: list[Any] = []
        json.loads(raw[raw.index(b"{") : raw.index(b"}") + 1], object_pairs_hook=first.extend)
    except (msgspec.DecodeError, ValueError, RecursionError):  # a ValueError is also what is no UTF-8
        return None
    keys = len({name for name, _ in first}) * len(rows)  # rows of one table have the same keys
    if np.count_nonzero(np.frombuffer(raw, np.uint8) == COLON) != keys and len(KEY_PATTERN.findall(raw)) != keys:
        return None
    return rows if fit is None or fit(rows) else None


def _whole_rows(path: Path, rows: list[Any]) -> list[Any]:
    """Rows with all their values.

    Raises:
        InputError: one is not what it has to be.
    """
    if not rows or not isinstance(rows[0], QuickPoseRow):
        return rows
    try:
        return list(read_numbers(rows))
    except (msgspec.DecodeError, ValueError):  # one lacks some, or holds what it must not
        return _converted(path, [decoded_row(row) for row in rows])


def _strict(path: Path, text: str, offset: int) -> list[Any]:
    """The rows of a list, or what is wrong with it; places in the file are counted from ``offset``."""
    try:
        rows = json.loads(text)
        if not isinstance(rows, list) or not all(isinstance(row, dict) and type(row["token"]) is str for row in rows):
            raise TypeError("no list of rows with tokens")
        if len(re.findall(r'"\s*:', text)) > sum(map(len, rows)):  # JSON keeps the last of two equal keys only
            json.loads(text, object_pairs_hook=_unique)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        expected = "expected a JSON list of rows with tokens"
        said = f"{error!r}" if not offset else f"{error!r}, {offset} bytes into the file"
        raise InputError(f"{printable(f'{path}: not a nuScenes table ({said})')}; {expected}; copy it again") from error
    if QuickPoseRow in get_args(QUICK_FORMS[path.stem][0]):  # whoever needs a row looks at its numbers
        return [as_written(row) for row in rows]
    return _converted(path, rows)


def _converted(path: Path, rows: list[dict[str, Any]]) -> list[Any]:
    """Decoded rows as those of their table.

    Raises:
        InputError: one is not what it has to be.
    """
    try:
        return list(msgspec.convert(rows, ROWS[path.stem]))
    except (msgspec.ValidationError, UnicodeError) as error:
        place = re.search(r"\$\[(\d+)\]", str(error))
        field = re.search(r"`\$(?:\[\d+\])?\.(\w+)", str(error))
        row, key = rows[int(place[1])] if place else {}, field[1] if field else ""
        wanted = WANTED.get(key, "text" if key else "a row of this table")
        where = f"{path}: row {row.get('token')}: {key} {quoted(row.get(key))}"
        bound = re.search(r" (?:>=|<=) \S+", str(error))
        raise InputError(
            printable(f"{where}, expected {wanted}{bound[0] if bound else ''}; copy the table again")
        ) from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    name, count = Counter(name for name, _ in pairs).most_common(1)[0] if pairs else ("", 0)
    if count > 1:
        raise ValueError(f"the key {name!r} stands twice in one row")
    return dict(pairs)


def _refuse_doubles(path: Path, hashes: set[int]) -> None:
    """Look again at the rows whose tokens may be equal; equal hashes alone are no fault."""
    counts: Counter[str] = Counter()
    for rows in _blocks(path, BLOCK):
        counts.update(row.token for row in rows if hash(row.token) in hashes)
    for token, count in counts.items():
        if count > 1:
            raise InputError(printable(f"{path}: two rows have the token {token}, expected one; copy it again"))


_FAST = {table: (msgspec.json.Decoder(type_), fit) for table, (type_, fit) in QUICK_FORMS.items()}
