"""The asset contract: one object that can be drawn at any box through any camera, and where such objects come from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from datamodules.assets.visibility import Visibility
from datamodules.geometry import Boxes3D, Camera
from datamodules.scene import Frame


@dataclass(frozen=True)
class Layer:
    """One rendered object, cropped to the image.

    Attributes:
        rgba: (h, w, 4) uint8, colour premultiplied by alpha.
        depth: (h, w) float32 metres, 0 where alpha is 0.
        left: column of the crop's first pixel in the image.
        top: row of the crop's first pixel in the image.
        full_bbox: (4,) float64 rectangle of the object's mask (alpha > 0.5) before clipping, for truncation.
    """

    rgba: np.ndarray
    depth: np.ndarray
    left: int
    top: int
    full_bbox: np.ndarray

    @property
    def mask(self) -> np.ndarray:
        """(h, w) bool, opacity above one half (Lift3D Eq. 4, read as a foreground mask)."""
        return self.rgba[..., 3] > 127


@runtime_checkable
class Asset(Protocol):
    """One drawable object.

    Attributes:
        id: unique within its source; becomes the provenance of injected boxes.
        name: class name in the data set's spelling, such as "Car".
        dims: (3,) float64 natural length, height, width in metres.
        pose: the only box it may be drawn at (copy-paste keeps ray, depth and alpha), or None for "anywhere".
        visibility: the directions it may be seen from, wherever it stands; placement proposes no others.
    """

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def dims(self) -> np.ndarray: ...
    @property
    def pose(self) -> Boxes3D | None: ...
    @property
    def visibility(self) -> Visibility: ...

    def render(self, camera: Camera, box: Boxes3D, frame: Frame | None = None) -> Layer | None:
        """Draw at one box.

        Args:
            camera: the image's camera.
            box: one box in the camera frame; its dims scale the object anisotropically.
            frame: the image it is drawn into, for assets that adapt to it (light); most ignore it.

        Returns:
            The visible crop, or None when nothing falls into the image.
        """
        ...


@dataclass(frozen=True)
class Proposal:
    """A free place for an object of a class.

    Attributes:
        box: one box, its size drawn from the class's own.
        alpha: observation angle from which the first camera that has it in its image sees it, radians in [-pi, pi).
        elevation: of that camera above the object's middle, radians.
    """

    box: Boxes3D
    alpha: float
    elevation: float


class Wanted:
    """What placement has in mind for the next object, for as many tries as that takes; drawn only when a source asks.

    A generator that makes one picture calls it with a class name, draws an object as the :class:`Proposal` says, and
    returns it with the proposal's box as its pose (or limits its visibility). Who does not ask leaves the random draws
    as they are, and gets a place for what it gives.

    Attributes:
        box: the last box proposed, or None.
    """

    def __init__(
        self,
        propose: Callable[[str], Proposal | None],
        misfit: Callable[[str, Boxes3D], np.ndarray] | None = None,
    ) -> None:
        """Bind to a place.

        Args:
            propose: draws a free place for an object of a class.
            misfit: what :meth:`misfit` answers; by default all boxes fit.
        """
        self._propose, self._misfit = propose, misfit
        self._found: dict[int, np.ndarray] = {}
        self.box: Boxes3D | None = None

    def __call__(self, name: str) -> Proposal | None:
        """A free place for an object of a class; None when none is found."""
        proposal = self._propose(name)
        self.box = None if proposal is None else proposal.box
        return proposal

    def misfit(self, name: str, boxes: Boxes3D) -> np.ndarray:
        """(N,) metres that boxes of a class, left as they are, hang above the ground or reach into it.

        Infinite where one would touch something or stand where none of its class may.
        """
        return np.zeros(len(boxes)) if self._misfit is None else self._misfit(name, boxes)

    def once(self, asker: object, find: Callable[[], np.ndarray]) -> np.ndarray:
        """What ``find`` gives, found once for all that this asker draws until an object is added."""
        if id(asker) not in self._found:
            self._found[id(asker)] = find()
        return self._found[id(asker)]

    def settle(self, name: str, boxes: Boxes3D) -> int | None:
        """Which of some boxes of a class, the first in order, can stand where it is; :attr:`box` becomes that one.

        For who moves or turns what was proposed. None, and no box, where none of them can stand.
        """
        free = np.flatnonzero(np.isfinite(self.misfit(name, boxes)))
        self.box = boxes[free[:1]] if len(free) else None
        return int(free[0]) if len(free) else None


@runtime_checkable
class Sketched(Protocol):
    """An asset that can be seen roughly before it is drawn, so that what would be thrown away need not be drawn."""

    def sketch(self, camera: Camera, box: Boxes3D, frame: Frame | None = None) -> tuple[Layer, int] | None:
        """What :meth:`Asset.render` would cover.

        Args:
            camera: the image's camera.
            box: one box in the camera frame.
            frame: the image it would be drawn into.

        Returns:
            A layer whose opacity and depth are those of every n-th pixel, repeated, and n; its colours and its
            ``full_bbox`` mean nothing. None when drawing costs no more, or when nothing falls into the image.
        """
        ...


class LabelledFrames(Protocol):
    """A data set that can be read frame by frame."""

    def __len__(self) -> int: ...
    def read(self, index: int) -> Frame: ...


FrameLabels = tuple[Boxes3D, np.ndarray]  # boxes of one frame or moment, and their class names


@runtime_checkable
class LabelReader(Protocol):
    """Labelled frames whose labels can be read without their pictures."""

    def read_labels(self, around: bool = False) -> Iterator[FrameLabels]:
        """Labels of every frame, in order; broken ones are left out.

        Args:
            around: those around the car, once a moment and in its own ego frame, where the data set knows them.
        """
        ...


@runtime_checkable
class AssetSource(Protocol):
    """Where injection draws assets from: a bank on disk, a live generator, the labelled frames themselves.

    Inherit it, or spell ``bind`` and ``sample`` exactly as here: the command line compares signatures.

    Attributes:
        classes: names of the classes it can give.
        needs_labels: whether it lives on labelled frames, and gives nothing before :meth:`bind`.
    """

    needs_labels: bool = False

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def pool(self) -> int | None:
        """How many distinct objects it draws from; None where there is no end of them. For records."""
        return None

    def bind(self, frames: LabelledFrames) -> None:
        """Look at the frames a detector trains on, and at no others; by default there is nothing to look for."""
        return None

    def sample(self, rng: np.random.Generator, frame: Frame, wanted: Wanted | None = None) -> Asset:
        """Draw one asset for ``frame`` using only ``rng``.

        Args:
            rng: of this draw.
            frame: what it is drawn into.
            wanted: asks placement for a place first; None where nothing is placed.
        """
        ...
