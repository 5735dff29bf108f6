"""A bank of objects that stand where they were drawn: of each training frame some, replayed in that frame alone.

``in_place.json`` is written last and names the frames' files (:mod:`datamodules.assets.in_place.frame_file`), which lie
in ``frames/``. Placement only checks that an object still stands free; box, outline and depth are those it was drawn
with, so its label is what the same draw of the undrawn-over object would have got.
"""

from __future__ import annotations

import json
import warnings
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from datamodules.assets.contract import Asset, AssetSource, LabelledFrames, Layer, Wanted
from datamodules.assets.in_place.frame_file import read_frame
from datamodules.assets.in_place.placed_asset import PlacedAsset
from datamodules.errors import InputError
from datamodules.files.checksums import digest_of
from datamodules.files.typed_json import Finite, Identifier, Text, read_json
from datamodules.geometry import Boxes3D
from datamodules.scene import Frame

IN_PLACE_INDEX = "in_place.json"
IN_PLACE_FRAMES = "frames"
IN_PLACE_KIND = "a bank of objects in place (`python -m lit prepare dst-in-place` writes one)"


class FrameRow(msgspec.Struct):
    """One frame's file: its digest, and how many objects it holds."""

    digest: Identifier
    objects: Annotated[int, Meta(ge=0)]


class InPlaceIndex(msgspec.Struct):
    """``in_place.json``.

    Attributes:
        schema: of the files.
        settings: digest of what all frames were made with.
        source: what the objects were before, such as "MeshSource".
        strength: how far they were drawn over, in [0, 1]; 0 left them as they were.
        classes: names of their classes.
        frames: by sample id.
        figures: whether the edges were followed; None where there is none to tell.
        seal: digest of all the above (:meth:`sealed`).
    """

    schema: Annotated[int, Meta(ge=1, le=1)]
    settings: Identifier
    source: Text
    strength: Finite
    classes: Annotated[list[Identifier], Meta(min_length=1)]
    frames: dict[Identifier, FrameRow]
    figures: dict[str, Finite | None] = {}
    seal: Text = ""

    def sealed(self) -> str:
        """What ``seal`` has to be."""
        plain = msgspec.to_builtins(msgspec.structs.replace(self, seal=""))
        return digest_of(msgspec.json.encode(msgspec.convert(plain, InPlaceIndex)))

    def text(self) -> str:
        """The content of the file."""
        return json.dumps(msgspec.to_builtins(msgspec.structs.replace(self, seal=self.sealed())), indent=1) + "\n"


def read_index(folder: Path) -> InPlaceIndex:
    """A bank's index.

    Raises:
        InputError: none there, or another one than was written.
    """
    path = folder / IN_PLACE_INDEX
    index = read_json(path, InPlaceIndex, IN_PLACE_KIND)
    if index.seal != index.sealed():
        raise InputError(f"{path}: differs from its seal, expected {IN_PLACE_KIND}; write it again")
    return index


class InPlaceSource(AssetSource):
    """Draws one of a frame's own objects, uniformly; frames without any get none.

    Attributes:
        folder: of the bank.
        index: its index.
    """

    needs_labels = True  # its objects belong to the labelled frames they were drawn into

    def __init__(self, folder: str | Path, cache: int = 64) -> None:
        """Open a bank.

        Args:
            folder: the bank's.
            cache: frames whose objects stay in memory, in each worker its own.

        Raises:
            InputError: no bank there, a damaged index, or no object in it.
        """
        self.folder = Path(folder)
        self.index = read_index(self.folder)
        if not self.pool:
            raise InputError(f"{self.folder}: no object in any of {len(self.index.frames)} frames; write it again")
        self._capacity = cache
        self._reset()

    def _reset(self) -> None:
        self._ready = lru_cache(self._capacity)(self._load)

    def __getstate__(self) -> dict[str, Any]:
        """Worker processes read for themselves."""
        return {key: value for key, value in self.__dict__.items() if key != "_ready"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reset()

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.index.classes)

    @property
    def pool(self) -> int:
        """Its pictures, of all frames (see ``AssetSource.pool``)."""
        return sum(row.objects for row in self.index.frames.values())

    def bind(self, frames: LabelledFrames) -> None:
        """Look whether the training frames have objects here.

        Raises:
            InputError: none has: the bank is of other frames.
        """
        ids = list(getattr(frames, "ids", ()))
        held = [sample for sample in ids if sample in self.index.frames]
        if ids and not held:
            raise InputError(
                f"{self.folder}: holds none of the {len(ids)} training frames ({ids[0]}, ...), expected a bank written "
                "for them; run prepare dst-in-place with this experiment's data"
            )
        if len(held) < len(ids):
            few = f"{len(ids) - len(held)} of {len(ids)} training frames"
            warnings.warn(f"{self.folder}: {few} are not in the bank and get no object", stacklevel=2)

    def of(self, sample_id: str) -> list[PlacedAsset]:
        """A frame's objects.

        Raises:
            InputError: its file is missing or damaged.
        """
        return self._ready(sample_id) if sample_id in self.index.frames else []

    def _load(self, sample_id: str) -> list[PlacedAsset]:
        path = frame_path(self.folder, sample_id)
        return list(read_frame(path, self.index.frames[sample_id].digest).assets)

    def sample(self, rng: np.random.Generator, frame: Frame, wanted: Wanted | None = None) -> Asset:
        """Draw one of the frame's objects; without one, an object whose pose is empty."""
        offered = self.of(frame.sample_id)
        return offered[int(rng.integers(len(offered)))] if offered else self._nothing(frame)

    def _nothing(self, frame: Frame) -> PlacedAsset:
        nothing = Layer(np.zeros((0, 0, 4), np.uint8), np.zeros((0, 0), np.float32), 0, 0, np.zeros(4))
        return PlacedAsset("nothing", self.classes[0], np.ones(3), Boxes3D.empty(), nothing, frame.camera)


def frame_path(folder: str | Path, sample_id: str) -> Path:
    """The file of a frame's objects."""
    return Path(folder) / IN_PLACE_FRAMES / f"{sample_id}.npz"
