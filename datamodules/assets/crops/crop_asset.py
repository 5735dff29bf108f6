"""A labelled object cut out of its frame: its pixels with opacity, its labelled box and the camera that saw it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

import cv2
import numpy as np

from datamodules.assets.contract import Layer
from datamodules.assets.view_assets import clip_layer, premultiply
from datamodules.assets.visibility import EVERYWHERE, Visibility
from datamodules.geometry import Boxes3D, Camera, yaw_from_alpha
from datamodules.scene import Frame

C = TypeVar("C", bound="CropAsset")


@dataclass(frozen=True)
class CropAsset:
    """One object cut out of a frame.

    Attributes:
        id: sample id and label row of its origin.
        name: class name.
        dims: (3,) float64 metres.
        pose: the only box it may be drawn at.
        rgba: (h, w, 4) uint8 straight colour and opacity.
        left: column of the crop's first pixel in its own frame.
        top: row of the crop's first pixel.
        camera: the camera that took it.
        box: its labelled box.
    """

    id: str
    name: str
    dims: np.ndarray
    pose: Boxes3D | None
    rgba: np.ndarray
    left: int
    top: int
    camera: Camera
    box: Boxes3D

    @property
    def visibility(self) -> Visibility:
        """No limit: the pose says it all."""
        return EVERYWHERE

    def posed_for(self: C, camera: Camera) -> C:
        """The asset with its pose in another camera: same place of the box's centre in the image, depth and alpha.

        A place is a share of width and height: injection may be at training's size.
        """
        if np.array_equal(camera.projection, self.camera.projection):
            return replace(self, pose=self.box)
        lift = np.array([0.0, self.dims[1] / 2, 0.0])
        place, depth = self.camera.resized(1, 1).project(self.box.center[0] - lift)
        center = camera.resized(1, 1).unproject(place, depth) + lift
        yaw = yaw_from_alpha(self.box.alpha[0], center[0], center[2])
        return replace(self, pose=Boxes3D.single(center, self.dims, float(yaw)))

    def flipped(self: C) -> C:
        """The asset as the mirrored scene shows it."""
        camera, box = self.camera.flipped(), self.box.flipped()
        left = self.camera.width - self.left - self.rgba.shape[1]
        return replace(
            self, id=f"{self.id}-flipped", rgba=self.rgba[:, ::-1].copy(), left=left, camera=camera, box=box, pose=box
        )

    def render(self, camera: Camera, box: Boxes3D, frame: Frame | None = None) -> Layer | None:
        """Paste the crop where the box's centre projects, scaled by focal length over depth."""
        lift = np.array([0.0, 0.5, 0.0])
        source, near = self.camera.project(self.box.center[0] - lift * self.dims[1])
        target, far = camera.project(box.center[0] - lift * box.dims[0, 1])
        if near <= 0 or far <= 0:
            return None
        scale = camera.projection[1, 1] / self.camera.projection[1, 1] * float(near) / float(far)
        picture, left, top = premultiply(self.rgba), self.left, self.top
        if abs(scale - 1.0) > 1e-3 or np.abs(target - source).max() > 1e-3:
            picture, left, top = _move(picture, np.array([left, top]), source, target, scale)
        depth = np.where(picture[..., 3] > 0, np.float32(far), np.float32(0.0))
        return clip_layer(picture, depth, left, top, camera)


def _move(
    picture: np.ndarray, corner: np.ndarray, source: np.ndarray, target: np.ndarray, scale: float
) -> tuple[np.ndarray, int, int]:
    """Scale a premultiplied picture about ``source``, move that point to ``target``; the picture and its new corner."""
    size = np.array([picture.shape[1], picture.shape[0]])
    low = np.floor(target + (corner - 0.5 - source) * scale).astype(int)
    high = np.ceil(target + (corner + size - 0.5 - source) * scale).astype(int)
    width, height = (high - low + 1).tolist()
    shift = target - source * scale - low + corner * scale
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    picture = smoothed(picture, scale)
    return cv2.warpAffine(picture, matrix, (width, height), flags=cv2.INTER_LINEAR), int(low[0]), int(low[1])


def smoothed(picture: np.ndarray, scale: float) -> np.ndarray:
    """A picture before it is shrunk to ``scale`` of its size: smoothed by as much as its new pixels are wider."""
    sigma = 0.5 * float(np.sqrt(1 / scale**2 - 1)) if scale < 1 else 0.0
    return cv2.GaussianBlur(picture, (0, 0), sigma) if sigma > 0.1 else picture
