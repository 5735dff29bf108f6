r"""Where objects may stand in one frame: the drivable ground in view, sampled by area, and the road's heading.

The image is looked at through a grid of pixels. Each grid pixel on the road mask (without a mask: each that sees ground
between two lateral bounds) is one cell, and through the ground plane a patch of ground, small near the camera and large
far away:

    image          bird's eye view
     ______        \ .   .   . /  far     position: a cell, drawn with a chance in proportion to its area of ground,
      /..\          \ . . . . /           then a place within it; uniform over the ground
     /....\          \:::::::/            heading: slope of the line through the middles of the cells some metres
    /......\          \:::::/     near    before and behind a depth
                      camera              holds: a footprint whose four corners fall on the mask, as far as it is seen
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numba import njit

from datamodules.geometry import Boxes3D, Camera, footprints, projected_bbox
from datamodules.injection.ground import drivable_share, ground_homography, ground_points, road_cells
from datamodules.injection.learnt.free_space import FreeSpace
from datamodules.object_classes import VEHICLES
from datamodules.scene import Frame

FORWARD = -np.pi / 2  # yaw of an object that looks along the camera's axis
CELLS = 40_000  # about as many ground cells are looked at in an image, whatever its size
NO_MASK = np.zeros((0, 0), dtype=np.bool_)
TRAFFIC_REACH = 15.0  # metres within which traffic tells the direction of travel
HEADING_REACH = 12.0  # metres of depth before and behind a place that tell the road's direction there


@dataclass(frozen=True)
class Site:
    """The ground of one frame that may be built on.

    Attributes:
        frame: the frame.
        plane: (4,) its ground plane.
        cells: (N, 5) rows u, v, x, z, area of :func:`datamodules.injection.ground.road_cells`.
        step: pixels between cells.
        mask: (H, W) bool drivable pixels, or None when the picture does not tell.
        corridor: leftmost and rightmost x, metres.
        pool: (M, 5) cells that positions are drawn from instead of ``cells``, or None.
        space: open ground where there is no mask, instead of the corridor, or None.
    """

    frame: Frame
    plane: np.ndarray
    cells: np.ndarray
    step: int
    mask: np.ndarray | None
    corridor: tuple[float, float]
    pool: np.ndarray | None = None
    space: FreeSpace | None = None

    @cached_property
    def vehicles(self) -> Boxes3D:
        """The frame's labelled vehicles."""
        return vehicles_of(self.frame)

    def sample(self, rng: np.random.Generator, count: int, uniform_depth: bool = False) -> np.ndarray:
        """(count, 3) points on the plane, uniform over the seen ground area, or uniform in depth."""
        cells = self.cells if self.pool is None else self.pool
        cumulative = self._by_depth if uniform_depth else self._by_area
        chosen = np.searchsorted(cumulative, rng.random(count) * cumulative[-1], side="right")
        chosen = np.minimum(chosen, len(cells) - 1)
        jitter = (rng.random((count, 2)) - 0.5) * self.step
        points = ground_points(self._lift, self.plane, cells[chosen, :2] + jitter)
        beyond = np.isnan(points[:, 0])
        if beyond.any():
            points[beyond] = ground_points(self._lift, self.plane, cells[chosen[beyond], :2])
        return points

    @cached_property
    def _lift(self) -> np.ndarray:
        """(3, 3) map from pixels to the ground (:func:`datamodules.injection.ground.ground_points`)."""
        return np.linalg.inv(ground_homography(self.frame.camera, self.plane))

    @cached_property
    def _by_area(self) -> np.ndarray:
        """(N,) running sum of the cells' areas."""
        return np.cumsum((self.cells if self.pool is None else self.pool)[:, 4])

    @cached_property
    def _by_depth(self) -> np.ndarray:
        """(N,) running sum of weights that make the depth uniform."""
        cells = self.cells if self.pool is None else self.pool
        row = cells[:, 1].astype(np.int64)  # a pixel row spans depth as the square of its depth
        return np.cumsum(cells[:, 4] / np.bincount(row, cells[:, 4])[row] * cells[:, 3] ** 2)

    def holds(self, boxes: Boxes3D) -> np.ndarray:
        """(N,) share of each footprint's four corners on drivable ground.

        On a mask, a corner outside the image or hidden behind a labelled object counts as drivable: nothing speaks
        against it, and the middle of the footprint is known to be. Without a mask, hidden ground is not built on.
        """
        corners = footprints(boxes)
        inside = (corners[..., 0] >= self.corridor[0]) & (corners[..., 0] <= self.corridor[1])
        if self.space is not None:
            inside &= self.space.open(corners)
        mask = NO_MASK if self.mask is None else self.mask
        return drivable_share(self.frame.camera.projection, self.plane, corners, inside, mask, *self._standing)

    def in_view(self, boxes: Boxes3D) -> np.ndarray:
        """(N,) bool, whether the boxes stand before the camera."""
        return boxes.center[:, 2] > 0

    @cached_property
    def _standing(self) -> tuple[np.ndarray, np.ndarray]:
        """(N, 4) rectangles and (N,) depth of the labelled objects; NaN (behind the camera) compares false."""
        real = standing(self.frame)
        return projected_bbox(self.frame.camera, real), np.ascontiguousarray(real.center[:, 2])

    def heading(self, points: np.ndarray) -> np.ndarray:
        """(N,) yaw of the road at points (N, 3): the mask's middle line, else the labelled vehicles, else forward."""
        if self.mask is not None:
            return FORWARD + np.arctan(self._middle_line_slope(points[:, 2]))
        if self.space is not None:
            return traffic_heading(points, self.vehicles)
        yaw = self.vehicles.yaw
        doubled = np.exp(2j * (yaw - FORWARD)).sum()  # opposite directions share an axis
        return np.full(len(points), FORWARD + (np.angle(doubled) / 2 if abs(doubled) > 0 else 0.0))

    @cached_property
    def _moments(self) -> np.ndarray:
        """(5, metres + 1) running sums over depth of the cells' area and of its moments x, z, xz and zz."""
        return _running_moments(self.cells)

    def _middle_line_slope(self, depth: np.ndarray) -> np.ndarray:
        """(N,) dx/dz of the line through the road's middle about the given depths, fitted by area; 0 where unknown."""
        return _slopes(self._moments, np.ascontiguousarray(depth))


