"""Cameras that go around a scene: a projection of its cube before and after a turn of the cube."""

from __future__ import annotations

import torch
from torch import Tensor


def turns(yaw: Tensor, pitch: Tensor) -> Tensor:
    """Rotations (B, 3, 3) float64 of the cube: by ``yaw`` (B,) about its vertical axis, then ``pitch`` (B,) about the
    camera's x axis, radians. Zeros change nothing.
    """
    one, zero = torch.ones_like(yaw, dtype=torch.float64), torch.zeros_like(yaw, dtype=torch.float64)
    a, b = yaw.double(), pitch.double()
    about_y = torch.stack([a.cos(), zero, a.sin(), zero, one, zero, -a.sin(), zero, a.cos()], -1).view(-1, 3, 3)
    about_x = torch.stack([one, zero, zero, zero, b.cos(), -b.sin(), zero, b.sin(), b.cos()], -1).view(-1, 3, 3)
    return about_x @ about_y


def orbited(projection: Tensor, yaw: Tensor, pitch: Tensor) -> Tensor:
    """Projections (B, 3, 4) of cameras that went around the cube's middle, as far away as ``projection`` (B, 3, 4)."""
    turned = projection[..., :3].double() @ turns(yaw, pitch)
    return torch.cat([turned, projection[..., 3:].double()], -1)


def within(projection: Tensor, frame: Tensor) -> Tensor:
    """Projections (..., 3, 4) of a cube, given those of a box that ``frame`` (..., 4, 4) places in the cube."""
    return projection.double() @ torch.linalg.inv(frame.double())
