"""Lightning data of CLIP: pictures of single objects with captions that say what is true of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from datamodules.errors import InputError
from datamodules.files.typed_json import read_json
from datamodules.objects.object_images import backdrop, view_angles
from datamodules.objects.posed_images import PosedImageSet
from datamodules.objects.studio_set import StudioSet
from datamodules.randomness import derive
from datamodules.recognition.captioned_writer import (
    CAPTIONED_INDEX,
    CAPTIONED_SET,
    CaptionedIndex,
    CaptionedSettings,
    write_captioned,
)
from datamodules.recognition.captions import (
    SHADES,
    VIEW_SIDES,
    Facts,
    caption,
    colour_name,
    parts_in_view,
    side_word,
)
from datamodules.samplers import Position, endless_order, even_batches

_BEHIND = ("grey", "colour", "colour", "white")  # backdrops, equally often


class CaptionBatch(NamedTuple):
    """Pictures and what they show.

    Attributes:
        images: (B, 3, S, S) uint8 RGB.
        captions: B texts.
        facts: (B, 3) int64 class, paint (a colour of :data:`SHADES`; -1 for none) and side (of :data:`VIEW_SIDES`).
        ids: B names, "object/view".
    """

    images: Tensor
    captions: tuple[str, ...]
    facts: Tensor
    ids: tuple[str, ...]


@dataclass(frozen=True)
class CaptionedPicture:
    """One view of an object: colour and alpha (S, S, 4) uint8, azimuth in degrees, and what is true of it."""

    id: str
    rgba: np.ndarray
    azimuth: float
    facts: Facts


def read_captioned(folder: str | Path) -> tuple[tuple[str, ...], list[list[CaptionedPicture]]]:
    """The classes of a set in the order of their numbers, and for each object its pictures.

    Raises:
        InputError: it is missing or damaged, a class has no posed image set with parts, or that lacks an object.
    """
    index = read_json(Path(folder) / CAPTIONED_INDEX, CaptionedIndex, CAPTIONED_SET)
    classes = tuple(dict.fromkeys(entry.name for entry in index.objects))
    sets = {name: PosedImageSet.load(Path(folder) / name) for name in classes}
    found = []
    for entry in index.objects:
        posed = sets[entry.name]
        if posed.parts is None or entry.id not in posed.ids:
            lacks = "parts" if posed.parts is None else f"object {entry.id}"
            raise InputError(f"{Path(folder) / entry.name}: no {lacks}, which captions speak of; write the set again")
        row = posed.ids.index(entry.id)
        angles = view_angles(posed.projection[row], posed.dims[row])
        paint = None if entry.paint is None else colour_name(entry.paint)
        pictures = []
        for view, azimuth in enumerate(angles[:, 0]):
            facts = Facts(entry.name, entry.body, paint, side_word(azimuth), parts_in_view(posed.parts[row, view]))
            pictures.append(CaptionedPicture(f"{entry.id}/{view}", posed.rgba[row, view], float(azimuth), facts))
        found.append(pictures)
    return classes, found


class CaptionBatches(Dataset[CaptionBatch]):
    """Batches of pictures, keyed by (epoch, step).

    Args:
        pictures: of all objects.
        classes: in the order of their numbers.
        batch: pictures a batch of one process.
        position: of the run; each of its processes takes its part of every batch.
        training: draw each epoch's order, backdrops and captions; else the fullest captions, and still backdrops.
        flip: mirror every second training picture.
    """

    def __init__(
        self,
        pictures: list[CaptionedPicture],
        classes: tuple[str, ...],
        batch: int,
        position: Position,
        training: bool = False,
        flip: bool = False,
    ) -> None:
        self.pictures, self.classes, self.batch, self.position = pictures, classes, batch, position
        self.training, self.flip = training, flip

    def __getitem__(self, key: tuple[int, int]) -> CaptionBatch:
        epoch, step = key
        if self.training:
            places = self.position.places(step, self.batch)
            chosen = endless_order(len(self.pictures), places, self.position.seed, epoch, "captions").tolist()
        else:
            chosen = self.held_out()[step].tolist()
        drawn = [self.picture(index, epoch) for index in chosen]
        images = torch.from_numpy(np.stack([image for image, _, _ in drawn]).transpose(0, 3, 1, 2).copy())
        facts = torch.tensor([self.numbers(facts) for _, facts, _ in drawn])
        return CaptionBatch(
            images, tuple(text for _, _, text in drawn), facts, tuple(self.pictures[index].id for index in chosen)
        )

    def held_out(self) -> list[np.ndarray]:
        """This process's pictures, in as many batches as every other process has, none empty.

        Raises:
            InputError: fewer pictures than processes.
        """
        return even_batches(len(self.pictures), self.batch, self.position, "held-out pictures")

    def numbers(self, facts: Facts) -> tuple[int, int, int]:
        """Class, paint and side as :class:`CaptionBatch` counts them."""
        paint = -1 if facts.paint is None else list(SHADES).index(facts.paint)
        return self.classes.index(facts.name), paint, VIEW_SIDES.index(facts.side)

    def picture(self, index: int, epoch: int) -> tuple[np.ndarray, Facts, str]:
        """One picture (S, S, 3) uint8, what is true of it, and its caption."""
        picture, facts = self.pictures[index], self.pictures[index].facts
        rng = derive(self.position.seed, epoch, picture.id, "caption")
        behind = backdrop(len(picture.rgba), _BEHIND[int(rng.integers(len(_BEHIND)))], rng)
        alpha = picture.rgba[..., 3:].astype(np.float32) / 255
        image = np.rint(picture.rgba[..., :3] * alpha + behind * (1 - alpha)).astype(np.uint8)
        if self.training and self.flip and rng.random() < 0.5:
            image = image[:, ::-1]
            facts = Facts(facts.name, facts.body, facts.paint, side_word(-picture.azimuth % 360), facts.parts)
        return image, facts, caption(facts, rng if self.training else None)


class CaptionedImages(StudioSet):
    """Pictures with captions, split by object.

    Args:
        folder: see :class:`datamodules.recognition.captioned_writer.CaptionedIndex`.
        batch_size: pictures a batch and process.
        val_every: every so many-th object of the set is held out.
        flip: mirror training pictures at random; left and right change places in their captions.
        steps_per_epoch: batches an epoch.
        seed: of all draws.
        num_workers: loader processes.
        create: draw the studio's set when the folder does not exist.
        create_classes, create_objects, create_views, create_size: of that set.
    """

    def __init__(
        self,
        folder: str = "data/captioned",
        batch_size: int = 64,
        val_every: int = 5,
        flip: bool = True,
        steps_per_epoch: int = 100,
        seed: int = 0,
        num_workers: int = 0,
        create: bool = True,
        create_classes: tuple[str, ...] = ("car", "van", "bicycle", "pedestrian"),
        create_objects: int = 200,
        create_views: int = 8,
        create_size: int = 64,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)
        for name, value, low in (("batch_size", batch_size, 2), ("val_every", val_every, 2)):
            if value < low:
                raise InputError(f"{name} {value}: expected at least {low}")
        self.classes: tuple[str, ...] = ()
        self.train_pictures: list[CaptionedPicture] = []
        self.val_pictures: list[CaptionedPicture] = []

    def prepare_data(self) -> None:
        """Draw the studio's set when there is none."""
        h: Any = self.hparams
        if h.create and not (Path(h.folder) / CAPTIONED_INDEX).exists():
            settings = CaptionedSettings(h.create_classes, h.create_objects, h.create_views, h.create_size, h.seed)
            write_captioned(h.folder, settings, progress=True, wait=True)

    def setup(self, stage: str | None = None) -> None:
        """Read and split.

        Raises:
            InputError: see :func:`read_captioned`; or too few objects to hold some out.
        """
        if self.train_pictures:
            return
        h: Any = self.hparams
        self.classes, objects = read_captioned(h.folder)
        if len(objects) < h.val_every:
            raise InputError(f"{h.folder}: {len(objects)} objects, expected data.val_every {h.val_every} or more")
        for number, pictures in enumerate(objects):
            (self.train_pictures if (number + 1) % h.val_every else self.val_pictures).extend(pictures)

    def held_out_facts(self) -> list[Facts]:
        """What is true of each held-out picture."""
        return [picture.facts for picture in self.val_pictures]

    def train_dataloader(self) -> DataLoader[Any]:
        h: Any = self.hparams
        position = Position.of(self, h.seed)
        return self.step_loader(CaptionBatches(self.train_pictures, self.classes, h.batch_size, position, True, h.flip))

    def val_dataloader(self) -> DataLoader[Any]:
        h: Any = self.hparams
        batches = CaptionBatches(self.val_pictures, self.classes, h.batch_size, Position.of(self, h.seed))
        steps = [(0, step) for step in range(len(batches.held_out()))]
        return DataLoader(batches, batch_size=None, sampler=steps, num_workers=h.num_workers)
