"""A team's own labelled cars as photographs: crops of KITTI frames, seen by a camera turned to the object.

A crop needs no estimator of depth or pose: its box says where its camera is in the object's frame, and what depth a car
has there. The picture is what a camera at the same place would take that looks at the box's middle (a turn about the
optical centre is a homography of pixels), zoomed to the ball around the box. Masks are those of the recomposition arm.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from datamodules.assets.crops.label_masks import MIN_SCORE, LabelMasks
from datamodules.assets.crops.outlines import nearer_outlines
from datamodules.assets.recomposition import RecomposedAsset, RecompositionSource
from datamodules.errors import InputError
from datamodules.geometry import canonical_projection
from datamodules.kitti.datamodule import KittiDataset, SubsetKind
from datamodules.objects.photos.photo import Photo
from datamodules.objects.photos.photo_data import PhotoData, held_out, require_counts
from datamodules.objects.photos.posed_photo import place_in_cube, split_projection
from datamodules.objects.photos.shape_prior import ShapePrior
from datamodules.scene import Frame

ROOM = 1.04  # of the picture over the ball around the box


class LabelledCrop:
    """One object cut out of a frame, and what hides it.

    Args:
        crop: the cut-out.
        frame: where it comes from; not kept.
        row: of its label.
    """

    def __init__(self, crop: RecomposedAsset, frame: Frame, row: int) -> None:
        self.crop = crop
        height, width = crop.rgba.shape[:2]
        window = frame.camera.cropped(crop.left, crop.top, width, height)
        hidden = nearer_outlines(frame, row, window) & (crop.rgba[..., 3] <= 127)
        self.hidden = hidden.astype(np.uint8) * 255

    def photo(self, size: int, prior: ShapePrior) -> Photo:
        """The photograph at ``size`` pixels a side."""
        crop = self.crop
        projection = canonical_projection(crop.camera, crop.box)[0]
        turned, warp = look_at(projection, crop.dims, size)
        local = warp @ np.array([[1.0, 0, crop.left], [0, 1, crop.top], [0, 0, 1]])
        rgba = crop.rgba.astype(np.float32)
        rgba[..., :3] *= rgba[..., 3:] / 255
        rgba = _warped(rgba, local, size)
        alpha = rgba[..., 3]
        colour = rgba[..., :3] / np.maximum(alpha[..., None] / 255, 1 / 255)
        seen = np.full((crop.camera.height, crop.camera.width), 255, np.float32)
        seen = np.minimum(_warped(seen, warp, size), 255 - _warped(self.hidden.astype(np.float32), local, size))
        mask = np.rint(alpha).clip(0, 255).astype(np.uint8)
        cube, frame, half = place_in_cube(turned, crop.dims)
        metres, _ = prior.depth(turned, mask)
        depth = np.where(mask > 127, metres / half, np.nan).astype(np.float32)
        known = np.where(seen > 127, np.uint8(255), np.uint8(0))
        rgb = np.rint(colour).clip(0, 255).astype(np.uint8)
        return Photo(crop.id, crop.name, rgb, depth, cube, mask, known, frame, crop.dims)


def look_at(projection: np.ndarray, dims: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The camera at the same place that looks at the object's middle, the ball around its box filling the picture.

    Args:
        projection: (3, 4) from the canonical box to pixels, third row depth in metres.
        dims: (3,) length, height, width in metres.
        size: pixels a side of the new picture.

    Returns:
        Its projection (3, 4), and the homography (3, 3) from old to new pixels.

    Raises:
        InputError: the camera is within the ball.
    """
    intrinsics, rotation, middle = split_projection(projection, dims)
    distance, radius = float(np.linalg.norm(middle)), float(np.linalg.norm(dims)) / 2
    if distance <= radius * 1.05:
        raise InputError(
            f"an object {distance:.1f} m away with a ball of {radius:.1f} m: expected it before the camera"
        )
    forward = middle / distance
    right = np.cross([0.0, 1.0, 0.0], forward)
    right /= np.linalg.norm(right)
    turn = np.stack([right, np.cross(forward, right), forward])
    focal = size / 2 / (ROOM * np.tan(np.arcsin(radius / distance)))
    own = np.array([[focal, 0, (size - 1) / 2], [0, focal, (size - 1) / 2], [0, 0, 1.0]])
    pose = np.column_stack([turn @ rotation * (np.asarray(dims) / 2), turn @ middle])
    return own @ pose, own @ turn @ np.linalg.inv(intrinsics)


def _warped(image: np.ndarray, warp: np.ndarray, size: int) -> np.ndarray:
    """A float picture (h, w, ...) through a homography; what shrinks is drawn finer first and averaged."""
    finer = int(np.clip(np.ceil(_shrinkage(warp, image.shape[:2])), 1, 8))
    scale = np.array([[finer, 0, (finer - 1) / 2], [0, finer, (finer - 1) / 2], [0, 0, 1.0]])
    drawn = cv2.warpPerspective(image, scale @ warp, (size * finer, size * finer), flags=cv2.INTER_LINEAR)
    return drawn if finer == 1 else cv2.resize(drawn, (size, size), interpolation=cv2.INTER_AREA)


