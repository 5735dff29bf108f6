"""Lightning data of single-view generators: batches of photographs by (epoch, step), whatever they come from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from torch.utils.data import DataLoader, Dataset

from datamodules.errors import InputError
from datamodules.objects.photos.photo import Photo, PhotoBatch, PhotoViews, collate_photos
from datamodules.objects.studio_set import StudioSet
from datamodules.randomness import derive
from datamodules.samplers import ExactShards, Position, ShardSampler, endless_order


class PhotoSource(Protocol):
    """Where photographs come from."""

    def __len__(self) -> int: ...

    def read(self, index: int) -> Photo:
        """One photograph."""
        ...


class TrainingPhotos(Dataset[PhotoBatch]):
    """Batches keyed by (epoch, step).

    Args:
        source: the photographs.
        batch: photographs a batch of one process.
        flip: mirror every second photograph at random.
        position: of the run; each of its processes takes its part of every batch.
    """

    def __init__(self, source: PhotoSource, batch: int, flip: bool, position: Position) -> None:
        self.source, self.batch, self.flip, self.position = source, batch, flip, position

    def __getitem__(self, key: tuple[int, int]) -> PhotoBatch:
        epoch, step = key
        here = self.position
        places = here.places(step, self.batch)
        chosen = endless_order(len(self.source), places, here.seed, epoch, "photos").tolist()
        photos = []
        for index in chosen:
            photo = self.source.read(index)
            turned = self.flip and derive(here.seed, epoch, photo.id, "flip").random() < 0.5
            if photo.captions:
                row = derive(here.seed, epoch, photo.id, "caption").integers(len(photo.captions))
                photo = replace(photo, captions=(photo.captions[int(row)],))
            photos.append(photo.mirrored() if turned else photo)
        return collate_photos(photos, int(derive(here.seed, epoch, step, "photo step").integers(0, 2**62)))


class HeldOutPhotos(Dataset[PhotoBatch | PhotoViews]):
    """Each photograph alone, with other pictures of the same object where the source has them.

    Args:
        source: the photographs.
        views: of one photograph, or None.
    """

    def __init__(self, source: PhotoSource, views: Callable[[int], PhotoViews] | None) -> None:
        self.source, self.views = source, views

    def __getitem__(self, index: int) -> PhotoBatch | PhotoViews:
        return collate_photos([self.source.read(index)]) if self.views is None else self.views(index)


class PhotoData(StudioSet):
    """Loaders over photographs. Subclasses save their hyperparameters, among them ``batch_size``, ``flip``,
    ``steps_per_epoch``, ``seed`` and ``num_workers``, and set the sources in :meth:`setup`.

    Attributes:
        train_source: photographs to learn from.
        val_source: held-out photographs.
        predict_source: photographs whose assets are written; all of them.
    """

    train_source: PhotoSource | None = None
    val_source: PhotoSource | None = None
    predict_source: PhotoSource | None = None

    def truth(self) -> Callable[[int], PhotoViews] | None:
        """Other pictures of a held-out photograph's object, where there are some."""
        return None

    def train_dataloader(self) -> DataLoader[PhotoBatch]:
        assert self.train_source is not None
        h: Any = self.hparams
        return self.step_loader(TrainingPhotos(self.train_source, h.batch_size, h.flip, Position.of(self, h.seed)))

    def val_dataloader(self) -> DataLoader[PhotoBatch | PhotoViews]:
        """Held-out photographs one by one; so that all processes have as many, some come up twice."""
        return self._each(self.val_source, self.truth(), ShardSampler)

    def predict_dataloader(self) -> DataLoader[PhotoBatch | PhotoViews]:
        """All photographs, each on one process: what is predicted is written.

        Raises:
            InputError: more processes than photographs.
        """
        return self._each(self.predict_source, None, ExactShards)

    def _each(
        self, source: PhotoSource | None, views: Callable[[int], PhotoViews] | None, shards: type[ShardSampler]
    ) -> DataLoader[PhotoBatch | PhotoViews]:
        assert source is not None
        h: Any = self.hparams
        sampler = shards(len(source), Position.of(self, h.seed))
        return DataLoader(HeldOutPhotos(source, views), batch_size=None, sampler=sampler)


def require_counts(**counts: tuple[int | None, int]) -> None:
    """Refuse counts (value, least) that are too small; None is any.

    Raises:
        InputError: names the first.
    """
    for name, (value, least) in counts.items():
        if value is not None and value < least:
            raise InputError(f"{name} {value}: expected at least {least}; correct data.{name}")


def held_out(count: int, every: int) -> tuple[Sequence[int], Sequence[int]]:
    """Rows to learn from and every so many-th row, which is held out.

    Raises:
        InputError: too few rows to hold one out.
    """
    if count < every:
        raise InputError(f"{count} photographs: val_every {every} holds none out; lower it")
    held = np.arange(count) % every == every - 1
    return np.flatnonzero(~held).tolist(), np.flatnonzero(held).tolist()
