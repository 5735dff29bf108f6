"""Lightning data of image generators and pose regressors: a posed image set as RGB pictures on a backdrop."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from datamodules.assets.visibility import viewing_direction
from datamodules.errors import InputError
from datamodules.objects.posed_images import PosedImageSet
from datamodules.objects.studio_set import StudioSet
from datamodules.randomness import derive
from datamodules.samplers import Position, endless_order, even_batches

BACKDROPS = ("grey", "colour")
TOP, BOTTOM = 200.0, 150.0  # grey levels of the plain backdrop: a soft light above, a darker floor


class ImageBatch(NamedTuple):
    """Pictures of single objects.

    Attributes:
        images: (B, 3, S, S) uint8 RGB.
        pose: (B, 2) float32 azimuth in [0, 360) and elevation of the camera, degrees, as in the studio.
        ids: B names, "object/view".
    """

    images: Tensor
    pose: Tensor
    ids: tuple[str, ...]


def view_angles(projection: np.ndarray, dims: np.ndarray) -> np.ndarray:
    """Azimuth in [0, 360) and elevation (..., 2), degrees, of the cameras of some views.

    Args:
        projection: (..., 3, 4) from the canonical cube to pixels.
        dims: (..., 3) length, height, width in metres.
    """
    direction = viewing_direction(projection, dims)
    elevation = np.arcsin(np.clip(-direction[..., 1], -1, 1))
    azimuth = np.arctan2(direction[..., 2], direction[..., 0])
    return np.stack([np.rad2deg(azimuth) % 360 % 360, np.rad2deg(elevation)], -1)  # -1e-15 % 360 is 360


def backdrop(size: int, kind: str, rng: np.random.Generator) -> np.ndarray:
    """(S, S, 3) float32 in [0, 255]: "grey" is the same vertical gradient for all, "colour" a plain drawn colour, or
    "white".
    """
    if kind == "white":
        return np.full((size, size, 3), 255, np.float32)
    if kind == "grey":
        ramp = np.linspace(TOP, BOTTOM, size, dtype=np.float32)
        return np.broadcast_to(ramp[:, None, None], (size, size, 3))
    return np.broadcast_to(rng.uniform(40, 230, 3).astype(np.float32), (size, size, 3))


class PictureBatches(Dataset[ImageBatch]):
    """Batches of pictures, keyed by (epoch, step).

    Args:
        posed: the views.
        batch: pictures a batch of one process.
        kind: backdrop.
        flip: mirror every second picture at random; its azimuth changes sign.
        shuffle: draw each epoch's order; otherwise the set's own.
        position: of the run; each of its processes takes its part of every batch.
    """

    def __init__(
        self,
        posed: PosedImageSet,
        batch: int,
        kind: str,
        flip: bool,
        shuffle: bool,
        position: Position,
    ) -> None:
        self.posed, self.batch, self.kind, self.flip, self.shuffle = posed, batch, kind, flip, shuffle
        self.seed, self.position = position.seed, position
        self.angles = view_angles(posed.projection, posed.dims[:, None])

    def __getitem__(self, key: tuple[int, int]) -> ImageBatch:
        epoch, step = key
        if self.shuffle:
            total, places = len(self.posed) * self.posed.views, self.position.places(step, self.batch)
            chosen = endless_order(total, places, self.seed, epoch, "pictures").tolist()
        else:
            chosen = self.held_out()[step].tolist()
        drawn = [self.picture(index, epoch) for index in chosen]
        images = torch.from_numpy(np.stack([image for image, _ in drawn]).transpose(0, 3, 1, 2).copy())
        pose = torch.from_numpy(np.stack([angles for _, angles in drawn]).astype(np.float32))
        return ImageBatch(images, pose, tuple(self.name(index) for index in chosen))

    def held_out(self) -> list[np.ndarray]:
        """This process's pictures in the set's order, in as many batches as every other process has, none empty.

        Raises:
            InputError: fewer pictures than processes.
        """
        total = len(self.posed) * self.posed.views
        return even_batches(total, self.batch, self.position, "held-out pictures")

    def name(self, index: int) -> str:
        """Id of one picture."""
        return f"{self.posed.ids[index // self.posed.views]}/{index % self.posed.views}"

    def picture(self, index: int, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """One picture (S, S, 3) uint8 and its azimuth and elevation (2,)."""
        row, view = divmod(index, self.posed.views)
        rng = derive(self.seed, epoch, self.name(index), "picture")
        rgba, angles = self.posed.rgba[row, view].astype(np.float32), self.angles[row, view]
        alpha = rgba[..., 3:] / 255
        image = rgba[..., :3] * alpha + backdrop(len(rgba), self.kind, rng) * (1 - alpha)
        if self.flip and rng.random() < 0.5:
            image, angles = image[:, ::-1], np.array([-angles[0] % 360, angles[1]])
        return np.rint(image).astype(np.uint8), angles


class ObjectImages(StudioSet):
    """Pictures of single objects from any posed image set, split by object.

    Args:
        folder: a posed image set (``posed.json`` and one ``.npz`` an object).
        batch_size: pictures a batch and process.
        val_every: every so many-th object is held out for validation.
        backdrop: "grey" or "colour" (:func:`backdrop`).
        flip: mirror training pictures at random. Off: a mirrored car has its steering wheel on the wrong side.
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
        folder: str = "data/object_images",
        batch_size: int = 16,
        val_every: int = 5,
        backdrop: str = "grey",
        flip: bool = False,
        steps_per_epoch: int = 200,
        seed: int = 0,
        num_workers: int = 0,
        create: bool = True,
        create_objects: int = 160,
        create_views: int = 32,
        create_size: int = 64,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)
        if backdrop not in BACKDROPS:
            raise InputError(f"backdrop '{backdrop}': expected one of {', '.join(BACKDROPS)}")
        for name, value, low in (("batch_size", batch_size, 1), ("val_every", val_every, 2)):
            if value < low:
                raise InputError(f"{name} {value}: expected at least {low}")
        self.train_set: PosedImageSet | None = None
        self.val_set: PosedImageSet | None = None

    def setup(self, stage: str | None = None) -> None:
        """Load and split by object.

        Raises:
            InputError: too few objects for a split.
        """
        if self.train_set is not None:
            return
        h: Any = self.hparams
        posed = PosedImageSet.load(h.folder)
        if len(posed) < h.val_every:
            raise InputError(f"{h.folder} holds {len(posed)} objects: val_every {h.val_every} holds none out; lower it")
        held = np.arange(len(posed)) % h.val_every == h.val_every - 1
        self.train_set = posed.subset(np.flatnonzero(~held).tolist())
        self.val_set = posed.subset(np.flatnonzero(held).tolist())

    def _batches(self, posed: PosedImageSet | None, training: bool) -> PictureBatches:
        assert posed is not None
        h: Any = self.hparams
        position = Position.of(self, h.seed)
        return PictureBatches(posed, h.batch_size, h.backdrop, h.flip and training, training, position)

    def train_dataloader(self) -> DataLoader[ImageBatch]:
        return self.step_loader(self._batches(self.train_set, True))

    def val_dataloader(self) -> DataLoader[ImageBatch]:
        """Each held-out picture once over all processes, in the set's order."""
        batches = self._batches(self.val_set, False)
        steps = [(0, step) for step in range(len(batches.held_out()))]
        return DataLoader(batches, batch_size=None, sampler=steps)