@njit(nogil=True, cache=True)
def _running_moments(cells: np.ndarray) -> np.ndarray:
    """See :attr:`Site._moments`; one pass over cells (N, 5) takes a tenth of NumPy's five."""
    sums = np.zeros((5, int(cells[:, 3].max()) + 2))
    for n in range(len(cells)):
        x, z, area = cells[n, 2], cells[n, 3], cells[n, 4]
        metre = int(z) + 1
        sums[0, metre] += area
        sums[1, metre] += area * x
        sums[2, metre] += area * z
        sums[3, metre] += area * (x * z)
        sums[4, metre] += area * (z * z)
    for metre in range(1, sums.shape[1]):
        sums[:, metre] += sums[:, metre - 1]
    return sums


@njit(nogil=True, cache=True)
def _slopes(running: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """(N,) slopes of lines fitted within :data:`HEADING_REACH` of depths (N,), from :attr:`Site._moments`."""
    slopes, last = np.zeros(len(depth)), running.shape[1] - 1
    for n in range(len(depth)):
        low = int(min(max(depth[n] - HEADING_REACH, 0.0), last))
        high = int(min(max(depth[n] + HEADING_REACH, 0.0), last))
        sums = running[:, high] - running[:, low]
        total, x, z, xz, zz = max(sums[0], 1e-9), sums[1], sums[2], sums[3], sums[4]
        variance = zz / total - (z / total) ** 2
        if variance > 4.0:
            slopes[n] = min(max((xz / total - x * z / total**2) / variance, -1.0), 1.0)
    return slopes


def survey(
    frame: Frame, plane: np.ndarray, mask: np.ndarray | None, depth: tuple[float, float], corridor: tuple[float, float]
) -> Site:
    """Look at a frame's drivable ground between two depths and two lateral bounds, metres; it may hold no cell."""
    camera: Camera = frame.camera
    homography = ground_homography(camera, plane)
    step = max(round(float(np.sqrt(camera.width * camera.height / CELLS))), 1)
    pixels = np.ones((camera.height, camera.width), dtype=np.bool_) if mask is None else mask
    scale = float(abs(np.linalg.det(homography)))
    cells = road_cells(np.linalg.inv(homography), scale, pixels, step, depth, corridor)
    return Site(frame, plane, cells, step, mask, corridor)


def traffic_heading(points: np.ndarray, vehicles: Boxes3D) -> np.ndarray:
    """(N,) yaw of travel at points (N, 3): that of the vehicles near by and, near the origin, straight ahead."""
    distance = np.linalg.norm(points[:, None, [0, 2]] - vehicles.center[None][..., [0, 2]], axis=-1)
    weight = np.exp(-distance / TRAFFIC_REACH)
    axis = np.exp(2j * (vehicles.yaw - FORWARD))  # opposite directions share an axis
    own = np.exp(-np.linalg.norm(points[:, [0, 2]], axis=-1) / (2 * TRAFFIC_REACH))
    return np.asarray(FORWARD + np.angle(weight @ axis + own + 1e-6) / 2)


def vehicles_of(frame: Frame) -> Boxes3D:
    """The labelled vehicles."""
    names = frame.objects.names.tolist()  # np.isin would sort both sides for a dozen names
    return frame.objects.boxes[[row for row, name in enumerate(names) if name in VEHICLES]]


def standing(frame: Frame) -> Boxes3D:
    """The labelled boxes that have a size; KITTI's DontCare rows have none."""
    boxes = frame.objects.boxes
    return boxes[np.flatnonzero((boxes.dims > 0).all(1))]
