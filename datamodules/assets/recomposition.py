"""Recomposition: real objects of the labelled training frames at new depths and lateral positions.

What a picture of an object can be used for again is told by the side it shows: it may stand wherever the camera sees
that side. So placement is asked for a place; of the objects whose observation angle alpha is within a tolerance of the
one that the place would show, one is drawn, and turned at the place until it shows exactly what its picture shows::

    yaw = yaw of the place + alpha of the object - alpha of the place

The picture is warped by the affine map that best takes the projected corners of the object's own box to those of the
new one: the camera's scale, the stretch of a pinhole's picture towards its borders, and the slope of lines on the
ground follow. Published rules: MonoSample (viewing angles within 10 degrees, depth ratio .5 to 1.2) and DR-Traversal.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from datamodules.assets.contract import Asset, LabelledFrames, Layer, Proposal, Wanted
from datamodules.assets.crops.crop_asset import CropAsset, smoothed
from datamodules.assets.crops.edges import without_background
from datamodules.assets.crops.label_masks import MIN_SCORE, LabelMasks
from datamodules.assets.crops.labelled_source import LabelledObjectSource
from datamodules.assets.crops.outlines import nearest_corner
from datamodules.assets.crops.worth_cutting import WorthCutting, gathered_crops
from datamodules.assets.view_assets import clip_layer, corner_map, premultiply
from datamodules.assets.visibility import Visibility, observation_angles
from datamodules.errors import InputError
from datamodules.geometry import NEAR, Boxes3D, Camera, canonical_projection, wrap_angle
from datamodules.scene import Frame

CANDIDATES = 8  # objects that a place is tried with
SLACK = 1e-6  # radians between directions worked out in two ways


@dataclass(frozen=True)
class RecomposedAsset(CropAsset):
    """A crop that may be drawn wherever it is seen from about its own direction.

    Attributes:
        tolerance: radians that a camera may be off that direction, in azimuth and in elevation.
    """

    tolerance: float = np.radians(10.0)

    @property
    def visibility(self) -> Visibility:
        """The directions near the one that it was taken from: other cameras may see it, too."""
        return Visibility.around(*self.angles, self.tolerance + SLACK)

    @property
    def angles(self) -> tuple[np.ndarray, np.ndarray]:
        """Observation angle and elevation (1,) that it was taken at, radians."""
        return observation_angles(canonical_projection(self.camera, self.box), self.dims)

    def render(self, camera: Camera, box: Boxes3D, frame: Frame | None = None) -> Layer | None:
        """Draw at one box (:meth:`datamodules.assets.contract.Asset.render`), as a card at the depth of its middle."""
        source, target = canonical_projection(self.camera, self.box)[0], canonical_projection(camera, box)[0]
        if nearest_corner(target) < NEAR:
            return None
        forward = corner_map(source, target)
        if np.linalg.det(forward[:, :2]) <= 0:
            return None  # seen from so far off its direction that it would be mirrored
        picture, left, top = _warp(premultiply(self.rgba), forward, self.left, self.top, camera)
        if picture is None:
            return None
        depth = np.where(picture[..., 3] > 0, np.float32(target[2, 3]), np.float32(0.0))
        return clip_layer(picture, depth, left, top, camera)


def _warp(
    picture: np.ndarray, forward: np.ndarray, left: int, top: int, camera: Camera
) -> tuple[np.ndarray | None, int, int]:
    """A premultiplied picture (h, w, 4) whose first pixel is (left, top), under an affine map of its frame's pixels.

    Where it shrinks it is smoothed first, by as much as its new pixels are wider than its own.

    Returns:
        The picture, None where it would be larger than any sensible view; column and row of its first pixel.
    """
    height, width = picture.shape[:2]
    corners = np.array([[x, y] for x in (left - 0.5, left + width - 0.5) for y in (top - 0.5, top + height - 0.5)])
    reached = corners @ forward[:, :2].T + forward[:, 2]
    low, high = np.floor(reached.min(0)).astype(int) - 1, np.ceil(reached.max(0)).astype(int) + 1
    columns, rows = (high - low + 1).tolist()
    if columns * rows > 4 * camera.width * camera.height:
        return None, 0, 0
    scale = float(np.sqrt(np.linalg.det(forward[:, :2])))
    picture = cv2.copyMakeBorder(picture, 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=(0, 0, 0, 0))
    picture = smoothed(picture, scale)
    shift = forward[:, :2] @ np.array([left - 2, top - 2]) + forward[:, 2] - low
    matrix = np.column_stack([forward[:, :2], shift])
    return cv2.warpAffine(picture, matrix, (columns, rows), flags=cv2.INTER_LINEAR), int(low[0]), int(low[1])


class _Views:
    """The directions and distances that many crops were taken from."""

    def __init__(self, crops: Sequence[RecomposedAsset]) -> None:
        self.alpha = np.concatenate([crop.angles[0] for crop in crops])
        self.elevation = np.concatenate([crop.angles[1] for crop in crops])
        self.distance = np.array([_distance(crop.box) for crop in crops])
        self.dims = np.stack([crop.dims for crop in crops])

    def weights(self, place: Proposal, tolerance: float, ratio: tuple[float, float]) -> np.ndarray:
        """(N,) chance of each crop, not normalised: 0 where the place does not suit it, less where it is enlarged."""
        nearer = _distance(place.box) / self.distance
        suits = (nearer >= ratio[0]) & (nearer <= ratio[1])
        suits &= np.abs(wrap_angle(self.alpha - place.alpha)) <= tolerance
        suits &= np.abs(self.elevation - place.elevation) <= tolerance
        return np.where(suits, np.minimum(nearer, 1.0) ** 2, 0.0)

    def misfit(self, alpha: float, elevation: float, distance: float, ratio: tuple[float, float]) -> np.ndarray:
        """(N,) how far each crop is from being seen from a direction and distance: radians, and log of the latter."""
        nearer = distance / self.distance
        beyond = np.abs(np.log(nearer / np.clip(nearer, *ratio)))
        return np.hypot(np.hypot(wrap_angle(self.alpha - alpha), self.elevation - elevation), beyond)


def _distance(box: Boxes3D) -> float:
    """Metres along the ground from the origin, which in surround view is the car's."""
    return float(np.hypot(box.center[0, 0], box.center[0, 2]))


