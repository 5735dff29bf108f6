"""Baking a field to a voxel grid, the form in which assets are stored and drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from datamodules.assets.voxels.voxel_assets import OPACITY_STEP
from lit.networks.fields.field_values import Field, FieldValues
from lit.networks.fields.planes import DecodedPlanes


def voxel_centers(count: int, device: torch.device | None = None) -> Tensor:
    """(count,) centres ``-1 + (2 i + 1) / count`` of the voxels along one axis of the canonical cube."""
    return (2 * torch.arange(count, device=device) + 1) / count - 1


def _slabs(field: Field, places: Sequence[Tensor], slab: int) -> Iterator[tuple[FieldValues, torch.Size]]:
    """Values at a grid's points, ``slab`` places of the first axis at a time, and the shape of each part."""
    if isinstance(field, DecodedPlanes):
        for part in field.grid_features(places).split(slab, 1):
            yield field.decode(part.flatten(1)[None]), part.shape[1:]
    else:
        for rows in places[0].split(slab):
            points = torch.stack(torch.meshgrid(rows, *places[1:], indexing="ij"), -1)
            yield field(points.view(1, -1, 3)), points.shape[:3]


@torch.no_grad()
def bake(
    field: Field,
    shape: tuple[int, int, int] = (128, 52, 56),
    half: float = 1.0,
    slab: int = 32,
    device: torch.device | None = None,
) -> np.ndarray:
    """Bake one object.

    Args:
        field: a field of one object (B = 1). Planes are resampled a plane at a time, any other field is asked at every
            voxel.
        shape: voxels along length, height and width.
        half: half-size of the cube in the field's frame that the grid fills.
        slab: voxels along the length decoded at once; bounds the memory.
        device: where the field lives; planes tell.

    Returns:
        (X, Y, Z, 4) uint8: straight colour, and opacity over one OPACITY_STEP of the canonical frame.
    """
    if isinstance(field, DecodedPlanes):
        device = (field.planes if isinstance(field.planes, Tensor) else field.planes[0]).device
    places = [voxel_centers(count, device) * half for count in shape]
    rgb, alpha = [], []
    for values, size in _slabs(field, places, slab):
        rgb.append(values.rgb[0].unflatten(1, size))
        alpha.append(-torch.expm1(-values.density[0] * (OPACITY_STEP * half)).view(size))
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
