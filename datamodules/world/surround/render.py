"""Draws a sample of a surround scene through the six cameras."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datamodules.geometry import Camera
from datamodules.randomness import derive
from datamodules.world.road_render import DrawnStreet, assemble, draw_stage
from datamodules.world.surround.actors import PERIOD
from datamodules.world.surround.layout import SurroundScene
from datamodules.world.surround.rig import MOUNTS, Mount, scene_camera

LIDAR_CELL = np.deg2rad(0.33) * np.deg2rad(1.33)  # solid angle (sr) of one return of a 32-beam scanner at 20 Hz


@dataclass(frozen=True)
class DrawnCamera:
    """One camera's part of a sample.

    Attributes:
        mount: which camera.
        time: when it is read, seconds from the scene's start.
        camera: scene frame to pixels.
        drawn: what it saw; its objects are the scene's actors.
    """

    mount: Mount
    time: float
    camera: Camera
    drawn: DrawnStreet


def draw_sample(scene: SurroundScene, sample: int, seed: int, width: int, height: int) -> list[DrawnCamera]:
    """Draw the six views of a sample, in the order of :data:`datamodules.world.surround.rig.MOUNTS`.

    The actors stand where they are at the sample's time in all views, so that annotations fit the images exactly; the
    cameras are where the car is when each of them is read.

    Args:
        scene: the scene.
        sample: its index in the scene.
        seed: the world's seed, for the sensors' noise.
        width, height: image size, pixels.
    """
    time = sample * PERIOD
    reads = [time + mount.delay * 1e-6 for mount in MOUNTS]
    cameras = [
        scene_camera(mount, scene.ego_matrix(read), scene.place, width, height) for mount, read in zip(MOUNTS, reads)
    ]
    stage = assemble(scene.frozen(time, cameras[0]), around=True)
    views = []
    for mount, read, camera in zip(MOUNTS, reads, cameras):
        noise = derive(seed, "sensor", scene.name, sample, mount.channel)
        views.append(DrawnCamera(mount, read, camera, draw_stage(stage, camera, noise)))
    return views


def visible_share(views: list[DrawnCamera]) -> np.ndarray:
    """(N,) share of each actor's silhouette, summed over all views, that nothing hides; 0 where no view has any."""
    seen, whole = (np.sum([getattr(view.drawn, key) for view in views], axis=0) for key in ("pixels", "covered"))
    return np.minimum(seen / np.maximum(whole, 1e-9), 1.0)


def lidar_points(views: list[DrawnCamera], rng: np.random.Generator) -> np.ndarray:
    """(N,) int64 stand-in for lidar returns, which the world does not measure.

    As many as a 32-beam scanner would get from the solid angle that the best view shows, give or take a few (Poisson);
    0 exactly where no camera sees anything of the actor.
    """
    angle = np.max([view.drawn.pixels / _focal(view.camera) ** 2 for view in views], axis=0)
    points = rng.poisson(angle / LIDAR_CELL)
    return np.where(angle > 0, np.maximum(points, 1), 0).astype(np.int64)


def _focal(camera: Camera) -> float:
    """Geometric mean of a camera's focal lengths, pixels, however it is turned."""
    across, down, axis = camera.projection[:, :3]  # intrinsics times a rotation: the third row is a unit vector
    return float(np.sqrt(np.linalg.norm(np.cross(across, axis)) * np.linalg.norm(np.cross(down, axis))))
