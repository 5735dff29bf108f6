"""Crops of generated objects in the middle of the image: the way Lift3D's paper pastes GIRAFFE's cars.

The paper gives two sentences (placed at the image centre, depth from the object's height, lightened). Completed: a
distance Z is drawn and the crop scaled to the height of an object there (Z = f_y H / h); it stands on the ground at the
camera's principal column; its yaw is the one it was generated with, because there alpha and yaw are the same; length
and width are class means in the proportion of its height; its colours are lightened to the road's mean luminance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from datamodules.assets.bank import AssetBank
from datamodules.assets.contract import Asset, AssetSource, Layer, Wanted
from datamodules.assets.cube_render import mask_bbox
from datamodules.assets.view_assets import ViewAsset, clip_layer, premultiply, shrink
from datamodules.assets.visibility import EVERYWHERE
from datamodules.errors import InputError
from datamodules.geometry import Boxes3D, Camera, plane_height, projected_bbox, yaw_from_alpha
from datamodules.injection.placement import Placement
from datamodules.object_classes import object_class
from datamodules.scene import Frame

LUMINANCE = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601, as in JPEG
HIGHEST_GAIN = 4.0


@dataclass(frozen=True)
class CentredCrop:
    """One view of a bank's object, for one box in one frame.

    Attributes:
        id: the object's id and the view.
        name: class name.
        dims: (3,) metres.
        pose: the only box it may be drawn at.
        rgba: (S, S, 4) uint8 straight colour and opacity.
        fit: what the mask's rows coincide with, see :class:`CentrePaste`.
        lighten: whether colours are lightened to the road's luminance.
    """

    id: str
    name: str
    dims: np.ndarray
    pose: Boxes3D | None
    rgba: np.ndarray
    fit: Literal["box", "middle"] = "box"
    lighten: bool = True
    visibility = EVERYWHERE  # the pose says it all

    def rows(self, camera: Camera, box: Boxes3D) -> tuple[float, float, float]:
        """Top and bottom row of the mask and its middle column in the image, pixels."""
        bottom, depth = camera.project(box.center[0])
        if self.fit == "box":
            low, high = projected_bbox(camera, box, clip=False)[0].reshape(2, 2)
            return float(low[1]), float(high[1]), float(low[0] + high[0]) / 2
        height = camera.projection[1, 1] * box.dims[0, 1] / float(depth)
        return float(bottom[1]) - height, float(bottom[1]), float(bottom[0])

    def render(self, camera: Camera, box: Boxes3D, frame: Frame | None = None) -> Layer | None:
        """Scale the crop to the object's height, stand it on the ground (see ``Asset.render``)."""
        depth = float(camera.project(box.center[0])[1])
        mask = mask_bbox(self.rgba, 0, 0)
        if depth <= 0.1 or mask is None:
            return None
        top, bottom, column = self.rows(camera, box)
        # Pixels have an extent: rows a to b are b - a + 1 high.
        scale = (bottom - top) / (mask[3] - mask[1] + 1)
        if not np.isfinite(scale) or scale * max(self.rgba.shape[:2]) > 4 * max(camera.width, camera.height):
            return None
        source = np.array([(mask[0] + mask[2]) / 2, mask[3] + 0.5])
        shift = np.array([column, bottom]) - scale * source
        forward = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
        flat = np.zeros(self.rgba.shape[:2], np.float32)
        picture, _, forward = shrink(premultiply(self.rgba), flat, forward)
        edge = np.array([picture.shape[1], picture.shape[0]]) - 0.5
        left, above = np.floor(forward @ [-0.5, -0.5, 1]).astype(int)
        right, below = np.ceil(forward @ [*edge, 1]).astype(int)
        forward[:, 2] -= [left, above]
        size = (int(right - left + 1), int(below - above + 1))
        moved = cv2.warpAffine(picture, forward, size, flags=cv2.INTER_LINEAR)
        if self.lighten and frame is not None:
            moved = lightened(moved, road_luminance(frame))
        near = np.where(moved[..., 3] > 0, np.float32(depth), np.float32(0.0))
        return clip_layer(moved, near, int(left), int(above), camera)


