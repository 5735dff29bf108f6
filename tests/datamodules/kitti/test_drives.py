from __future__ import annotations

from pathlib import Path

import pytest

from datamodules.errors import InputError
from datamodules.kitti.drives import read_drives


def test_drives_of_frames(tmp_path: Path) -> None:
    assert read_drives(tmp_path, ["000001"]) == {}
    (tmp_path / "drives.txt").write_text("000001 drive_a 0000000048\n\n000002 drive_b\n000003 drive_a 7\n")
    assert read_drives(tmp_path, ["000003", "000002"]) == {"000003": "drive_a", "000002": "drive_b"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("000001\n", r"drives.txt:1: '000001', expected an id and its drive"),
        ("000001 a\n000001 b\n", "drives.txt:2: frame 000001 is of two drives"),
        ("000002 a\n", "no row for frame 000001"),
    ],
)
def test_rows_that_say_no_drive_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "drives.txt").write_text(text)
    with pytest.raises(InputError, match=message):
        read_drives(tmp_path, ["000001"])
