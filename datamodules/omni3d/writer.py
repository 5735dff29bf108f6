"""Writes pictures of another data set as a file of Omni3D; the pictures themselves stay where they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datamodules.errors import InputError
from datamodules.omni3d.format import Omni3DPicture, write_omni3d
from datamodules.omni3d.ignore import EVALUATION
from datamodules.omni3d.rows import rows_of
from datamodules.omni3d.sources import LabelledPicture

PLACES = 10_000_000  # numbers of images and annotations that each data set has to itself


@dataclass(frozen=True)
class Written:
    """What a file holds.

    Attributes:
        path: the file.
        images: their count.
        annotations: by category.
        ignored: how many of them the evaluation ignores.
    """

    path: Path
    images: int
    annotations: dict[str, int]
    ignored: int

    def __str__(self) -> str:
        named = ", ".join(f"{count} {name}" for name, count in sorted(self.annotations.items(), key=lambda c: -c[1]))
        return (
            f"wrote {self.path}: {self.images} images, {sum(self.annotations.values())} annotations "
            f"({named or 'none'}), {self.ignored} of them ignored by the evaluation"
        )


def write_split(
    path: Path,
    pictures: Iterable[LabelledPicture],
    root: Path,
    split: str,
    name: str = "",
    dataset_id: int = 0,
    first: tuple[int, int] = (0, 0),
) -> Written:
    """Write one split.

    Args:
        path: the file.
        pictures: of the split.
        root: folder that the file's paths of pictures start from.
        split: its name, for the file's ``info``.
        name: of the data set, likewise.
        dataset_id: of the data set; numbers of its images and annotations begin at this times ten million.
        first: images and annotations of its other splits that are numbered before.

    Raises:
        InputError: no picture, or one that does not lie below ``root``.
    """
    images, rows = [], []
    for place, one in enumerate(pictures):
        found, intrinsics = rows_of(one.objects, one.camera)
        plain = np.array_equal(one.camera.projection, intrinsics @ np.eye(3, 4))
        images.append(
            Omni3DPicture(
                id=dataset_id * PLACES + first[0] + place,
                width=one.camera.width,
                height=one.camera.height,
                file_path=_below(one.file, root),
                K=intrinsics.tolist(),
                dataset_id=dataset_id,
                p2=None if plain else one.camera.projection.tolist(),
            )
        )
        rows.append(found)
    if not images:
        raise InputError(f"{path}: split {split} of {root} has no picture; expected at least one")
    info = {"id": dataset_id, "source": name, "name": name, "split": split, "version": "0.1", "url": ""}
    write_omni3d(path, images, rows, info, dataset_id * PLACES + first[1] + 1)
    named = Counter(category for one in rows for category in one.category.tolist())
    ignored = sum(int(EVALUATION.ignored(one, image.height).sum()) for one, image in zip(rows, images))
    return Written(path, len(images), dict(named), ignored)


def _below(file: Path, root: Path) -> str:
    try:
        return file.absolute().relative_to(root.absolute()).as_posix()
    except ValueError:
        raise InputError(f"{file}: lies outside {root}, expected below it; give the folder that holds both") from None
