"""The ground around a car that may be built on, seen by all its cameras at one moment."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from datamodules.geometry import Boxes3D, plane_height
from datamodules.images import read_image
from datamodules.injection.ground import CAMERA_HEIGHT, fit_plane, ground_to_pixels
from datamodules.injection.learnt.free_space import FreeSpace, shaded
from datamodules.injection.site import FORWARD, traffic_heading
from datamodules.object_classes import VEHICLES
from datamodules.surround import Moment

OWN_CAR = Boxes3D.single(np.array([0.0, 0.0, 1.0]), np.array([5.0, 1.8, 2.4]), FORWARD)  # nothing stands in the car
OVERSAMPLING = 8  # random ground points drawn for each one wanted, most of which lie beside the road
MASK_WIDTH = 400  # pixels; placement needs no finer road


@lru_cache(maxsize=512)  # two scenes of forty samples, 46 MB
def _road(path: Path) -> np.ndarray:
    """(h, w) bool at :data:`MASK_WIDTH` or less; kept, because all frames of a sample, and of a scene, ask for it."""
    mask = read_image(path, -1)
    step = -(-mask.shape[1] // MASK_WIDTH)
    return np.ascontiguousarray(mask[step // 2 :: step, step // 2 :: step] > 127)


class SurroundSite:
    """The ground around a car that may be built on, as :class:`datamodules.injection.placement.Placement` asks for it.

    Where cameras have road masks, ground is drivable when one of them sees road there. Else it is what is known of open
    ground around the car, out of the shadow of labelled objects; with no such knowledge a corridor along its own path.
    """

    def __init__(
        self,
        moment: Moment,
        depth: tuple[float, float],
        corridor: tuple[float, float],
        corridor_depth: float,
        map: bool = True,
        space: FreeSpace | None = None,
    ) -> None:
        """Look around.

        Args:
            moment: where.
            depth: nearest and farthest distance from the car's origin, metres.
            corridor: leftmost and rightmost x where there are no road masks, metres.
            corridor_depth: farthest distance there.
            map: keep to drivable ground; else all ground in view will do.
            space: open ground where there are no road masks, instead of the corridor.
        """
        self.moment, self.map = moment, map
        self.masks = [None if camera.road is None else _road(camera.road) for camera in moment.cameras]
        self.mapped = any(mask is not None for mask in self.masks)
        self.corridor = corridor
        self.space = None if self.mapped else space
        known = self.mapped or not map or self.space is not None
        self.near, self.far = depth[0], depth[1] if known else min(depth[1], corridor_depth)
        vehicles = np.isin(moment.names, VEHICLES)
        self.vehicles = moment.boxes[np.flatnonzero(vehicles)]
        self.plane = fit_plane(self.vehicles, 0.0) if self.space is None else fit_plane(moment.boxes, 0.0, radial=True)

    def sample(self, rng: np.random.Generator, count: int, uniform_depth: bool = False) -> np.ndarray:
        """(count, 3) points on the plane, uniform over ground area or in distance; drivable ones first."""
        many = count * OVERSAMPLING
        share, azimuth = rng.random(many), rng.uniform(-np.pi, np.pi, many)
        near, far = self.near, self.far
        radius = near + share * (far - near) if uniform_depth else np.sqrt(near**2 + share * (far**2 - near**2))
        x, z = radius * np.sin(azimuth), radius * np.cos(azimuth)
        points = np.column_stack([x, plane_height(self.plane, x, z), z])
        chosen = np.flatnonzero(self.drivable(points[:, [0, 2]]))
        order = np.concatenate([chosen, np.setdiff1d(np.arange(many), chosen)])
        return points[order[:count]]

    def drivable(self, xz: np.ndarray) -> np.ndarray:
        """(...) bool, whether ground points (..., 2) x, z may be built on."""
        if not self.map:
            return np.ones(xz.shape[:-1], dtype=np.bool_)
        if self.space is not None:
            return self.space.open(xz) & ~shaded(xz, self.moment.boxes, CAMERA_HEIGHT)
        if not self.mapped:
            return (xz[..., 0] >= self.corridor[0]) & (xz[..., 0] <= self.corridor[1])
        found = np.zeros(xz.shape[:-1], dtype=np.bool_)
        for camera, mask in zip(self.moment.cameras, self.masks):
            if mask is None:
                continue
            pixels, depth = ground_to_pixels(camera.camera, self.plane, xz)
            height, width = mask.shape
            scale = np.array([width / camera.camera.width, height / camera.camera.height])
            column, row = np.moveaxis(np.rint((pixels + 0.5) * scale - 0.5), -1, 0)
            seen = (depth > 0) & (column >= 0) & (column < width) & (row >= 0) & (row < height)
            at = row.clip(0, height - 1).astype(np.int64), column.clip(0, width - 1).astype(np.int64)
            found |= seen & mask[at]
        return found

    def holds(self, boxes: Boxes3D) -> np.ndarray:
        """(N,) share of each footprint's four corners on drivable ground."""
        return np.asarray(self.drivable(boxes.corners[:, :4][..., [0, 2]]).mean(1))

    def in_view(self, boxes: Boxes3D) -> np.ndarray:
        """(N,) bool, whether a camera sees the middle of the box."""
        middle = boxes.center - np.array([0.0, 0.5, 0.0]) * boxes.dims[:, 1:2]
        seen = np.zeros(len(boxes), dtype=np.bool_)
        for camera in self.moment.cameras:
            pixels, depth = camera.camera.project(middle)
            inside = (pixels >= 0) & (pixels <= np.array([camera.camera.width - 1, camera.camera.height - 1]))
            seen |= inside.all(-1) & (depth > 0)
        return seen

    def heading(self, points: np.ndarray) -> np.ndarray:
        """(N,) yaw of travel at points (N, 3): that of the vehicles near by and of the car itself."""
        return traffic_heading(points, self.vehicles)
