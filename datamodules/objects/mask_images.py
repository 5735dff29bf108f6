"""Images with a class at every pixel, the training data of segmenters: what their sources share, and the loaders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import cv2
import lightning.pytorch as pl
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from datamodules.base import ResumableLoader, start_worker
from datamodules.errors import InputError
from datamodules.randomness import derive
from datamodules.samplers import EpochSampler, Position

IGNORED = 255  # label of pixels that neither losses nor metrics look at


class MaskBatch(NamedTuple):
    """Images and their classes.

    Attributes:
        images: (B, 3, H, W) uint8 RGB.
        labels: (B, H, W) int64 class numbers, :data:`IGNORED` where unknown.
    """

    images: torch.Tensor
    labels: torch.Tensor


class MaskSource(Protocol):
    """Where masked images come from."""

    def __len__(self) -> int: ...

    def read(self, index: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Image (H, W, 3) uint8 and labels (H, W) uint8; ``rng`` drives what the source itself draws (a backdrop)."""
        ...


def distort(image: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A training variant of an image (H, W, 3) and its labels (H, W): mirrored, zoomed, and of other light."""
    height, width = labels.shape
    scale, mirrored = float(rng.uniform(1.0, 1.3)), -1.0 if rng.random() < 0.5 else 1.0
    offset = rng.uniform(0, 1, 2) * (1 - scale) * np.array([width - 1, height - 1])
    window = np.array([[scale * mirrored, 0, offset[0]], [0, scale, offset[1]]])
    if mirrored < 0:
        window[0, 2] += scale * (width - 1)
    image = cv2.warpAffine(image, window, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    labels = cv2.warpAffine(labels, window, (width, height), flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    light = image.astype(np.float32) / 255
    grey = light.mean()
    light = grey + (light - grey) * rng.uniform(0.7, 1.3) + rng.uniform(-0.12, 0.12)
    light *= rng.uniform(0.9, 1.1, 3).astype(np.float32)
    if rng.random() < 0.3:
        light = cv2.GaussianBlur(light, (0, 0), float(rng.uniform(0.4, 1.0)))
    light += rng.standard_normal(light.shape, np.float32) * np.float32(rng.uniform(0, 0.03))
    return np.rint(np.clip(light, 0, 1) * 255).astype(np.uint8), labels


class TrainingMasks(Dataset[tuple[np.ndarray, np.ndarray]]):
    """Variants of a source's images, asked for by (pass, index): seed, pass and index alone decide."""

    def __init__(self, source: MaskSource, seed: int) -> None:
        self.source, self.seed = source, seed

    def __getitem__(self, item: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        rng = derive(self.seed, *item, "masks")
        return distort(*self.source.read(item[1], rng), rng)


class EvaluationMasks(Dataset[tuple[np.ndarray, np.ndarray]]):
    """A source's images as they are; what it draws itself is the same in every run.

    Places beyond the end give all ranks equally many images: they repeat images, with nothing to score.
    """

    def __init__(self, source: MaskSource) -> None:
        self.source = source

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        turn, place = divmod(index, len(self.source))
        image, labels = self.source.read(place, derive(0, place, "held-out masks"))
        return image, np.full_like(labels, IGNORED) if turn else labels


def collate_masks(items: Sequence[tuple[np.ndarray, np.ndarray]]) -> MaskBatch:
    """Stack images of one size.

    Raises:
        InputError: sizes differ.
    """
    sizes = {labels.shape for _, labels in items}
    if len(sizes) > 1:
        raise InputError(f"images of the sizes {sorted(sizes)} in one batch: expected one size; set data.size")
    images = np.stack([image.transpose(2, 0, 1) for image, _ in items])
    return MaskBatch(torch.from_numpy(images), torch.from_numpy(np.stack([labels for _, labels in items])).long())


class MaskImages(pl.LightningDataModule):
    """Loaders over a training and a held-out source. Subclasses set both in :meth:`setup`.

    Run it under ``Trainer(use_distributed_sampler=False)``: it shards by itself.

    Attributes:
        classes: names of the classes, in the order of their numbers.
    """

    classes: tuple[str, ...]
    train_source: MaskSource
    val_source: MaskSource

    def __init__(self, batch_size: int = 8, workers: int = 0, seed: int | None = None) -> None:
        super().__init__()
        for name, value, low in (("batch_size", batch_size, 1), ("workers", workers, 0)):
            if value < low:
                raise InputError(f"{name} {value}: expected at least {low}; correct data.{name}")
        self.batch_size, self.workers, self.seed = batch_size, workers, seed

    def position(self) -> Position:
        """Where the run is, which decides what it reads next."""
        return Position.of(self, self.seed)

    def train_dataloader(self) -> DataLoader:
        here, count = self.position(), len(self.train_source)
        samples = max(count, self.batch_size * here.world)  # a small set is gone through more than once an epoch
        sampler = EpochSampler(count, samples, self.batch_size, self.position)
        return self._loader(TrainingMasks(self.train_source, here.seed), sampler)

    def val_dataloader(self) -> DataLoader:
        here = self.position()
        places = -(-len(self.val_source) // here.world) * here.world
        return self._loader(EvaluationMasks(self.val_source), range(here.rank, places, here.world))

    def test_dataloader(self) -> DataLoader:
        return self.val_dataloader()

    def _loader(self, images: Dataset[tuple[np.ndarray, np.ndarray]], sampler: EpochSampler | range) -> DataLoader:
        return ResumableLoader(
            images,
            batch_size=self.batch_size,
            sampler=sampler,
            num_workers=self.workers,
            collate_fn=collate_masks,
            worker_init_fn=start_worker,
            persistent_workers=self.workers > 0,
        )
