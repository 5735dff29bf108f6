from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from datamodules.assets.bank_writer import AssetBankWriter
from datamodules.assets.crops.label_masks import LabelMasks
from datamodules.assets.recomposition import RecomposedAsset, RecompositionSource
from datamodules.assets.voxels.voxel_assets import VoxelAsset
from datamodules.kitti.datamodule import KittiDataset
from lit.cli import main

OPTIONS = ["--min-height", "8"]


def twice(world: Path, root: Path) -> list[RecomposedAsset]:
    """Two frames with cars and the same two once more, each pair a drive; their cars."""
    shutil.copytree(world, root)
    for name in ("checksums.json", "world.json"):  # another set of frames, no longer the world as written
        (root / name).unlink()
    frames = KittiDataset(str(root), "train", None, extras=True)
    found, ids = [], []
    for frame in (frames.read(index) for index in range(len(frames))):
        if crops := RecompositionSource(min_height=8, max_truncation=0.05).cut(frame, LabelMasks()):
            found += crops
            ids.append(frame.sample_id)
    for id in ids:
        for path in (root / "training").rglob(f"{id}.*"):
            shutil.copy(path, path.with_name(path.name.replace(id, f"9{id[1:]}")))
    split = root / "ImageSets" / "train.txt"
    split.write_text(split.read_text() + "".join(f"9{id[1:]}\n" for id in ids))
    rows = split.read_text().split()
    (root / "drives.txt").write_text("".join(f"{id} drive_{id[1:]}\n" for id in rows))
    return found


def bank_of(crops: list[RecomposedAsset], folder: Path) -> None:
    """Solid blocks in the mean colour of each car."""
    with AssetBankWriter(folder, "g3dr") as writer:
        for crop in crops:
            colour = crop.rgba[crop.rgba[..., 3] > 200][:, :3].mean(0)
            grid = np.full((12, 6, 6, 4), 255, np.uint8)
            grid[..., :3] = colour
            writer.write(VoxelAsset(crop.id, "Car", crop.dims, grid))


def test_cars_are_compared_with_their_own_pictures_of_another_frame(
    tiny_world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crops = twice(tiny_world, tmp_path / "kitti")
    bank_of(crops, tmp_path / "bank")
    out, sheet = tmp_path / "views.json", tmp_path / "views.png"
    command = ["evaluate", "crop-views", "--root", str(tmp_path / "kitti"), "--bank", str(tmp_path / "bank"), *OPTIONS]
    assert main([*command, "--out", str(out), "--sheet", str(sheet)]) == 0
    found = json.loads(out.read_text())
    metrics = found["metrics"]
    assert found["counts"]["cars"] >= 3
    assert metrics["pairs"] == found["counts"]["pairs"] == found["counts"]["cars"]  # the bank knows the first frames
    assert metrics["pairs_10_to_25"] == 0
    assert metrics["recomposition/psnr"] > 40  # the same picture at the same place
    assert metrics["recomposition/iou"] > 0.97
    assert 0.4 < metrics["bank/iou"] < 0.97  # a block is no car
    assert metrics["other_car/psnr_inside"] < metrics["bank/psnr_inside"] < metrics["recomposition/psnr_inside"]
    low, high = metrics["bank_minus_recomposition/psnr_interval"]
    assert low <= metrics["bank_minus_recomposition/psnr"] <= high < 0
    assert sheet.read_bytes().startswith(b"\x89PNG")
    assert "pairs of frames" in capsys.readouterr().out


def test_what_cannot_be_compared_is_one_line(
    tiny_world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crops = twice(tiny_world, tmp_path / "kitti")
    bank_of(crops[:1], tmp_path / "bank")
    command = ["evaluate", "crop-views", "--bank", str(tmp_path / "bank"), *OPTIONS, "--root"]
    assert main([*command, str(tiny_world)]) == 2
    assert "drives.txt does not exist, expected rows of id and drive" in capsys.readouterr().err
    assert main([*command, str(tmp_path / "kitti"), "--split", "val"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
