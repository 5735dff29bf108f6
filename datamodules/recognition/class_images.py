"""Lightning data of classifiers and pose estimators: pictures by class, and test splits that differ from them."""

from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from datamodules.errors import DatasetNotFound, InputError
from datamodules.files.atomic_files import BEGUN
from datamodules.files.folder_lock import LOCK_FILE
from datamodules.randomness import derive
from datamodules.recognition.augmix import AugMix
from datamodules.recognition.class_folder import LAYOUT, ClassFolder
from datamodules.recognition.conditions import CLASS_SPLITS, OOD_SPLITS
from datamodules.samplers import Position, StepSampler, endless_order, even_batches

MOST_HELD = 1 << 29  # bytes of a split's decoded pictures that stay in memory
SEEDS = 1 << 62


class ClassBatch(NamedTuple):
    """Pictures of single objects with what they show.

    Attributes:
        images: (B, 3, S, S) uint8 RGB.
        labels: (B,) int64 class.
        pose: (B, 4) float32 azimuth, elevation, roll (degrees) and distance (longest sides); NaN where unknown.
        ids: B names, "split/class/picture.png".
    """

    images: Tensor
    labels: Tensor
    pose: Tensor
    ids: tuple[str, ...]


class ClassBatches(Dataset[ClassBatch]):
    """Batches of pictures, keyed by (epoch, step).

    Args:
        pictures: of one split.
        size: pixels a side.
        batch: pictures a batch of one process.
        position: of the run; each of its processes takes its part of every batch.
        training: draw each epoch's order, and change pictures as the next arguments say.
        flip: mirror every second picture; its azimuth and roll change sign.
        crop: least and largest share of a picture's area that is cut out and resized; None takes it whole.
        augment: further changes, seeded by (seed, epoch, picture).
    """

    def __init__(
        self,
        pictures: ClassFolder,
        size: int,
        batch: int,
        position: Position,
        training: bool = False,
        flip: bool = False,
        crop: tuple[float, float] | None = None,
        augment: AugMix | None = None,
    ) -> None:
        self.pictures, self.size, self.batch, self.position = pictures, size, batch, position
        self.training, self.flip, self.augment = training, flip, augment
        self.crop = None if crop is None else v2.RandomResizedCrop(size, crop, antialias=True)
        held = len(pictures) * size * size * 3 <= MOST_HELD and crop is None
        self._held: dict[int, Tensor] | None = {} if held else None

    def __getitem__(self, key: tuple[int, int]) -> ClassBatch:
        epoch, step = key
        if self.training:
            places = self.position.places(step, self.batch)
            chosen = endless_order(len(self.pictures), places, self.position.seed, epoch, "class images").tolist()
        else:
            chosen = self.held_out()[step].tolist()
        drawn = [self.picture(index, epoch) for index in chosen]
        labels = torch.from_numpy(self.pictures.labels[chosen])
        pose = torch.from_numpy(np.stack([pose for _, pose in drawn]))
        return ClassBatch(torch.stack([image for image, _ in drawn]), labels, pose, tuple(map(self.name, chosen)))

    def held_out(self) -> list[np.ndarray]:
        """This process's pictures in the split's order, in as many batches as every other process has, none empty.

        Raises:
            InputError: fewer pictures than processes.
        """
        return even_batches(len(self.pictures), self.batch, self.position, f"pictures of {self.pictures.folder}")

    def name(self, index: int) -> str:
        """Id of one picture."""
        return f"{self.pictures.folder.name}/{self.pictures.names[index]}"

    def picture(self, index: int, epoch: int) -> tuple[Tensor, np.ndarray]:
        """One picture (3, S, S) uint8 and its pose (4,) float32."""
        image, pose = self._read(index), self.pictures.pose[index]
        if not self.training:
            return image, pose
        rng = derive(self.position.seed, epoch, self.name(index), "picture")
        flipped, seeds = self.flip and rng.random() < 0.5, rng.integers(SEEDS, size=2)
        if self.crop is not None:
            with torch.random.fork_rng(devices=[]):  # torchvision draws from torch's own generator
                torch.default_generator.manual_seed(int(seeds[0]))
                image = self.crop(image)
        if flipped:
            image, pose = image.flip(-1), np.array([-pose[0] % 360, pose[1], -pose[2], pose[3]], np.float32)
        return (image if self.augment is None else self.augment(image, int(seeds[1]))), pose

    def _read(self, index: int) -> Tensor:
        """One picture as it lies on disk, resized unless a part of it will be cut out."""
        if self._held is None:
            return self.pictures.read(index, self.size if self.crop is None else None)
        if index not in self._held:
            self._held[index] = self.pictures.read(index, self.size)
        return self._held[index]


