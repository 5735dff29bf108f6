"""Arrays in ``.npz`` archives: the same bytes for the same arrays; read with bounds, never unpickled, or refused."""

from __future__ import annotations

import io
import tokenize
import zipfile
from collections.abc import Collection, Mapping

import numpy as np

from datamodules.files.archives import DAMAGE, METHODS

HEADER = 1 << 16  # bytes at most before an array's values
ENCRYPTED = 0x1
DAMAGED = (*DAMAGE, tokenize.TokenError, SyntaxError, TypeError, AttributeError)  # the last from numpy's headers


def packed_arrays(arrays: Mapping[str, np.ndarray]) -> bytes:
    """An archive's bytes: arrays by name, each of one axis or more, deflated, with one fixed date."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=3) as archive:
        for key in sorted(arrays):
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(arrays[key]), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{key}.npy", (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, member.getvalue())
    return buffer.getvalue()


def read_arrays(content: bytes, names: Collection[str] | None, largest: int) -> dict[str, np.ndarray]:
    """Some arrays of an archive.

    Args:
        content: its bytes.
        names: of the arrays; those that it lacks are left out, others are not looked at. None reads all.
        largest: bytes that one of them may unfold to.

    Raises:
        ValueError: no such archive, a damaged one, or an array that is too large or of Python objects.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            if names is not None:
                members = [entry for entry in members if entry.filename.removesuffix(".npy") in names]
            if len({entry.filename for entry in members}) < len(members):
                raise ValueError("an array stands twice")
            return {entry.filename.removesuffix(".npy"): _array(archive, entry, largest) for entry in members}
    except DAMAGED as error:
        raise ValueError(str(error).split("\n")[0][:200] or type(error).__name__) from None


def _array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, largest: int) -> np.ndarray:
    if entry.file_size > largest + HEADER:
        raise ValueError(f"{entry.filename} states {entry.file_size} bytes, expected at most {largest}")
    if entry.compress_type not in METHODS or entry.flag_bits & ENCRYPTED:
        raise ValueError(f"{entry.filename} is encrypted or compressed by another method than deflate")
    stored = archive.read(entry)  # compares the archive's own checksum
    array = np.lib.format.read_array(io.BytesIO(stored), allow_pickle=False)
    if array.nbytes + HEADER < len(stored):
        raise ValueError(f"{entry.filename} holds more than its header says")
    return np.asarray(array)
