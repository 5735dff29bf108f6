"""What every detection data set shares: seeded order, injection before augmentation, loaders, normalisation."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Literal

import cv2
import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from datamodules.augment import Augment, pad, resize
from datamodules.errors import InputError
from datamodules.injection.injection import Injection
from datamodules.injection.reach import Reach, effective_range
from datamodules.processes import end_with_parent
from datamodules.randomness import derive
from datamodules.samplers import EpochSampler, Position, ShardSampler
from datamodules.scene import Batch, Frame, collate
from datamodules.training_reader import FrameReader, TrainingReader

MEAN = (123.675, 116.28, 103.53)  # ImageNet, of uint8 RGB
STD = (58.395, 57.12, 57.375)


@lru_cache(maxsize=8)
def _statistics(device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Scale and offset (1, 3, 1, 1) of the normalisation; kept, because each copy to a GPU waits for it."""
    with torch.inference_mode(False):  # they outlive the evaluation loop that may ask first
        mean, std = torch.tensor(MEAN).view(1, 3, 1, 1), torch.tensor(STD).view(1, 3, 1, 1)
        return (1 / std).to(device), (-mean / std).to(device)


def normalise(batch: Batch) -> torch.Tensor:
    """Images as (B, 3, H, W) float32 with ImageNet's statistics, on the batch's device, in channels-last memory."""
    scale, offset = _statistics(batch.images.device)
    images = batch.images.contiguous(memory_format=torch.channels_last).float()
    return images.mul_(scale).add_(offset)


def _fitted(frame: Frame, size: tuple[int, int] | None, fit: str) -> Frame:
    if size is None:
        return frame
    return pad(frame, size[1], size[0]) if fit == "pad" else resize(frame, size[1], size[0])


class TrainingFrames(Dataset[Frame]):
    """Frames as training sees them: decoded, injected into, augmented, brought to size.

    Items are asked for by (pass, index), so a worker needs no state: what it makes depends on the seed, the pass over
    the data and the sample's id alone.
    """

    def __init__(
        self,
        reader: FrameReader,
        seed: int,
        size: tuple[int, int] | None = None,
        fit: Literal["resize", "pad"] = "resize",
        injection: Injection | None = None,
        augment: Augment | None = None,
        inject_at: Literal["stored", "training"] = "stored",
    ) -> None:
        self.reader, self.seed, self.size, self.fit = reader, seed, size, fit
        self.injection, self.augment, self.inject_at = injection, augment, inject_at

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, item: tuple[int, int]) -> Frame:
        if not isinstance(item, tuple):
            raise InputError(
                "the trainer replaced the sampler of the training data: expected use_distributed_sampler: false and no "
                "overfit_batches; set the first, and data.train_frames instead of the second"
            )
        pass_, index = item
        frame = self.reader.read(index)
        if self.injection is not None:
            if self.inject_at == "training" and self.fit == "resize":  # padding leaves pixels as they are
                frame = _fitted(frame, self.size, self.fit)
            frame = self.injection(frame, derive(self.seed, pass_, self.injection.key(frame), "injection"))
        # Maps and surroundings served the injection; batches do not carry them.
        frame = frame.with_(road=None, depth=None, instances=None, surround=None)
        if self.augment is not None:
            size = self.size if self.fit == "resize" else None
            frame = self.augment(frame, derive(self.seed, pass_, frame.sample_id, "augment"), size)
        return _fitted(frame, self.size, self.fit)


class EvaluationFrames(Dataset[Frame]):
    """Frames as they are on disk, brought to size; never injected into."""

    def __init__(
        self, reader: FrameReader, size: tuple[int, int] | None = None, fit: Literal["resize", "pad"] = "resize"
    ) -> None:
        self.reader, self.size, self.fit = reader, size, fit

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, index: int) -> Frame:
        return _fitted(self.reader.read(index), self.size, self.fit)


class ResumableLoader(DataLoader):
    """A loader whose position is the trainer's own count of batches, so that its state is empty."""

    def state_dict(self) -> dict[str, Any]:
        """Nothing; that it exists tells Lightning that resuming within an epoch is exact."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to load."""


def start_worker(_: int) -> None:
    """One thread a worker, for workers are the parallelism; it ends with its training, however that ends."""
    end_with_parent()
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


