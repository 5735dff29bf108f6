"""The six cameras of a nuScenes car, the car's frame, and the way from a drawn scene to global coordinates.

Frames: the scene's frame is the suite's (x right, y down, z along the road at the start, metres, ground at y = 0); the
global frame is nuScenes' (z up); the car's frame has x ahead, y left, z up and its origin on the ground below the rear
axle. Rotations in tables are quaternions (w, x, y, z).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datamodules.geometry import Camera
from datamodules.nuscenes.quaternions import rigid

IMAGE_SIZE = (1600, 900)


@dataclass(frozen=True)
class Mount:
    """How one sensor sits in the car; calibration of the log n015-2018-07-24-11-22-45+0800.

    Attributes:
        channel: nuScenes' name of the sensor.
        translation: position in the car's frame, metres.
        rotation: unit quaternion from the sensor's frame to the car's.
        focal: focal length at 1600 × 900, pixels; 0 for the lidar.
        centre: principal point at 1600 × 900, pixels.
        delay: when it is read, microseconds against the sample's time.
    """

    channel: str
    translation: tuple[float, float, float]
    rotation: tuple[float, float, float, float]
    focal: float
    centre: tuple[float, float]
    delay: int


MOUNTS = (
    Mount(
        "CAM_FRONT",
        (1.7008, 0.0159, 1.5110),
        (0.49980, -0.50303, 0.49978, -0.49737),
        1266.42,
        (816.27, 491.51),
        -35491,
    ),
    Mount(
        "CAM_FRONT_RIGHT",
        (1.5508, -0.4934, 1.4957),
        (0.20603, -0.20269, 0.68245, -0.67136),
        1260.85,
        (807.97, 495.33),
        -27612,
    ),
    Mount(
        "CAM_BACK_RIGHT",
        (1.0149, -0.4806, 1.5624),
        (0.12281, -0.13240, -0.70043, 0.69050),
        1259.51,
        (807.25, 501.20),
        -20058,
    ),
    Mount(
        "CAM_BACK",
        (0.0283, 0.0035, 1.5791),
        (0.50379, -0.49740, -0.49419, 0.50455),
        809.22,
        (829.22, 481.78),
        -10426,
    ),
    Mount(
        "CAM_BACK_LEFT",
        (1.0357, 0.4848, 1.5910),
        (0.69242, -0.70316, -0.11648, 0.11203),
        1256.74,
        (792.11, 492.78),
        -528,
    ),
    Mount(
        "CAM_FRONT_LEFT",
        (1.5239, 0.4946, 1.5093),
        (0.67573, -0.67363, 0.21214, -0.21123),
        1272.60,
        (826.62, 479.75),
        -43107,
    ),
)
LIDAR = Mount("LIDAR_TOP", (0.9437, 0.0, 1.8402), (0.70780, -0.00649, 0.01065, -0.70631), 0.0, (0.0, 0.0), 0)


def intrinsics(mount: Mount, width: int, height: int) -> np.ndarray:
    """(3, 3) intrinsics of a camera at an image size, pixel centres at integers."""
    (cx, cy), focal = mount.centre, mount.focal
    full = np.array([[focal, 0, cx, 0], [0, focal, cy, 0], [0, 0, 1, 0.0]])
    return Camera(full, *IMAGE_SIZE).resized(width, height).intrinsics


@dataclass(frozen=True)
class Place:
    """Where a scene's frame lies in the global frame.

    Attributes:
        heading: global yaw of the scene's z axis, radians.
        x, y: global position of the scene's origin, metres.
    """

    heading: float
    x: float
    y: float

    @property
    def matrix(self) -> np.ndarray:
        """(4, 4) scene to global."""
        c, s = np.cos(self.heading), np.sin(self.heading)
        return np.array([[s, 0, c, self.x], [-c, 0, s, self.y], [0, -1, 0, 0], [0, 0, 0, 1.0]])

    def yaw(self, yaw: float) -> float:
        """Global yaw (about z, up) of something at a yaw about the scene's y axis (down), radians in [-pi, pi)."""
        return float((self.heading - yaw - np.pi / 2 + np.pi) % (2 * np.pi) - np.pi)


def scene_camera(mount: Mount, ego: np.ndarray, place: Place, width: int, height: int) -> Camera:
    """The camera whose projection maps the scene's frame to pixels.

    Args:
        mount: how it sits in the car.
        ego: (4, 4) car to global when the camera is read.
        place: where the scene lies.
        width, height: image size, pixels.
    """
    sensor = ego @ rigid(mount.rotation, mount.translation)
    seen = np.linalg.inv(sensor) @ place.matrix
    return Camera(intrinsics(mount, width, height) @ seen[:3], width, height)
