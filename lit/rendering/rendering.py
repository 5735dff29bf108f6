"""Volume rendering of object fields: rays of a canonical projection, box-clipped samples, tri-plane lookup,
integration, baking.

Everything happens in the object's canonical cube [-1, 1]^3 (see :mod:`datamodules.geometry`). Step lengths and
densities are measured there, so an object keeps its opacity whatever its size in metres; only depth is metric.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from datamodules.geometry import NEAR
from lit.networks.fields.siren import FieldValues

Field = Callable[[Tensor], FieldValues]
"""A field of B objects: points (B, P, 3) in the canonical cube to their values."""

PLANE_AXES = ((0, 1), (0, 2), (1, 2))


class Rendering(NamedTuple):
    """Rendered rays.

    Attributes:
        rgb: (B, R, 3) premultiplied colour, the sum of w_i c_i.
        opacity: (B, R) the sum of w_i.
        depth: (B, R) metres, mean over the weights; 0 where the opacity is 0.
        parts: (B, R, K) weighted part logits, or None.
    """

    rgb: Tensor
    opacity: Tensor
    depth: Tensor
    parts: Tensor | None = None


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


def image_pixels(height: int, width: int, device: torch.device | None = None) -> Tensor:
    """(H * W, 2) pixel centres u, v in row order; the top-left one is (0, 0)."""
    v, u = torch.meshgrid(torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij")
    return torch.stack([u, v], -1).reshape(-1, 2).float()


def clip_to_cube(origins: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """Entry and exit (...) of rays (..., 3) through [-1, 1]^3 in metres of depth; exit <= entry where they miss it."""
    safe = torch.where(directions.abs() < 1e-9, torch.full_like(directions, 1e-9), directions)
    first, second = (-1.0 - origins) / safe, (1.0 - origins) / safe
    near = torch.minimum(first, second).amax(-1).clamp_min(NEAR)
    return near, torch.maximum(first, second).amin(-1)


def stratified(near: Tensor, far: Tensor, count: int, jitter: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Depths (..., S) of one sample in each of S equal bins between near and far (...), and the bins' width (...).

    Args:
        jitter: place within the bins in [0, 1): (..., S) independent, or (S,) shared by all rays as Lift3D's code has
            it; None takes the middles.
    """
    width = (far - near).clamp_min(0) / count
    place = torch.arange(count, device=near.device, dtype=near.dtype) + (0.5 if jitter is None else jitter)
    return near.unsqueeze(-1) + width.unsqueeze(-1) * place, width


def integration_weights(density: Tensor, step: Tensor) -> Tensor:
    """Weights ``w_i = (1 - exp(-s_i d)) prod_{j<i} exp(-s_j d)`` (..., S) of densities s (..., S), steps d (...)."""
    optical = density * step.unsqueeze(-1)
    before = torch.cumsum(optical, -1) - optical
    return torch.exp(-before) * -torch.expm1(-optical)


def lookup(planes: Tensor, points: Tensor, reduce: str = "mean") -> Tensor:
    """Features (B, C, P) of points (B, P, 3) in planes (B, 3, C, R, R): bilinear, zero outside, mean or sum over
    planes.

    Plane (a, b) stores coordinate a along its columns and b along its rows.
    """
    batch, _, channels, size, _ = planes.shape
    grid = torch.stack([points[..., axes] for axes in PLANE_AXES], 1).reshape(batch * 3, 1, -1, 2)
    sampled = F.grid_sample(planes.reshape(batch * 3, channels, size, size), grid, align_corners=False)
    features = sampled.view(batch, 3, channels, -1).sum(1)
    return features if reduce == "sum" else features * (1.0 / 3.0)


def render_rays(
    field: Field, origins: Tensor, directions: Tensor, samples: int, jitter: Tensor | None = None
) -> Rendering:
    """Render rays (B, R, 3) of B objects. Rays that miss the cube come out empty.

    Args:
        samples: samples between each ray's entry into and exit from the cube; no second pass.
        jitter: see :func:`stratified`.
    """
    near, far = clip_to_cube(origins, directions)
    depths, width = stratified(near, far, samples, jitter)
    points = origins.unsqueeze(-2) + directions.unsqueeze(-2) * depths.unsqueeze(-1)
    values = field(points.flatten(1, 2))
    density = values.density.unflatten(1, depths.shape[1:])
    weights = integration_weights(density, width * directions.norm(dim=-1))
    rgb = (values.rgb.unflatten(2, depths.shape[1:]) * weights.unsqueeze(1)).sum(-1).transpose(1, 2)
    parts = None
    if values.parts is not None:
        parts = (values.parts.unflatten(2, depths.shape[1:]) * weights.unsqueeze(1)).sum(-1).transpose(1, 2)
    opacity = weights.sum(-1)
    depth = (weights * depths).sum(-1) / opacity.clamp_min(1e-6)
    return Rendering(rgb, opacity, torch.where(opacity > 1e-6, depth, torch.zeros_like(depth)), parts)


@torch.no_grad()
def render_image(
    field: Field, projection: Tensor, height: int, width: int, samples: int = 64, chunk: int = 1 << 19
) -> tuple[Tensor, Tensor]:
    """Render one object whole: premultiplied RGBA (H, W, 4) in [0, 1] and depth (H, W) in metres.

    Only rays that meet the cube are evaluated.

    Args:
        field: a field of one object (B = 1).
        projection: (3, 4) canonical cube to pixels.
        chunk: points evaluated at once; bounds the memory.
    """
    origins, directions = projection_rays(projection, image_pixels(height, width, projection.device))
    near, far = clip_to_cube(origins, directions)
    rgba = origins.new_zeros(height * width, 4)
    depth = origins.new_zeros(height * width)
    for rays in torch.nonzero(far > near)[:, 0].split(max(1, chunk // samples)):
        out = render_rays(field, origins[None, rays], directions[None, rays], samples)
        rgba[rays] = torch.cat([out.rgb[0], out.opacity[0, :, None]], -1)
        depth[rays] = out.depth[0]
    return rgba.view(height, width, 4), depth.view(height, width)
