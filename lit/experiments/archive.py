"""Published results with all they follow from: the raw records of a sweep in one file, and the tables made of them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from datamodules.errors import InputError, printable
from datamodules.files.archives import open_archive, read_entry
from datamodules.files.atomic_files import write_atomically
from lit.experiments.design import PLAN_FILE
from lit.experiments.published import FILE as PUBLISHED_FILE
from lit.results import find_results

RECORDS = "records.zip"
EXPECTED = "a sweep's records, packed"
MOST_UNPACKED = 1 << 30  # of an archive's content; a larger one is no sweep's
EPOCH = (1980, 1, 1, 0, 0, 0)  # the same bytes whenever it is written


def pack_records(sweep: Path, archive: Path) -> int:
    """Write a sweep's plan, records, and what its runs left of every frame into one compressed file.

    Args:
        sweep: the sweep's folder.
        archive: the file.

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
            packed.writestr(entry, path.read_bytes())
    write_atomically(archive, content.getvalue())
    return len(results)


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
