"""A folder of annotated renders, laid out as 3D-DST's: reading it.

``<synset>/<model>/image_render/NNN.png`` (straight RGBA), ``depth/NNN.png`` (16 bits, the annotation says metres a
count, 0 is empty), ``normal/NNN.png`` (camera frame, x right, y down, z forward; [-1, 1] as [0, 255], black is empty)
and ``annotation/NNN.json`` (:mod:`datamodules.renders.annotation`), written after its pictures; ``renders.json``,
written last. What is made of the renders later lies in further folders beside them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated

import cv2
import msgspec
import numpy as np
from msgspec import Meta

from datamodules.errors import InputError
from datamodules.files.atomic_files import read_bytes
from datamodules.files.checksums import digest_of
from datamodules.files.typed_json import Identifier, Metres, Text, read_json
from datamodules.images import read_image
from datamodules.renders.annotation import Annotation, read_annotation

RENDER_INDEX = "renders.json"
RENDER_KIND = "a folder of annotated renders (`python -m lit prepare dst-renders` writes one)"
RENDER_PICTURES = {"image_render": "rgba", "depth": "depth", "normal": "normals"}
Value = str | int | float | bool | None


class RenderedModel(msgspec.Struct, rename={"name": "class"}):
    """One model of ``renders.json``: its folder, class, further names, box in metres and number of views."""

    synset: Identifier
    model: Identifier
    name: Identifier
    words: Text
    keywords: list[Text]
    dims: tuple[Metres, Metres, Metres]
    views: Annotated[int, Meta(ge=1)]
    watertight: bool


class LeftOut(msgspec.Struct):
    """A model that was not rendered, and why."""

    synset: Identifier
    model: Identifier
    reason: Text


class RenderIndex(msgspec.Struct):
    """``renders.json``."""

    schema: Annotated[int, Meta(ge=1, le=1)]
    settings: dict[str, Value]
    models: Annotated[list[RenderedModel], Meta(min_length=1)]
    left_out: list[LeftOut] = []


@dataclass(frozen=True)
class Render:
    """One render on disk.

    Attributes:
        folder: of its model.
        view: its number.
    """

    folder: Path
    view: int

    @property
    def key(self) -> str:
        """synset/model/view, unique in its set."""
        return f"{self.folder.parent.name}/{self.folder.name}/{self.view:03d}"

    def path(self, kind: str, suffix: str = ".png") -> Path:
        """A file of this view in a folder of its model ("canny")."""
        return self.folder / kind / f"{self.view:03d}{suffix}"

    @cached_property
    def annotation(self) -> Annotation:
        """What is known of it."""
        found = read_annotation(self.path("annotation", ".json"))
        if (found.synset, found.model, found.view) != (self.folder.parent.name, self.folder.name, self.view):
            raise InputError(
                f"{self.path('annotation', '.json')}: is of {found.synset}/{found.model}/{found.view:03d}; "
                "files were moved, write the renders again"
            )
        return found

    def picture(self, kind: str) -> np.ndarray:
        """A picture as it was written: (S, S, 4) uint8 RGBA, (S, S) uint16 depth or (S, S, 3) uint8 normals.

        Args:
            kind: folder, one of :data:`RENDER_PICTURES`.

        Raises:
            InputError: missing, half-written, or other than the annotation says.
        """
        path = self.path(kind)
        if (
            digest_of(read_bytes(path, "a picture of a render", "write the renders again"))
            != self.annotation.files[kind]
        ):
            raise InputError(f"{path}: differs from what its annotation says, half-written or changed; render it again")
        if kind == "normal":
            return read_image(path).transpose(1, 2, 0)
        stored = read_image(path, cv2.IMREAD_UNCHANGED)
        return stored if kind == "depth" else cv2.cvtColor(stored.transpose(1, 2, 0), cv2.COLOR_BGRA2RGBA)

    @property
    def rgba(self) -> np.ndarray:
        """(S, S, 4) uint8 straight colour and opacity."""
        return self.picture("image_render")

    @property
    def depth(self) -> np.ndarray:
        """(S, S) float32 metres along the optical axis, 0 where empty."""
        return self.picture("depth").astype(np.float32) * np.float32(self.annotation.depth_unit)

    @property
    def normals(self) -> np.ndarray:
        """(S, S, 3) float32 unit normals in the camera frame, 0 where empty."""
        stored = self.picture("normal")
        found = stored.astype(np.float32) / 127.5 - 1
        found /= np.maximum(np.linalg.norm(found, axis=-1, keepdims=True), 1e-6)
        return np.where(stored.any(-1, keepdims=True), found, np.float32(0))


@dataclass(frozen=True)
class RenderSet:
    """All renders of a folder.

    Attributes:
        root: the folder.
        index: its ``renders.json``.
    """

    root: Path
    index: RenderIndex

    @staticmethod
    def load(root: str | Path) -> RenderSet:
        """Open a finished folder.

        Raises:
            InputError: no index, or a damaged one.
        """
        return RenderSet(Path(root), read_json(Path(root) / RENDER_INDEX, RenderIndex, RENDER_KIND))

    def __len__(self) -> int:
        return sum(model.views for model in self.index.models)

    def __iter__(self) -> Iterator[Render]:
        for model in self.index.models:
            yield from self.of(model)

    def of(self, model: RenderedModel) -> Iterator[Render]:
        """The views of one model."""
        folder = self.root / model.synset / model.model
        return (Render(folder, view) for view in range(model.views))
