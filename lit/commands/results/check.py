"""``python -m lit results check``: recomputes every published figure from the raw records beside it."""

from __future__ import annotations

import csv
import io
import json
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datamodules.errors import InputError
from datamodules.files.text_files import read_text
from datamodules.files.typed_json import read_json
from lit.arguments import Arguments
from lit.commands.results.overview import OVERVIEW, overview
from lit.experiments.archive import find_archives, unpack_records
from lit.leaderboard.board import read_board
from lit.leaderboard.files import TABLE_NAME, write_tables

TOLERANCE = 1e-9  # relative: another machine's libraries may round the last digits of a p-value otherwise


def main(argv: list[str]) -> int:
    """``python -m lit results check FOLDER``."""
    parser = Arguments("results check", __doc__ or "")
    parser.add_argument("folder", type=Path, help="such as docs/results")
    options = parser.parse_args(argv)
    wrong = 0
    for archive in find_archives(options.folder):
        found = list(differences(archive))
        wrong += bool(found)
        for line in found[:20]:
            print(f"{archive.parent}: {line}")
        if not found:
            print(f"{archive.parent}: every figure follows from its raw records")
    page = options.folder / OVERVIEW
    if page.is_file() and read_text(page, "an overview") != overview(options.folder):
        wrong += 1
        print(f"{page}: says otherwise than the tables; `python -m lit results overview {options.folder} --out {page}`")
    return 1 if wrong else 0


def differences(archive: Path) -> Iterator[str]:
    """What the tables beside an archive say otherwise than its records.

    Raises:
        InputError: the archive or a record in it is damaged.
    """
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        unpack_records(archive, place / "sweep")
        board = read_board([place / "sweep"])
        write_tables(board, place / f"{TABLE_NAME}.html")
        for suffix in (".json", ".csv", ".md"):
            ours, theirs = (path / f"{TABLE_NAME}{suffix}" for path in (place, archive.parent))
            if not theirs.is_file():
                yield f"{theirs.name}: missing"
                continue
            parsed = (parse(path) for path in (theirs, ours))
            yield from (f"{theirs.name}: {line}" for line in unequal("", *parsed))


def parse(path: Path) -> Any:
    """A table's content as plain values; numbers as numbers.

    Raises:
        InputError: it is none.
    """
    expected = "a published table, as `python -m lit results pack` writes it"
    if path.suffix == ".json":
        return read_json(path, dict[str, Any], expected)
    text = read_text(path, expected)
    if path.suffix == ".csv":
        try:
            return [[_number(cell) for cell in line] for line in csv.reader(io.StringIO(text))]
        except csv.Error as error:
            raise InputError(f"{path}: {error}; expected {expected}") from error
    return text.splitlines()


def unequal(place: str, theirs: Any, ours: Any) -> Iterator[str]:
    """Where two plain values differ."""
    if isinstance(theirs, dict) and isinstance(ours, dict) and theirs.keys() == ours.keys():
        for key in theirs:
            yield from unequal(f"{place}.{key}", theirs[key], ours[key])
    elif isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        for index, (one, other) in enumerate(zip(theirs, ours, strict=True)):
            yield from unequal(f"{place}[{index}]", one, other)
    elif isinstance(theirs, float) and isinstance(ours, float) and math.isclose(theirs, ours, rel_tol=TOLERANCE):
        return
    elif theirs != ours:
        yield f"{place.lstrip('.')} is {str(theirs)[:80]!r}, the records give {str(ours)[:80]!r}"


def _number(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
