"""Where labelled objects of a class stand and which way they look: smoothed draws from the training set's own boxes.

A draw takes a labelled box and adds Gaussian noise: the kernel density estimate of (x, z, yaw) with a product kernel
(Silverman 1986, section 6.4). Its parts stay together, so what is drawn on the left lane looks the way traffic on the
left lane does. Depth is reflected at its bounds (ibid., section 2.10), so that no mass is lost there.

Roads bend, and a box of one frame enters another. Its yaw is therefore kept relative to the heading of the labelled
vehicle nearest to it, where one is within :data:`REACH`, and comes back relative to the vehicle that is nearest to its
new place; with no vehicle near, there or here, it keeps its own. Headings are taken modulo a right angle: traffic in
both directions, what crosses it and what is parked across it share the lines of a road, so that an oncoming or crossing
neighbour turns nobody round.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datamodules.errors import InputError
from datamodules.geometry import Boxes3D, wrap_angle
from datamodules.injection.learnt.labels import TrainingLabels
from datamodules.injection.site import FORWARD
from datamodules.object_classes import VEHICLES

REACH = 15.0  # metres within which a labelled vehicle tells the heading of the road


@dataclass(frozen=True)
class LabelDensity:
    """Kernel density over the M labelled boxes of one class.

    Attributes:
        place: (M, 2) x, z, metres.
        yaw: (M,) radians.
        lines: (M,) :func:`lines_of` the nearest labelled vehicle of their frame, NaN without one near.
        bandwidth: standard deviations of the noise: x and z in metres, yaw in radians.
        reach: nearest and farthest depth (around a car: distance), metres.
        around: whether boxes lie around a car.
    """

    place: np.ndarray
    yaw: np.ndarray
    lines: np.ndarray
    bandwidth: tuple[float, float, float]
    reach: tuple[float, float]
    around: bool = False

    @staticmethod
    def learn(
        labels: TrainingLabels,
        name: str,
        reach: tuple[float, float],
        bandwidth: tuple[float, float, float],
        around: bool = False,
    ) -> LabelDensity:
        """The density of a class within some depths.

        Raises:
            InputError: no box of the class is labelled there.
        """
        place = labels.boxes.center[:, [0, 2]]
        far = np.linalg.norm(place, axis=1) if around else place[:, 1]
        rows = np.flatnonzero((labels.names == name) & (far >= reach[0]) & (far <= reach[1]))
        if not len(rows):
            known = int((labels.names == name).sum())
            raise InputError(
                f"placement.position labels: {known} {name} labelled in {labels.frames} training frames, none between "
                f"{reach[0]:g} and {reach[1]:g} m, expected some; set placement.position to uniform_bev, or widen "
                "placement.depth"
            )
        lines = np.full(len(rows), np.nan)
        vehicle = np.isin(labels.names, VEHICLES)
        for frame in np.unique(labels.frame[rows]):
            mine = np.flatnonzero(labels.frame[rows] == frame)
            others = np.flatnonzero(vehicle & (labels.frame == frame))
            lines[mine] = nearest_lines(place[rows[mine]], labels.boxes[others], rows[mine][:, None] == others)
        return LabelDensity(place[rows], labels.boxes.yaw[rows], lines, bandwidth, reach, around)

    def draw(self, rng: np.random.Generator, count: int, vehicles: Boxes3D) -> tuple[np.ndarray, np.ndarray]:
        """Places (count, 2) x, z and yaws (count,) in a frame.

        Args:
            rng: of the draw.
            count: how many.
            vehicles: labelled vehicles of the frame, whose headings those of the draws follow.
        """
        chosen = rng.integers(len(self.place), size=count)
        noise = rng.normal(size=(count, 3)) * self.bandwidth
        place = self._reflected(self.place[chosen] + noise[:, :2])
        turn = nearest_lines(place, vehicles) - self.lines[chosen]
        turn = np.where(np.isfinite(turn), lines_of(turn + FORWARD), 0.0)  # lines differ by at most half a right angle
        return place, wrap_angle(self.yaw[chosen] + turn + noise[:, 2])

    def _reflected(self, place: np.ndarray) -> np.ndarray:
        near, far = self.reach
        depth = np.linalg.norm(place, axis=1) if self.around else place[:, 1]
        inside = np.clip(
            np.where(depth < near, 2 * near - depth, np.where(depth > far, 2 * far - depth, depth)), near, far
        )
        if self.around:
            return np.asarray(place * (inside / np.maximum(depth, 1e-6))[:, None])
        return np.column_stack([place[:, 0], inside])


def lines_of(yaw: np.ndarray) -> np.ndarray:
    """(...) turn of a road's lines against straight ahead, by a yaw along or across it, in [-pi/4, pi/4)."""
    return np.asarray((yaw - FORWARD + np.pi / 4) % (np.pi / 2) - np.pi / 4)


def nearest_lines(place: np.ndarray, vehicles: Boxes3D, same: np.ndarray | None = None) -> np.ndarray:
    """(N,) :func:`lines_of` the vehicle nearest to each place (N, 2) x, z; NaN where none is within :data:`REACH`.

    Args:
        place: metres.
        vehicles: M labelled vehicles.
        same: (N, M) bool, pairs that are one and the same object.
    """
    if not len(vehicles):
        return np.full(len(place), np.nan)
    distance = np.linalg.norm(place[:, None] - vehicles.center[None][..., [0, 2]], axis=-1)
    if same is not None:
        distance = np.where(same, np.inf, distance)
    nearest = distance.argmin(1)
    lines = lines_of(vehicles.yaw)[nearest]
    return np.where(distance[np.arange(len(place)), nearest] <= REACH, lines, np.nan)
