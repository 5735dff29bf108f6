"""Where a pixel looks: slopes of the rays through a map's cells, which tell a network where the horizon is."""

from __future__ import annotations

import torch
from torch import Tensor

from detectors.precision import full_precision

SCALES = (2.0, 6.0)  # about unit variance over a driving camera's picture


def slopes(projections: Tensor, height: int, width: int, stride: int = 1) -> Tensor:
    """(B, 2, h, w) x / z and y / z in the label frame of the rays through cells of (B, 3, 4) projections, scaled.

    Cell (i, j) has its centre at pixel (stride j + (stride - 1) / 2, stride i + (stride - 1) / 2). Whatever tilt a
    projection has is taken into account: in a level label frame y / z is 0 at the horizon.
    """
    device, first = projections.device, (stride - 1) / 2
    v, u = torch.meshgrid(torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij")
    x, y = (u * stride + first).to(projections.dtype), (v * stride + first).to(projections.dtype)
    rays = torch.linalg.inv(projections[:, :, :3]) @ torch.stack([x, y, torch.ones_like(x)]).flatten(1)
    scaled = rays[:, :2] / rays[:, 2:].clamp(min=0.1) * rays.new_tensor(SCALES)[:, None]
    return scaled.view(-1, 2, height, width)


def upright_slopes(projections: Tensor, height: int, width: int, stride: int = 1) -> Tensor:
    """:func:`slopes` for projections without a tilt, whose focal lengths and centre stand in fixed places."""
    first = (stride - 1) / 2
    u = torch.arange(width, device=projections.device) * stride + first
    v = torch.arange(height, device=projections.device) * stride + first
    x = (u - projections[:, 0, 2, None]) / projections[:, 0, 0, None]
    y = (v - projections[:, 1, 2, None]) / projections[:, 1, 1, None]
    grid = [x[:, None, :].expand(-1, height, -1), y[:, :, None].expand(-1, -1, width)]
    return torch.stack([grid[0] * SCALES[0], grid[1] * SCALES[1]], 1)


def ray_channels(projections: Tensor, height: int, width: int, stride: int) -> Tensor:
    """Slopes of all projections of a batch, tilted or not, float32 whatever autocast says.

    Untilted ones take the closed form, so that a network sees the same digits whatever else is in its batch.
    """
    with full_precision(projections.device):  # pixels need more than bfloat16's digits
        below = torch.stack([projections[:, 1, 0], projections[:, 2, 0], projections[:, 2, 1]])
        tilted = (below != 0).any(0)[:, None, None, None]
        upright = upright_slopes(projections, height, width, stride)
        return torch.where(tilted, slopes(projections, height, width, stride), upright)
