"""Lightning data of conditional generators: pictures with label maps and cameras, split by object."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from datamodules.errors import InputError
from datamodules.objects.labelled.pairs import LabelledPairs
from datamodules.objects.labelled_views import Kind, LabelledViews, class_weights, edge_input
from datamodules.objects.studio_set import StudioSet
from datamodules.samplers import Position, endless_order, even_batches


class ViewBatches(Dataset[LabelledViews]):
    """Batches of some pairs, keyed by (epoch, step).

    Args:
        pairs: the set.
        rows: those of it that belong here.
        batch: pictures a batch of one process.
        shuffle: draw each epoch's order; otherwise the set's own.
        position: of the run; each of its processes takes its part of every batch.
    """

    def __init__(self, pairs: LabelledPairs, rows: np.ndarray, batch: int, shuffle: bool, position: Position) -> None:
        self.pairs, self.rows, self.batch, self.shuffle, self.position = pairs, rows, batch, shuffle, position

    def __getitem__(self, key: tuple[int, int]) -> LabelledViews:
        epoch, step = key
        here = self.position
        if self.shuffle:
            places = endless_order(len(self.rows), here.places(step, self.batch), here.seed, epoch, "labelled views")
        else:
            places = self.in_order()[step]
        return read_views(self.pairs, self.rows[places].tolist())

    def in_order(self) -> list[np.ndarray]:
        """This process's places in the set's order; see :func:`datamodules.samplers.even_batches`."""
        return even_batches(len(self.rows), self.batch, self.position, "held-out label maps")


def read_views(pairs: LabelledPairs, rows: list[int]) -> LabelledViews:
    """Some pairs of a set as a network is fed with them.

    Raises:
        InputError: a file is not what its set promises.
    """
    images = torch.from_numpy(np.stack([pairs.picture(row) for row in rows])).float() / 127.5 - 1
    maps = [pairs.label_map(row) for row in rows]
    if pairs.kind == "edge":
        labels = torch.from_numpy(np.stack([edge_input(drawing, pairs.side) for drawing in maps]))
    else:
        labels = torch.from_numpy(np.stack(maps)).long()
    return LabelledViews(images, labels, torch.from_numpy(pairs.cameras[rows]), [pairs.keys[row] for row in rows])


def render_pairs_when_missing(
    images: str, labels: str, kind: Kind, objects: int, views: int, size: int, seed: int = 0
) -> None:
    """Write the studio's set where there are no pictures; otherwise do nothing.

    Args:
        images: FOLDER/images.zip.
        labels: FOLDER/KIND.zip.
        kind: "edge" or "seg".
        objects: cars.
        views: views of each.
        size: pixels a side.
        seed: same seed, same cars.

    Raises:
        InputError: the names are other ones.
    """
    if Path(images).exists():
        return
    from datamodules.objects.labelled import studio_labels  # Embree and the meshes only where they are needed

    folder = Path(images).parent
    if Path(images) != folder / "images.zip" or Path(labels) != folder / f"{kind}.zip":
        raise InputError(
            f"images {images} and labels {labels}: the studio writes FOLDER/images.zip and FOLDER/{kind}.zip; name "
            "them so, or set data.create false"
        )
    studio_labels.write_labelled_views(folder, objects, views, size, seed=seed, wait=True)


def split_rows(
    pairs: LabelledPairs, objects: int | None, val_every: int, test_every: int | None
) -> dict[str, np.ndarray]:
    """Rows of a set for "train", "val", "test" and "all", no object in two of the first three but as said below.

    Args:
        pairs: the set.
        objects: use only the first so many objects; None for all.
        val_every: every so many-th is for validation.
        test_every: of the others, every so many-th is for the test; None tests on the validation's.

    Raises:
        InputError: there are not enough objects.
    """
    names = sorted(set(pairs.objects))
    if objects is not None and objects < 1:
        raise InputError(f"data.objects {objects}: expected at least 1, or null for all of {len(names)}")
    if objects is not None and objects > len(names):
        raise InputError(f"{pairs.images.path} shows {len(names)} objects, data.objects asks for {objects}: lower it")
    number = {name: place for place, name in enumerate(names[:objects])}
    place = np.array([number.get(name, -1) for name in pairs.objects])
    known = place >= 0
    held = known & (place % val_every == val_every - 1)
    tested = held if test_every is None else known & ~held & (place % test_every == test_every // 2)
    masks = {"train": known & ~held & ~tested, "val": held, "test": tested, "all": known}
    for split, mask in masks.items():
        if not mask.any():
            raise InputError(
                f"{pairs.images.path} shows {len(number)} objects, none of them for {split} with val_every {val_every} "
                f"and test_every {test_every}; lower them, or set data.object_of file if its folders are no objects"
            )
    return {split: np.flatnonzero(mask) for split, mask in masks.items()}


class LabelledViewsDataModule(StudioSet):
    """Pictures of single objects with label maps and cameras, from EG3D's archives or the studio; split by object.

    Training batches are drawn by (seed, epoch, step), whatever the number of processes and workers; held-out pictures
    come once over all processes.

    Args:
        images: zip or folder of PNG pictures and ``dataset.json``, whose camera labels have 25 numbers.
        labels: zip or folder of PNG label maps, paired by stem.
        kind: "seg" (class numbers) or "edge" (dark lines on white).
        classes: number of classes of "seg"; null takes it from the names in ``dataset.json``.
        size: side to bring everything to; null keeps the files'.
        lines: "dark", or "light" for edge files with the other polarity.
        object_of: "folder" (pictures of one folder show one object) or "file" (each picture its own, as of faces).
        objects: use only the first so many objects; null for all.
        val_every: every so many-th object is held out for validation.
        test_every: of the others, every so many-th is held out for the test; null tests on the validation's.
        held_out_maps: at most so many held-out pictures a split, spread over it; null for all.
        predict: whose label maps a generator's `predict` makes objects of: "val", "test", or "all".
        batch_size: pictures a batch and process.
        steps_per_epoch: batches an epoch.
        seed: seed of all draws.
        num_workers: loader processes.
        create: write the studio's cars where ``images`` does not exist; it is then FOLDER/images.zip, and ``labels``
            FOLDER/KIND.zip.
        create_objects: cars of that set.
        create_views: views of each.
        create_size: pixels a side.
    """

    def __init__(
        self,
        images: str = "data/labelled/images.zip",
        labels: str = "data/labelled/edge.zip",
        kind: Literal["edge", "seg"] = "edge",
        classes: int | None = None,
        size: int | None = None,
        lines: Literal["dark", "light"] = "dark",
        object_of: Literal["folder", "file"] = "folder",
        objects: int | None = None,
        val_every: int = 10,
        test_every: int | None = None,
        held_out_maps: int | None = None,
        predict: Literal["val", "test", "all"] = "val",
        batch_size: int = 8,
        steps_per_epoch: int = 200,
        seed: int = 0,
        num_workers: int = 0,
        create: bool = False,
        create_objects: int = 40,
        create_views: int = 64,
        create_size: int = 64,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)
        bounds = {"batch_size": (batch_size, 1), "val_every": (val_every, 2), "steps_per_epoch": (steps_per_epoch, 1)}
        bounds |= {"test_every": (test_every or 2, 2), "held_out_maps": (held_out_maps or 1, 1), "size": (size or 8, 8)}
        for name, (value, low) in bounds.items():
            if value < low:
                raise InputError(f"{name} {value}: expected at least {low}; correct data.{name}")
        self.pairs: LabelledPairs | None = None
        self.rows: dict[str, np.ndarray] = {}

    @property
    def folder(self) -> str:
        """What the record names the data by."""
        images = Path(self.hparams["images"])
        return str(images.parent if images.suffix == ".zip" else images)

    def prepare_data(self) -> None:
        """Write the studio's set when there is none."""
        h: Any = self.hparams
        if h.create:
            render_pairs_when_missing(
                h.images, h.labels, h.kind, h.create_objects, h.create_views, h.create_size, h.seed
            )

    def setup(self, stage: str | None = None) -> None:
        """Open, check and split by object.

        Raises:
            InputError: anything wrong with the files, or too few objects for a split.
        """
        if self.pairs is not None:
            return
        h: Any = self.hparams
        pairs = LabelledPairs(h.images, h.labels, h.kind, h.classes, h.size, h.lines, h.object_of)
        pairs.look()
        self.rows = split_rows(pairs, h.objects, h.val_every, h.test_every)
        self.pairs = pairs

    @property
    def kind(self) -> str:
        """ "seg" or "edge"."""
        return str(self.hparams["kind"])

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes by number; of "edge", paper and line."""
        return self._pairs().class_names

    @property
    def cameras(self) -> torch.Tensor:
        """(N, 25) float32 cameras of all training pictures: what random poses are drawn from."""
        return torch.from_numpy(self._pairs().cameras[self.rows["train"]])

    def class_weights(self, root: bool = False) -> torch.Tensor:
        """Weights (C,) of the classes of the training maps, see :func:`class_weights`; reads all of them."""
        pairs = self._pairs()
        counts = np.zeros(len(pairs.class_names), np.int64)
        for row in self.rows["train"].tolist():
            counts += np.bincount(pairs.label_map(row).ravel(), minlength=len(counts))
        return torch.from_numpy(class_weights(counts, root))

    def _pairs(self) -> LabelledPairs:
        assert self.pairs is not None, "setup comes first"
        return self.pairs

    def _batches(self, split: str, shuffle: bool) -> ViewBatches:
        h: Any = self.hparams
        rows = self.rows[split]
        if split in ("val", "test") and h.held_out_maps is not None:
            rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(h.held_out_maps, len(rows))).astype(int))]
        return ViewBatches(self._pairs(), rows, h.batch_size, shuffle, Position.of(self, h.seed))

    def _in_order(self, split: str) -> DataLoader[LabelledViews]:
        batches = self._batches(split, False)
        steps = [(0, step) for step in range(len(batches.in_order()))]
        return DataLoader(batches, batch_size=None, sampler=steps)

    def train_dataloader(self) -> DataLoader[LabelledViews]:
        return self.step_loader(self._batches("train", True))

    def val_dataloader(self) -> DataLoader[LabelledViews]:
        """Each held-out picture once over all processes, in the set's order."""
        return self._in_order("val")

    def test_dataloader(self) -> DataLoader[LabelledViews]:
        """As :meth:`val_dataloader`, of the test's objects."""
        return self._in_order("test")

    def predict_dataloader(self) -> DataLoader[LabelledViews]:
        """The pictures of ``predict``, each once over all processes."""
        return self._in_order(self.hparams["predict"])

    def reference_dataloader(self) -> DataLoader[LabelledViews]:
        """All pictures, training ones too, once over all processes: what sets of generated ones are compared with."""
        return self._in_order("all")
