"""Geometry-aware copy-paste: a labelled object's pixels, pasted into another frame at the same ray, depth and alpha.

The rule is that of SimpleCopyPaste (Lian et al., CVPR 2022) as far as it is published: what keeps the picture truthful
is that place in the image, viewing angle and distance stay those it was taken at. Through another camera that place and
the depth of the box's centre are kept, the position and yaw follow, and the picture is scaled by the ratio of focal
lengths.

Which object is pasted is drawn after the place that placement has in mind: one near it in depth and observation angle,
of those that can stand in the frame, on its ground. Objects drawn uniformly would come mostly from near the camera,
because few frames have ground at the far ones' places; other sources draw a place and bring their object to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from datamodules.assets.contract import Asset, LabelledFrames, Proposal, Wanted
from datamodules.assets.crops.crop_asset import CropAsset
from datamodules.assets.crops.labelled_source import LabelledObjectSource
from datamodules.assets.crops.worth_cutting import WorthCutting, gathered_crops
from datamodules.errors import InputError
from datamodules.geometry import Boxes3D, Camera, wrap_angle, yaw_from_alpha
from datamodules.scene import Frame

DEPTH_REACH = 0.1  # of the logarithm of depth: a crop this much nearer or farther than a place still suits it
TAKEN = 1e3  # of the same units: farther than anything is a crop that cannot stand in the frame
ALPHA_REACH = 0.2  # radians of observation angle, likewise
GROUND_REACH = 0.1  # metres above or below the ground of the frame, which its pitch moves under far crops


class CropPoses:
    """Where many crops were taken, to find what suits a place.

    Args:
        crops: the crops.
    """

    def __init__(self, crops: Sequence[CropAsset]) -> None:
        self.dims = np.array([crop.dims for crop in crops])
        self.alpha = np.array([crop.box.alpha[0] for crop in crops])
        lift = np.array([0.0, 0.5, 0.0])
        seen = [crop.camera.resized(1, 1).project(crop.box.center[0] - lift * crop.dims[1]) for crop in crops]
        self.places, self.depth = np.array([place for place, _ in seen]), np.array([float(depth) for _, depth in seen])

    def boxes(self, camera: Camera) -> Boxes3D:
        """(N) boxes at :meth:`CropAsset.posed_for` a camera."""
        lift = np.array([0.0, 0.5, 0.0]) * self.dims[:, 1:2]
        centers = camera.resized(1, 1).unproject(self.places, self.depth) + lift
        return Boxes3D(centers, self.dims, yaw_from_alpha(self.alpha, centers[:, 0], centers[:, 2]))

    def distance(self, place: Proposal) -> np.ndarray:
        """(N,) how far each is from a place, in units of :data:`DEPTH_REACH` and :data:`ALPHA_REACH`."""
        farther = np.log(self.depth / float(place.box.center[0, 2])) / DEPTH_REACH
        return np.hypot(farther, wrap_angle(self.alpha - place.alpha) / ALPHA_REACH)


class CopyPasteSource(LabelledObjectSource[CropAsset]):
    """Objects of the labelled training frames as assets with a fixed pose."""

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
        super().__init__(name, WorthCutting(name, min_height, max_truncation, max_occlusion), flip, max_crops)
        self.feather, self.draw = feather, draw
        self._poses: CropPoses | None = None

    def bind(self, frames: LabelledFrames) -> None:
        """Cut out every admissible object of a data set.

        Raises:
            InputError: there is none.
        """
        crops = gathered_crops(frames, self.cut, self.max_crops)
        if not crops:
            raise InputError(f"copy-paste: none of {len(frames)} frames holds a {self.worth}; relax these options")
        self.offer(crops)
        self._poses = CropPoses(self.offered)

    def cut(self, frame: Frame) -> list[CropAsset]:
        """Crops of one frame's admissible objects."""
        found = (self._cut_one(frame, int(row)) for row in self.worth.rows(frame))
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
        self.require_bound()
        place = wanted(self.name) if wanted is not None and self.draw == "placement" else None
        if wanted is None or place is None:
            return self.offered[int(rng.integers(len(self.offered)))].posed_for(frame.camera)
        assert self._poses is not None
        poses = self._poses
        off = wanted.once(self, lambda: wanted.misfit(self.name, poses.boxes(frame.camera)) / GROUND_REACH)
        distance = np.hypot(self._poses.distance(place), np.minimum(off, TAKEN))
        weight = np.exp((distance.min() ** 2 - distance**2) / 2)
        cumulative = np.cumsum(weight)
        chosen = int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right"))
        return self.offered[min(chosen, len(self.offered) - 1)].posed_for(frame.camera)


def feathered_box(height: int, width: int, share: float) -> np.ndarray:
    """(height, width) uint8 opacity of a box that fades out over ``share`` of its size at the left, top and right.

    The bottom stays sharp up to half that share: wheels touch the ground there.
    """
    x, y = (np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height
    across = np.minimum(x, 1 - x) / max(share, 1e-6)
    down = np.minimum(y, 2 * (1 - y)) / max(share, 1e-6)
    return np.rint(255 * np.clip(across, 0, 1)[None] * np.clip(down, 0, 1)[:, None]).astype(np.uint8)
