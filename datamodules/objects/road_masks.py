"""Masks of road scenes in a KITTI folder: the road, what is in the way, or both."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from datamodules.errors import DatasetNotFound, InputError
from datamodules.images import read_image
from datamodules.kitti.tree import not_found, picture_path, read_split
from datamodules.objects.mask_images import IGNORED, MaskImages

# Per kind: the folder beside image_2, the classes, and the class of each stored value (missing values are ignored).
LABELS: dict[str, tuple[str, tuple[str, ...], dict[int, int]]] = {
    "road": ("road_2", ("background", "road"), {0: 0, 255: 1}),
    "foreground": ("semantic_2", ("background", "vehicle", "person"), {0: 0, 1: 0, 2: 1, 3: 2}),
    "semantic": ("semantic_2", ("background", "road", "vehicle", "person"), {0: 0, 1: 1, 2: 2, 3: 3}),
}


class KittiMasks:
    """Images of one split with their masks.

    Args:
        root: folder that holds ``training`` and ``ImageSets``.
        split: name of a file in ``ImageSets``.
        kind: a key of :data:`LABELS`.
        frames: only the first so many; None for all.
        size: (height, width) images are brought to; None keeps the stored size.

    Raises:
        DatasetNotFound: the split or a folder is missing.
        InputError: more frames are asked for than there are.
    """

    def __init__(
        self,
        root: str | Path,
        split: str,
        kind: str = "road",
        frames: int | None = None,
        size: tuple[int, int] | None = None,
    ) -> None:
        folder, _, values = LABELS[kind]
        self.root, self.size = Path(root), size
        ids = read_split(self.root, split)
        if frames is not None and not 0 < frames <= len(ids):
            raise InputError(f"{frames} frames of split {split}: expected 1 to {len(ids)}; ask for fewer")
        self.ids = ids[:frames]
        self.images, self.masks = self.root / "training" / "image_2", self.root / "training" / folder
        if not self.images.is_dir():
            raise not_found(self.images, self.root)
        if not self.masks.is_dir():
            raise DatasetNotFound(
                f"{self.masks} does not exist; expected one-channel PNG masks of kind {kind}; write a world with "
                "`python -m lit prepare world` (again, when an older version wrote it) or put your own there"
            )
        self.classes_of = np.full(256, IGNORED, np.uint8)
        self.classes_of[list(values)] = list(values.values())

    def __len__(self) -> int:
        return len(self.ids)

    def read(self, index: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Image (H, W, 3) uint8 and classes (H, W) uint8; nothing is drawn.

        Raises:
            InputError: a file is missing or broken, or the mask is not of the image's size.
        """
        image = np.ascontiguousarray(read_image(picture_path(self.images, self.ids[index])).transpose(1, 2, 0))
        path = self.masks / f"{self.ids[index]}.png"
        mask = read_image(path, cv2.IMREAD_UNCHANGED)
        if mask.shape != image.shape[:2] or mask.dtype != np.uint8:
            raise InputError(
                f"{path}: {mask.dtype} {mask.shape}, expected uint8 {image.shape[:2]}; write the mask again"
            )
        labels = self.classes_of[mask]
        if self.size is not None and self.size != labels.shape:
            target = (self.size[1], self.size[0])
            image = cv2.resize(image, target, interpolation=cv2.INTER_AREA)
            labels = cv2.resize(labels, target, interpolation=cv2.INTER_NEAREST)
        return image, labels


class RoadMasks(MaskImages):
    """Road scenes of a KITTI folder with the masks beside the images."""

    def __init__(
        self,
        root: str = "data/world",
        kind: Literal["road", "foreground", "semantic"] = "semantic",
        train_split: str = "train",
        val_split: str = "val",
        train_frames: int | None = None,
        val_frames: int | None = None,
        size: tuple[int, int] | None = None,
        batch_size: int = 8,
        workers: int = 0,
        seed: int | None = None,
    ) -> None:
        """Configure.

        Args:
            root: folder that holds ``training`` and ``ImageSets``.
            kind: "road" (road_2), "foreground" (vehicles and persons of semantic_2), or "semantic" (all of it).
            train_split: split to train on.
            val_split: split to evaluate on.
            train_frames: only the first so many training frames.
            val_frames: only the first so many evaluation frames.
            size: (height, width) of all images; None keeps the stored size.
            batch_size: images a device and step.
            workers: loader processes.
            seed: of order and variation; by default the one given to ``seed_everything``, else 0.
        """
        super().__init__(batch_size, workers, seed)
        self.root, self.kind, self.size = root, kind, size
        self.splits, self.frames = (train_split, val_split), (train_frames, val_frames)
        self.classes = LABELS[kind][1]

    def setup(self, stage: str | None = None) -> None:
        """Open both splits."""
        self.train_source, self.val_source = (
            KittiMasks(self.root, split, self.kind, frames, self.size)
            for split, frames in zip(self.splits, self.frames)
        )
