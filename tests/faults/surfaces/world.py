"""The road world's own folder, which its index vouches for, read as a detector trains on it."""

from __future__ import annotations

import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.assets.bank import AssetBankWriter
from datamodules.assets.voxels.voxel_assets import VoxelAsset
from datamodules.kitti.datamodule import KittiDataModule, KittiDataset
from datamodules.light import read_lights
from datamodules.randomness import derive
from datamodules.world.road_world import write_world
from tests.faults.surface import Surface

SIZE = {"train": 2, "val": 1, "width": 160, "height": 48}


def make_world(folder: Path) -> None:
    """A world of three frames, and a bank beside it."""
    write_world(folder, **SIZE, workers=1, progress=False)


def bank(folder: Path) -> Path:
    """A bank of two cars, written when it is not there."""
    if not folder.exists():
        with AssetBankWriter(folder, "lift3d") as writer:
            for number in range(2):
                grid = derive(7, number).integers(0, 256, (8, 6, 4, 4), dtype=np.uint8)
                writer.write(VoxelAsset(f"car{number}", "Car", np.array([3.9, 1.5, 1.6]), grid))
    return folder


def read_world(folder: Path) -> Any:
    """All frames with their extras, and the light of each."""
    return [
        [(r := KittiDataset(folder, split, extras=True)).ids, [r.read(i) for i in range(len(r))]]
        for split in ("train", "val")
    ]


def train_frames(folder: Path) -> Any:
    """Frames as a detector trains on them: two with cars of the bank in them."""
    from datamodules.assets.bank import AssetBank
    from datamodules.injection.compositing import Compositor
    from datamodules.injection.injection import Injection
    from datamodules.injection.placement import Placement

    source = AssetBank(bank(folder.parent / "bank"))
    injection = Injection(
        source, Placement(plane="frame"), Compositor(occluders="instances"), probability=1.0, count=(2, 2)
    )
    data = KittiDataModule(str(folder), injection=injection, batch_size=2, workers=0, seed=0, on_error="raise")
    data.setup("fit")
    return [batch.images for batch in data.train_dataloader()]


def finished(folder: Path) -> Any:
    """Whether asking for the world again finds it whole, and what the folder holds then."""
    write_world(folder, **SIZE, workers=1, progress=False)
    lights = read_lights(folder)
    return [sorted(str(path.relative_to(folder)) for path in folder.rglob("*")), lights]


def copy_of(load: Any, folder: Path) -> Any:
    """Load a copy: what the load adds is dropped."""
    with tempfile.TemporaryDirectory() as place:
        shutil.copytree(folder, Path(place) / "world", symlinks=True)
        return load(Path(place) / "world")


FILES = ("training/*/*", "ImageSets/*")
TEXTS = ("training/label_2/*", "training/calib/*", "training/planes/*", "ImageSets/*")
MAPS = ("training/road_2/*", "training/instance_2/*", "training/depth_2/*", "training/image_2/*")
SURFACES = [
    Surface("world_text", make_world, read_world, TEXTS, ("text", "bytes"), share=60),
    Surface("world_maps", make_world, read_world, MAPS, ("png", "bytes"), share=40),
    Surface(
        "world_index",
        make_world,
        partial(copy_of, finished),
        ("world.json", "checksums.json"),
        ("json", "bytes"),
        share=30,
    ),
    Surface("world_injected", make_world, train_frames, (*TEXTS, *MAPS), ("text", "bytes"), share=30),
]
