from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datamodules.errors import InputError
from datamodules.kitti.drives import choose_drives, part_of_drives, read_drives


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


@given(sizes=st.lists(st.integers(1, 12), min_size=3, max_size=12), parts=st.integers(2, 3), shuffled=st.randoms())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_parts_are_whole_drives_and_every_frame_is_in_one(
    tmp_path: Path, sizes: list[int], parts: int, shuffled: Random
) -> None:
    drives = [f"drive_{number}" for number, size in enumerate(sizes) for _ in range(size)]
    shuffled.shuffle(drives)
    ids = [f"{number:06d}" for number in range(len(drives))]
    (tmp_path / "drives.txt").write_text("".join(f"{one} {drive}\n" for one, drive in zip(ids, drives, strict=True)))
    found = [part_of_drives(tmp_path, ids, part, parts) for part in range(parts)]
    assert sorted(one for part in found for one in part) == ids
    assert all(part == sorted(part) for part in found)
    of = dict(zip(ids, drives, strict=True))
    assert len(set(drives)) == sum(len({of[one] for one in part}) for part in found)
    lengths = [len(part) for part in found]
    assert max(lengths) - min(lengths) <= max(sizes)


def test_frames_that_cannot_be_divided_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"drives\.txt does not exist, .* leave out data\.fold"):
        part_of_drives(tmp_path, ["000001"], 0, 2)
    (tmp_path / "drives.txt").write_text("000001 a\n000002 a\n")
    with pytest.raises(InputError, match="2 frames of 1 drives in 2 folds: expected a drive for each"):
        part_of_drives(tmp_path, ["000001", "000002"], 0, 2)
