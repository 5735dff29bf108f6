"""The asset contract: one object that can be drawn at any box through any camera, and where such objects come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

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
    """

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def dims(self) -> np.ndarray: ...
    @property
    def pose(self) -> Boxes3D | None: ...

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


@runtime_checkable
class AssetSource(Protocol):
    """Where injection draws assets from: a bank on disk, a live generator, the labelled frames themselves."""

    def sample(self, rng: np.random.Generator, frame: Frame) -> Asset:
        """Draw one asset for ``frame`` using only ``rng``."""
        ...
