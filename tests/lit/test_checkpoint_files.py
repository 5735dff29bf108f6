from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from datamodules.errors import InputError
from lit.checkpoint_files import AtomicCheckpoints, remove_parts
from lit.cli import main


def test_a_refusing_disk_leaves_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, writer = tmp_path / "last.ckpt", AtomicCheckpoints()
    writer.save_checkpoint({"step": 1}, path)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=r"last.ckpt: cannot be written \(No space left on device\)"):
        writer.save_checkpoint({"step": 2}, path)
    assert torch.load(path, weights_only=True)["step"] == 1
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_writer_left_goes_and_nothing_else(tmp_path: Path) -> None:
    for name in ("last.ckpt", ".last.ckpt.17.tmp", ".notes.txt.17.tmp", "a.tmp"):
        (tmp_path / name).touch()
    remove_parts(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".notes.txt.17.tmp", "a.tmp", "last.ckpt"]


def test_a_training_writes_its_checkpoint_in_its_own_folder(toy_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = toy_folder / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(elsewhere))
    (toy_folder / "run").mkdir()
    (toy_folder / "run" / ".last.ckpt.17.tmp").touch()
    moved = []
    monkeypatch.setattr("shutil.move", lambda *names, **_: moved.append(names))
    assert main(["fit", "-c", "toy.yaml", "--trainer.default_root_dir", "run", "--trainer.logger", "false"]) == 0
    assert (toy_folder / "run" / "last.ckpt").is_file()
    assert not moved
    assert not list(elsewhere.iterdir())
    assert not list((toy_folder / "run").glob("*.tmp"))
