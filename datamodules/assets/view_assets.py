"""Assets that are posed pictures of one object: the nearest view is warped to where the box projects.

The approximation: a view is treated as a flat card. The affine map that best takes the view's projected box corners to
the target's moves the picture, so position, size and a little of the perspective follow the box, while what the view
does not show (another side, another parallax) stays as photographed. With 72 x 3 views the picture is about 29 dB from
the rendered truth; a voxel grid is much closer. From directions that no view is near, it is not drawn at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from datamodules.assets.compressed_views import CompressedViews
from datamodules.assets.contract import Layer
from datamodules.assets.cube_render import mask_bbox
from datamodules.assets.visibility import Visibility, in_image, observation_angles, viewing_direction
from datamodules.errors import InputError
from datamodules.geometry import CORNER_SIGNS, NEAR, Boxes3D, Camera, canonical_projection, projected_bbox
from datamodules.scene import Frame

ROUNDING = 1e-6  # radians between the directions that placement and rendering work out for one box


def _project(projection: np.ndarray) -> np.ndarray:
    """(8, 2) pixels of the cube's corners."""
    points = CORNER_SIGNS @ projection[:, :3].T + projection[:, 3]
    return points[:, :2] / np.maximum(points[:, 2:], 1e-3)


def corner_map(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(2, 3) affine map of pixels that best takes the cube's corners under one projection (3, 4) to another's."""
    corners = np.column_stack([_project(source), np.ones(8)])
    return np.asarray(np.linalg.lstsq(corners, _project(target), rcond=None)[0].T)


@dataclass(frozen=True)
class ViewAsset:
    """Posed views of one object.

    Attributes:
        id: unique within its source.
        name: class name.
        dims: (3,) float64 natural length, height, width in metres.
        rgba: (V, S, S, 4) uint8 straight colour and opacity.
        depth: (V, S, S) float16 or float32 metres, 0 where empty.
        projection: (V, 3, 4) float64 canonical cube to the view's pixels, third row depth in metres.
        max_angle: degrees of azimuth, and of elevation, that a camera may be off a view.
    """

    id: str
    name: str
    dims: np.ndarray
    rgba: np.ndarray | CompressedViews
    depth: np.ndarray | CompressedViews
    projection: np.ndarray
    max_angle: float = 15.0
    pose = None

    def __post_init__(self) -> None:
        shapes = [tuple(array.shape) for array in (self.rgba, self.depth, self.projection)]
        views, *size = shapes[0][:3] or (0,)
        if self.rgba.dtype != np.uint8 or not views or shapes != [(views, *size, 4), (views, *size), (views, 3, 4)]:
            raise InputError(
                f"views of {self.id}: expected uint8 rgba (V, S, S, 4), depth (V, S, S) and projection (V, 3, 4), got "
                f"{self.rgba.dtype} {', '.join(map(str, shapes))}"
            )

    @cached_property
    def visibility(self) -> Visibility:
        """A patch of :attr:`max_angle` around each view."""
        return Visibility.around(*self.angles, np.radians(self.max_angle))

    @cached_property
    def angles(self) -> tuple[np.ndarray, np.ndarray]:
        """Observation angle and elevation (V,) of the views, radians."""
        return observation_angles(np.asarray(self.projection), self.dims)

    def nearest_view(self, projection: np.ndarray, dims: np.ndarray) -> int:
        """The view whose direction from the object is closest to that of the target camera, of those near enough.

        Raises:
            InputError: there is none.
        """
        alpha, elevation = observation_angles(projection[None], dims)
        near = self.visibility.within(alpha, elevation, ROUNDING)[0]
        if not near.any():
            raise InputError(
                f"{self.id} from alpha {np.degrees(alpha[0]):.1f} and elevation {np.degrees(elevation[0]):.1f} degrees:"
                f" expected one of {len(near)} views within {self.max_angle:g}; ask its visibility first, or add views"
            )
        target = viewing_direction(projection, dims)
        return int(np.argmax(np.where(near, viewing_direction(np.asarray(self.projection), self.dims) @ target, -2.0)))

    def render(self, camera: Camera, box: Boxes3D, frame: Frame | None = None) -> Layer | None:
        """Draw at one box (:meth:`datamodules.assets.contract.Asset.render`).

        Raises:
            InputError: no view is near the direction that the camera sees the box from, or so far that it would be
                mirrored, which takes a wider limit than the default one.
        """
        rectangle = projected_bbox(camera, box, clip=False)[0]
        projection = canonical_projection(camera, box)[0]
        nearest = (CORNER_SIGNS @ projection[2, :3] + projection[2, 3]).min()
        if not in_image(camera, box)[0] or nearest < NEAR:
            return None
        view = self.nearest_view(projection, box.dims[0])
        forward = corner_map(np.asarray(self.projection[view]), projection)
        if np.linalg.det(forward[:, :2]) <= 0:
            raise InputError(f"{self.id}: view {view} would be mirrored, expected to be turned; lower source.max_angle")
        return self._warp(view, forward, rectangle, camera, projection)

    def _warp(
        self, view: int, forward: np.ndarray, rectangle: np.ndarray, camera: Camera, projection: np.ndarray
    ) -> Layer | None:
        picture = premultiply(np.asarray(self.rgba[view]))
        depth = np.asarray(self.depth[view], dtype=np.float32)
        picture, depth, forward = shrink(picture, depth, forward)
        left, top = np.floor(rectangle[:2]).astype(int) - 1
        width, height = np.ceil(rectangle[2:]).astype(int) - [left, top] + 2
        if width * height > 4 * camera.width * camera.height:
            return None  # nearer than any sensible view of it
        shifted = forward - np.array([[0, 0, left], [0, 0, top]])
        rgba = cv2.warpAffine(picture, shifted, (int(width), int(height)), flags=cv2.INTER_LINEAR)
        moved = cv2.warpAffine(depth, shifted, (int(width), int(height)), flags=cv2.INTER_NEAREST)
        # The relief of the view, put at the depth of the box.
        offset = projection[2, 3] - float(self.projection[view, 2, 3])
        centre = np.float32(projection[2, 3])
        moved = np.where(rgba[..., 3] > 0, np.where(moved > 0, moved + np.float32(offset), centre), np.float32(0.0))
        return clip_layer(rgba, moved, int(left), int(top), camera)


def premultiply(rgba: np.ndarray) -> np.ndarray:
    """Straight to premultiplied colour, uint8."""
    alpha = rgba[..., 3:].astype(np.uint16)
    colour = (rgba[..., :3] * alpha + 127) // 255
    return np.concatenate([colour.astype(np.uint8), rgba[..., 3:]], -1)


def shrink(rgba: np.ndarray, depth: np.ndarray, forward: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Average a picture down while the affine map (2, 3) that follows would skip pixels of it."""
    scale = np.sqrt(abs(np.linalg.det(forward[:, :2])))
    factor = int(min(max(1.0 / max(scale, 1e-6), 1.0) + 0.25, min(rgba.shape[:2]) / 2))
    if factor <= 1:
        return rgba, depth, forward
    height, width = rgba.shape[0] // factor, rgba.shape[1] // factor
    rgba = cv2.resize(rgba[: height * factor, : width * factor], (width, height), interpolation=cv2.INTER_AREA)
    depth = cv2.resize(depth[: height * factor, : width * factor], (width, height), interpolation=cv2.INTER_NEAREST)
    enlarge = np.array([[factor, 0, 0.5 * factor - 0.5], [0, factor, 0.5 * factor - 0.5], [0, 0, 1.0]])
    return rgba, depth, forward @ enlarge


def clip_layer(rgba: np.ndarray, depth: np.ndarray, left: int, top: int, camera: Camera) -> Layer | None:
    """Cut a picture at the image's border; None when nothing of its mask is left inside."""
    full = mask_bbox(rgba, left, top)
    x0, y0 = max(0, -left), max(0, -top)
    x1, y1 = min(rgba.shape[1], camera.width - left), min(rgba.shape[0], camera.height - top)
    if full is None or x1 <= x0 or y1 <= y0 or not (rgba[y0:y1, x0:x1, 3] > 127).any():
        return None
    return Layer(
        np.ascontiguousarray(rgba[y0:y1, x0:x1]), np.ascontiguousarray(depth[y0:y1, x0:x1]), left + x0, top + y0, full
    )
