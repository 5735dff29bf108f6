r"""What lies around a car: the six cameras of one moment in one frame, and its boxes, through a whole scene.

A car that drives past a parked one, at two moments of a scene (seen from above, z ahead of the car)::

     moment 0              moment 1
    +---+
    |box|                             a frame's Surround: all moments of its scene, and which is its own
    +---+  \ | /                      a Moment: boxes and cameras in the ego frame of that moment
          - ego -       +---+ \ | /   a SurroundCamera: from the ego frame to pixels, and its road mask
           / | \        |box|- ego -
                        +---+ / | \

The ego frame is level: origin on the ground under the car, x right, y down, z forward, metres. Boxes3D, planes and
cameras work in it as they do in a camera frame, except that things may lie behind. It goes with the car: ``ego`` leads
to the global frame, and by way of that :func:`moved` brings boxes from one moment, or one camera, to another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from datamodules.geometry import Boxes3D, Camera, wrap_angle
from datamodules.images import read_image


@dataclass(frozen=True)
class SurroundCamera:
    """One camera of a moment.

    Attributes:
        channel: its name.
        camera: ego frame to pixels.
        road: file of its road mask, or None.
    """

    channel: str
    camera: Camera
    road: Path | None


@dataclass(frozen=True)
class Moment:
    """One sample in its own ego frame.

    Attributes:
        token: sample token.
        ego: (4, 4) ego frame to global frame.
        boxes: N annotated boxes.
        names: (N,) str class names.
        cameras: the cameras.
    """

    token: str
    ego: np.ndarray
    boxes: Boxes3D
    names: np.ndarray
    cameras: tuple[SurroundCamera, ...]


@dataclass(frozen=True)
class InstanceFile:
    """A picture's instance mask on disk, read only when something is drawn into the picture.

    Attributes:
        path: PNG with 1 + the number of the sample's annotation that covers a pixel.
        rows: (N,) the numbers of the picture's own objects.
    """

    path: Path
    rows: np.ndarray

    def read(self) -> np.ndarray:
        """(H, W) uint8, 1 + row among the picture's own objects, 0 elsewhere."""
        number = np.zeros(256, np.uint8)
        number[1 + self.rows] = 1 + np.arange(len(self.rows))
        return number[read_image(self.path, -1)]


@dataclass(frozen=True)
class Surround:
    """A moment and the scene it belongs to.

    Attributes:
        scene: the scene's moments, in time; some sequences make each where it is looked at.
        now: index of the frame's own moment.
        instances: where the frame's instance mask lies, or None.
    """

    scene: Sequence[Moment]
    now: int
    instances: InstanceFile | None = None

    @cached_property
    def moment(self) -> Moment:
        """The frame's own moment."""
        return self.scene[self.now]


def moved(boxes: Boxes3D, pose: np.ndarray) -> Boxes3D:
    """Boxes of one level frame in another with the same vertical.

    Args:
        boxes: N boxes.
        pose: (4, 4) first frame to second frame; turns about y only.
    """
    turn = np.arctan2(pose[0, 2], pose[0, 0])
    return Boxes3D(boxes.center @ pose[:3, :3].T + pose[:3, 3], boxes.dims, wrap_angle(boxes.yaw + turn))
