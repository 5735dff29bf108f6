from __future__ import annotations

import fcntl
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from datamodules.errors import InputError
from datamodules.files.atomic_files import write_atomically


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    write_atomically(path, "old")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(InputError, match=r"a.txt: cannot be written \(disk full\)"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_what_a_killed_writer_left_is_taken_up_again(tmp_path: Path) -> None:
    (tmp_path / ".a.txt.tmp").write_text("half of something much longer")
    write_atomically(tmp_path / "a.txt", "whole")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a.txt", "whole")]


def test_writers_of_one_file_at_the_same_time_leave_one_of_their_contents(tmp_path: Path) -> None:
    contents = [letter * 5000 for letter in "abcdef"]
    with ThreadPoolExecutor(len(contents)) as pool:
        for content in contents * 10:
            pool.submit(write_atomically, tmp_path / "a.txt", content)
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() in contents


def test_another_holds_the_temporary_file(tmp_path: Path) -> None:
    with (tmp_path / ".a.txt.tmp").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        other.write("of another process")
        other.flush()
        write_atomically(tmp_path / "a.txt", "mine")
    assert (tmp_path / "a.txt").read_text() == "mine"
    assert (tmp_path / ".a.txt.tmp").read_text() == "of another process"
