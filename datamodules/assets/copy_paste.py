"""Geometry-aware copy-paste: a labelled object's pixels, pasted into another frame at the same ray, depth and alpha.

The rule is that of SimpleCopyPaste (Lian et al., CVPR 2022) as far as it is published: what keeps the picture truthful
is that pixel position, viewing angle and distance stay those it was taken at. Through another camera the pixel ray and
the depth of the box's centre are kept, the position and yaw follow, and the picture is scaled by the ratio of focal
lengths.

Which object is pasted is drawn after the place that placement has in mind: one near it in depth and observation angle,
of those that can stand in the frame, on its ground. Objects drawn uniformly would come mostly from near the camera,
because few frames have ground at the far ones' places; other sources draw a place and bring their object to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np

from datamodules.assets.contract import Asset, AssetSource, LabelledFrames, Layer, Proposal, Wanted
from datamodules.assets.view_assets import clip_layer, premultiply
from datamodules.assets.visibility import EVERYWHERE
from datamodules.errors import InputError
from datamodules.geometry import Boxes3D, Camera, wrap_angle, yaw_from_alpha
from datamodules.scene import Frame

DEPTH_REACH = 0.1  # of the logarithm of depth: a crop this much nearer or farther than a place still suits it
TAKEN = 1e3  # of the same units: farther than anything is a crop that cannot stand in the frame
ALPHA_REACH = 0.2  # radians of observation angle, likewise
GROUND_REACH = 0.1  # metres above or below the ground of the frame, which its pitch moves under far crops


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
    visibility = EVERYWHERE  # the pose says it all

    def posed_for(self, camera: Camera) -> CropAsset:
        """The asset with its pose in another camera: same pixel of the box's centre, same depth, same alpha."""
        if np.array_equal(camera.projection, self.camera.projection):
            return replace(self, pose=self.box)
        lift = np.array([0.0, self.dims[1] / 2, 0.0])
        pixel, depth = self.camera.project(self.box.center[0] - lift)
        center = camera.unproject(pixel, depth) + lift
        yaw = yaw_from_alpha(self.box.alpha[0], center[0], center[2])
        return replace(self, pose=Boxes3D.single(center, self.dims, float(yaw)))

    def flipped(self) -> CropAsset:
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
    return cv2.warpAffine(picture, matrix, (width, height), flags=cv2.INTER_LINEAR), int(low[0]), int(low[1])


class CropPoses:
    """Where many crops were taken, to find what suits a place.

    Args:
        crops: the crops.
    """

    def __init__(self, crops: Sequence[CropAsset]) -> None:
        self.dims = np.array([crop.dims for crop in crops])
        self.alpha = np.array([crop.box.alpha[0] for crop in crops])
        lift = np.array([0.0, 0.5, 0.0])
        seen = [crop.camera.project(crop.box.center[0] - lift * crop.dims[1]) for crop in crops]
        self.pixels, self.depth = np.array([pixel for pixel, _ in seen]), np.array([float(depth) for _, depth in seen])

    def boxes(self, camera: Camera) -> Boxes3D:
        """(N) boxes at :meth:`CropAsset.posed_for` a camera."""
        lift = np.array([0.0, 0.5, 0.0]) * self.dims[:, 1:2]
        centers = camera.unproject(self.pixels, self.depth) + lift
        return Boxes3D(centers, self.dims, yaw_from_alpha(self.alpha, centers[:, 0], centers[:, 2]))

    def distance(self, place: Proposal) -> np.ndarray:
        """(N,) how far each is from a place, in units of :data:`DEPTH_REACH` and :data:`ALPHA_REACH`."""
        farther = np.log(self.depth / float(place.box.center[0, 2])) / DEPTH_REACH
        return np.hypot(farther, wrap_angle(self.alpha - place.alpha) / ALPHA_REACH)


