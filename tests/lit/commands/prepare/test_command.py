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


def test_surround_writes_a_nuscenes_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "surround"
    sizes = ["--train-scenes", "1", "--val-scenes", "1", "--samples", "1", "--width", "32", "--height", "24"]
    assert main(["prepare", "surround", "--root", str(root), *sizes, "--seed", "1", "--workers", "1"]) == 0
    assert "1 training and 1 validation scenes of 1 samples" in capsys.readouterr().out
    assert (root / "v1.0-world" / "sample_annotation.json").is_file()
    assert main(["prepare", "surround", "--root", str(root), *sizes, "--seed", "2", "--workers", "1"]) == 2
    assert "other settings" in capsys.readouterr().err
