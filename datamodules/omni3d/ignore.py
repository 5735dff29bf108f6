"""Which annotations count for nothing: neither taught nor asked for. The rule of Cube R-CNN's reader and evaluation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datamodules.omni3d.rows import Omni3DRows, Rectangles
from datamodules.omni3d.vocabulary import IGNORED_CATEGORIES

LARGEST_DEPTH_ERROR = 0.5  # metres


@dataclass(frozen=True)
class IgnoreRule:
    """Limits beyond which an annotation is ignored; what a file does not know (-1) ignores nothing.

    Ignored whatever the limits are boxes that are not valid, have a corner behind the camera, no size, no lidar point
    or no pixel, or lie more than half a metre off a depth map, and categories of areas.

    Attributes:
        truncation: share outside the picture from which on it is ignored.
        visibility: share that is seen down to which it is ignored.
        min_height: of the rectangle, as a share of the picture's height, down to which it is ignored.
        max_height: likewise, from which on.
        max_depth: metres.
        rectangles: which ones the heights are of.
    """

    truncation: float = 0.75
    visibility: float = 0.25
    min_height: float = 0.05
    max_height: float = 1.5
    max_depth: float = 1e8
    rectangles: Rectangles = "trunc"

    def ignored(self, rows: Omni3DRows, height: int) -> np.ndarray:
        """(N,) bool, whether annotations of a picture of so many rows are ignored."""
        rectangle = np.nan_to_num(rows.rectangles(self.rectangles), nan=0.0)
        tall = (rectangle[:, 3] - rectangle[:, 1]) / height
        return np.asarray(
            rows.behind
            | ~rows.valid
            | (rows.dims <= 0).any(1)
            | (rows.center[:, 2] > self.max_depth)
            | (rows.lidar_pts == 0)
            | (rows.segmentation_pts == 0)
            | (rows.depth_error > LARGEST_DEPTH_ERROR)
            | (tall <= self.min_height)
            | (tall >= self.max_height)
            | ((rows.truncation >= 0) & (rows.truncation >= self.truncation))
            | ((rows.visibility >= 0) & (rows.visibility <= self.visibility))
            | np.isin(rows.category, IGNORED_CATEGORIES)
        )


TRAINING = IgnoreRule()  # Cube R-CNN's Base.yaml
EVALUATION = IgnoreRule(truncation=1 / 3, visibility=1 / 3, min_height=0.0625)  # and its tests
