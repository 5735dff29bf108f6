"""A photograph with depth and its camera, the one interface of single-view generators to their data.

Every photograph has a scene cube of its own, in the frame of its camera: x to the right, y down, z away from it, the
scene within [-1, 1]^3, lengths and depths in half edges of the cube. The camera's projection maps that cube to pixels,
its third row being depth, so that a picture from elsewhere is the same projection after a turn of the cube. Where the
photographed object's box is known, ``frame`` says where it lies in the cube.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

CAMERA_RADIUS = 5.0  # of G3DR's camera about the cube's middle
CAMERA_ANGLE = np.deg2rad(18.0)  # of G3DR's camera
# The object's front towards the camera: canonical z to the right, y down, x (forward) against the view.
FRONTAL = np.array([[0.0, 0, 1, 0], [0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 0, 1]])


@dataclass(frozen=True)
class Photo:
    """One photograph.

    Attributes:
        id: unique name.
        name: class name.
        rgb: (S, S, 3) uint8, straight colour.
        depth: (S, S) float32 in units of the cube, NaN where unknown.
        projection: (3, 4) float64 from the scene cube to pixels, third row depth.
        alpha: (S, S) uint8 the object's mask, or None: the whole picture counts.
        known: (S, S) uint8, 0 where something hides the object and nothing may be learned, or None: all is seen.
        frame: (4, 4) float64 from the object's canonical box to the scene cube, or None where that is unknown.
        dims: (3,) float64 length, height, width in metres of the object's box, or None.
        captions: texts that are true of it, the fullest first; none where nothing is known.
    """

    id: str
    name: str
    rgb: np.ndarray
    depth: np.ndarray
    projection: np.ndarray
    alpha: np.ndarray | None = None
    known: np.ndarray | None = None
    frame: np.ndarray | None = None
    dims: np.ndarray | None = None
    captions: tuple[str, ...] = ()

    def mirrored(self) -> Photo:
        """The photograph of a mirrored scene, left and right changed in its captions. Its object's frame is left out: a
        mirrored box is no turned one.
        """
        projection = self.projection * np.array([-1.0, 1, 1, 1])
        projection[0] = (self.rgb.shape[1] - 1) * projection[2] - projection[0]
        sides = {key: getattr(self, key) for key in ("rgb", "depth", "alpha", "known")}
        flipped: dict[str, Any] = {key: None if side is None else side[:, ::-1] for key, side in sides.items()}
        other = {"left": "right", "right": "left"}
        captions = tuple(re.sub(r"\b(left|right)\b", lambda found: other[found[1]], text) for text in self.captions)
        return replace(self, projection=projection, frame=None, captions=captions, **flipped)


@dataclass(frozen=True)
class PhotoBatch:
    """B photographs of one size.

    Attributes:
        ids: B names.
        names: B class names.
        images: (B, 3, S, S) uint8, straight colour.
        depth: (B, S, S) float32 in units of the cube, NaN where unknown.
        projection: (B, 3, 4) float64.
        alpha: (B, S, S) float32 in [0, 1], ones where there is no mask.
        known: (B, S, S) float32, 0 or 1.
        frame: (B, 4, 4) float64; :data:`FRONTAL` where unknown.
        dims: (B, 3) float64 metres; the cube's edge as 2 m where unknown.
        masked: whether the photographs have masks.
        framed: whether boxes are known.
        seed: seed of what a training step draws for the batch of all processes.
        captions: B texts, "" where nothing is known.
    """

    ids: tuple[str, ...]
    names: tuple[str, ...]
    images: Tensor
    depth: Tensor
    projection: Tensor
    alpha: Tensor
    known: Tensor
    frame: Tensor
    dims: Tensor
    masked: bool
    framed: bool
    seed: int
    captions: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> PhotoBatch:
        """Move the tensors; Lightning calls this."""
        moved: dict[str, Any] = {
            key: value.to(device, non_blocking=non_blocking)
            for key, value in vars(self).items()
            if torch.is_tensor(value)
        }
        return replace(self, **moved)


class PhotoViews(NamedTuple):
    """One photograph, and pictures of the same object from known sides that no generator was shown.

    Attributes:
        photo: a batch of one.
        id: its name.
        rgba: (V, S, S, 4) uint8 straight colour and alpha.
        projection: (V, 3, 4) float64 from the object's canonical box to pixels, third row depth in metres.
        depth: (V, S, S) float32 metres, 0 where nothing is.
        turn: (V,) float32 degrees between the photograph's and each picture's direction of view, in [0, 180].
    """

    photo: PhotoBatch
    id: str
    rgba: Tensor
    projection: Tensor
    depth: Tensor
    turn: Tensor


def cube_projection(size: int, radius: float = CAMERA_RADIUS, field_of_view: float = CAMERA_ANGLE) -> np.ndarray:
    """(3, 4) projection of a camera that looks at the cube's middle from ``radius`` half edges, square pixels.

    Args:
        size: pixels a side.
        radius: distance.
        field_of_view: radians.
    """
    focal, middle = size / (2 * np.tan(field_of_view / 2)), (size - 1) / 2
    return np.array([[focal, 0, middle, middle * radius], [0, focal, middle, middle * radius], [0, 0, 1.0, radius]])


def collate_photos(photos: Sequence[Photo], seed: int = 0) -> PhotoBatch:
    """Stack photographs of one size; masks and frames are either known for all or taken as unknown for all."""
    stacked: dict[str, Tensor] = {}
    for key in ("alpha", "known"):
        sides = [getattr(photo, key) for photo in photos]
        full = [
            np.full(photo.depth.shape, 255, np.uint8) if side is None else side for side, photo in zip(sides, photos)
        ]
        stacked[key] = torch.from_numpy(np.stack(full)).float() / 255
    frames = [FRONTAL if photo.frame is None else photo.frame for photo in photos]
    dims = [np.full(3, 2.0) if photo.dims is None else photo.dims for photo in photos]
    return PhotoBatch(
        ids=tuple(photo.id for photo in photos),
        names=tuple(photo.name for photo in photos),
        images=torch.from_numpy(np.stack([photo.rgb for photo in photos]).transpose(0, 3, 1, 2).copy()),
        depth=torch.from_numpy(np.stack([photo.depth for photo in photos]).astype(np.float32)),
        projection=torch.from_numpy(np.stack([photo.projection for photo in photos])),
        frame=torch.from_numpy(np.stack(frames)),
        dims=torch.from_numpy(np.stack(dims)),
        masked=all(photo.alpha is not None for photo in photos),
        framed=all(photo.frame is not None for photo in photos),
        seed=seed,
        captions=tuple(photo.captions[0] if photo.captions else "" for photo in photos),
        **stacked,
    )
