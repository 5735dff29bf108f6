"""Reader of EG3D-style data with label maps: two archives or folders of PNG files, paired by stem, and dataset.json."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Literal

import cv2
import msgspec
import numpy as np

from datamodules.errors import InputError, closest
from datamodules.files.typed_json import Finite, Text, parse_json
from datamodules.image_bytes import image_facts
from datamodules.images import checked_facts, decode_image
from datamodules.objects.labelled.cameras import check_cameras
from datamodules.objects.labelled.files import DATASET_INDEX, KeyedFiles, paired
from datamodules.objects.labelled_views import LABEL_KINDS, Kind, nearest_labels

IMAGES = f"pictures as PNG and {DATASET_INDEX} with their camera labels"
LABELS = "one PNG label map a picture, of the same stem"
INDEX_FORM = f'{DATASET_INDEX} of the form {{"labels": [["path.png", [25 numbers]], ...]}}'
LOOKED_AT = 128  # pairs that are decoded before a training begins, spread over the set
MIDDLE = 127.5  # mean grey of an edge map: paper is lighter


class ObjectScale(msgspec.Struct):
    """What the studio says of an object: metric length, height and width, and the world's units a metre."""

    dims: tuple[Finite, Finite, Finite]
    scale: Finite


class ViewIndex(msgspec.Struct):
    """``dataset.json``; EG3D's has the labels alone."""

    labels: list[tuple[Text, list[Finite]]]
    classes: list[Text] = []
    objects: dict[str, ObjectScale] = {}
    source: Text = ""


