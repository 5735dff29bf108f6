"""An object with a picture that was made for its place in one frame: drawn there as it was stored, or not at all."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from datamodules.assets.contract import Layer
from datamodules.assets.cube_render import mask_bbox
from datamodules.assets.visibility import EVERYWHERE, Visibility
from datamodules.errors import InputError
from datamodules.geometry import Boxes3D, Camera, clip_bbox, resizing
from datamodules.scene import Frame

SAME_PLACE = 1e-6  # metres and radians between a box and the one that the picture was made for
SAME_CAMERA = 1e-6  # of the largest entry of a projection


@dataclass(frozen=True)
class PlacedAsset:
    """One object at its place.

    Attributes:
        id: unique in its bank.
        name: class name.
        dims: (3,) float64 natural length, height, width in metres.
        pose: the box it was drawn at; empty where it has none to offer.
        layer: its picture in the frame as it was when this was made.
        camera: that frame's.
    """

    id: str
    name: str
    dims: np.ndarray
    pose: Boxes3D
    layer: Layer
    camera: Camera

    @property
    def visibility(self) -> Visibility:
        """No limit: the pose says it all."""
        return EVERYWHERE

    def render(self, camera: Camera, box: Boxes3D, frame: Frame | None = None) -> Layer | None:
        """The stored picture; in a frame that was brought to another size, the picture brought to it.

        Args:
            camera: that of the frame it was made for, at any size.
            box: its pose.
            frame: ignored.

        Raises:
            InputError: another box, or another camera: another frame, or another file of calibration.
        """
        self._require(camera, box)
        if (camera.width, camera.height) == (self.camera.width, self.camera.height):
            return self.layer
        return resized_layer(self.layer, self.camera, camera)

    def _require(self, camera: Camera, box: Boxes3D) -> None:
        own, given = ((b.center[0], b.dims[0], b.yaw) for b in (self.pose, box))
        if max(float(np.abs(a - b).max()) for a, b in zip(own, given)) > SAME_PLACE:
            raise InputError(
                f"{self.id}: asked for at {np.round(box.center[0], 2).tolist()}, expected at its own place "
                f"{np.round(self.pose.center[0], 2).tolist()}: its picture was made for that; leave its pose as it is"
            )
        expected = self.camera.resized(camera.width, camera.height).projection
        if np.abs(expected - camera.projection).max() > SAME_CAMERA * np.abs(expected).max():
            raise InputError(
                f"{self.id}: the frame's camera is another one than the bank was written with, expected the same at "
                "any size; write the bank again"
            )


def resized_layer(layer: Layer, stored: Camera, camera: Camera) -> Layer | None:
    """A layer as the picture brought to another size shows it; None where nothing of its mask is left.

    The whole picture's pixels are averaged as those of the frame are, so that both agree to a fraction of a pixel. The
    depth of a pixel is that of its middle.

    Args:
        layer: in the stored picture.
        stored: the stored picture's camera.
        camera: that of the picture brought to its size.
    """
    size = (camera.width, camera.height)
    rows, columns = layer.depth.shape
    here = np.s_[layer.top : layer.top + rows, layer.left : layer.left + columns]
    rgba: np.ndarray = np.zeros((stored.height, stored.width, 4), np.uint8)
    depth: np.ndarray = np.zeros((stored.height, stored.width), np.float32)
    rgba[here], depth[here] = layer.rgba, layer.depth
    smaller = camera.width < stored.width or camera.height < stored.height
    rgba = cv2.resize(rgba, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
    depth = cv2.resize(depth, size, interpolation=cv2.INTER_NEAREST_EXACT)
    seen, bounds = mask_bbox(layer.rgba, layer.left, layer.top), mask_bbox(rgba, 0, 0)
    shown = rgba[..., 3] > 0
    if seen is None or bounds is None:
        return None
    middle = np.float32(np.median(layer.depth[layer.depth > 0]))
    depth = np.where(shown, np.where(depth > 0, depth, middle), np.float32(0))
    ys, xs = np.flatnonzero(shown.any(1)), np.flatnonzero(shown.any(0))
    top, bottom, left, right = int(ys[0]), int(ys[-1]) + 1, int(xs[0]), int(xs[-1]) + 1
    full = _outline(layer.full_bbox, seen, bounds, stored, camera)
    cut = np.s_[top:bottom, left:right]
    return Layer(np.ascontiguousarray(rgba[cut]), np.ascontiguousarray(depth[cut]), left, top, full)


def _outline(full: np.ndarray, seen: np.ndarray, bounds: np.ndarray, stored: Camera, camera: Camera) -> np.ndarray:
    """(4,) the mask's rectangle as if the picture went on, at another size.

    Args:
        full: of the stored layer.
        seen: of its mask.
        bounds: of the mask at the new size.
        stored: the stored picture's camera.
        camera: the new one.
    """
    moved = resizing(stored.width, stored.height, camera.width, camera.height)
    edges = np.array([-0.5, -0.5, 0.5, 0.5])  # outer edges of the pixels, which is what scales
    scale, shift = np.diag(moved)[[0, 1, 0, 1]], moved[[0, 1, 0, 1], 2]
    beyond = (full + edges) * scale + shift - edges
    outward = np.array([-1, -1, 1, 1])
    inside = clip_bbox(bounds[None], camera.width, camera.height)[0]
    return np.where(full == seen, inside, outward * np.maximum(outward * beyond, outward * inside))
