"""Single photographs of a posed image set, the studio's by default: one view an object, and the others as truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from datamodules.assets.visibility import viewing_direction
from datamodules.errors import InputError
from datamodules.objects.photos.photo import Photo, PhotoViews, collate_photos
from datamodules.objects.photos.photo_data import PhotoData, held_out, require_counts
from datamodules.objects.photos.posed_photo import place_in_cube
from datamodules.objects.posed_images import PosedImageSet
from datamodules.randomness import derive


class PosedPhotos:
    """One view of each object.

    Args:
        posed: the views, with depth.
        seed: decides which view of an object is its photograph.

    Raises:
        InputError: a set without depth.
    """

    def __init__(self, posed: PosedImageSet, seed: int) -> None:
        if posed.depth is None:
            raise InputError(
                f"the posed image set of {posed.source or 'others'} has no depth; expected it in every .npz"
            )
        self.posed, self.depth = posed, posed.depth
        self.view = [int(derive(seed, name, "photographed view").integers(posed.views)) for name in posed.ids]

    def __len__(self) -> int:
        return len(self.posed)

    def read(self, index: int) -> Photo:
        """One photograph."""
        posed, view = self.posed, self.view[index]
        projection, frame, half = place_in_cube(posed.projection[index, view], posed.dims[index])
        rgba, metres = posed.rgba[index, view], self.depth[index, view].astype(np.float32)
        depth = np.where(rgba[..., 3] > 127, metres / half, np.nan).astype(np.float32)
        name = f"{posed.ids[index]}-{view}"
        alpha = np.ascontiguousarray(rgba[..., 3])
        return Photo(name, posed.name, rgba[..., :3], depth, projection, alpha, None, frame, posed.dims[index])

    def views(self, index: int, most: int) -> PhotoViews:
        """A photograph and at most so many other views of its object, spread evenly."""
        posed, own = self.posed, self.view[index]
        others = np.delete(np.arange(posed.views), own)
        others = others[np.unique(np.linspace(0, len(others) - 1, min(most, len(others))).round().astype(int))]
        projection = posed.projection[index][others]
        direction = viewing_direction(projection, posed.dims[index])
        towards = viewing_direction(posed.projection[index, own], posed.dims[index])
        turn = np.rad2deg(np.arccos(np.clip(direction @ towards, -1, 1)))
        photo = self.read(index)
        return PhotoViews(
            collate_photos([photo]),
            photo.id,
            torch.from_numpy(np.stack([posed.rgba[index, view] for view in others])),
            torch.from_numpy(projection),
            torch.from_numpy(np.stack([self.depth[index, view] for view in others]).astype(np.float32)),
            torch.from_numpy(turn.astype(np.float32)),
        )


class StudioPhotos(PhotoData):
    """Photographs of any posed image set; every so many-th object is held out and scored on its other views.

    Args:
        folder: a posed image set with depth.
        batch_size: photographs a batch and process.
        flip: mirror training photographs at random.
        val_every: every so many-th object is held out.
        val_objects: of these at most so many are looked at; None for all.
        val_views: views of each that are scored.
        steps_per_epoch: batches an epoch.
        seed: seed of all draws.
        num_workers: loader processes.
        create: render the embedded studio set when the folder does not exist.
        create_objects: objects of that set.
        create_views: views of each.
        create_size: pixels a side.
    """

    def __init__(
        self,
        folder: str = "data/photos",
        batch_size: int = 4,
        flip: bool = True,
        val_every: int = 10,
        val_objects: int | None = None,
        val_views: int = 16,
        steps_per_epoch: int = 100,
        seed: int = 0,
        num_workers: int = 0,
        create: bool = True,
        create_objects: int = 160,
        create_views: int = 24,
        create_size: int = 64,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)
        least = {"batch_size": (batch_size, 1), "val_every": (val_every, 2), "val_views": (val_views, 1)}
        require_counts(**least, val_objects=(val_objects, 0))

    def setup(self, stage: str | None = None) -> None:
        """Load and split by object; for prediction none is held out, so that one is enough.

        Raises:
            InputError: too few objects, or no depth.
        """
        if self.train_source is not None or (stage == "predict" and self.predict_source is not None):
            return
        h: Any = self.hparams
        posed = PosedImageSet.load(h.folder)
        self.predict_source = PosedPhotos(posed, h.seed)
        if stage == "predict":
            return
        rows, held = held_out(len(posed), h.val_every)

        def photos(chosen: Sequence[int]) -> PosedPhotos:
            return PosedPhotos(posed.subset(chosen), h.seed)

        self.held: PosedPhotos = photos(held[: h.val_objects])
        self.train_source, self.val_source = photos(rows), self.held

    def truth(self) -> Callable[[int], PhotoViews] | None:
        """A held-out object's other views; None where its photograph is the only one."""
        h: Any = self.hparams
        if self.held.posed.views < 2:
            return None
        return lambda index: self.held.views(index, h.val_views)
