"""Pictures of other data sets with their cameras and labels, as :mod:`datamodules.omni3d.writer` takes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from datamodules.errors import InputError
from datamodules.geometry import Camera
from datamodules.images import image_size
from datamodules.kitti.format import read_calibration, read_label
from datamodules.kitti.tree import not_found, picture_path, read_split
from datamodules.nuscenes.datamodule import visible_objects
from datamodules.nuscenes.samples import read_samples
from datamodules.nuscenes.table_columns import CAMERAS
from datamodules.nuscenes.tables import Tables
from datamodules.scene import Objects


@dataclass(frozen=True)
class LabelledPicture:
    """A picture that is not decoded.

    Attributes:
        file: where it lies.
        camera: of exactly this picture.
        objects: its labels.
    """

    file: Path
    camera: Camera
    objects: Objects


def kitti_split(root: Path, split: str, class_map: Mapping[str, str] | None = None) -> Iterator[LabelledPicture]:
    """The frames of a split of a KITTI folder (or of the road world, which is one).

    Raises:
        InputError: the split, or a file that it names, is missing or broken.
    """
    folder = root / "training"
    if not folder.is_dir():
        raise not_found(folder, root)
    for sample_id in read_split(root, split):
        file = picture_path(folder / "image_2", sample_id)
        height, width = image_size(file)
        camera = Camera(read_calibration(folder / "calib" / f"{sample_id}.txt"), width, height)
        label = read_label(folder / "label_2" / f"{sample_id}.txt", scored=False, class_map=class_map)
        yield LabelledPicture(file, camera, label)


def nuscenes_split(root: Path, version: str, split: str, channels: tuple[str, ...]) -> Iterator[LabelledPicture]:
    """The key frames of some cameras of a split of a nuScenes folder.

    Raises:
        InputError: the tables or the split are not there, or an unknown camera is asked for.
    """
    if unknown := [channel for channel in channels if channel not in CAMERAS]:
        raise InputError(f"camera {unknown[0]!r}: expected one of {', '.join(CAMERAS)}")
    for sample in read_samples(Tables(root / version), split):
        for shot in sample.shots:
            if shot.channel in channels:
                objects = visible_objects(sample.truth.boxes, shot)[0]
                yield LabelledPicture(shot.file, shot.camera, objects)
