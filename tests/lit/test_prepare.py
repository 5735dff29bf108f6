"""``prepare kitti``: a good tree is status 0, a broken or missing one is named and status 2."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lit.cli import main


def test_a_complete_tree_passes(tiny_world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prepare", "kitti", "--root", str(tiny_world)]) == 0
    printed = capsys.readouterr().out
    assert "Car" in printed
    assert "12" in printed


def test_a_missing_folder_prints_the_tree(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prepare", "kitti", "--root", str(tmp_path / "nowhere")]) == 2
    captured = capsys.readouterr()
    assert "training/label_2" in captured.out
    assert len(captured.err.strip().splitlines()) == 1
    assert "nowhere" in captured.err


@pytest.mark.parametrize("missing", ["training/calib/000003.txt", "training/image_2/000003.png"])
def test_a_missing_file_is_named(
    missing: str, tiny_world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "broken"
    shutil.copytree(tiny_world, root)
    (root / missing).unlink()
    assert main(["prepare", "kitti", "--root", str(root)]) == 2
    assert missing in capsys.readouterr().out
