"""The effective range of a placement: where in the training frames it finds room, said once a run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datamodules.assets.contract import LabelledFrames
from datamodules.errors import InputError
from datamodules.geometry import Boxes3D
from datamodules.injection.injection import Injection
from datamodules.randomness import derive
from datamodules.scene import Frame

FRAMES = 12  # looked at, evenly over the training set
ENDS = (5, 95)  # percent of the places between which the range lies


@dataclass(frozen=True)
class Reach:
    """Between which places 5 to 95 % of what can be placed stands.

    Attributes:
        x: metres to the right of the camera (of the car).
        z: metres ahead of it.
        places: free places found.
        frames: frames looked at.
        unmapped: those of them without a road mask.
    """

    x: tuple[float, float]
    z: tuple[float, float]
    places: int
    frames: int
    unmapped: int

    def __str__(self) -> str:
        (left, right), (near, far) = self.x, self.z
        ends = f"{ENDS[0]} to {ENDS[1]} % of {self.places} free places in {self.frames} frames"
        ground = f", {self.unmapped} of them without a road mask" if self.unmapped else ""
        return f"placement: x {left:.1f} to {right:.1f} m, z {near:.1f} to {far:.1f} m ({ends}{ground})"


def effective_range(injection: Injection, frames: LabelledFrames, most: int = FRAMES) -> Reach | None:
    """Look for free places in some training frames; None where nothing could be looked at or found.

    Args:
        injection: bound to the frames.
        frames: of the training.
        most: frames to look at.
    """
    boxes, looked, unmapped = [], 0, 0
    for index in np.unique(np.linspace(0, len(frames) - 1, min(most, len(frames))).astype(int)).tolist():
        try:
            frame = frames.read(index)
        except InputError:  # training meets it, too, and says so
            continue
        sites, occupied = injection.ground(frame)
        boxes.append(injection.placement.free_boxes(sites, occupied, derive(0, index, "reach")))
        looked, unmapped = looked + 1, unmapped + (not has_road(frame))
    places = Boxes3D.concatenate(boxes)
    if not len(places):
        return None
    x, z = (tuple(np.percentile(places.center[:, axis], ENDS).tolist()) for axis in (0, 2))
    return Reach((x[0], x[1]), (z[0], z[1]), len(places), looked, unmapped)


def has_road(frame: Frame) -> bool:
    """Whether a road mask of the frame, or of one of the cameras around its car, is known."""
    if frame.surround is None:
        return frame.road is not None
    return any(camera.road is not None for camera in frame.surround.moment.cameras)
