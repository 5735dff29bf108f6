"""Photographs in an ImageNet-like folder, ``CLASS/NAME.png`` (or .jpg), with depth beside them.

Captions may lie there, too, one a line of ``CLASS/NAME.txt``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from datamodules.errors import DatasetNotFound, InputError
from datamodules.files.text_files import read_text
from datamodules.images import read_image
from datamodules.objects.photos.depth_files import DEPTH_CURE, SUFFIX, depth_path, read_depth
from datamodules.objects.photos.photo import Photo, cube_projection
from datamodules.objects.photos.photo_data import PhotoData, held_out, require_counts

KINDS = (".png", ".jpg", ".jpeg")
LOOKED_AT = 16  # photographs read before a training begins: what is wrong with one is mostly wrong with all


class FolderPhotos:
    """Photographs of a folder, brought to one size.

    Args:
        root: the folder.
        paths: photographs as paths from it.
        size: pixels a side; a longer side is cropped at both ends first.
        masks: photographs have alpha, which says where the object is; else any alpha is left aside.
    """

    def __init__(self, root: Path, paths: Sequence[Path], size: int, masks: bool) -> None:
        self.root, self.paths, self.size, self.masks = root, list(paths), size, masks

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: int) -> Photo:
        """One photograph.

        Raises:
            InputError: damaged, without the alpha that is wanted, or see :func:`read_depth`.
        """
        path = self.root / self.paths[index]
        stored = np.atleast_3d(_channels_last(read_image(path, cv2.IMREAD_UNCHANGED)))
        if stored.dtype != np.uint8:
            raise InputError(f"{path}: 16 bits a channel, expected 8; convert it")
        if self.masks and stored.shape[2] not in (2, 4):
            raise InputError(
                f"{path}: no alpha channel, expected a mask of the object in it; cut the object out, or set data.masks "
                "to false to learn whole pictures"
            )
        depth = read_depth(path, stored.shape[:2])
        resize = partial(middle_square, size=self.size)
        colour = stored[..., :3][..., ::-1] if stored.shape[2] > 2 else np.repeat(stored[..., :1], 3, 2)
        alpha = resize(stored[..., -1]) if self.masks else None
        if alpha is not None:  # straight colour is nothing where alpha is: weight it, or dark rims appear
            weight = stored[..., -1:].astype(np.float32) / 255
            mixed = resize(colour.astype(np.float32) * weight)
            colour = np.rint(mixed / np.maximum(alpha[..., None].astype(np.float32) / 255, 1 / 255)).clip(0, 255)
        else:
            colour = resize(colour)
        depth = resize(depth, nearest=True)
        if alpha is not None:
            depth = np.where(alpha > 127, depth, np.float32(np.nan))
        key, name = self.paths[index].with_suffix("").as_posix(), self.paths[index].parent.name
        photo = Photo(key, name, colour.astype(np.uint8), depth, cube_projection(self.size), alpha)
        texts = path.with_suffix(".txt")
        return replace(photo, captions=_captions(texts)) if texts.is_file() else photo


def _captions(path: Path) -> tuple[str, ...]:
    """The lines of a text file that are not empty."""
    return tuple(line.strip() for line in read_text(path, "captions of a photograph").splitlines() if line.strip())


def _channels_last(image: np.ndarray) -> np.ndarray:
    return image.transpose(1, 2, 0) if image.ndim == 3 else image


def middle_square(image: np.ndarray, size: int, nearest: bool = False) -> np.ndarray:
    """The middle square of an image (H, W, ...) at ``size`` pixels a side; depth is not mixed across edges."""
    side = min(image.shape[:2])
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    middle = np.ascontiguousarray(image[top : top + side, left : left + side])
    if side == size:
        return middle
    smaller = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
    return cv2.resize(middle, (size, size), interpolation=cv2.INTER_NEAREST_EXACT if nearest else smaller)


def photo_paths(root: Path, keep: Path | None = None) -> list[Path]:
    """Photographs of a folder as paths from it, in order.

    Args:
        root: holds ``CLASS/NAME.png``; depth maps are no photographs.
        keep: text file with the wanted ones, ``CLASS/NAME`` a line (what a filter wrote), or None for all.

    Raises:
        InputError: no folder, no photographs, two of one name, or a line that names none.
    """
    if not root.is_dir():
        raise DatasetNotFound(
            f"{root} does not exist; expected CLASS/NAME.png with NAME_depth.png beside each; "
            "python -m lit prepare depth-images writes the studio's"
        )
    files = (path for path in sorted(root.glob("*/*")) if path.suffix.lower() in KINDS)
    found = [path.relative_to(root) for path in files if not path.name.endswith(SUFFIX)]
    if not found:
        raise DatasetNotFound(f"{root}: no CLASS/NAME.png or .jpg in it; expected photographs in class folders")
    if len({path.suffix for path in found}) > 1:
        _require_names(root, found)
    if keep is None:
        return found
    wanted = [line.strip() for line in read_text(keep, "a list of photographs").splitlines() if line.strip()]
    named = {path.with_suffix("").as_posix(): path for path in found}
    if missing := [line for line in wanted if line not in named]:
        raise InputError(f"{keep}: '{missing[0]}' is no photograph of {root}; expected CLASS/NAME")
    return [named[line] for line in wanted]


def without_depth(root: Path, paths: Sequence[Path]) -> list[Path]:
    """Those of a folder's photographs that no depth map lies beside, as paths from it; lists the folder once."""
    present = {path.relative_to(root) for path in root.glob(f"*/*{SUFFIX}")}
    return [path for path in paths if depth_path(path) not in present]


