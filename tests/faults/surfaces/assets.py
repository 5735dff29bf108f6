"""The suite's own data: asset banks and posed image sets, whose indices vouch for their files; labelled archives."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from datamodules.assets.bank import AssetBank, AssetBankWriter
from datamodules.assets.in_place.in_place_bank import InPlaceSource
from datamodules.assets.view_assets import ViewAsset
from datamodules.assets.voxels.voxel_assets import VoxelAsset
from datamodules.images import write_image
from datamodules.objects.labelled.pairs import LabelledPairs
from datamodules.objects.posed_images import PosedImageSet, write_object, write_posed_index
from datamodules.randomness import derive
from datamodules.recognition.class_folder import ClassFolder
from datamodules.recognition.poses import POSES, PoseFile, pose_text
from tests.datamodules.assets.in_place.test_in_place_bank import car, write_bank
from tests.datamodules.objects.labelled.drawn_pairs import write_drawn
from tests.faults import plausible
from tests.faults.surface import Surface

VIEWS, SIZE = 3, 8
Side = Annotated[float, Meta(gt=0, le=1000)]
Degrees = Annotated[float, Meta(ge=-360, le=360)]
Pose = tuple[Degrees, Degrees, Degrees, Annotated[float, Meta(gt=0, le=1000)]]


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


def make_in_place(folder: Path) -> None:
    """Two frames of a car each."""
    write_bank(folder, {"000001": [car()], "000002": [car(60, 20)]})


def read_in_place(folder: Path) -> Any:
    """The index, and all objects of all frames."""
    source = InPlaceSource(folder)
    drawn = [asset for name in source.index.frames for asset in source.of(name)]
    return [source.index, [[asset.id, asset.name, asset.dims, asset.pose, asset.layer] for asset in drawn]]


def make_poses(folder: Path) -> None:
    """Two pictures of a class with their poses."""
    (folder / "car").mkdir()
    poses = {}
    for number in range(2):
        rng = derive(11, number)
        write_image(folder / "car" / f"{number}.png", rng.integers(0, 256, (3, SIZE, SIZE), dtype=np.uint8))
        poses[f"car/{number}.png"] = (40.0 + number, 10.5, -3.0, 2.5)
    (folder / POSES).write_text(pose_text(PoseFile(1, 30.0, {"car": (3.9, 1.5, 1.6)}, poses)))


def read_poses(folder: Path) -> Any:
    """Names, labels, poses, and what is known of the camera."""
    found = ClassFolder.load(folder, posed=True)
    assert found.camera is not None
    return [found.names, found.labels, found.pose, found.camera.field_of_view, found.camera.dims]


class Poses(msgspec.Struct):
    """``poses.json`` as its description has it."""

    schema: Annotated[int, Meta(ge=1, le=1)]
    field_of_view: Annotated[float, Meta(gt=1, lt=170)]
    dims: dict[str, tuple[Side, Side, Side]]
    poses: dict[str, Pose]

    def __post_init__(self) -> None:
        if not {"car/0.png", "car/1.png"} <= self.poses.keys() or "car" not in self.dims:
            raise ValueError("a picture without a pose, or a class without a size")


SURFACES = [
    Surface("in_place_json", make_in_place, read_in_place, ("in_place.json",), ("json", "json", "bytes"), share=20),
    Surface("in_place_npz", make_in_place, read_in_place, ("frames/*.npz",), ("zip", "npz", "bytes"), share=20),
    Surface(
        "poses_json", make_poses, read_poses, (POSES,), ("json", "json", "bytes"), plausible.document(Poses), share=20
    ),
    Surface("bank_json", make_voxels, read_bank, ("bank/bank.json",), ("json", "json", "bytes"), share=60),
    Surface("bank_voxels", make_voxels, read_bank, ("bank/*.npy",), ("npy", "bytes"), share=20),
    Surface("bank_views", make_views, read_bank, ("bank/*.npy", "bank/*.bin"), ("npy", "bytes"), share=30),
    Surface(
        "posed_json", make_posed, read_posed, ("posed.json", "checksums.json"), ("json", "json", "bytes"), share=40
    ),
    Surface("labelled_zip", make_labelled, read_labelled, ("*.zip",), ("bytes",), share=20),
    Surface("posed_npz", make_posed, read_posed, ("*.npz",), ("zip", "npz", "bytes"), share=40),
]
