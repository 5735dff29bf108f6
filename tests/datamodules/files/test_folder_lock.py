"""One writer a folder, and nothing left behind."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from datamodules.errors import InputError
from datamodules.files.folder_lock import folder_lock

HOLD = (
    "import sys, time\n"
    "from datamodules.files.folder_lock import folder_lock\n"
    "with folder_lock(sys.argv[1], 'a world'):\n"
    "    print('held', flush=True)\n"
    "    time.sleep(60)\n"
)


def test_a_held_folder_refuses_and_names_the_holder(tmp_path: Path) -> None:
    second, complaint = folder_lock(tmp_path, "a world"), rf"process {os.getpid()} .* writes there, expected a world"
    with folder_lock(tmp_path, "a world"), pytest.raises(InputError, match=complaint), second:
        pass
    with folder_lock(tmp_path, "a world"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_stayed_empty_goes_again(tmp_path: Path) -> None:
    with folder_lock(tmp_path / "new" / "deep", "a world"):
        assert (tmp_path / "new" / "deep").is_dir()
    assert not (tmp_path / "new" / "deep").exists()
    with folder_lock(tmp_path / "kept", "a world"):
        (tmp_path / "kept" / "file").touch()
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["file"]


def test_a_killed_process_frees_its_folder(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(InputError, match=f"process {holder.pid} "), folder_lock(tmp_path, "a world"):
        pass
    holder.kill()
    holder.communicate()
    with folder_lock(tmp_path, "a world"):
        pass


def test_a_file_in_place_of_the_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(InputError, match="taken: cannot be written"), folder_lock(tmp_path / "taken", "a world"):
        pass


def test_a_file_system_without_locks_warns_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.warns(UserWarning, match="no locks"), folder_lock(tmp_path, "a world"):
        pass


def test_a_forked_process_keeps_no_lock_of_a_killed_parent(tmp_path: Path) -> None:
    fork = HOLD.replace("    print(", "    import os\n    if os.fork(): time.sleep(60)\n    print(")  # the child prints
    group = subprocess.Popen(
        [sys.executable, "-c", fork, str(tmp_path)], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert group.stdout is not None
    try:
        assert group.stdout.readline() == "held\n"
        group.kill()  # its child lives on, as workers of a loader do for some seconds
        group.wait()
        with folder_lock(tmp_path, "a world"):
            pass
    finally:
        os.killpg(group.pid, 9)
