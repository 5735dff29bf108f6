"""Pages of banks: written whole or not at all, and a disk that refuses is one line."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from datamodules.assets.bank_writer import AssetBankWriter
from datamodules.assets.voxels.voxel_assets import VoxelAsset
from datamodules.errors import InputError
from lit.cli import main as lit
from lit.commands.show.command import main


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    grid = np.random.default_rng(0).integers(0, 255, (8, 6, 6, 4), np.uint8)
    with AssetBankWriter(tmp_path / "bank", "lift3d") as writer:
        writer.write(VoxelAsset("one", "Car", np.array([4.0, 1.5, 1.7]), grid))
    return tmp_path / "bank"


@pytest.mark.parametrize(("name", "start"), [("page.html", b"<!doctype html>"), ("sheet.png", b"\x89png")])
def test_a_bank_is_shown_or_refused_in_one_line(bank: Path, tmp_path: Path, name: str, start: bytes) -> None:
    out = tmp_path / "new" / name
    assert main([str(bank), "--out", str(out)]) == 0
    assert out.read_bytes().lower().startswith(start)
    assert os.listdir(out.parent) == [name]
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=rf"file/{name}: cannot be written \(.*\); expected a folder with room"):
        main([str(bank), "--out", str(tmp_path / "file" / name)])


def test_frames_of_another_split_are_not_shown_in_a_fold(tiny_world: Path) -> None:
    """A fold divides both splits together: taken for the training's, the other split would be divided alone."""
    words = ["conf/experiment/world_centernet.yaml", "--data.root", str(tiny_world), "--data.fold=[0, 2]"]
    with pytest.raises(InputError, match=r"--split val with data\.fold \[0, 2\]: a fold divides both splits"):
        main([*words, "--split", "val", "--out", "frames.png"])


def test_what_an_injection_refuses_is_one_line(
    tiny_world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["show", "conf/experiment/world_centernet.yaml", "--data.root", str(tiny_world), "--data.injection"]
    words += ["conf/injection/mesh.yaml", "--data.injection.count=[4, 2]", "--out", str(tmp_path / "frames.png")]
    assert lit(words) == 2
    assert capsys.readouterr().err == (
        "error: injection count (4, 2): expected 0 <= least <= most; correct injection.count\n"
    )


def test_an_experiment_whose_split_is_a_file_is_shown_without_naming_it(tiny_surround: Path, tmp_path: Path) -> None:
    lists = tiny_surround / "ImageSets"
    words = ["conf/experiment/nuscenes_fcos3d_world.yaml", "--data.root", str(tiny_surround), "--count", "1"]
    words += ["--data.train_split", str(lists / "train.txt"), "--data.val_split", str(lists / "val.txt")]
    words += ["--data.injection", "conf/injection/surround_world_renderer.yaml", "--out", str(tmp_path / "frames.png")]
    assert main(words) == 0
    assert (tmp_path / "frames.png").read_bytes().startswith(b"\x89PNG")
