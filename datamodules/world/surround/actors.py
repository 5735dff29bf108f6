"""Actors of a surround scene: what is annotated, how it moves along the road, and who may be where.

Frame: the scene's, x right, y down, z along the road at its start, metres.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from datamodules.rotated_iou import rectangle_intersection
from datamodules.shapes.meshes import CarMesh
from datamodules.world.road_layout import Road, footprint

PERIOD = 0.5  # seconds between samples
EGO_DIMS = np.array([4.1, 1.6, 1.75])  # length, height, width of the car that carries the cameras, metres
AXLE_TO_MIDDLE = 1.25  # metres from its rear axle to its middle


@dataclass(frozen=True)
class Actor:
    """One annotated object and its motion in road coordinates.

    Attributes:
        thing: what is drawn.
        name: detection class ("construction_vehicle").
        attribute: nuScenes attribute ("vehicle.parked"), "" for none.
        lateral: metres right of the centre line at time 0.
        start: depth z (m) abreast of which it is at time 0.
        speed: m/s along the road, negative against z.
        cross: m/s to the right across the road; only where ``speed`` is 0.
        turn: heading against the road's direction (towards +z), radians about y (down).
    """

    thing: CarMesh
    name: str
    attribute: str
    lateral: float
    start: float
    speed: float = 0.0
    cross: float = 0.0
    turn: float = 0.0


@dataclass(frozen=True)
class Course:
    """A road measured by length of way, so that things move along it at true speeds."""

    road: Road

    @cached_property
    def _table(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Depth, length of the centre line from the table's start, and direction, every half metre."""
        z = np.arange(-450.0, 900.0, 0.5)
        rate = np.sqrt(1 + (np.tan(self.road.heading) + self.road.bend * z) ** 2)
        return z, np.concatenate([[0.0], np.cumsum((rate[1:] + rate[:-1]) / 4)]), self.road.angle(z)

    def pose(self, actor: Actor, time: float) -> tuple[float, float, float]:
        """x, z and yaw of an actor at a time (s)."""
        return self.along(actor.lateral + actor.cross * time, actor.start, actor.speed * time, actor.turn)

    def along(self, lateral: float, start: float, distance: float, turn: float = 0.0) -> tuple[float, float, float]:
        """x, z and yaw after ``distance`` metres at a lateral position, from abreast of depth ``start``."""
        z, length, angle = self._table
        way = length - lateral * angle  # the inside of a bend is shorter
        x, zz, yaw = self.road.at(lateral, float(np.interp(np.interp(start, z, way) + distance, way, z)))
        return x, zz, yaw + turn

    def velocity(self, actor: Actor, time: float) -> np.ndarray:
        """(2,) velocity x, z of an actor at a time, m/s."""
        _, _, yaw = self.pose(replace(actor, turn=0.0), time)
        along, right = np.array([np.cos(yaw), -np.sin(yaw)]), np.array([-np.sin(yaw), -np.cos(yaw)])
        return actor.speed * along + actor.cross * right


class Cast:
    """Collects actors that at no time touch each other or the carrying car.

    Attributes:
        rng: the scene's generator.
        course: the road.
        travel: metres the carrying car drives.
        actors: those accepted so far.
    """

    def __init__(self, rng: np.random.Generator, course: Course, ego: Actor, samples: int) -> None:
        self.rng, self.course = rng, course
        self.times = np.arange(2 * samples - 1) * PERIOD / 2
        self.travel = ego.speed * float(self.times[-1])
        self.actors: list[Actor] = []
        middle = self._poses(ego) + 0.0
        middle[:, 0] += AXLE_TO_MIDDLE * np.cos(middle[:, 2])
        middle[:, 1] -= AXLE_TO_MIDDLE * np.sin(middle[:, 2])
        self._taken = [(middle, EGO_DIMS + np.array([2.0, 0, 0.3]))]  # room, so that nothing fills a whole picture

    def _poses(self, actor: Actor) -> np.ndarray:
        return np.array([self.course.pose(actor, float(time)) for time in self.times])

    def put(self, actor: Actor, gap: float = 0.2) -> bool:
        """Accept an actor unless it would come nearer than twice ``gap`` metres to another one."""
        poses, dims = self._poses(actor), actor.thing.dims
        reach = np.hypot(dims[0], dims[2]) / 2 + 2 * gap
        for others, size in self._taken:
            close = np.hypot(*(poses - others)[:, :2].T) < reach + np.hypot(size[0], size[2]) / 2
            for (x, z, yaw), (ox, oz, oyaw) in zip(poses[close], others[close]):
                own, other = footprint(x, z, yaw, dims, gap), footprint(ox, oz, oyaw, size, gap)
                if rectangle_intersection(*own, *other) > 0:
                    return False
        self.actors.append(actor)
        self._taken.append((poses, dims))
        return True
