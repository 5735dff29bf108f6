"""The suite's own data: asset banks and posed image sets, whose indices vouch for their files; labelled archives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from datamodules.assets.bank import AssetBank, AssetBankWriter
from datamodules.assets.view_assets import ViewAsset
from datamodules.assets.voxels.voxel_assets import VoxelAsset
from datamodules.objects.labelled.pairs import LabelledPairs
from datamodules.objects.posed_images import PosedImageSet, write_object, write_posed_index
from datamodules.randomness import derive
from tests.datamodules.objects.labelled.drawn_pairs import write_drawn
from tests.faults.surface import Surface

VIEWS, SIZE = 3, 8


def make_voxels(folder: Path) -> None:
    """A bank of three grids."""
    with AssetBankWriter(folder / "bank", "lift3d", "c0ffee", "beef", "CC0", 0, "tests") as writer:
        for number in range(3):
            rng = derive(7, number)
            grid = rng.integers(0, 256, (8, 6, 4, 4), dtype=np.uint8)
            writer.write(VoxelAsset(f"car{number}", "Car", rng.uniform(1, 4, 3), grid), caption="a car", score=0.5)


def make_views(folder: Path) -> None:
    """A bank of two objects in three views each."""
    with AssetBankWriter(folder / "bank", "dst3d") as writer:
        for number in range(2):
            rng = derive(8, number)
            rgba = rng.integers(0, 256, (VIEWS, SIZE, SIZE, 4), dtype=np.uint8)
            depth = rng.uniform(2, 5, (VIEWS, SIZE, SIZE)).astype(np.float16)
            name = f"car{number}"
            writer.write(ViewAsset(name, "Car", rng.uniform(1, 4, 3), rgba, depth, rng.normal(size=(VIEWS, 3, 4))))


def read_bank(folder: Path) -> Any:
    """The index and every asset's arrays."""
    bank = AssetBank(folder / "bank")
    arrays = []
    for number in range(len(bank)):
        asset: Any = bank[number]
        keys = ("grid",) if isinstance(asset, VoxelAsset) else ("rgba", "depth", "projection")
        arrays.append([asset.id, asset.name, asset.dims, *(np.array(getattr(asset, key)) for key in keys)])
    return [bank.hash, bank.classes, bank.index, arrays]


def make_posed(folder: Path) -> None:
    """Two objects in three views."""
    for number in range(2):
        rng = derive(9, number)
        arrays: dict[str, np.ndarray] = {
            "rgba": rng.integers(0, 256, (VIEWS, SIZE, SIZE, 4), dtype=np.uint8),
            "projection": rng.normal(size=(VIEWS, 3, 4)),
            "depth": rng.uniform(2, 5, (VIEWS, SIZE, SIZE)).astype(np.float16),
        }
        write_object(folder, f"studio-{number:06d}", arrays)
    names = [f"studio-{number:06d}" for number in range(2)]
    write_posed_index(folder, "Car", SIZE, VIEWS, names, np.array([[3.9, 1.5, 1.6], [4.2, 1.4, 1.7]]), "tests")


def read_posed(folder: Path) -> Any:
    """The whole set."""
    return PosedImageSet.load(folder)


def make_labelled(folder: Path) -> None:
    """Two objects in two views, with segmentations."""
    write_drawn(folder, objects=2, views=2, kind="seg")


def read_labelled(folder: Path) -> Any:
    """Everything in both archives."""
    pairs = LabelledPairs(folder / "images.zip", folder / "labels.zip", "seg", 3)
    return [pairs.keys, pairs.cameras, [[pairs.picture(row), pairs.label_map(row)] for row in range(len(pairs))]]


SURFACES = [
    Surface("bank_json", make_voxels, read_bank, ("bank/bank.json",), ("json", "json", "bytes"), share=60),
    Surface("bank_voxels", make_voxels, read_bank, ("bank/*.npy",), ("npy", "bytes"), share=20),
    Surface("bank_views", make_views, read_bank, ("bank/*.npy", "bank/*.bin"), ("npy", "bytes"), share=30),
    Surface(
        "posed_json", make_posed, read_posed, ("posed.json", "checksums.json"), ("json", "json", "bytes"), share=40
    ),
    Surface("labelled_zip", make_labelled, read_labelled, ("*.zip",), ("bytes",), share=20),
    Surface("posed_npz", make_posed, read_posed, ("*.npz",), ("zip", "npz", "bytes"), share=40),
]
