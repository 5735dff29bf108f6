"""Objects of one source in pictures of another: whether an arm's pictures or its places make the difference.

An arm differs from another one in what its objects look like and in where they stand, how they are turned and how
large they are. Here one source gives the second, another one the first, so that two arms become a square of four.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from datamodules.assets.contract import Asset, AssetSource, LabelledFrames, Layer, Sketched, Wanted
from datamodules.assets.visibility import Visibility
from datamodules.errors import InputError
from datamodules.geometry import Boxes3D, Camera
from datamodules.scene import Frame


@runtime_checkable
class Suiting(Protocol):
    """A source whose objects cannot be drawn anywhere, but which can look for one that suits a box."""

    def suiting(self, camera: Camera, box: Boxes3D, draw: float) -> Asset:
        """One of the objects that suit a box best, whatever it costs.

        Args:
            camera: that sees the box.
            box: one box in the camera frame.
            draw: in [0, 1), which of them.
        """
        ...


@dataclass(frozen=True)
class ExchangedAsset:
    """One source's object, drawn as another one's.

    Attributes:
        place: decides class, size, pose and the sides that may be seen.
        picture: what is drawn, stretched to the box; or a source that looks for what suits the box.
        draw: in [0, 1), for such a source.
    """

    place: Asset
    picture: Asset | Suiting
    draw: float

    @property
    def id(self) -> str:
        """The picture's, where it is known before the box is."""
        return f"exchanged-{self.place.id if isinstance(self.picture, Suiting) else self.picture.id}"

    @property
    def name(self) -> str:
        return self.place.name

    @property
    def dims(self) -> np.ndarray:
        return self.place.dims

    @property
    def pose(self) -> Boxes3D | None:
        return self.place.pose

    @property
    def visibility(self) -> Visibility:
        return self.place.visibility

    def render(self, camera: Camera, box: Boxes3D, frame: Frame | None = None) -> Layer | None:
        """Draw at one box (:meth:`datamodules.assets.contract.Asset.render`)."""
        shown = self.picture.suiting(camera, box, self.draw) if isinstance(self.picture, Suiting) else self.picture
        return shown.render(camera, box, frame)

    def sketch(self, camera: Camera, box: Boxes3D, frame: Frame | None = None) -> tuple[Layer, int] | None:
        """See :class:`datamodules.assets.contract.Sketched`."""
        return self.picture.sketch(camera, box, frame) if isinstance(self.picture, Sketched) else None


class ExchangedSource(AssetSource):
    """Draws an object of one source and lends it the picture of another one's."""

    def __init__(self, places: AssetSource, pictures: AssetSource) -> None:
        """Exchange.

        Args:
            places: whose objects are placed: class, size, turn and distance are theirs.
            pictures: what they look like.

        Raises:
            InputError: the pictures are copies that keep their own place, which no other box can show.
        """
        if not isinstance(pictures, Suiting) and pictures.needs_labels:
            raise InputError(
                f"source.pictures {type(pictures).__name__}: its objects keep their own place, expected ones that can "
                "be drawn at another one's; choose a bank, meshes or RecompositionSource"
            )
        self.places, self.pictures = places, pictures
        self.needs_labels = places.needs_labels or pictures.needs_labels

    @property
    def classes(self) -> tuple[str, ...]:
        return self.places.classes

    @property
    def pool(self) -> int | None:
        """Of distinct pictures."""
        return self.pictures.pool

    def bind(self, frames: LabelledFrames) -> None:
        self.places.bind(frames)
        self.pictures.bind(frames)

    def sample(self, rng: np.random.Generator, frame: Frame, wanted: Wanted | None = None) -> Asset:
        """Draw an object to place, then what it looks like."""
        place = self.places.sample(rng, frame, wanted)
        if isinstance(self.pictures, Suiting):
            return ExchangedAsset(place, self.pictures, float(rng.random()))
        return ExchangedAsset(place, self.pictures.sample(rng, frame), 0.0)