class CopyPasteSource(AssetSource):
    """Objects of the labelled training frames as assets with a fixed pose.

    The data module binds it to the frames it trains on, and to no others: the arm sees exactly the labels the detector
    has.
    """

    needs_labels = True

    def __init__(
        self,
        name: str = "Car",
        min_height: float = 20.0,
        max_truncation: float = 0.1,
        max_occlusion: int = 0,
        flip: bool = False,
        feather: float = 0.08,
        max_crops: int = 4000,
        draw: Literal["placement", "uniform"] = "placement",
    ) -> None:
        """Choose what is worth copying.

        Args:
            name: class to copy.
            min_height: least height of the 2D box in pixels.
            max_truncation: largest truncation.
            max_occlusion: largest occlusion level.
            flip: also offer every crop mirrored.
            feather: share of the box over which a crop without a mask fades out.
            max_crops: crops to keep; with more, frames are taken evenly over the set.
            draw: "placement" prefers crops whose depth and observation angle are those of the place that placement has
                in mind, so that what is injected is spread as from any other source; "uniform" draws any crop.
        """
        self.name, self.min_height, self.max_truncation = name, min_height, max_truncation
        self.max_occlusion = max_occlusion
        self.flip, self.feather, self.max_crops, self.draw = flip, feather, max_crops, draw
        self.crops: list[CropAsset] = []
        self._offered: list[CropAsset] = []
        self._poses: CropPoses | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        return (self.name,)

    def bind(self, frames: LabelledFrames) -> None:
        """Cut out every admissible object of a data set.

        Raises:
            InputError: there is none.
        """
        crops: list[CropAsset] = []
        for index in _spread(len(frames)):
            crops += self.cut(frames.read(index))
            if len(crops) >= self.max_crops:
                break
        if not crops:
            raise InputError(
                f"copy-paste: none of {len(frames)} frames holds a {self.name} of height >= {self.min_height:g} px,"
                f" occlusion <= {self.max_occlusion} and truncation <= {self.max_truncation:g}; relax these options"
            )
        crops.sort(key=lambda crop: crop.id)
        self.crops = crops
        self._offered = crops + [crop.flipped() for crop in crops] if self.flip else crops
        self._poses = CropPoses(self._offered)

    @property
    def pool(self) -> int:
        """The crops it was bound to (see ``AssetSource.pool``); a mirrored one is no other object."""
        return len(self.crops)

    def cut(self, frame: Frame) -> list[CropAsset]:
        """Crops of one frame's admissible objects."""
        objects = frame.objects
        height = objects.bbox[:, 3] - objects.bbox[:, 1]
        wanted = (objects.names == self.name) & (objects.occlusion >= 0) & (objects.occlusion <= self.max_occlusion)
        wanted &= (objects.truncation <= self.max_truncation) & (height >= self.min_height)
        wanted &= (objects.boxes.center[:, 2] > 0) & (objects.boxes.dims.min(1, initial=np.inf) > 0)
        found = (self._cut_one(frame, int(row)) for row in np.flatnonzero(wanted))
        return [crop for crop in found if crop is not None]

    def _cut_one(self, frame: Frame, row: int) -> CropAsset | None:
        left, top = np.floor(frame.objects.bbox[row, :2]).astype(int).clip(0)
        right, bottom = np.ceil(frame.objects.bbox[row, 2:]).astype(int) + 1
        image = frame.image[:, top:bottom, left:right].transpose(1, 2, 0)
        if min(image.shape) == 0:
            return None
        if frame.instances is not None:
            alpha = np.where(frame.instances[top:bottom, left:right] == row + 1, 255, 0).astype(np.uint8)
            if alpha.max() == 0:
                return None
        else:
            alpha = feathered_box(image.shape[0], image.shape[1], self.feather)
        box = frame.objects.boxes[[row]]
        rgba = np.concatenate([image, alpha[..., None]], -1)
        id = f"copy-{frame.sample_id}-{row}"
        return CropAsset(id, self.name, box.dims[0].copy(), box, rgba, int(left), int(top), frame.camera, box)

    def sample(self, rng: np.random.Generator, frame: Frame, wanted: Wanted | None = None) -> Asset:
        """Draw a crop, posed for the frame's camera.

        Raises:
            InputError: the source was not bound to frames.
        """
        if not self.crops:
            raise InputError("copy-paste source: expected to be bound to training frames first; call bind(frames)")
        place = wanted(self.name) if wanted is not None and self.draw == "placement" else None
        if wanted is None or place is None:
            return self._offered[int(rng.integers(len(self._offered)))].posed_for(frame.camera)
        assert self._poses is not None
        off = wanted.misfit(self.name, self._poses.boxes(frame.camera)) / GROUND_REACH
        distance = np.hypot(self._poses.distance(place), np.minimum(off, TAKEN))
        weight = np.exp((distance.min() ** 2 - distance**2) / 2)
        cumulative = np.cumsum(weight)
        chosen = int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right"))
        return self._offered[min(chosen, len(self._offered) - 1)].posed_for(frame.camera)


def _spread(count: int) -> np.ndarray:
    """The indices below ``count`` in an order whose every beginning spreads over the range (golden-ratio sequence)."""
    return np.argsort(np.modf(np.arange(count) * 0.6180339887498949)[0], kind="stable")


def feathered_box(height: int, width: int, share: float) -> np.ndarray:
    """(height, width) uint8 opacity of a box that fades out over ``share`` of its size at the left, top and right.

    The bottom stays sharp up to half that share: wheels touch the ground there.
    """
    x, y = (np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height
    across = np.minimum(x, 1 - x) / max(share, 1e-6)
    down = np.minimum(y, 2 * (1 - y)) / max(share, 1e-6)
    return np.rint(255 * np.clip(across, 0, 1)[None] * np.clip(down, 0, 1)[:, None]).astype(np.uint8)
