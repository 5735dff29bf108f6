"""The labelled objects of a KITTI folder as training pictures of a diffusion model, with their edges and a prompt."""

from __future__ import annotations

from typing import Any

import numpy as np

from datamodules.assets.crops.label_masks import MIN_SCORE, LabelMasks
from datamodules.assets.recomposition import RecompositionSource
from datamodules.assets.view_assets import premultiply
from datamodules.errors import InputError
from datamodules.kitti.datamodule import KittiDataset, SubsetKind
from datamodules.objects.photos.photo_data import require_counts
from datamodules.processes import track
from datamodules.renders.crops.square_window import SquareWindow, edges_on_white, sized
from datamodules.renders.prompted_images import PromptedPicture, PromptedPictures
from datamodules.renders.synsets import words_of
from datamodules.renders.text_prompts import Described
from datamodules.scene import Frame


def prompted_crops(frame: Frame, cutter: RecompositionSource, masks: LabelMasks, size: int) -> list[PromptedPicture]:
    """The objects of a frame that are worth cutting and have a good mask, each in its square window.

    Args:
        frame: labelled.
        cutter: says which objects are worth it.
        masks: cut them out.
        size: of the square pictures.
    """
    whole, found = frame.image.transpose(1, 2, 0), []
    for crop in cutter.cut(frame, masks):
        ys, xs = np.nonzero(crop.rgba[..., 3] > 127)
        bounds = np.array([xs.min() + crop.left, ys.min() + crop.top, xs.max() + crop.left, ys.max() + crop.top])
        window = SquareWindow.around(bounds)
        picture = sized(window.cut(whole), size)
        own = sized(window.holding(premultiply(crop.rgba), crop.left, crop.top), size)
        opaque = np.full((size, size, 1), 255, np.uint8)
        described = Described(words_of(crop.name))
        rgba = np.concatenate([picture, opaque], -1)
        found.append(PromptedPicture(rgba, edges_on_white(own), crop.id, described))
    return found


def mirrored(picture: PromptedPicture) -> PromptedPicture:
    """The picture and its edges as a mirror shows them."""
    rgba, edges = (np.ascontiguousarray(part[:, ::-1]) for part in (picture.rgba, picture.edges))
    return PromptedPicture(rgba, edges, f"{picture.key}-mirrored", picture.model)


class PromptedCrops(PromptedPictures):
    """Crops of the labelled objects of a split's frames; every so many-th frame that has some is held out.

    Args:
        root: KITTI's folder.
        split: whose objects; no other frame is read.
        frames: only so many of its frames; None for all.
        subset: which: the first, or those that a detector's training under ``subset_seed`` has
            (:class:`datamodules.kitti.KittiDataModule`, its ``subset``).
        subset_seed: of that training.
        size: pixels a side, a multiple of 8.
        name: class to take.
        min_height: least height of the 2D box in pixels.
        max_truncation: largest truncation.
        max_occlusion: largest occlusion level.
        masks: see :class:`datamodules.assets.recomposition.RecompositionSource`, as are ``mask_folder``, ``min_score``.
        mask_folder: keeps computed masks.
        min_score: objects of a worse mask are left out.
        flip: learn from every object mirrored, too.
        batch_size: pictures a batch and process.
        val_every: every so many-th frame is held out for validation.
        val_batches: batches of validation.
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
        min_height: float = 16.0,
        max_truncation: float = 0.05,
        max_occlusion: int = 0,
        masks: str | None = None,
        mask_folder: str | None = None,
        min_score: float = MIN_SCORE,
        flip: bool = True,
        batch_size: int = 16,
        val_every: int = 8,
        val_batches: int = 2,
        steps_per_epoch: int = 200,
        seed: int = 0,
        num_workers: int = 0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)
        require_counts(batch_size=(batch_size, 1), val_every=(val_every, 2), val_batches=(val_batches, 1))
        if size < 16 or size % 8:
            raise InputError(f"size {size}: expected a multiple of 8 from 16 on; correct data.size")

    def setup(self, stage: str | None = None) -> None:
        """Cut the objects out.

        Raises:
            InputError: no such split, or fewer frames with objects than hold one out.
        """
        if self.train_pictures:
            return
        h: Any = self.hparams
        cutter = RecompositionSource(h.name, h.min_height, h.max_truncation, h.max_occlusion)
        masks = LabelMasks(h.masks, h.mask_folder, h.min_score)
        frames = KittiDataset.chosen(h.root, h.split, h.frames, h.subset, h.subset_seed, extras=True)
        groups = []
        for index in track(range(len(frames)), "crops", disable=len(frames) < 100):
            if found := prompted_crops(frames.read(index), cutter, masks, h.size):
                groups.append(found)
        if len(groups) < h.val_every:
            said = masks.report()
            raise InputError(
                f"{h.root}: {len(groups)} of {len(frames)} frames of {h.split} hold a {cutter.worth}"
                f"{'; ' + said if said else ''}; expected at least val_every {h.val_every}; relax these options"
            )
        for number, group in enumerate(groups):
            (self.val_pictures if number % h.val_every == h.val_every - 1 else self.train_pictures).extend(group)
        if h.flip:
            self.train_pictures += [mirrored(picture) for picture in self.train_pictures]