def _require_names(root: Path, paths: Sequence[Path]) -> None:
    """Refuse photographs of one name and different kinds: they would share a depth map and an id.

    Raises:
        InputError: names the first two.
    """
    named: dict[Path, Path] = {}
    for path in paths:
        if (first := named.setdefault(path.with_suffix(""), path)) != path:
            raise InputError(f"{root}: {first} and {path} would share a depth map; remove or rename one")


class DepthImages(PhotoData):
    """Photographs with depth from an ImageNet-like folder.

    Args:
        root: the folder.
        size: pixels a side.
        masks: see :class:`FolderPhotos`.
        keep: see :func:`photo_paths`.
        batch_size: photographs a batch and process.
        flip: mirror training photographs at random (the released code does).
        val_every: every so many-th photograph is held out.
        val_photos: of these at most so many are looked at; None for all.
        steps_per_epoch: batches an epoch.
        seed: seed of all draws.
        num_workers: loader processes.

    Attributes:
        classes: names of the folders, once set up.
    """

    def __init__(
        self,
        root: str,
        size: int = 128,
        masks: bool = False,
        keep: str | None = None,
        batch_size: int = 8,
        flip: bool = True,
        val_every: int = 20,
        val_photos: int | None = 256,
        steps_per_epoch: int = 1000,
        seed: int = 0,
        num_workers: int = 0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)
        require_counts(size=(size, 8), batch_size=(batch_size, 1), val_every=(val_every, 2), val_photos=(val_photos, 0))

    classes: tuple[str, ...]

    def setup(self, stage: str | None = None) -> None:
        """Find the photographs; for prediction none is held out, so that one is enough.

        Raises:
            InputError: see :func:`photo_paths`, or too few of them; no depth beside one; or one of those looked at
                cannot be read.
        """
        h: Any = self.hparams
        root = Path(h.root).expanduser()
        paths = photo_paths(root, None if h.keep is None else Path(h.keep))
        self.classes = tuple(dict.fromkeys(path.parent.name for path in paths))
        if missing := without_depth(root, paths):
            more = f" (and that of {len(missing) - 1} more photographs)" if len(missing) > 1 else ""
            raise DatasetNotFound(f"{root / depth_path(missing[0])} does not exist{more}; {DEPTH_CURE}")
        whole = FolderPhotos(root, paths, h.size, h.masks)
        for index in np.unique(np.linspace(0, len(paths) - 1, LOOKED_AT).astype(int)):
            whole.read(int(index))

        def photos(chosen: Sequence[int]) -> FolderPhotos:
            return FolderPhotos(root, [paths[index] for index in chosen], h.size, h.masks)

        self.predict_source = photos(range(len(paths)))
        if stage != "predict":
            rows, held = held_out(len(paths), h.val_every)
            self.train_source, self.val_source = photos(rows), photos(held[: h.val_photos])