class CentrePaste(AssetSource):
    """An asset source that poses a bank's views at the principal column of each frame."""

    def __init__(
        self,
        folder: str | Path = "data/giraffe",
        depth: tuple[float, float] = (5.0, 45.0),
        dims_mean: tuple[float, float, float] | None = None,
        height_std: float | None = None,
        plane: Literal["prior", "boxes", "frame"] = "boxes",
        camera_height: float = 1.65,
        fit: Literal["box", "middle"] = "box",
        lighten: bool = True,
    ) -> None:
        """Configure.

        Args:
            folder: a bank of posed views.
            depth: nearest and farthest distance, metres; drawn uniformly.
            dims_mean: mean length, height, width, metres; by default the class's.
            height_std: spread of the height, metres, by default the class's; length and width keep their proportion.
            plane: the ground the crop stands on, as in :class:`datamodules.injection.placement.Placement`.
            camera_height: of the level prior, metres.
            fit: the crop's rows are those of the projected 3D box, or those of an upright line of the object's height
                through the box's middle, which is the recipe's formula to the letter; they differ where a box is deep
                against its distance, and the letter then leaves the box larger than the picture.
            lighten: lighten colours to the road's.

        Raises:
            InputError: the depth range is empty.
        """
        if not 0 < depth[0] < depth[1]:
            raise InputError(f"centre paste depth {depth}: expected 0 < nearest < farthest metres; correct depth")
        self.bank, self.depth, self.dims_mean, self.height_std = AssetBank(folder), depth, dims_mean, height_std
        self.fit, self.lighten = fit, lighten
        self.placement = Placement(plane=plane, camera_height=camera_height)
        if self.bank.index.kind != "views":
            raise InputError(f"{folder}: a bank of {self.bank.index.kind}, expected posed views; give another bank")

    @property
    def classes(self) -> tuple[str, ...]:
        return self.bank.classes

    @property
    def pool(self) -> int:
        """Its pictures: each view is a crop of its own (see ``AssetSource.pool``)."""
        return sum(math.prod(shard["projection"].shape[:2]) for shard in self.bank.index.shards)

    def sample(self, rng: np.random.Generator, frame: Frame, wanted: Wanted | None = None) -> Asset:
        """Draw an object, one of its views, a distance and a height."""
        asset = self.bank[int(rng.integers(len(self.bank)))]
        assert isinstance(asset, ViewAsset)
        view = int(rng.integers(len(asset.rgba)))
        distance = rng.uniform(*self.depth)
        prior = object_class(asset.name)
        mean, std = self.dims_mean or prior.dims, prior.spread[1] if self.height_std is None else self.height_std
        dims = np.array(mean) * (1.0 + std * float(np.clip(rng.normal(), -2, 2)) / mean[1])
        box = self.pose(frame, dims, float(asset.angles[0][view]), distance)
        return CentredCrop(
            f"{asset.id}-{view:03d}", asset.name, dims, box, np.asarray(asset.rgba[view]), self.fit, self.lighten
        )

    def pose(self, frame: Frame, dims: np.ndarray, alpha: float, depth: float) -> Boxes3D:
        """The box on the ground at a depth (metres) whose bottom-centre projects to the principal column."""
        camera, plane = frame.camera, self.placement.ground_plane(frame)
        column = camera.projection[0, 2]
        x, height = 0.0, 0.0
        for _ in range(3):  # the plane's slope and the fourth column move x by centimetres
            height = float(plane_height(plane, np.array(x), np.array(depth)))
            pixel, seen = camera.project(np.array([x, height, depth]))
            x += (column - float(pixel[0])) * float(seen) / camera.projection[0, 0]
        yaw = yaw_from_alpha(np.array(alpha), np.array(x), np.array(depth))
        return Boxes3D.single(np.array([x, height, depth]), dims, float(yaw))


def road_luminance(frame: Frame) -> float:
    """Mean luminance of a frame's road, grey levels; of the lower middle of the image where no road mask is known."""
    height, width = frame.image.shape[1:]
    mask = frame.road
    if mask is None or not mask.any():
        mask = np.zeros((height, width), np.bool_)
        mask[2 * height // 3 :, width // 3 : 2 * width // 3] = True
    return float((frame.image[:, mask].mean(1) * LUMINANCE).sum())


def lightened(rgba: np.ndarray, luminance: float) -> np.ndarray:
    """Premultiplied RGBA (h, w, 4) uint8 with one gain >= 1 that lifts its mean luminance to the given one.

    Saturated pixels are taken into account: the gain rises until the mean is met, at most to :data:`HIGHEST_GAIN`.
    """
    mask = rgba[..., 3] > 127
    if not mask.any():
        return rgba
    alpha = np.maximum(rgba[..., 3:].astype(np.float32), 1.0)
    colour = rgba[..., :3] * (255.0 / alpha)
    solid = colour[mask]

    def mean(gain: float) -> float:
        return float((np.minimum(solid * gain, 255.0).mean(0) * LUMINANCE).sum())

    low, high = 1.0, HIGHEST_GAIN
    if mean(low) >= luminance:
        return rgba
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (middle, high) if mean(middle) < luminance else (low, middle)
    lifted = np.minimum(colour * high, 255.0) * (alpha / 255.0)
    lifted[rgba[..., 3] == 0] = 0
    return cv2.merge([*cv2.split(np.rint(lifted).astype(np.uint8)), rgba[..., 3]])