class RecompositionSource(LabelledObjectSource[RecomposedAsset]):
    """Objects of the labelled training frames for new places."""

    def __init__(
        self,
        name: str = "Car",
        min_height: float = 20.0,
        max_truncation: float = 0.1,
        max_occlusion: int = 0,
        flip: bool = True,
        max_crops: int = 4000,
        angle: float = 10.0,
        depth_ratio: tuple[float, float] = (0.5, 1.25),
        masks: str | None = None,
        mask_folder: str | None = None,
        min_score: float = MIN_SCORE,
        clean_edges: bool = True,
    ) -> None:
        """Choose what is worth taking and where it may go.

        Args:
            name: class to take.
            min_height: least height of the 2D box in pixels.
            max_truncation: largest truncation.
            max_occlusion: largest occlusion level; where labels lack it, it is judged by the nearer labelled objects.
            flip: also offer every object mirrored.
            max_crops: objects to keep; with more, frames are taken evenly over the set.
            angle: degrees that an object's direction may differ from the one that a place would show; it is turned by
                so much there, and its label with it.
            depth_ratio: least and largest distance of a place in units of the object's own; at .5 its picture is
                twice as large. The more it would be enlarged, the more seldom an object is drawn.
            masks: what frames without instance masks are cut by: a file with weights of torchvision's Mask R-CNN, else
                GrabCut; "grabcut" is used even where there are instance masks.
            mask_folder: keeps computed masks for later runs.
            min_score: objects whose computed mask fits their labels worse are left out.
            clean_edges: colour the outermost pixels like the object's inside, else they keep some background.

        Raises:
            InputError: an empty range.
        """
        if not 0 < angle < 90:
            raise InputError(f"angle {angle:g}: expected above 0 and below 90 degrees; correct source.angle")
        if not 0 < depth_ratio[0] < depth_ratio[1]:
            raise InputError(f"depth_ratio {list(depth_ratio)}: expected 0 < least < most; correct source.depth_ratio")
        super().__init__(name, WorthCutting(name, min_height, max_truncation, max_occlusion), flip, max_crops)
        self.clean_edges = clean_edges
        self.tolerance, self.depth_ratio = float(np.radians(angle)), (float(depth_ratio[0]), float(depth_ratio[1]))
        self.masks, self.mask_folder, self.min_score = masks, mask_folder, min_score
        self._views: _Views | None = None
        self._masks()  # a file that is no segmenter is refused before any frame is read

    @staticmethod
    def reads(mask_folder: str | None = None, **_: Any) -> tuple[str, list[Path]]:
        """The option that names a folder, and that nothing in it tells two runs apart: it holds what is made anyway.

        Raises:
            InputError: there is no such folder.
        """
        if mask_folder is None:
            raise InputError("no source.mask_folder: computed masks are not kept")
        return "mask_folder", []

    def bind(self, frames: LabelledFrames) -> None:
        """Cut out every admissible object of a data set, and say once how many could not be.

        Raises:
            InputError: there is none, or none with a good mask.
        """
        masks = self._masks()
        crops = gathered_crops(frames, lambda frame: self.cut(frame, masks), self.max_crops)
        said = masks.report()
        if not crops:
            reason = f"; {said}" if said else ""
            raise InputError(
                f"recomposition: none of {len(frames)} frames holds a {self.worth}{reason}; relax these options"
            )
        if said:
            warnings.warn(f"recomposition: {said}; {len(crops)} remain", stacklevel=2)
        self.offer(crops)
        self._views = _Views(self.offered)

    def _masks(self) -> LabelMasks:
        return LabelMasks(self.masks, self.mask_folder, self.min_score)

    def cut(self, frame: Frame, masks: LabelMasks) -> list[RecomposedAsset]:
        """One frame's admissible objects that have a good mask."""
        projections = canonical_projection(frame.camera, frame.objects.boxes)
        rows = [row for row in self.worth.rows(frame, judge_occlusion=True) if nearest_corner(projections[row]) >= NEAR]
        crops = []
        for row, found in zip(rows, masks.cut(frame, rows)):
            if found is None:
                continue
            height, width = found.alpha.shape
            pixels = frame.image[:, found.top : found.top + height, found.left : found.left + width].transpose(1, 2, 0)
            if self.clean_edges:
                pixels = without_background(np.ascontiguousarray(pixels), found.alpha)
            rgba, box = np.concatenate([pixels, found.alpha[..., None]], -1), frame.objects.boxes[[row]]
            id = f"recomposition-{frame.sample_id}-{row}"
            place = (found.left, found.top, frame.camera, box)
            crops.append(RecomposedAsset(id, self.name, box.dims[0].copy(), box, rgba, *place, self.tolerance))
        return crops

    def sample(self, rng: np.random.Generator, frame: Frame, wanted: Wanted | None = None) -> Asset:
        """Draw an object for the place that placement has in mind, settled there.

        One without a place in the frame has an empty pose. Where nothing is placed, any object at its own pose.

        Raises:
            InputError: the source was not bound to frames.
        """
        self.require_bound()
        assert self._views is not None
        if wanted is None:
            return self.offered[int(rng.integers(len(self.offered)))].posed_for(frame.camera)
        nowhere = replace(self.offered[0], pose=Boxes3D.empty())
        if (place := wanted(self.name)) is None:
            return nowhere
        weight = self._views.weights(place, self.tolerance, self.depth_ratio)
        suiting = int(np.count_nonzero(weight))
        if suiting == 0:
            return nowhere
        chosen = rng.choice(len(weight), min(CANDIDATES, suiting), replace=False, p=weight / weight.sum())
        settled = wanted.settle(self.name, self._at(place, chosen))
        return nowhere if settled is None else replace(self.offered[chosen[settled]], pose=wanted.box)

    def suiting(self, camera: Camera, box: Boxes3D, draw: float) -> RecomposedAsset:
        """One of the :data:`CANDIDATES` objects seen most nearly as a box is, of the protocol ``Suiting``.

        Distances beyond ``depth_ratio`` count as much as radians off its direction; none is refused.
        """
        self.require_bound()
        assert self._views is not None
        alpha, elevation = observation_angles(canonical_projection(camera, box), box.dims)
        off = self._views.misfit(float(alpha[0]), float(elevation[0]), _distance(box), self.depth_ratio)
        nearest = np.argsort(off, kind="stable")[:CANDIDATES]
        return self.offered[nearest[int(draw * len(nearest))]]

    def _at(self, place: Proposal, chosen: np.ndarray) -> Boxes3D:
        """Boxes of some objects at a place, turned to be seen as they were taken."""
        assert self._views is not None
        yaw = wrap_angle(place.box.yaw + self._views.alpha[chosen] - place.alpha)
        return Boxes3D(np.repeat(place.box.center, len(chosen), 0), self._views.dims[chosen], yaw)
