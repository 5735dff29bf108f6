"""Rays of a canonical projection, and where they cross the object's cube.

Everything happens in the object's canonical frame, where it fills [-1, 1]^3 (see :mod:`datamodules.geometry`). Lengths
and densities are measured there, so an object keeps its opacity whatever its size in metres; only depth is metric.
"""

from __future__ import annotations

import torch
from torch import Tensor

from datamodules.geometry import NEAR


def projection_rays(projection: Tensor, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Rays in the canonical frame: origins (..., R, 3) and directions (..., R, 3), one metre of depth a unit.

    Args:
        projection: (..., 3, 4) canonical cube to pixels (:func:`datamodules.geometry.canonical_projection`).
        pixels: (..., R, 2) u, v.
    """
    inverse = torch.linalg.inv(projection[..., :3].double())
    origin = -(inverse @ projection[..., 3:].double())[..., 0]
    homogeneous = torch.cat([pixels, torch.ones_like(pixels[..., :1])], -1).double()
    directions = homogeneous @ inverse.transpose(-1, -2)
    return origin.unsqueeze(-2).expand_as(directions).float(), directions.float()


def image_pixels(
    height: int, width: int, device: torch.device | None = None, corner: tuple[int, int] = (0, 0)
) -> Tensor:
    """(H * W, 2) pixel centres u, v in row order; the top-left one is ``corner``."""
    v, u = torch.meshgrid(torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij")
    return torch.stack([u + corner[0], v + corner[1]], -1).reshape(-1, 2).float()


def clip_to_cube(origins: Tensor, directions: Tensor, half: float | Tensor = 1.0) -> tuple[Tensor, Tensor]:
    """Entry and exit (...) of rays (..., 3) through the box of half-size ``half``, a number or (3,), in units of depth;
    exit <= entry where they miss it.
    """
    safe = torch.where(directions.abs() < 1e-9, torch.full_like(directions, 1e-9), directions)
    first, second = (-half - origins) / safe, (half - origins) / safe
    near = torch.minimum(first, second).amax(-1).clamp_min(NEAR)
    return near, torch.maximum(first, second).amin(-1)
