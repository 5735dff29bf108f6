"""Banks drawn in pieces: joined, they are the same files whatever the number of pieces."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from datamodules.assets.bank import AssetBank
from datamodules.assets.bank_pieces import PIECE, join_pieces, piece_folder, pieces_folder, this_piece
from datamodules.assets.bank_writer import AssetBankWriter
from datamodules.assets.view_assets import ViewAsset
from datamodules.assets.voxels.voxel_assets import VoxelAsset
from datamodules.errors import InputError

DIMS = np.array([4.0, 1.5, 1.7])


def voxels(number: int) -> VoxelAsset:
    """A grid of random cells; every third has another shape, which is another shard."""
    shape = (8, 6, 6, 4) if number % 3 else (6, 6, 6, 4)
    return VoxelAsset(
        f"car-{number:03d}", "Car", DIMS + number, np.random.default_rng(number).integers(0, 255, shape, np.uint8)
    )


def views(number: int) -> ViewAsset:
    """Two posed views."""
    rng = np.random.default_rng(number)
    rgba, depth = rng.integers(0, 255, (2, 8, 8, 4), np.uint8), rng.uniform(1, 9, (2, 8, 8)).astype(np.float32)
    return ViewAsset(f"car-{number:03d}", "Car", DIMS, rgba, depth, rng.uniform(size=(2, 3, 4)))


def draw(folder: Path, numbers: range, make: type = VoxelAsset, weights: str = "w") -> None:
    """A bank of some assets."""
    with AssetBankWriter(folder, "baker", "c", weights, "CC0-1.0", 5, "a test") as writer:
        for number in numbers:
            source = "elsewhere" if number == 2 else ""
            asset = voxels(number) if make is VoxelAsset else views(number)
            writer.write(asset, caption=f"number {number}", score=0.5 if number % 2 else None, source=source)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("make", [VoxelAsset, ViewAsset])
def test_any_number_of_pieces_gives_the_bank_of_one_process(tmp_path: Path, make: type) -> None:
    draw(tmp_path / "whole", range(7), make)
    for count in (1, 2, 3):
        target = tmp_path / "bank"
        for number in range(count):
            draw(piece_folder(target, number), range(number, 7, count), make)
        join_pieces(target, count)
        assert contents(target) == contents(tmp_path / "whole")
        assert not pieces_folder(target).exists()
    assert AssetBank(tmp_path / "bank").ids == [f"car-{number:03d}" for number in range(7)]


def test_pieces_that_do_not_belong_together(tmp_path: Path) -> None:
    target = tmp_path / "bank"
    draw(target, range(2))
    before = contents(target)
    draw(piece_folder(target, 0), range(0, 4, 2))
    with pytest.raises(InputError, match=r"0001/bank.json"):
        join_pieces(target, 2)
    draw(piece_folder(target, 1), range(1, 4, 2), weights="others")
    with pytest.raises(InputError, match="0001: has another checkpoint_hash than the first piece; draw the bank again"):
        join_pieces(target, 2)
    shutil.rmtree(piece_folder(target, 1))
    draw(piece_folder(target, 1), range(0, 4, 2))
    with pytest.raises(InputError, match="written before, expected unique ids"):
        join_pieces(target, 2)
    assert contents(target) == before


def test_a_process_knows_its_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    assert this_piece() is None
    monkeypatch.setenv(PIECE, "1/3")
    assert this_piece() == (1, 3)
    for wrong in ("3/3", "1", "x/2"):
        monkeypatch.setenv(PIECE, wrong)
        with pytest.raises(InputError, match=f"{PIECE}={wrong}: expected a piece such as 0/4"):
            this_piece()
