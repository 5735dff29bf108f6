from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from datamodules.errors import InputError
from datamodules.kitti.drives import choose_drives, read_drives


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


def test_subsets_of_whole_drives_are_nested(tmp_path: Path) -> None:
    ids = [f"{number:06d}" for number in range(60)]
    drives = {sample_id: f"drive_{number * 7 % 60 // 9}" for number, sample_id in enumerate(ids)}
    (tmp_path / "drives.txt").write_text("".join(f"{name} {drive}\n" for name, drive in drives.items()))
    drawn = [choose_drives(tmp_path, ids, count, 3) for count in range(1, 61)]
    for smaller, larger in pairwise(drawn):
        assert set(smaller) < set(larger)
    assert drawn[-1] == ids
    for count, chosen in enumerate(drawn, 1):
        assert len(chosen) == count
        assert chosen == sorted(chosen)
        parts = {drive: [name for name in ids if drives[name] == drive] for drive in {drives[name] for name in chosen}}
        cut = [drive for drive, whole in parts.items() if not set(whole) <= set(chosen)]
        assert len(cut) <= 1
        if cut:  # its first frames
            own = [name for name in chosen if drives[name] == cut[0]]
            assert own == parts[cut[0]][: len(own)]
    assert choose_drives(tmp_path, ids, 20, 3) != choose_drives(tmp_path, ids, 20, 4)


def test_subsets_of_unknown_drives_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"drives\.txt does not exist, expected rows of id and drive; .* data\.subset"):
        choose_drives(tmp_path, ["000001"], 1, 0)
