"""Archives of any origin: refused before anything is unpacked when their directory cannot be true."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from datamodules.errors import InputError
from datamodules.files.archives import open_archive, read_entry, verify_archive

EXPECTED = "an archive of this test"


def written(path: Path, method: int = zipfile.ZIP_STORED) -> bytes:
    """An archive of two entries, and its bytes."""
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("a.npy", b"numbers" * 50)
        archive.writestr("b.npy", b"others" * 50)
    return path.read_bytes()


def read_all(path: Path) -> None:
    with open_archive(path, EXPECTED) as archive:
        read_entry(archive, "a.npy", EXPECTED)
        verify_archive(archive, EXPECTED)


def refusal(path: Path) -> str:
    """What is said of an archive that is opened and read."""
    with pytest.raises(InputError) as caught:
        read_all(path)
    assert str(caught.value).isprintable()
    assert EXPECTED in str(caught.value)
    return str(caught.value)


def test_entries_come_back(tmp_path: Path) -> None:
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        written(tmp_path / "a.zip", method)
        with open_archive(tmp_path / "a.zip", EXPECTED) as archive:
            verify_archive(archive, EXPECTED)
            assert read_entry(archive, "b.npy", EXPECTED) == b"others" * 50


def test_damage_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    whole = written(path)
    directory = whole.index(b"PK\x01\x02")
    for position, value in ((whole.index(b"numbers") + 3, 0), (directory + 8, 1), (directory + 10, 97)):
        path.write_bytes(whole[:position] + bytes([value]) + whole[position + 1 :])
        refusal(path)
    path.write_bytes(whole[: directory + 24] + b"\xff\xff\xff\x7f" + whole[directory + 28 :])
    assert "states 2147483647 bytes out of 350" in refusal(path)
    path.write_bytes(whole[:-30])
    assert "cannot be read" in refusal(path)
    path.write_bytes(b"")
    refusal(path)
    assert "does not exist" in refusal(tmp_path / "none.zip")
    path.write_bytes(whole.replace(b"b.npy", b"a.npy"))
    assert "stands twice" in refusal(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("a.npy", b"1" * 1000)
    assert "compressed by method 12" in refusal(path)