class ClassImages(LightningDataModule):
    """Pictures by class in ImageNet's folder layout, with test splits that are like them (ID) or not (OOD).

    Args:
        folder: that holds a folder a split.
        train: training split: a folder in ``folder``, or the path of another one, such as pictures to pretrain on.
        splits: name to test split, likewise; the name "id" stands for the one that is like the training pictures, the
            mean of all others is "ood". A split may show some of the classes only. None takes those that ``prepare
            class-images`` writes.
        posed: whether poses are known and needed.
        size: pixels a side.
        batch_size: pictures a batch and process.
        per_class: train on the first so many pictures of each class; None takes all.
        flip: mirror training pictures at random.
        crop: least and largest share of area cut out of training pictures, such as [0.35, 1] for photographs; not with
            poses, whose camera looks at the picture's middle.
        augment: see :class:`datamodules.recognition.augmix.AugMix`.
        seed: of order and changes; None takes the run's.
        num_workers: loader processes.
        create: write the studio's set when the folder does not exist, and ``train`` and ``splits`` name parts of it.
        create_classes, create_train_objects, create_test_objects, create_size, create_seed: of that set.
    """

    def __init__(
        self,
        folder: str = "data/class_images",
        train: str = "train",
        splits: dict[str, str] | None = None,
        posed: bool = False,
        size: int = 64,
        batch_size: int = 32,
        per_class: int | None = None,
        flip: bool = True,
        crop: tuple[float, float] | None = None,
        augment: AugMix | None = None,
        seed: int | None = None,
        num_workers: int = 0,
        create: bool = True,
        create_classes: tuple[str, ...] = ("car", "van", "bicycle", "pedestrian"),
        create_train_objects: int = 20,
        create_test_objects: int = 15,
        create_size: int = 64,
        create_seed: int = 0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False, ignore=["augment"])
        for name, value, low in (("size", size, 16), ("batch_size", batch_size, 1), ("per_class", per_class, 1)):
            if value is not None and value < low:
                raise InputError(f"{name} {value}: expected at least {low}")
        if crop is not None and not 0 < crop[0] <= crop[1] <= 1:
            raise InputError(f"crop {list(crop)}: expected shares 0 < least <= largest <= 1, such as [0.35, 1]")
        if crop is not None and posed:
            raise InputError(
                "crop with posed true: a pose's camera looks at the whole picture's middle; leave crop out"
            )
        self.splits = {"id": "id"} | {name: name for name in OOD_SPLITS} if splits is None else splits
        self.augment = augment
        self.train_pictures: ClassFolder | None = None
        self.val_pictures: dict[str, ClassFolder] = {}

    def prepare_data(self) -> None:
        """Write the studio's set where there is no folder."""
        h: Any = self.hparams
        folder = Path(h.folder)
        if (
            h.create
            and self._of_studio()
            and (not folder.exists() or (folder / LOCK_FILE).exists() or (folder / BEGUN).exists())
        ):
            # The second: another run writes it now; the third: one was stopped while it did.
            from datamodules.recognition.class_writer import ClassSetSettings, write_class_images  # needs Embree

            settings = ClassSetSettings(
                h.create_classes, h.create_train_objects, h.create_test_objects, size=h.create_size, seed=h.create_seed
            )
            write_class_images(h.folder, settings, progress=True, wait=True)

    def _of_studio(self) -> bool:
        """Whether the studio's set would be what is asked for: not so where a user's own folder is misspelt."""
        h: Any = self.hparams
        named = all(name in CLASS_SPLITS or Path(name).is_dir() for name in (h.train, *self.splits.values()))
        wanted = getattr(getattr(self.trainer, "lightning_module", None), "classes", None)
        return named and (wanted is None or sorted(wanted) == sorted(h.create_classes))

    def setup(self, stage: str | None = None) -> None:
        """Find the pictures of all splits.

        Raises:
            InputError: a split is not there, shows an unknown class, or lacks poses.
        """
        if self.train_pictures is not None:
            return
        h: Any = self.hparams
        self.train_pictures = ClassFolder.load(self._place(h.train), None, h.posed, h.per_class)
        for name, place in self.splits.items():
            found = ClassFolder.load(self._place(place), self.train_pictures.classes, h.posed)
            if found.folder.resolve() == self.train_pictures.folder.resolve():
                warnings.warn(
                    f"data.splits {name}: {found.folder} holds the training pictures, of which a network knows the "
                    "answers; name another folder to learn how it does on new ones",
                    stacklevel=2,
                )
            self.val_pictures[name] = found

    @property
    def classes(self) -> tuple[str, ...]:
        """Names in the order of the labels' numbers; known after :meth:`setup`."""
        assert self.train_pictures is not None
        return self.train_pictures.classes

    def _place(self, name: str) -> Path:
        """The folder of a split."""
        for place in (Path(self.hparams["folder"]) / name, Path(name)):
            if place.is_dir():
                return place
        raise DatasetNotFound(f"{Path(self.hparams['folder']) / name}: no such folder, nor {name}; {LAYOUT}")

    def train_dataloader(self) -> DataLoader[ClassBatch]:
        """An epoch is a pass over the pictures, but for what does not fill a batch of all processes."""
        h: Any = self.hparams
        assert self.train_pictures is not None
        position = Position.of(self, h.seed)
        batches = ClassBatches(self.train_pictures, h.size, h.batch_size, position, True, h.flip, h.crop, self.augment)
        steps = max(len(self.train_pictures) // (h.batch_size * position.world), 1)
        sampler = StepSampler(steps, partial(Position.of, self, h.seed))
        workers = {"num_workers": h.num_workers, "persistent_workers": h.num_workers > 0}
        return DataLoader(batches, batch_size=None, sampler=sampler, **workers)

    def val_dataloader(self) -> list[DataLoader[ClassBatch]]:
        """One a split, in the order of ``splits``: each picture once over all processes."""
        h: Any = self.hparams
        position, found = Position.of(self, h.seed), []
        for pictures in self.val_pictures.values():
            batches = ClassBatches(pictures, h.size, h.batch_size, position)
            steps = [(0, step) for step in range(len(batches.held_out()))]
            found.append(DataLoader(batches, batch_size=None, sampler=steps, num_workers=h.num_workers))
        return found

    test_dataloader = val_dataloader
