"""A square window of a picture about an object: cut out at a size, and back again.

What is learnt from and what is drawn over is cut out alike: as much room about the object, the same averaging, edges of
the object on white that come from the picture's own pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from datamodules.renders.visual_prompts import canny_edges

WINDOW_ROOM = 1.25  # of the window's side over the object's longer one
LEAST_SIDE = 8  # pixels


@dataclass(frozen=True)
class SquareWindow:
    """A square of pixels that may reach out of its picture.

    Attributes:
        left, top: its first pixel in the picture.
        side: pixels.
    """

    left: int
    top: int
    side: int

    @staticmethod
    def around(bbox: np.ndarray, room: float = WINDOW_ROOM) -> SquareWindow:
        """The square about a rectangle (4,) of first and last pixels, ``room`` times its longer side."""
        low, high = np.floor(bbox[:2]), np.ceil(bbox[2:]) + 1
        side = max(math.ceil(room * float((high - low).max())), LEAST_SIDE)
        left, top = np.round((low + high - side) / 2).astype(int).tolist()
        return SquareWindow(left, top, side)

    def cut(self, picture: np.ndarray) -> np.ndarray:
        """(side, side, ...) of a picture (H, W, ...), which goes on beyond its border as it ends there."""
        rows = np.clip(np.arange(self.top, self.top + self.side), 0, picture.shape[0] - 1)
        columns = np.clip(np.arange(self.left, self.left + self.side), 0, picture.shape[1] - 1)
        return np.ascontiguousarray(picture[rows[:, None], columns])

    def holding(self, part: np.ndarray, left: int, top: int) -> np.ndarray:
        """(side, side, ...) zeros with a part (h, w, ...) whose first pixel is (left, top) of the picture."""
        found = np.zeros((self.side, self.side, *part.shape[2:]), part.dtype)
        own, given = self._shared(part.shape[:2], left, top)
        found[own] = part[given]
        return found

    def part(self, found: np.ndarray, shape: tuple[int, int], left: int, top: int) -> np.ndarray:
        """The inverse of :meth:`holding`: (h, w, ...) of the window's (side, side, ...), zero beyond the window."""
        taken = np.zeros((*shape, *found.shape[2:]), found.dtype)
        own, given = self._shared(shape, left, top)
        taken[given] = found[own]
        return taken

    def _shared(self, shape: tuple[int, ...], left: int, top: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """Rows and columns that window and part share, in either's own count."""
        own, given = [], []
        for first, length, start in ((top, shape[0], self.top), (left, shape[1], self.left)):
            low, high = max(first, start), max(min(first + length, start + self.side), max(first, start))
            own.append(slice(low - start, high - start))
            given.append(slice(low - first, high - first))
        return (own[0], own[1]), (given[0], given[1])


def sized(square: np.ndarray, size: int) -> np.ndarray:
    """A square picture (s, s, ...) at (size, size, ...): averaged where it shrinks, between pixels where it grows."""
    if square.shape[0] == size:
        return square
    shrinks = size < square.shape[0]
    return cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def edges_on_white(premultiplied: np.ndarray) -> np.ndarray:
    """(S, S) uint8, 255 on Canny's edges of a premultiplied (S, S, 4) uint8 picture laid on white."""
    return canny_edges(premultiplied[..., :3] + (255 - premultiplied[..., 3:]))
