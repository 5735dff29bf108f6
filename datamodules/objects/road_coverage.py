"""Whether a road mask holds the ground on which labelled vehicles stand: a check of masks that nobody labelled.

Vehicles stand on drivable ground, so a mask that misses the ground around them is not to be trusted elsewhere. The
ground under a vehicle is hidden by it; looked at is a line around its footprint, a short way off, as far as no labelled
object's 2D box covers it. A vehicle is covered when a third of what is seen of its line is road: at a kerb the rest may
be pavement.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from datamodules.geometry import Camera
from datamodules.object_classes import VEHICLES
from datamodules.scene import Objects

AROUND = 0.4  # metres from the footprint to the line
REACH = (4.0, 40.0)  # metres of depth within which a line is more than a pixel or two
POINTS = 8  # points of the line on each side
LEAST_SEEN = 6  # points that must be seen to judge
LEAST_ROAD = 1 / 3  # of the seen points
LEAST_COVERAGE = 0.8  # of the vehicles
LEAST_VEHICLES = 20  # fewer say nothing of a set


def covered_vehicles(mask: np.ndarray, camera: Camera, objects: Objects) -> np.ndarray:
    """(K,) bool, of the labelled vehicles whose ground is seen, which stand on the mask.

    Args:
        mask: (H, W) bool drivable pixels.
        camera: of the picture.
        objects: its labelled objects.
    """
    depth = objects.boxes.center[:, 2]
    near = np.isin(objects.names, VEHICLES) & (depth >= REACH[0]) & (depth <= REACH[1])
    vehicles = objects.boxes[np.flatnonzero(near)]
    if not len(vehicles):
        return np.zeros(0, dtype=np.bool_)
    share = np.linspace(-1, 1, POINTS, endpoint=False)
    ones = np.ones(POINTS)
    sides = [(share, -ones), (ones, share), (-share, ones), (-ones, -share)]
    unit = np.concatenate([np.stack(side, -1) for side in sides])  # along, across
    half = vehicles.dims[:, None, [0, 2]] / 2 + AROUND
    along, across = np.moveaxis(unit * half, -1, 0)
    c, s = np.cos(vehicles.yaw)[:, None], np.sin(vehicles.yaw)[:, None]
    x, z = along * c + across * s, -along * s + across * c
    line = vehicles.center[:, None] + np.stack([x, np.zeros_like(x), z], -1)
    pixels, ahead = camera.project(line)
    column, row = np.moveaxis(np.rint(pixels), -1, 0)
    seen = (ahead > 0.5) & (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height)
    low, high = objects.bbox[:, :2], objects.bbox[:, 2:]
    seen &= ~((pixels[..., None, :] >= low) & (pixels[..., None, :] <= high)).all(-1).any(-1)
    at = row.clip(0, camera.height - 1).astype(np.int64), column.clip(0, camera.width - 1).astype(np.int64)
    count = seen.sum(1)
    road = (seen & mask[at]).sum(1)
    judged = count >= LEAST_SEEN
    return np.asarray(road[judged] >= LEAST_ROAD * count[judged])


def coverage(pictures: Iterable[tuple[np.ndarray, Camera, Objects]]) -> tuple[float, int]:
    """Share of the vehicles in many pictures that stand on their mask, and how many were seen; NaN without any."""
    found = [covered_vehicles(*picture) for picture in pictures]
    every = np.concatenate([np.zeros(0, dtype=np.bool_), *found])
    return (float(every.mean()) if len(every) else float("nan")), len(every)
