"""Which labelled objects are worth cutting out, and how the frames of a data set are gone through for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from datamodules.assets.contract import LabelledFrames
from datamodules.assets.crops.crop_asset import CropAsset
from datamodules.assets.crops.cut_out import label_window
from datamodules.assets.crops.outlines import nearer_outlines, solid_outline, solids_of
from datamodules.geometry import canonical_projection
from datamodules.occlusion_levels import occlusion_level
from datamodules.scene import Frame

C = TypeVar("C", bound=CropAsset)

UNRATED = -1


@dataclass(frozen=True)
class WorthCutting:
    """What objects must be like.

    Attributes:
        name: their class.
        min_height: least height of the 2D box in pixels.
        max_truncation: largest truncation.
        max_occlusion: largest occlusion level.
    """

    name: str
    min_height: float
    max_truncation: float
    max_occlusion: int

    def rows(self, frame: Frame, judge_occlusion: bool = False) -> np.ndarray:
        """(N,) rows of a frame's labels.

        Args:
            frame: the frame.
            judge_occlusion: where the labels do not tell the occlusion, judge it by what nearer labelled objects
                cover; else such an object is not taken.
        """
        objects = frame.objects
        height = objects.bbox[:, 3] - objects.bbox[:, 1]
        wanted = (objects.names == self.name) & (objects.truncation <= self.max_truncation)
        wanted &= (height >= self.min_height) & (objects.occlusion <= self.max_occlusion)
        wanted &= (objects.boxes.center[:, 2] > 0) & (objects.boxes.dims.min(1, initial=np.inf) > 0)
        if not judge_occlusion:
            return np.flatnonzero(wanted & (objects.occlusion >= 0))
        judged = [r for r in np.flatnonzero(wanted) if objects.occlusion[r] != UNRATED or self._is_clear(frame, int(r))]
        return np.array(judged, dtype=np.int64)

    def _is_clear(self, frame: Frame, row: int) -> bool:
        left, top, right, bottom = label_window(frame.objects.bbox[row], frame.camera)
        window = frame.camera.cropped(left, top, right - left, bottom - top)
        projection = canonical_projection(window, frame.objects.boxes[[row]])[0]
        own = solid_outline(projection, solids_of(self.name), window.height, window.width)
        hidden = int(np.count_nonzero(own & nearer_outlines(frame, row, window))) / max(int(np.count_nonzero(own)), 1)
        return bool(occlusion_level(np.array([hidden]))[0] <= self.max_occlusion)

    def __str__(self) -> str:
        limits = f"occlusion <= {self.max_occlusion} and truncation <= {self.max_truncation:g}"
        return f"{self.name} of height >= {self.min_height:g} px, {limits}"


def gathered_crops(frames: LabelledFrames, cut: Callable[[Frame], list[C]], most: int) -> list[C]:
    """Crops of frames taken evenly over a data set until there are ``most``, by id; perhaps a few more."""
    crops: list[C] = []
    for index in _spread(len(frames)):
        crops += cut(frames.read(index))
        if len(crops) >= most:
            break
    return sorted(crops, key=lambda crop: crop.id)


def _spread(count: int) -> np.ndarray:
    """The indices below ``count`` in an order whose every beginning spreads over the range (golden-ratio sequence)."""
    return np.argsort(np.modf(np.arange(count) * 0.6180339887498949)[0], kind="stable")