def _shrinkage(warp: np.ndarray, shape: tuple[int, ...]) -> float:
    """Old pixels along a new one, at the old picture's middle."""
    middle = np.array([[shape[1] / 2, shape[0] / 2, 1.0], [shape[1] / 2 + 1, shape[0] / 2, 1.0]]) @ warp.T
    places = middle[:, :2] / middle[:, 2:]
    return 1 / max(float(np.linalg.norm(places[1] - places[0])), 1e-6)


class CropPhotos:
    """Photographs of crops, made when first asked for and kept."""

    def __init__(self, crops: list[LabelledCrop], size: int, prior: ShapePrior) -> None:
        self.crops, self.size, self.prior = crops, size, prior
        self._made: dict[int, Photo] = {}

    def __len__(self) -> int:
        return len(self.crops)

    def read(self, index: int) -> Photo:
        """One photograph."""
        if index not in self._made:
            self._made[index] = self.crops[index].photo(self.size, self.prior)
        return self._made[index]


class LabelledCrops(PhotoData):
    """Photographs of the labelled objects of a KITTI split.

    Args:
        root: KITTI's folder.
        split: whose objects.
        frames: only so many of its frames; None for all.
        subset: which: the first, or those that a detector's training under ``subset_seed`` has
            (:class:`datamodules.kitti.KittiDataModule`, its ``subset``).
        subset_seed: of that training.
        size: pixels a side.
        name: class to take; people, cyclists, trucks and trams have shapes of their own as prior, all others cars'.
        min_height: least height of the 2D box in pixels.
        max_truncation: largest truncation.
        max_occlusion: largest occlusion level; what hides an object is left out of the losses.
        max_crops: objects to keep, the largest.
        masks: see :class:`datamodules.assets.recomposition.RecompositionSource`, as are ``mask_folder``, ``min_score``.
        mask_folder: keeps computed masks.
        min_score: objects of a worse mask are left out.
        prior_cars: shapes that pseudo-depth is chosen from (:class:`ShapePrior`).
        batch_size: photographs a batch and process.
        flip: mirror training photographs; a mirrored one has no box, so views.mirrored needs it off.
        val_every: every so many-th object is held out.
        val_photos: of these at most so many are looked at.
        steps_per_epoch: batches an epoch.
        seed: seed of all draws.
        num_workers: loader processes.
    """

    def __init__(
        self,
        root: str,
        split: str = "train",
        frames: int | None = None,
        subset: SubsetKind = "first",
        subset_seed: int = 0,
        size: int = 64,
        name: str = "Car",
        min_height: float = 32.0,
        max_truncation: float = 0.05,
        max_occlusion: int = 0,
        max_crops: int = 4000,
        masks: str | None = None,
        mask_folder: str | None = None,
        min_score: float = MIN_SCORE,
        prior_cars: int = 8,
        batch_size: int = 4,
        flip: bool = False,
        val_every: int = 10,
        val_photos: int | None = 40,
        steps_per_epoch: int = 250,
        seed: int = 0,
        num_workers: int = 0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)
        least = {"size": (size, 8), "batch_size": (batch_size, 1), "val_every": (val_every, 2)}
        require_counts(**least, max_crops=(max_crops, 1), val_photos=(val_photos, 0))
        self.prior = ShapePrior(prior_cars, name=name)

    def setup(self, stage: str | None = None) -> None:
        """Cut the objects out; for prediction none is held out, so that one is enough.

        Raises:
            InputError: no such split, or fewer objects than a split of theirs needs.
        """
        if self.train_source is not None or (stage == "predict" and self.predict_source is not None):
            return
        h: Any = self.hparams
        cutter = RecompositionSource(h.name, h.min_height, h.max_truncation, h.max_occlusion)
        masks = LabelMasks(h.masks, h.mask_folder, h.min_score)
        frames = KittiDataset.chosen(h.root, h.split, h.frames, h.subset, h.subset_seed, extras=True)
        crops: list[LabelledCrop] = []
        for index in range(len(frames)):
            frame = frames.read(index)
            for crop in cutter.cut(frame, masks):
                crops.append(LabelledCrop(crop, frame, int(crop.id.rsplit("-", 1)[1])))
        if not crops:
            said = masks.report()
            raise InputError(
                f"{h.root}: none of {len(frames)} frames of {h.split} holds a {cutter.worth}"
                f"{'; ' + said if said else ''}; relax these options"
            )
        crops.sort(key=lambda crop: (-crop.crop.rgba.shape[0], crop.crop.id))
        crops = sorted(crops[: h.max_crops], key=lambda crop: crop.crop.id)
        self.predict_source = CropPhotos(crops, h.size, self.prior)
        if stage == "predict":
            return
        rows, held = held_out(len(crops), h.val_every)
        self.train_source = CropPhotos([crops[row] for row in rows], h.size, self.prior)
        self.val_source = CropPhotos([crops[row] for row in held[: h.val_photos]], h.size, self.prior)
