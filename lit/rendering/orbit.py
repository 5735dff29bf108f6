"""Cameras that look at an object from around it, as labels of 25 numbers, and the ways that films take over them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from datamodules.errors import InputError

Way = Literal["turn", "swing"]
HIGHEST = math.radians(89.0)  # straight from above there is no telling which way is up
LIFT = 0.05  # radians that the released films look down from, on average


@dataclass(frozen=True)
class Orbit:
    """Where cameras around an object stand; the world has y up.

    Attributes:
        radius: distance from the pivot, in the field's unit.
        focal: focal length in image sides.
        pivot: point that is looked at.
        yaw: radians to either side that the released films swing.
        pitch: radians up and down.
        level: elevation of a turn, radians.
    """

    radius: float
    focal: float
    pivot: tuple[float, float, float] = (0.0, 0.0, 0.0)
    yaw: float = math.pi
    pitch: float = math.pi / 2
    level: float = 0.25

    def camera(self, yaw: float, pitch: float) -> Tensor:
        """The camera (25,) float32 at a yaw and an elevation in radians.

        At yaw 0 it stands on +z, at a quarter turn on +x. Elevations end 1 degree before the poles.
        """
        pitch = min(max(pitch, -HIGHEST), HIGHEST)
        outward = torch.tensor(
            [math.cos(pitch) * math.sin(yaw), math.sin(pitch), math.cos(pitch) * math.cos(yaw)], dtype=torch.float64
        )
        right = torch.tensor([math.cos(yaw), 0.0, -math.sin(yaw)], dtype=torch.float64)
        pose = torch.eye(4, dtype=torch.float64)
        pose[:3, 0], pose[:3, 1], pose[:3, 2] = right, torch.linalg.cross(-outward, right), -outward
        pose[:3, 3] = torch.tensor(self.pivot, dtype=torch.float64) + self.radius * outward
        intrinsics = torch.tensor([self.focal, 0, 0.5, 0, self.focal, 0.5, 0, 0, 1], dtype=torch.float64)
        return torch.cat([pose.flatten(), intrinsics]).float()

    def cameras(self, count: int, way: Way = "turn") -> Tensor:
        """Cameras (count, 25) of a film that ends where it begins.

        "turn" goes once around at :attr:`level`. "swing" is the released films' ellipse: to either side by :attr:`yaw`
        while up and down by :attr:`pitch`.

        Raises:
            InputError: no pictures.
        """
        if count < 1:
            raise InputError(f"film of {count} pictures: expected at least 1")
        turns = [2 * math.pi * number / count for number in range(count)]
        if way == "turn":
            return torch.stack([self.camera(turn, self.level) for turn in turns])
        return torch.stack(
            [self.camera(self.yaw * math.sin(turn), LIFT - self.pitch * math.cos(turn)) for turn in turns]
        )


ORBITS = {
    "car": Orbit(1.7, 1.7074),
    "face": Orbit(2.7, 4.2647, (0.0, 0.0, 0.2), 0.35, 0.25, 0.0),
    "cat": Orbit(2.7, 4.2647, (0.0, 0.0, -0.06), 0.35, 0.25, 0.0),
}
"""By what pix2pix3D draws (its released scripts); EG3D's cars, which the studio's pictures follow."""
