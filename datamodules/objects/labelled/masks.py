"""Pictures with label maps as training data of segmenters: of parts, or of lines."""

from __future__ import annotations

from typing import Literal

import numpy as np

from datamodules.errors import InputError
from datamodules.objects.labelled.datamodule import render_pairs_when_missing, split_rows
from datamodules.objects.labelled.pairs import LabelledPairs
from datamodules.objects.mask_images import MaskImages

INK = 128  # grey below which a pixel of a drawing is a line


class PairMasks:
    """Some pairs of a set."""

    def __init__(self, pairs: LabelledPairs, rows: np.ndarray) -> None:
        self.pairs, self.rows = pairs, rows

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, index: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Picture (S, S, 3) uint8 and classes (S, S) uint8; nothing is drawn."""
        row = int(self.rows[index])
        values = self.pairs.label_map(row)
        if self.pairs.kind == "edge":
            values = (values < INK).astype(np.uint8)
        return self.pairs.picture(row).transpose(1, 2, 0), values


class LabelledMasks(MaskImages):
    """The pictures of a conditional generator's data, for a segmenter that re-extracts label maps from its images.

    Objects are split as :class:`datamodules.objects.labelled.datamodule.LabelledViewsDataModule` splits them with the
    same ``val_every`` and ``test_every``: the segmenter sees no object that the generator is judged on.
    """

    def __init__(
        self,
        images: str = "data/labelled_studio/images.zip",
        labels: str = "data/labelled_studio/seg.zip",
        kind: Literal["edge", "seg"] = "seg",
        classes: int | None = None,
        object_of: Literal["folder", "file"] = "folder",
        val_every: int = 10,
        test_every: int | None = 10,
        batch_size: int = 16,
        workers: int = 0,
        seed: int | None = None,
        create: bool = False,
        create_objects: int = 80,
        create_views: int = 32,
        create_size: int = 64,
    ) -> None:
        """Configure.

        Args:
            images: zip or folder of pictures, and ``dataset.json``.
            labels: zip or folder of label maps.
            kind: "seg", or "edge" for the classes paper and line.
            classes: number of classes of "seg"; null takes it from the names in ``dataset.json``.
            object_of: "folder" or "file", what shows one object.
            val_every: every so many-th object is for validation.
            test_every: of the others, every so many-th is left out; null for none.
            batch_size: images a device and step.
            workers: loader processes.
            seed: of order and variation; by default the one given to ``seed_everything``, else 0.
            create: write the studio's set where there are no pictures.
            create_objects: cars of that set.
            create_views: views of each.
            create_size: pixels a side.
        """
        super().__init__(batch_size, workers, seed)
        if kind == "edge" and classes is not None:
            raise InputError(f"classes {classes} with kind 'edge': it has paper and line; leave data.classes out")
        self.images, self.labels, self.kind = images, labels, kind
        self.number, self.object_of, self.split = classes, object_of, (val_every, test_every)
        self.create, self.created = create, (create_objects, create_views, create_size)

    def prepare_data(self) -> None:
        """Write the studio's set when there is none."""
        if self.create:
            render_pairs_when_missing(self.images, self.labels, self.kind, *self.created)

    def setup(self, stage: str | None = None) -> None:
        """Open, check and split by object.

        Raises:
            InputError: anything wrong with the files, or too few objects for a split.
        """
        pairs = LabelledPairs(self.images, self.labels, self.kind, self.number, object_of=self.object_of)
        pairs.look()
        self.classes = pairs.class_names
        rows = split_rows(pairs, None, *self.split)
        self.train_source, self.val_source = PairMasks(pairs, rows["train"]), PairMasks(pairs, rows["val"])
