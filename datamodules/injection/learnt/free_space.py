r"""Ground that may be built on where no picture of the road tells: learnt from where labelled vehicles stand.

Every vehicle of the training set leaves its footprint on a grid of the bird's eye view, in the frame of the camera (or
of the car)::

    footprints of all frames      smoothed          the fewest cells that hold 95 % of the mass
       .  ▯ .   ▯                 . ░ ▒ ░ .           . # # # .      and the corridor of driving near the camera,
       ▯  . ▯ .                   ░ ▒ ▓ ▒ ░     ->    # # # # #      whether anything stood there or not
        ▯ . ▯                     . ░ ▓ ▒ .           . # # # .
          ^ camera

That is the highest density region of a kernel estimate (Hyndman 1996). What one frame's labels hide is unknown: cells
in the shadow of a labelled object are left out (:func:`shaded`, or the site's own test in the image).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numba import njit

from datamodules.geometry import Boxes3D, wrap_angle
from datamodules.injection.learnt.labels import TrainingLabels
from datamodules.object_classes import VEHICLES

CELL = 0.5  # metres
SMOOTHING = 1.5  # metres, standard deviation of the kernel across the way
ALONG = {False: 2.0, True: 4.0}  # so many times that along z: before a camera, around a car on its street
HELD = 0.95  # share of the mass that the open cells hold
LIMIT = 100.0  # metres that the grid reaches
FOOTPRINT = np.stack(np.meshgrid(np.linspace(-0.45, 0.45, 7), np.linspace(-0.4, 0.4, 3)), -1).reshape(-1, 2)


@dataclass(frozen=True)
class FreeSpace:
    """Open ground.

    Attributes:
        grid: (X, Z) bool cells of :data:`CELL`, the first at x = z = -:data:`LIMIT`; None where everything is open.
    """

    grid: np.ndarray | None

    @staticmethod
    def learn(labels: TrainingLabels, around: bool = False) -> FreeSpace | None:
        """From all labelled vehicles of a training set; None where it has none.

        Args:
            labels: of the training set.
            around: whether they lie around a car, not before a camera.
        """
        vehicles = labels.boxes[np.flatnonzero(np.isin(labels.names, VEHICLES))]
        if not len(vehicles):
            return None
        along, across = FOOTPRINT[:, 0] * vehicles.dims[:, [0]], FOOTPRINT[:, 1] * vehicles.dims[:, [2]]
        c, s = np.cos(vehicles.yaw)[:, None], np.sin(vehicles.yaw)[:, None]
        x = vehicles.center[:, [0]] + along * c + across * s
        z = vehicles.center[:, [2]] - along * s + across * c
        edges = np.arange(-LIMIT, LIMIT + CELL / 2, CELL)
        mass = np.histogram2d(x.ravel(), z.ravel(), (edges, edges))[0]
        sigma = SMOOTHING / CELL
        mass = cv2.GaussianBlur(mass, (0, 0), sigmaX=sigma * ALONG[around], sigmaY=sigma)
        ordered = np.sort(mass, None)[::-1]
        cumulative = np.cumsum(ordered)
        last = int(np.searchsorted(cumulative, HELD * cumulative[-1]))
        return FreeSpace(mass >= max(ordered[min(last, len(ordered) - 1)], 1e-12))

    def joined(self, x: tuple[float, float], z: tuple[float, float]) -> FreeSpace:
        """The same with a rectangle of ground open as well, metres."""
        if self.grid is None:
            return self
        grid = self.grid.copy()
        grid[slice(*_cells(np.array(x))), slice(*_cells(np.array(z)))] = True
        return FreeSpace(grid)

    def open(self, xz: np.ndarray) -> np.ndarray:
        """(...) bool, whether ground points (..., 2) x, z are open."""
        if self.grid is None:
            return np.ones(xz.shape[:-1], dtype=np.bool_)
        points = np.ascontiguousarray(xz, np.float64).reshape(-1, 2)
        return _open(self.grid, points).reshape(xz.shape[:-1])


@njit(nogil=True, cache=True)
def _open(grid: np.ndarray, points: np.ndarray) -> np.ndarray:
    """:meth:`FreeSpace.open` of points (N, 2): a frame's ground is ten thousand of them."""
    found = np.zeros(len(points), dtype=np.bool_)
    for n in range(len(points)):
        x, z = points[n, 0], points[n, 1]
        if abs(x) < LIMIT and abs(z) < LIMIT:
            found[n] = grid[int(np.floor((x + LIMIT) / CELL)), int(np.floor((z + LIMIT) / CELL))]
    return found


EVERYWHERE_OPEN = FreeSpace(None)


def _cells(metres: np.ndarray) -> np.ndarray:
    return np.floor((metres + LIMIT) / CELL).astype(np.int64)


def shaded(xz: np.ndarray, boxes: Boxes3D, height: float) -> np.ndarray:
    """(...) bool, whether ground points (..., 2) lie behind a box, as seen from ``height`` metres above the origin.

    A box hides the angle between its outermost corners, from its nearest corner on; one lower than the viewer as far as
    the line of sight over its top meets the ground. Boxes that hold the origin hide nothing.
    """
    if not len(boxes):
        return np.zeros(xz.shape[:-1], dtype=np.bool_)
    corners = boxes.corners[:, :4][..., [0, 2]]
    middle = np.arctan2(boxes.center[:, 0], boxes.center[:, 2])
    off = wrap_angle(np.arctan2(corners[..., 0], corners[..., 1]) - middle[:, None])
    low, high = off.min(1), off.max(1)
    distance = np.linalg.norm(corners, axis=-1)
    rise = np.maximum(height - boxes.dims[:, 1], 0.0)
    end = np.where(rise > 0, distance.max(1) * height / np.maximum(rise, 1e-6), np.inf)
    away = np.linalg.norm(xz, axis=-1)[..., None]
    angle = wrap_angle(np.arctan2(xz[..., 0], xz[..., 1])[..., None] - middle)
    hides = high - low < np.pi  # else the box stands over the origin
    behind = hides & (angle >= low) & (angle <= high) & (away > distance.min(1)) & (away < end)
    return np.asarray(behind.any(-1))
