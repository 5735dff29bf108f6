"""A street all around a driving car: course, light, scenery, and actors whose motion is known at every time.

Frames as in :mod:`datamodules.world.surround.rig`. Everything that moves keeps a constant speed along the road (or
across it), so the velocity of an actor is exact. Traffic keeps right.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from datamodules.geometry import Boxes3D, Camera, wrap_angle
from datamodules.light import Light
from datamodules.nuscenes.quaternions import angles_quaternion, rigid
from datamodules.randomness import derive
from datamodules.shapes.meshes import CarMesh
from datamodules.shapes.primitives import Mesh
from datamodules.world.road_layout import Builder, Road, RoadScene, draw_light, draw_road, roadside
from datamodules.world.surround.actors import EGO_DIMS, PERIOD, Actor, Cast, Course
from datamodules.world.surround.rig import Place
from datamodules.world.surround.traffic import AHEAD, BEHIND, fill_street

MAX_SAMPLES = 40  # 20 s, as long as nuScenes' scenes
GROUND = np.array([0.0, -1.0, 0.0, 0.0])
SCENERY = 55.0  # metres of houses beyond the stretch with things on it


@dataclass(frozen=True)
class SurroundScene:
    """One scene.

    Attributes:
        name: scene name.
        course: the road.
        light: illumination, sun in the scene's frame.
        static: scenery.
        actors: objects, in the order of their indices.
        ego: the carrying car as an actor, of whom only the motion counts.
        sway: amplitude (rad) and phase of the car's (pitch, roll), (2, 2).
        place: where the scene lies in the global frame.
        blur, noise, balance: as in :class:`datamodules.world.road_layout.RoadScene`.
    """

    name: str
    course: Course
    light: Light
    static: Mesh
    actors: tuple[Actor, ...]
    ego: Actor
    sway: np.ndarray
    place: Place
    blur: float
    noise: float
    balance: np.ndarray

    def ego_pose(self, time: float) -> tuple[np.ndarray, np.ndarray]:
        """Global translation (3,) of the car's rear axle on the ground, and its quaternion (4,), at a time (s)."""
        x, z, yaw = self.course.pose(self.ego, time)
        pitch, roll = self.sway[:, 0] * np.sin(2 * np.pi * np.array([1.3, 0.9]) * time + self.sway[:, 1])
        position = self.place.matrix @ np.array([x, 0.0, z, 1.0])
        return position[:3] + 0.0, angles_quaternion(self.place.yaw(yaw), float(pitch), float(roll))

    def ego_matrix(self, time: float) -> np.ndarray:
        """(4, 4) car to global."""
        translation, rotation = self.ego_pose(time)
        return rigid(rotation, translation)

    def boxes(self, time: float) -> Boxes3D:
        """Boxes of all actors in the scene's frame."""
        pose = np.array([self.course.pose(actor, time) for actor in self.actors]).reshape(-1, 3)
        center = np.column_stack([pose[:, 0], np.zeros(len(pose)), pose[:, 1]])
        return Boxes3D(center, np.array([a.thing.dims for a in self.actors]).reshape(-1, 3), wrap_angle(pose[:, 2]))

    @property
    def drivable(self) -> np.ndarray:
        """(N, 2) global x and y, metres, of the street's outline, from kerb to kerb along the longest drive."""
        road, longest = self.course.road, self.ego.speed * PERIOD * MAX_SAMPLES
        z = np.arange(-BEHIND - SCENERY, longest + AHEAD + SCENERY, 4.0)
        left, right = (np.array([road.at(edge, float(depth))[:2] for depth in z]) for edge in road.edges)
        x, depth = np.concatenate([left, right[::-1]]).T
        points = np.stack([x, np.zeros_like(x), depth, np.ones_like(x)])
        return np.asarray((self.place.matrix @ points)[:2].T)

    def frozen(self, time: float, camera: Camera) -> RoadScene:
        """The scene at a time (s), for the renderer, seen by ``camera``."""
        things = tuple(actor.thing for actor in self.actors)
        return RoadScene(
            camera,
            GROUND,
            self.course.road,
            self.light,
            things,
            self.boxes(time),
            self.static,
            self.blur,
            self.noise,
            self.balance,
        )


def draw_course(rng: np.random.Generator) -> Road:
    """A near-straight street with parking strips wide enough for trucks, and pavements."""
    pavement = rng.uniform(1.8, 3.2, 2)
    strips = rng.uniform(2.6, 2.9, 2)
    return replace(
        draw_road(rng),
        offset=0.0,
        heading=float(rng.normal(0, 0.02)),
        bend=float(np.clip(rng.normal(0, 0.0006), -0.0012, 0.0012)),
        lane=float(rng.uniform(3.4, 3.9)),
        parking=(float(strips[0]), float(strips[1])),
        pavement=(float(pavement[0]), float(pavement[1])),
    )


@lru_cache(maxsize=2)
def draw_surround(seed: int, name: str, population: str, samples: int) -> SurroundScene:
    """Draw one scene.

    Args:
        seed: the world's seed.
        name: scene name, which with the seed decides everything.
        population: whose cars are used, "train" or "val".
        samples: how long it runs, at 2 Hz.
    """
    rng = derive(seed, "surround", name)
    course, light = Course(draw_course(rng)), draw_light(rng)
    body = CarMesh("ego", "Car", EGO_DIMS, Mesh(*[np.zeros(0)] * 5), "ego")
    ego = Actor(body, "car", "vehicle.moving", course.road.lane / 2, 0.0, float(rng.uniform(4.0, 9.0)))
    cast = Cast(rng, course, ego, samples)
    fill_street(cast, population, seed)
    scenery = Builder(rng, course.road, GROUND)
    first, last = -BEHIND - SCENERY, cast.travel + AHEAD + SCENERY
    roadside(scenery, (first, first + 8), last, (-BEHIND, cast.travel + AHEAD), (BEHIND + AHEAD + cast.travel) / 53)
    sway = np.column_stack([rng.uniform(0.0005, 0.003, 2), rng.uniform(0, 2 * np.pi, 2)])
    place = Place(float(rng.uniform(-np.pi, np.pi)), float(rng.uniform(300, 1500)), float(rng.uniform(300, 1500)))
    return SurroundScene(
        name,
        course,
        light,
        Mesh.concatenate(scenery.static),
        tuple(cast.actors),
        ego,
        sway,
        place,
        float(rng.uniform(0.25, 0.5)),
        float(rng.uniform(0.006, 0.016)),
        np.clip(1 + rng.normal(0, 0.025, 3), 0.9, 1.1),
    )
