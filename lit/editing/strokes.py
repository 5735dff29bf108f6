"""Strokes of a brush on label maps."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import cv2
import numpy as np

from datamodules.errors import InputError
from datamodules.objects.labelled_views import BLUR

SHIFT = 4  # bits of a pixel's fraction that OpenCV draws with
MOST_POINTS = 10_000
PAPER, INK = 1.0, -1.0  # what edge maps hold


@dataclass(frozen=True)
class Stroke:
    """A brush that was drawn along a line.

    Attributes:
        points: (N, 2) columns and rows in pixels of the label map, of which the first pixel's centre is (0, 0); they
            may lie outside.
        radius: of the brush, pixels.
        value: the class it paints, or for edges 1 for ink and 0 for paper (a rubber).
    """

    points: np.ndarray
    radius: float
    value: int

    def __post_init__(self) -> None:
        shape = np.shape(self.points)
        if len(shape) != 2 or shape[1] != 2 or not 1 <= shape[0] <= MOST_POINTS or not np.isfinite(self.points).all():
            raise InputError(f"stroke of shape {shape}: expected 1 to {MOST_POINTS} finite points (column, row)")
        if not 0 < self.radius <= 4096:
            raise InputError(f"brush of radius {self.radius:g}: expected more than 0 and at most 4096 pixels")

    def cover(self, height: int, width: int) -> np.ndarray:
        """(height, width) float32 in [0, 1]: how much of each pixel the brush covers."""
        cover = np.zeros((height, width), np.uint8)
        far = 4.0 * max(height, width)  # beyond, OpenCV's fixed point numbers would overflow
        places = np.round(np.clip(self.points, -far, 2 * far) * (1 << SHIFT)).astype(np.int32)
        radius = round(self.radius * (1 << SHIFT))
        for start, end in itertools.pairwise(places):
            along = (end - start).astype(np.float64)
            length = float(np.hypot(*along))
            if length > 0:
                across = np.array([-along[1], along[0]]) / length * radius
                corners = np.stack([start + across, end + across, end - across, start - across])
                cv2.fillConvexPoly(cover, np.round(corners).astype(np.int32), 255, cv2.LINE_AA, SHIFT)
        for place in places:
            cv2.circle(cover, (int(place[0]), int(place[1])), radius, 255, -1, cv2.LINE_AA, SHIFT)
        return cover.astype(np.float32) / 255

    def paint(self, labels: np.ndarray, classes: int | None) -> np.ndarray:
        """A label map with the stroke on it.

        Args:
            labels: (H, W) class numbers, or edges with paper at 1 and ink at -1.
            classes: number of classes; None for edges, on which the stroke gets the soft rim of the training's maps.

        Raises:
            InputError: the value is no class.
        """
        known = 2 if classes is None else classes
        if not 0 <= self.value < known:
            raise InputError(f"brush of class {self.value}: expected 0 to {known - 1}")
        cover = self.cover(*labels.shape)
        if classes is not None:
            return np.where(cover > 0.5, np.array(self.value, labels.dtype), labels)
        soft = cv2.blur(cover, BLUR)
        return ((1 - soft) * labels + soft * (INK if self.value else PAPER)).astype(labels.dtype)