class LabelledPairs:
    """Pictures with their label maps and cameras, read one at a time.

    Args:
        images: zip or folder of pictures, and ``dataset.json``.
        labels: zip or folder of label maps: grey of 8 bits, class numbers or edge drawings.
        kind: "seg" or "edge".
        classes: number of classes of "seg"; None takes it from the names in ``dataset.json``.
        size: side to bring pictures and maps to; None keeps them.
        lines: whether edge drawings are "dark" on white (the format) or "light" on black.
        object_of: what tells objects apart: "folder" (pictures of one folder show one object), or "file".

    Attributes:
        keys: N paths of the pictures without suffix, in order.
        objects: the object of each of them.
        cameras: (N, 25) float32.
        class_names: of "seg", by number; those of "edge" are paper and line.
        index: ``dataset.json``.

    Raises:
        InputError: anything about the files that a training cannot use.
    """

    def __init__(
        self,
        images: str | Path,
        labels: str | Path,
        kind: Kind,
        classes: int | None = None,
        size: int | None = None,
        lines: Literal["dark", "light"] = "dark",
        object_of: Literal["folder", "file"] = "folder",
    ) -> None:
        for name, value, known in (
            ("kind", kind, LABEL_KINDS),
            ("lines", lines, ("dark", "light")),
            ("object_of", object_of, ("folder", "file")),
        ):
            if value not in known:
                raise InputError(f"{name} '{value}': expected one of {', '.join(known)}{closest(value, known)}")
        self.kind, self.size, self.lines = kind, size, lines
        self.images, self.labels = KeyedFiles(images, IMAGES), KeyedFiles(labels, LABELS)
        self.index = parse_json(
            self.images.read(DATASET_INDEX), self.images.where(DATASET_INDEX), ViewIndex, INDEX_FORM
        )
        self.pairs = paired(self.images, self.labels)
        self.keys = list(self.pairs)
        self.cameras = self._cameras()
        self.class_names = self._names(classes)
        folders = [PurePosixPath(key).parent.as_posix() for key in self.keys]
        self.objects = self.keys if object_of == "file" or set(folders) == {"."} else folders
        facts = checked_facts(
            self.images.where(self.pairs[self.keys[0]][0]), self.images.read(self.pairs[self.keys[0]][0])
        )
        self.stored = facts.width  # side of all pictures as they are stored

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def side(self) -> int:
        """Pixels of pictures and maps."""
        return self.size or self.stored

    def _cameras(self) -> np.ndarray:
        where = str(self.images.where(DATASET_INDEX))
        by_key: dict[str, list[float]] = {}
        for path, numbers in self.index.labels:
            key = PurePosixPath(path.replace("\\", "/")).with_suffix("").as_posix()
            if key in by_key:
                raise InputError(f"{where}: {path} is listed twice, expected one camera label a picture; remove one")
            by_key[key] = numbers
        if missing := [key for key in self.keys if key not in by_key]:
            raise InputError(
                f"{where}: no camera label of {missing[0]}.png, one of {len(missing)} pictures without; "
                f"expected {INDEX_FORM}"
            )
        if absent := sorted(by_key.keys() - set(self.keys)):
            raise InputError(
                f"{where}: lists {absent[0]}.png, one of {len(absent)} pictures that {self.images.path} lacks; add "
                "them, or remove their labels"
            )
        return check_cameras([by_key[key] for key in self.keys], self.keys, where)

    def _names(self, classes: int | None) -> tuple[str, ...]:
        if self.kind == "edge":
            return ("paper", "line")
        named = tuple(self.index.classes)
        if classes is None and not named:
            raise InputError(
                f"{self.images.where(DATASET_INDEX)}: names no classes, expected data.classes; give their number"
            )
        if classes is not None and named and classes != len(named):
            raise InputError(
                f"classes {classes}: {DATASET_INDEX} names {len(named)} ({', '.join(named)}); correct data.classes"
            )
        if classes is not None and not 2 <= classes <= 256:
            raise InputError(f"classes {classes}: expected 2 to 256; correct data.classes")
        return named or tuple(f"class {number}" for number in range(classes or 0))

    def picture(self, row: int) -> np.ndarray:
        """RGB (3, S, S) uint8.

        Raises:
            InputError: unreadable, of another size than the others, or transparent.
        """
        name = self.pairs[self.keys[row]][0]
        where, data = self.images.where(name), self.images.read(name)
        self._check_size(where, data, "the other pictures")
        image = decode_image(where, data, cv2.IMREAD_UNCHANGED)
        if image.ndim == 2:
            image = np.broadcast_to(image, (3, *image.shape))
        else:
            if len(image) == 4 and image[3].min() < 255:
                raise InputError(f"{where}: transparent pixels, expected opaque RGB; composite it on white first")
            image = image[:3][::-1]  # OpenCV's order
        if image.dtype != np.uint8:
            raise InputError(f"{where}: pixels of {image.dtype}, expected 8 bits a channel; convert it")
        if self.size in (None, self.stored):
            return np.ascontiguousarray(image)
        method = cv2.INTER_AREA if self.side < self.stored else cv2.INTER_CUBIC
        pixels = np.ascontiguousarray(image.transpose(1, 2, 0))
        return np.ascontiguousarray(cv2.resize(pixels, (self.side, self.side), interpolation=method).transpose(2, 0, 1))

    def label_map(self, row: int) -> np.ndarray:
        """Class numbers (S, S) uint8, or an edge drawing as stored, dark lines on white, at the file's own size.

        Raises:
            InputError: unreadable, of another size than the pictures, an unknown class, or inverted polarity.
        """
        name = self.pairs[self.keys[row]][1]
        where, data = self.labels.where(name), self.labels.read(name)
        self._check_size(where, data, "the pictures")
        flags = cv2.IMREAD_UNCHANGED if self.kind == "seg" else cv2.IMREAD_GRAYSCALE
        values = decode_image(where, data, flags)
        if values.ndim != 2 or values.dtype != np.uint8:
            found = f"{values.dtype} of the shape {values.shape}"
            raise InputError(f"{where}: {found}, expected grey of 8 bits whose values are class numbers; convert it")
        if self.kind == "edge":
            return self._dark_lines(values, where)
        if values.max() >= len(self.class_names):
            known = f"expected 0 to {len(self.class_names) - 1}"
            raise InputError(f"{where}: class {values.max()}, {known}; correct the map, or data.classes")
        return nearest_labels(values, self.size)

    def _dark_lines(self, values: np.ndarray, where: Path) -> np.ndarray:
        mean = float(values.mean())
        if (mean < MIDDLE) == (self.lines == "dark"):
            other = "light" if self.lines == "dark" else "dark"
            raise InputError(
                f"{where}: mean grey {mean:.0f}, expected {self.lines} lines on {other} paper: the polarity is "
                f"inverted; invert the maps (255 - v), or set data.lines {other}"
            )
        return values if self.lines == "dark" else 255 - values

    def _check_size(self, where: Path, data: bytes, others: str) -> None:
        try:
            facts = image_facts(data)
        except ValueError as error:
            raise InputError(f"{where}: {error}; copy it again") from None
        if (facts.width, facts.height) != (self.stored, self.stored):
            raise InputError(
                f"{where}: {facts.width} x {facts.height} pixels, expected {self.stored} x {self.stored} as {others}; "
                "resize it (label maps by nearest neighbours)"
            )

    def look(self) -> None:
        """Decode some pairs, spread over the set, so that most mistakes show before a training begins.

        Raises:
            InputError: see :meth:`picture` and :meth:`label_map`.
        """
        for row in np.unique(np.linspace(0, len(self) - 1, min(len(self), LOOKED_AT)).astype(int)):
            self.picture(row)
            self.label_map(row)
