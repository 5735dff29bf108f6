"""What hides what: the depth of real things at a pixel, and the share of an object that is hidden.

An injected object asks two questions of the frame it enters. *Which of my pixels are hidden?* Those at which something
real begins nearer: :meth:`Backdrop.depth` over the object's window. *Whom do I hide?* :meth:`Backdrop.hidden` counts
which of each real object's visible pixels lie under what is new. Real things are known by a depth image (synthetic
worlds), by instance masks, or only by their boxes. A box hides more than the object in it, so that a car's box is
carved into two solids before rays are cast at it, from the side::

    y = -1   +----------------------+                 seen by a pixel's ray, in the canonical cube [-1, 1]^3:
             |    .-----------.     |  cabin
    y = -.2  |----+-----------+-----|                 camera o------- - - -->[ body ]
             |         body         |  (full length)                  enter ^      ^ leave
    y =  1   +----------------------+
            x = -1 (rear)          x = 1 (front)      the nearest ``enter`` over all solids of all boxes is the depth

The ray of a pixel is a line in each box's own cube (:func:`datamodules.geometry.canonical_projection`), one metre of
depth a unit, so that entering a solid is three comparisons of slabs (Kay and Kajiya 1986) and needs no scene.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numba import njit

from datamodules.geometry import Camera, canonical_projection, outlines
from datamodules.occlusion_levels import LEVEL_SHARE
from datamodules.scene import Frame, Objects

Knowledge = Literal["depth", "instances", "boxes"]
DEPTH_TOLERANCE = 0.3  # metres; a depth image and a ground plane disagree by less
SAMPLES = 500  # rays that measure how much of an object's outline is hidden

# Solids in the canonical cube, low and high corners: x along the length, y down, z across.
WHOLE = np.array([[[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]]])
CAR = np.array([[[-1.0, -0.2, -0.95], [1.0, 1.0, 0.95]], [[-0.85, -1.0, -0.8], [0.45, -0.2, 0.8]]])


@dataclass(frozen=True)
class Window:
    """A rectangle of pixels inside an image: first column and row, width and height."""

    left: int
    top: int
    width: int
    height: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns, to index an (H, W) array."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)

    @staticmethod
    def around(bbox: np.ndarray, camera: Camera) -> Window:
        """The pixels of a (4,) rectangle that lie in the image (perhaps none)."""
        left, top = max(int(np.floor(bbox[0])), 0), max(int(np.floor(bbox[1])), 0)
        right, bottom = min(int(np.ceil(bbox[2])), camera.width - 1), min(int(np.ceil(bbox[3])), camera.height - 1)
        return Window(left, top, max(right - left + 1, 0), max(bottom - top + 1, 0))


@njit(nogil=True, cache=True)
def _cast(projection: np.ndarray, solids: np.ndarray, left: int, top: int, step: int, depth: np.ndarray) -> None:
    """Lower ``depth`` (h, w) to where rays ``step`` pixels apart enter solids (K, 2, 3) of a canonical cube."""
    inverse = np.linalg.inv(np.ascontiguousarray(projection[:, :3]))
    origin = -inverse @ np.ascontiguousarray(projection[:, 3])
    for row in range(depth.shape[0]):
        for column in range(depth.shape[1]):
            u, v = float(left + step * column), float(top + step * row)
            for k in range(solids.shape[0]):
                enter, leave = 0.0, np.inf
                for axis in range(3):
                    slope = inverse[axis, 0] * u + inverse[axis, 1] * v + inverse[axis, 2]
                    if abs(slope) < 1e-12:
                        slope = 1e-12
                    first = (solids[k, 0, axis] - origin[axis]) / slope
                    second = (solids[k, 1, axis] - origin[axis]) / slope
                    enter, leave = max(enter, min(first, second)), min(leave, max(first, second))
                if enter < leave and enter < depth[row, column]:
                    depth[row, column] = enter


@njit(nogil=True, cache=True)
def _reaching(
    bounds: np.ndarray, nearest: np.ndarray, left: int, top: int, width: int, height: int, within: float
) -> list[int]:
    """Boxes whose rectangles reach into a window and which begin before a depth; NaN reaches nowhere."""
    return [
        i
        for i in range(len(nearest))
        if bounds[i, 2] >= left
        and bounds[i, 0] < left + width
        and bounds[i, 3] >= top
        and bounds[i, 1] < top + height
        and nearest[i] < within
    ]


@njit(nogil=True, cache=True)
def _cast_all(
    projections: np.ndarray,
    bounds: np.ndarray,
    nearest: np.ndarray,
    carved: np.ndarray,
    window: tuple[int, int, int, int],
    within: float,
) -> np.ndarray:
    """(h, w) float32 depth at which the rays of a window enter the first of all boxes."""
    left, top, width, height = window
    depth = np.full((height, width), np.inf, dtype=np.float32)
    for index in _reaching(bounds, nearest, left, top, width, height, within):
        _cast(projections[index], CAR if carved[index] else WHOLE, left, top, 1, depth)
    return depth


@njit(nogil=True, cache=True)
def _covered(seen: np.ndarray, cover: np.ndarray, left: int, top: int, step: int) -> float:
    """Share of the pixels ``seen`` (h, w), ``step`` apart from (left, top) on, that lie under ``cover`` (H, W)."""
    total = covered = 0
    for i in range(seen.shape[0]):
        for j in range(seen.shape[1]):
            if seen[i, j]:
                total += 1
                covered += cover[top + step * i, left + step * j]
    return covered / max(total, 1)


class Backdrop:
    """A frame before injection, ready to be asked what its real things hide.

    Attributes:
        frame: the frame.
        knowledge: the source used; what the frame lacks is replaced by instance masks, and these by boxes.
        boxes: the labelled boxes that have a size.
    """

    def __init__(self, frame: Frame, knowledge: Knowledge) -> None:
        self.frame, self.knowledge = frame, knowledge
        self._rows = np.flatnonzero((frame.objects.boxes.dims > 0).all(1))
        self.boxes = frame.objects.boxes[self._rows]
        self._by_boxes = knowledge == "boxes" or frame.instances is None
        names = frame.objects.names[self._rows]
        self._carved = (names == "Car") | (names == "Van")
        self._projection = canonical_projection(frame.camera, self.boxes)
        self._bbox = outlines(self._projection)
        self._nearest = self._projection[:, 2, 3] - np.abs(self._projection[:, 2, :3]).sum(1)  # depth of its corner
        self._seen: dict[int, tuple[Window, int, np.ndarray]] = {}

    def depth(self, window: Window, within: float) -> np.ndarray:
        """(h, w) float32 depth of what may hide something in a window, infinite where nothing does.

        Args:
            window: pixels of interest.
            within: metres; what begins farther away may be left out.
        """
        if self.knowledge == "depth" and self.frame.depth is not None:
            depth = self.frame.depth[window.slices]
            hides = depth > 0
            if self.frame.road is not None:
                hides = hides & ~self.frame.road[window.slices]
            return np.asarray(np.where(hides, depth + np.float32(DEPTH_TOLERANCE), np.float32(np.inf)))
        if self._by_boxes:
            rectangle = (window.left, window.top, window.width, window.height)
            return np.asarray(
                _cast_all(self._projection, self._bbox, self._nearest, self._carved, rectangle, float(within))
            )
        nearest = np.full((window.height, window.width), np.inf, dtype=np.float32)
        for index in self._reaching(window, within):
            np.minimum(nearest, self._object_depth(index, window), out=nearest)
        return nearest

    def hidden(self, cover: np.ndarray, windows: Sequence[Window]) -> np.ndarray:
        """(N,) share of each labelled object's visible pixels that lie under ``cover``.

        Args:
            cover: (H, W) bool pixels where something new is in front of everything real.
            windows: windows that together hold all of ``cover``.
        """
        share = np.zeros(len(self.frame.objects))
        for index in sorted({index for window in windows for index in self._reaching(window)}):
            if index not in self._seen:
                around = Window.around(self._bbox[index], self.frame.camera)
                step = max(round(float(np.sqrt(around.width * around.height / SAMPLES))), 1)
                self._seen[index] = around, step, np.isfinite(self._object_depth(index, around, step))
            around, step, seen = self._seen[index]
            share[self._rows[index]] = _covered(seen, cover, around.left, around.top, step)
        return share

    def _reaching(self, window: Window, within: float = np.inf) -> list[int]:
        left, top, width, height = window.left, window.top, window.width, window.height
        return list(_reaching(self._bbox, self._nearest, left, top, width, height, within))

    def _object_depth(self, index: int, window: Window, step: int = 1) -> np.ndarray:
        """(h, w) float32 depth at which one object is met at every ``step``-th pixel of a window, else infinite."""
        row = int(self._rows[index])
        carved = self._by_boxes and bool(self._carved[index])
        depth = np.full((-(-window.height // step), -(-window.width // step)), np.inf, dtype=np.float32)
        _cast(self._projection[index], CAR if carved else WHOLE, window.left, window.top, step, depth)
        if self._by_boxes or self.frame.instances is None:
            return depth
        loose = np.float32(self.boxes.center[index, 2])  # of mask pixels that the box misses
        seen = self.frame.instances[window.slices][::step, ::step] == row + 1
        return np.asarray(np.where(seen, np.where(np.isfinite(depth), depth, loose), np.float32(np.inf)))


def total_hidden(objects: Objects, newly: np.ndarray) -> np.ndarray:
    """(N,) hidden shares once ``newly`` (N,) more of the visible parts got hidden, from the labelled levels."""
    before = np.array([LEVEL_SHARE.get(int(level), 0.0) for level in objects.occlusion])
    return 1.0 - (1.0 - before) * (1.0 - newly)
