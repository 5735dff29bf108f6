"""The pictures that road masks are made for, in a KITTI or a nuScenes folder, and what is labelled in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from datamodules.errors import InputError
from datamodules.geometry import Camera
from datamodules.images import image_size
from datamodules.kitti.format import read_calibration, read_label
from datamodules.kitti.tree import not_found, picture_ids, picture_path
from datamodules.nuscenes.datamodule import visible_objects
from datamodules.nuscenes.samples import LazySamples, Shot, read_samples
from datamodules.nuscenes.tables import Tables
from datamodules.scene import Objects


@dataclass(frozen=True)
class RoadPictures:
    """Pictures by the name of their mask, without its suffix: "000007", or "CAM_FRONT/n015...".

    Attributes:
        root: the data set's folder.
        files: name to picture.
        masks: folder where readers look for masks when none is named.
        others: files beside them that are no pictures.
        shots: of nuScenes, name to a camera's picture and what is labelled in it, else empty.
        samples: of nuScenes, the samples they are of, else None.
    """

    root: Path
    files: dict[str, Path]
    masks: Path
    others: int
    shots: dict[str, tuple[Shot, Objects]]
    samples: LazySamples | None = None

    def labelled(self) -> Iterator[tuple[str, Camera, Objects]]:
        """Name, camera and labels of every picture that has labels; broken ones are left to their readers."""
        for name, (shot, objects) in self.shots.items():
            yield name, shot.camera, objects
        training = self.root / "training"
        for name, path in self.files.items() if not self.shots else ():
            label = training / "label_2" / f"{name}.txt"
            if not label.is_file():
                continue
            try:
                height, width = image_size(path)
                camera = Camera(read_calibration(training / "calib" / f"{name}.txt"), width, height)
                objects = read_label(label, scored=False)
            except InputError:
                continue
            yield name, camera, objects


def kitti_pictures(root: Path, folder: str = "road_2") -> RoadPictures:
    """All of ``training/image_2``.

    Raises:
        DatasetNotFound: there is no such folder.
        InputError: it holds no picture.
    """
    images = root / "training" / "image_2"
    if not images.is_dir():
        raise not_found(images, root)
    ids = picture_ids(images)
    if not ids:
        raise InputError(f"{images}: no PNG or JPEG image; expected at least one")
    others = len({path.stem for path in images.iterdir()} - set(ids))
    files = {name: picture_path(images, name) for name in ids}
    return RoadPictures(root, files, root / "training" / folder, others, {})


def nuscenes_pictures(root: Path, version: str, split: str) -> RoadPictures:
    """The key frames of all cameras of a split.

    Raises:
        InputError: the tables or the split are not there, or a row points nowhere.
    """
    samples = read_samples(Tables(root / version), split)
    shots = {
        mask_name(shot): (shot, visible_objects(sample.truth.boxes, shot)[0])
        for sample in samples
        for shot in sample.shots
    }
    files = {name: shot.file for name, (shot, _) in shots.items()}
    return RoadPictures(root, files, root / "road", 0, shots, samples)


def mask_name(shot: Shot) -> str:
    """Name of the mask of a nuScenes picture, without its suffix."""
    return f"{shot.channel}/{shot.file.stem}"