class DetectionDataModule(pl.LightningDataModule):
    """Loaders over a training and an evaluation reader. Subclasses set them in :meth:`setup`.

    Run it under ``Trainer(use_distributed_sampler=False)``: it shards by itself.

    Attributes:
        train_reader: training frames before injection, wrapped by :meth:`for_training`.
        val_reader: evaluation frames.
        human_labels: whether training sees labels that people wrote, for records.
        reach: between which places objects are injected, for records; None without injection.
        fold: number of the fold that is evaluated, and how many there are, for records; None without.
    """

    human_labels: bool = True
    reach: Reach | None = None
    fold: tuple[int, int] | None = None
    train_reader: TrainingReader
    val_reader: FrameReader

    def __init__(
        self,
        batch_size: int = 8,
        workers: int = 0,
        seed: int | None = None,
        size: tuple[int, int] | None = None,
        fit: Literal["resize", "pad"] = "resize",
        injection: Injection | None = None,  # the class, not a Callable: the command line builds it from its class path
        augment: Augment | None = None,
        samples_per_epoch: int | None = None,
        on_error: Literal["raise", "skip"] = "raise",
        cache: bool = False,
        inject_at: Literal["stored", "training"] = "stored",
    ) -> None:
        """Configure.

        Args:
            batch_size: images a device and step.
            workers: loader processes; results do not depend on it.
            seed: of order, injection and augmentation; by default the one given to ``seed_everything``, else 0.
            size: (height, width) of all images; None keeps the stored size.
            fit: how images come to ``size``: resized, or padded right and below with pixels staying where they are, so
                that labels, results and the metric's height limits remain those of the stored image.
            injection: synthetic objects for training frames; None for none.
            augment: flip, window and colour changes of training frames.
            samples_per_epoch: images an epoch over all ranks; by default one pass over the training frames.
            on_error: what a broken training sample does: stop the run, or be counted and replaced by its neighbour.
            cache: keep decoded training frames in memory.
            inject_at: whether objects are injected into the stored picture, or into the picture at ``size``, which is
                quicker where that is smaller; a zoom of ``augment`` then enlarges what was already reduced. The same
                seed places other objects.

        Raises:
            InputError: a number is out of range.
        """
        super().__init__()
        if batch_size < 1:
            raise InputError(f"batch_size {batch_size}: expected at least 1; correct data.batch_size")
        if workers < 0:
            raise InputError(f"workers {workers}: expected 0 or more; correct data.workers")
        if size is not None and min(size) < 1:
            raise InputError(f"size {size}: expected (height, width) in pixels; correct data.size")
        self.batch_size, self.workers, self.size, self.fit, self.on_error = batch_size, workers, size, fit, on_error
        self.seed, self.injection, self.augment, self.cache = seed, injection, augment, cache
        self.samples_per_epoch, self.inject_at = samples_per_epoch, inject_at

    def position(self) -> Position:
        """Where the run is, which decides what it reads next."""
        return Position.of(self, self.seed)

    @property
    def detector_classes(self) -> tuple[str, ...] | None:
        """Names that the detector of this run learns; None without a run, or where it does not say."""
        module = getattr(self.trainer, "lightning_module", None)
        return getattr(getattr(module, "detector", None), "classes", None)

    def warn_of_classes(self, found: Mapping[str, int], where: str) -> None:
        """Say when a detector learns nothing that is labelled.

        Args:
            found: labelled objects by class.
            where: the split, for the message.
        """
        wanted = self.detector_classes
        if wanted is not None and not any(found.get(name) for name in wanted):
            named = ", ".join(f"{count} {name}" for name, count in sorted(found.items())) or "no object at all"
            warnings.warn(
                f"{where}: no {' or '.join(wanted)} is labelled, which the detector learns (found {named}); "
                "data.class_map gives labels other names",
                stacklevel=3,
            )

    def for_training(self, reader: FrameReader) -> TrainingReader:
        """The reader with this module's treatment of broken samples and its cache.

        A source of objects that lives on labelled frames (copy-paste) is bound to it, and to nothing else.

        Raises:
            InputError: objects of a class would be injected that the detector lacks and would learn as background.
        """
        training = TrainingReader(reader, self.on_error, self.cache)
        if self.injection is not None:
            self.injection.bind(training)
            self._check_injected(self.injection)
            if self.trainer is not None and self.trainer.is_global_zero:  # who only looks at frames, sees the places
                self.reach = effective_range(self.injection, training)
                print(self.reach or "placement: no free place in the training frames looked at")
        return training

    def _check_injected(self, injection: Injection) -> None:
        wanted = self.detector_classes
        if wanted is None:
            return
        if foreign := [name for name in injection.label_names if name not in wanted]:
            raise InputError(
                f"data.injection gives {', '.join(foreign)}, the detector knows {', '.join(wanted)}: what it lacks "
                "would be taught as background; take another source, or name the class in model.detector.classes"
            )

    def teardown(self, stage: str | None = None) -> None:
        if stage == "fit":
            self.train_reader.report()

    def train_dataloader(self) -> DataLoader:
        here = self.position()
        frames = TrainingFrames(
            self.train_reader, here.seed, self.size, self.fit, self.injection, self.augment, self.inject_at
        )
        samples, least = self.samples_per_epoch or len(frames), self.batch_size * here.world
        if samples < least:
            raise InputError(
                f"{samples} training samples an epoch: expected at least batch_size x ranks = {least}; "
                f"set data.samples_per_epoch to {least} or more (frames repeat) or lower data.batch_size"
            )
        return self._loader(frames, EpochSampler(len(frames), samples, self.batch_size, self.position))

    def val_dataloader(self) -> DataLoader:
        sampler = ShardSampler(len(self.val_reader), self.position())
        return self._loader(EvaluationFrames(self.val_reader, self.size, self.fit), sampler)

    def test_dataloader(self) -> DataLoader:
        return self.val_dataloader()

    def predict_dataloader(self) -> DataLoader:
        return self.val_dataloader()

    def _loader(
        self,
        frames: Dataset[Any],
        sampler: Sampler,
        batch_size: int | None = None,
        collate_fn: Callable[[list[Any]], Batch] = collate,
    ) -> DataLoader:
        return ResumableLoader(
            frames,
            batch_size=batch_size or self.batch_size,
            sampler=sampler,
            num_workers=self.workers,
            collate_fn=collate_fn,
            worker_init_fn=start_worker,
            persistent_workers=self.workers > 0,
            pin_memory=torch.cuda.is_available(),
        )
