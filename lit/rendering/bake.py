"""Baking a tri-plane field to a voxel grid, the form in which assets are stored and drawn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from datamodules.assets.voxel_assets import OPACITY_STEP
from lit.networks.fields.siren import FieldValues
from lit.rendering.rendering import PLANE_AXES

Decoder = Callable[[Tensor, Tensor], FieldValues]
"""Features (B, C, P) and styles (B, w_dim) to field values."""


def voxel_centers(count: int, device: torch.device | None = None) -> Tensor:
    """(count,) centres ``-1 + (2 i + 1) / count`` of the voxels along one axis of the canonical cube."""
    return (2 * torch.arange(count, device=device) + 1) / count - 1


def grid_features(planes: Tensor, shape: tuple[int, int, int], reduce: str = "mean") -> Tensor:
    """Features (C, X, Y, Z) at the voxel centres of one object's planes (3, C, R, R).

    Each plane is resampled once in two dimensions and the three are added by broadcasting: equal to looking up every
    voxel (:func:`lit.rendering.rendering.lookup`) at a small part of the cost.
    """
    resampled = []
    for plane, (a, b) in zip(planes, PLANE_AXES):
        u, v = voxel_centers(shape[a], planes.device), voxel_centers(shape[b], planes.device)
        grid = torch.stack(torch.meshgrid(u, v, indexing="ij"), -1)[None]
        resampled.append(F.grid_sample(plane[None], grid, align_corners=False)[0])  # C a b
    xy, xz, yz = resampled
    features = xy[:, :, :, None] + xz[:, :, None, :] + yz[:, None, :, :]
    return features if reduce == "sum" else features * (1.0 / 3.0)


@torch.no_grad()
def bake(
    decoder: Decoder,
    planes: Tensor,
    style: Tensor,
    shape: tuple[int, int, int] = (128, 52, 56),
    reduce: str = "mean",
    slab: int = 32,
) -> np.ndarray:
    """Bake one object.

    Args:
        decoder: features and style to field values.
        planes: (3, C, R, R).
        style: (w_dim,).
        shape: voxels along length, height and width.
        reduce: how planes are put together, "mean" or "sum".
        slab: voxels along the length decoded at once; bounds the memory.

    Returns:
        (X, Y, Z, 4) uint8: straight colour, and opacity over one OPACITY_STEP of the canonical frame.
    """
    features = grid_features(planes, shape, reduce)
    rgb, alpha = [], []
    for part in features.split(slab, 1):
        values = decoder(part.flatten(1)[None], style[None])
        rgb.append(values.rgb[0].unflatten(1, part.shape[1:]))
        alpha.append(-torch.expm1(-values.density[0] * OPACITY_STEP).view(part.shape[1:]))
    opacity, colour = torch.cat(alpha), bleed(torch.cat(rgb, 1), torch.cat(alpha))
    grid = torch.cat([colour.permute(1, 2, 3, 0), opacity[..., None]], -1)
    return (grid * 255.0).round().clamp(0, 255).to(torch.uint8).cpu().numpy()


def bleed(colour: Tensor, alpha: Tensor, threshold: float = 0.02) -> Tensor:
    """Give voxels that are nearly transparent the opacity-weighted colour of their neighbours.

    No training ray sees the colour of empty space, but trilinear sampling of the grid mixes it into the surface.

    Args:
        colour: (3, X, Y, Z) straight colour.
        alpha: (X, Y, Z).
        threshold: voxels below this opacity are recoloured.
    """
    weighted = torch.cat([colour * alpha, alpha[None]])[None]
    mean = F.avg_pool3d(weighted, 3, stride=1, padding=1, count_include_pad=False)[0]
    around = mean[:3] / mean[3:].clamp_min(1e-6)
    replace = (alpha < threshold) & (mean[3] > 1e-4)
    return torch.where(replace, around, colour)
