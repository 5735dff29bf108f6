r"""Where labelled objects show in a picture, from their boxes alone: outlines of solids in the canonical cube.

A car fills little more than half of its projected box. Its solids are a body, a cabin that tapers, and four wheels, all
narrower than the box, which holds the mirrors, too. In the canonical cube (front at x = 1, roof at y = -1), from the
side::

         ____________
        /            \        cabin
     __/______________\____
    |                      |  body
    |______________________|
        |__|        |__|      wheels

The numbers are close to those that agree best with the road world's true masks; real cars have less air below. A
convex solid shows as the convex hull of its projected corners.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from datamodules.geometry import CORNER_SIGNS, NEAR, Camera, canonical_projection
from datamodules.scene import Frame

FIXED = 16  # OpenCV draws corners in sixteenths of a pixel
REACH = 1e5  # pixels; corners farther out, of what is under the camera, are drawn there
CARS = ("Car", "Van", "car")


def _extruded(profile: Sequence[tuple[float, float, float]]) -> np.ndarray:
    """(2 n, 3) corners of a profile of rows x, y and half the width there."""
    return np.array([(x, y, side * width) for x, y, width in profile for side in (-1.0, 1.0)])


def _block(x: tuple[float, float], y: tuple[float, float], z: tuple[float, float]) -> np.ndarray:
    """(8, 3) corners of a block between two values a coordinate."""
    return np.array([(a, b, c) for a in x for b in y for c in z])


BODY = _extruded([(-0.88, -0.2, 0.84), (0.97, -0.02, 0.84), (0.97, 0.66, 0.84), (-0.88, 0.66, 0.84)])
CABIN = _extruded([(-0.9, -0.2, 0.84), (0.52, -0.02, 0.84), (0.08, -0.9, 0.69), (-0.61, -0.9, 0.69)])
AXLES, WHEEL_SIDES = ((-0.68, -0.45), (0.45, 0.68)), ((-0.93, -0.73), (0.73, 0.93))
WHEELS = tuple(_block(axle, (0.5, 0.95), side) for axle in AXLES for side in WHEEL_SIDES)
CAR_SOLIDS = (BODY, CABIN, *WHEELS)
BOX_SOLIDS = (CORNER_SIGNS,)


def solids_of(name: str) -> tuple[np.ndarray, ...]:
    """Solids that stand for an object of a class: those of a car, else the whole box."""
    return CAR_SOLIDS if name in CARS else BOX_SOLIDS


def solid_outline(projection: np.ndarray, solids: Sequence[np.ndarray], height: int, width: int) -> np.ndarray:
    """(height, width) bool pixels that solids cover.

    Args:
        projection: (3, 4) canonical cube to pixels (:func:`datamodules.geometry.canonical_projection`).
        solids: (K, 3) corners each, cut off at the near plane.
        height: of the picture.
        width: of the picture.
    """
    drawn = np.zeros((height, width), dtype=np.uint8)
    for corners in solids:
        points = _in_front(corners @ projection[:, :3].T + projection[:, 3])
        if not len(points):
            continue
        pixels = np.clip(points[:, :2] / points[:, 2:], -REACH, REACH)
        hull = cv2.convexHull(np.rint(pixels * FIXED).astype(np.int32))
        cv2.fillConvexPoly(drawn, hull, 1, shift=4)
    return drawn > 0


def _in_front(points: np.ndarray) -> np.ndarray:
    """(M, 3) corners of what the near plane leaves of a convex solid's corners (K, 3; the last is depth).

    The lines between all pairs of corners lie in the solid, so that none but its edges matter to the hull.
    """
    front, back = points[points[:, 2] >= NEAR], points[points[:, 2] < NEAR]
    if not len(back):
        return points
    share = (front[:, None, 2:] - NEAR) / (front[:, None, 2:] - back[:, 2:])
    cut = front[:, None] + share * (back - front[:, None])
    return np.concatenate([front, cut.reshape(-1, 3)])


def nearest_corner(projection: np.ndarray) -> float:
    """Depth of the nearest corner of a projected canonical cube, metres."""
    return float(projection[2, 3] - np.abs(projection[2, :3]).sum())


def nearer_outlines(frame: Frame, row: int, camera: Camera) -> np.ndarray:
    """(H, W) bool pixels of a camera under the labelled objects that stand nearer than one of them.

    Args:
        frame: has the labels.
        row: of the object.
        camera: of the wanted picture, in the frame's coordinates: a window of it, perhaps enlarged.
    """
    boxes, names = frame.objects.boxes, frame.objects.names
    depth = frame.camera.project(boxes.center)[1]
    nearer = np.flatnonzero((depth < depth[row]) & (depth > NEAR) & (boxes.dims > 0).all(1))
    covered = np.zeros((camera.height, camera.width), dtype=np.bool_)
    for index, projection in zip(nearer, canonical_projection(camera, boxes[nearer])):
        covered |= solid_outline(projection, solids_of(str(names[index])), camera.height, camera.width)
    return covered
