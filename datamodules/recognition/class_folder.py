"""A folder of pictures by class, as ImageNet's splits are laid out: ``split/class/picture.png``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from datamodules.errors import DatasetNotFound, InputError, closest, listed
from datamodules.images import read_image, read_photograph
from datamodules.recognition.poses import PoseFile, read_poses

LAYOUT = "expected a folder of pictures by class, FOLDER/CLASS/PICTURE.png or .jpg, as ImageNet's splits are"


@dataclass(frozen=True)
class ClassFolder:
    """The pictures of one split.

    Attributes:
        folder: of the split.
        classes: names in the order of the labels' numbers.
        names: "class/picture.png" of each picture.
        labels: (N,) int64.
        pose: (N, 4) float32 azimuth, elevation, roll (degrees) and distance (longest sides); NaN where unknown.
        camera: what else is known of the poses; None without them.
    """

    folder: Path
    classes: tuple[str, ...]
    names: list[str]
    labels: np.ndarray
    pose: np.ndarray
    camera: PoseFile | None

    @staticmethod
    def load(
        folder: str | Path, classes: tuple[str, ...] | None = None, posed: bool = False, per_class: int | None = None
    ) -> ClassFolder:
        """Read which pictures there are; none of them is opened.

        Args:
            folder: of the split.
            classes: known ones, whose order labels follow; the folder may show some of them only. None takes its own,
                in alphabetical order.
            posed: whether ``poses.json`` has to be there.
            per_class: take the first so many of each class.

        Raises:
            InputError: no folder, no picture, an unknown class, or poses that are missing.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise DatasetNotFound(f"{folder}: no such folder; {LAYOUT}")
        try:
            found = ImageFolder(str(folder), allow_empty=True)
        except FileNotFoundError:
            raise InputError(f"{folder}: no folder of a class in it; {LAYOUT}") from None
        known = tuple(found.classes) if classes is None else classes
        if strange := next((name for name in found.classes if name not in known), None):
            raise InputError(
                f"{folder}: class {strange!r}, expected some of {listed(known, 12)}"
                f"{closest(strange, known)}; rename or remove its folder"
            )
        numbers = {own: known.index(name) for own, name in enumerate(found.classes)}
        taken: dict[int, int] = {}
        names, labels = [], []
        for path, own in found.samples:
            taken[own] = taken.get(own, 0) + 1
            if per_class is None or taken[own] <= per_class:
                names.append(Path(path).relative_to(folder).as_posix())
                labels.append(numbers[own])
        if empty := next((name for own, name in enumerate(found.classes) if own not in taken), None):
            raise InputError(f"{folder / empty}: no picture in it; {LAYOUT}")
        pose, camera = np.full((len(names), 4), np.nan, np.float32), None
        if posed:
            camera, pose = read_poses(folder, names, tuple(found.classes))
        return ClassFolder(folder, known, names, np.array(labels, np.int64), pose, camera)

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: int, size: int | None) -> Tensor:
        """One picture (3, S, S) uint8 RGB: its shorter side resized to ``size``, its middle cut out; None leaves it.

        Without poses pictures are photographs: whatever their names end in, turned as their EXIF data say.

        Raises:
            InputError: it cannot be read, or has a pose and is not square: the pose's camera would not be its.
        """
        path = self.folder / self.names[index]
        pixels = read_photograph(path) if self.camera is None else read_image(path)
        image = torch.from_numpy(np.ascontiguousarray(pixels))
        if self.camera is not None and image.shape[1] != image.shape[2]:
            raise InputError(
                f"{path}: {image.shape[2]} x {image.shape[1]} pixels, expected a square picture where poses are known; "
                "cut it about the object's middle"
            )
        if size is None or image.shape[1:] == (size, size):
            return image
        resized: Tensor = v2.functional.center_crop(v2.functional.resize(image, [size], antialias=True), [size, size])
        return resized
