"""A network of two seconds' size."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from lit.networks.pix2pix3d.generator import Pix2Pix3DGenerator
from lit.rendering.camera_march import CameraMarch

SIZES: dict[str, Any] = {"resolution": 16, "render_size": 8, "z_dim": 8, "w_dim": 12, "geometry_rows": 4}
SIZES |= {"plane_resolution": 16, "plane_channels": 8, "channel_base": 128, "channel_max": 16, "encoder_base": 128}
SIZES |= {"encoder_max": 16, "features": 8, "upsampler_size": 8, "upsampler_widths": (12, 8), "box": 1.6}


def small(labels: str = "segmentation", **changes: Any) -> Pix2Pix3DGenerator:
    """The same weights at every call."""
    torch.manual_seed(0)
    kind: dict[str, Any] = {"labels": labels, "classes": 1 if labels == "edges" else 4}
    return Pix2Pix3DGenerator(CameraMarch(0.7, 2.7, 6, 6, True), **{**SIZES, **kind, **changes})


def label_maps(labels: str, count: int = 2) -> Tensor:
    """Random maps of the small network's size."""
    draw = torch.Generator().manual_seed(1)
    if labels == "edges":
        return torch.rand(count, 1, 16, 16, generator=draw) * 2 - 1
    return torch.randint(4, (count, 16, 16), generator=draw)


def ring(angles: Tensor, radius: float = 1.7, focal: float = 1.7) -> Tensor:
    """Cameras (B, 25) on a level circle that look at the origin, the first along -z from (0, 0, radius)."""
    sine, cosine, zero, one = angles.sin(), angles.cos(), torch.zeros_like(angles), torch.ones_like(angles)
    right, down, ahead = [cosine, zero, -sine], [zero, -one, zero], [-sine, zero, -cosine]
    columns = [right, down, ahead, [radius * sine, zero, radius * cosine]]
    rows = [column[axis] for axis in range(3) for column in columns]
    rows += [zero, zero, zero, one, focal * one, zero, one / 2, zero, focal * one, one / 2, zero, zero, one]
    return torch.stack(rows, 1)


def around(count: int) -> Tensor:
    """Cameras evenly around."""
    return ring(torch.arange(count) * (2 * math.pi / count))
