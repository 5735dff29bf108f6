"""Published results with all they follow from: the raw records of a sweep in one file, and the tables made of them."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from datamodules.errors import InputError, printable
from datamodules.files.archives import open_archive, read_entry
from datamodules.files.atomic_files import write_atomically
from lit.experiments.design import PLAN_FILE
from lit.experiments.published import FILE as PUBLISHED_FILE
from lit.results import find_results, read_record, sealed

RECORDS = "records.zip"
EXPECTED = "a sweep's records, packed"
MOST_UNPACKED = 1 << 30  # of an archive's content; a larger one is no sweep's
EPOCH = (1980, 1, 1, 0, 0, 0)  # the same bytes whenever it is written


def pack_records(sweep: Path, archive: Path, names: Mapping[str, str] | None = None) -> int:
    """Write a sweep's plan, records, and what its runs left of every frame into one compressed file.

    Args:
        sweep: the sweep's folder.
        archive: the file.
        names: folders that go by another name in the file, which is public: a data set's place on this machine, say.
            Such a record says under ``renamed`` what the folder is called in it; its keys stay those of the run.

    Returns:
        The number of records.

    Raises:
        InputError: the folder holds no record, or a record's file of frames is missing.
    """
    results = list(find_results([sweep]))
    files = [sweep / PLAN_FILE, sweep / PUBLISHED_FILE, *sorted((sweep / "prepared").glob("*.json"))]
    for result in results:
        files.append(result.path)
        if raw := result.content.get("raw"):
            files.append(result.path.parent / raw["file"])
    if missing := [path for path in files[2:] if not path.is_file()]:
        raise InputError(f"{missing[0]}: not found, though a record names it; run the sweep again")
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        for path in (path for path in files if path.is_file()):
            entry = zipfile.ZipInfo(path.relative_to(sweep).as_posix(), EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            packed.writestr(entry, _published(path, names) if names and path.suffix == ".json" else path.read_bytes())
    write_atomically(archive, content.getvalue())
    return len(results)


def _published(path: Path, names: Mapping[str, str]) -> bytes:
    """A record with other names for folders, and its own checksum."""
    content = read_record(path, "a record of the sweep")
    renamed = dict.fromkeys(names.values(), False)

    def told(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: told(below) for key, below in value.items()}
        if isinstance(value, list):
            return [told(below) for below in value]
        for old, new in names.items() if isinstance(value, str) else ():
            if value == old or f"{old}/" in value or value.endswith(f"={old}"):
                value, renamed[new] = value.replace(old, new), True
        return value

    content = told(content)
    if used := [new for new, is_used in renamed.items() if is_used]:
        content["renamed"] = used
    return (json.dumps(sealed(content), indent=1) + "\n").encode()


def absolute_paths(archive: Path) -> list[str]:
    """Absolute paths that the records of an archive name: those of the machine that made them."""
    found: set[str] = set()

    def look(value: Any) -> None:
        if isinstance(value, str):
            found.update(word for word in value.replace("=", " ").split() if word.startswith("/") and "/" in word[1:])
        for below in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            look(below)

    with open_archive(archive, EXPECTED) as packed:
        for entry in packed.infolist():
            if entry.filename.endswith(".json"):
                look(json.loads(read_entry(packed, entry.filename, EXPECTED)))
    return sorted(found)


def unpack_records(archive: Path, folder: Path) -> None:
    """Extract an archive of :func:`pack_records`.

    Raises:
        InputError: it is damaged, or holds what no sweep leaves.
    """
    with open_archive(archive, EXPECTED) as packed:
        if sum(entry.file_size for entry in packed.infolist()) > MOST_UNPACKED:
            raise InputError(
                f"{archive}: larger than {MOST_UNPACKED >> 20} MiB when unpacked, expected a sweep's records"
            )
        for entry in packed.infolist():
            name = PurePosixPath(entry.filename)
            if name.is_absolute() or ".." in name.parts or name.suffix not in (".json", ".npz"):
                shown = printable(repr(entry.filename[:80]))
                raise InputError(f"{archive}: holds {shown}, expected records (.json) and frames (.npz) only")
            write_atomically(folder / name, read_entry(packed, entry.filename, EXPECTED))


def find_archives(folder: Path) -> Iterator[Path]:
    """The archives below a folder.

    Raises:
        InputError: there is none.
    """
    found = sorted(folder.rglob(RECORDS))
    if not found:
        raise InputError(f"{folder}: holds no {RECORDS}; `python -m lit results pack SWEEP --out FOLDER` writes one")
    yield from found
