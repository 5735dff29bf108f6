"""The voxel renderer for batches on any device: samples as in :mod:`datamodules.assets.voxels.voxel_render`.

Grids are laid one behind the other along x in a single volume, so that the samples of all rays of all objects, with the
empty ones already dropped, go through one ``grid_sample``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from datamodules.assets.voxels.voxel_render import (
    BLOCK,
    LUT_SCALE,
    MIN_ALPHA,
    MIN_COVERAGE,
    MIN_TRANSMITTANCE,
    UNIT,
    grid_rays,
    opacity_table,
    prepare_grid,
    sample_step,
)
from datamodules.assets.voxels.voxel_render import OPACITY_STEP as OPACITY_STEP
from datamodules.geometry import NEAR

FIRST_PASS = 12.0  # voxels of occupied path of every ray that are looked up before opaque rays are dropped


@dataclass(frozen=True)
class PreparedGrids:
    """N grids of one shape, ready for :func:`render_voxels_torch`.

    Attributes:
        volume: (1, 4, N (X + 3), Y + 3, Z + 3) float32, colour (uint8 levels) times opacity
            ([0, 1]), and opacity in uint8 levels.
        occupied: (N, blocks x, blocks y, blocks z) bool.
        low: (N, 3) float32 bounds of what is occupied, in cells of the padded grids.
        high: (N, 3) float32.
        shape: (X, Y, Z).
    """

    volume: Tensor
    occupied: Tensor
    low: Tensor
    high: Tensor
    shape: tuple[int, int, int]


def prepare_grids_torch(grids: np.ndarray | Tensor, device: torch.device | str = "cpu") -> PreparedGrids:
    """Prepare (N, X, Y, Z, 4) uint8 grids."""
    prepared = [prepare_grid(np.asarray(g.cpu() if isinstance(g, Tensor) else g)) for g in grids]
    data = torch.from_numpy(np.concatenate([p.data for p in prepared])).to(device).float()
    alpha = data[..., 3:]
    volume = torch.cat([data[..., :3] * (alpha / 255.0), alpha], -1).permute(3, 0, 1, 2)[None].contiguous()
    return PreparedGrids(
        volume,
        torch.from_numpy(np.stack([p.skip == 0 for p in prepared])).to(device),
        torch.from_numpy(np.stack([p.low for p in prepared])).to(device, torch.float32),
        torch.from_numpy(np.stack([p.high for p in prepared])).to(device, torch.float32),
        prepared[0].shape,
    )


def _rays(
    grids: PreparedGrids, projections: np.ndarray, corners: np.ndarray, width: int, height: int
) -> tuple[Tensor, Tensor]:
    """Origins (N, 3) and directions (N, height * width, 3) in cells of the padded grids, per metre of depth."""
    device = grids.volume.device
    rays = [grid_rays(np.asarray(p, dtype=np.float64), grids.shape) for p in projections]
    v, u = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    pixels = np.stack([u, v, np.ones_like(u)], -1).reshape(-1, 3).astype(np.float64)
    offset = np.concatenate([corners, np.zeros((len(corners), 1))], 1)  # N 3
    directions = np.stack([(pixels + o) @ matrix.T for (_, matrix), o in zip(rays, offset)])
    directions = np.where(np.abs(directions) > 1e-9, directions, 1e-9)
    origins = np.stack([origin for origin, _ in rays])
    return torch.from_numpy(origins).to(device), torch.from_numpy(directions).to(device)


def _lookup(grids: PreparedGrids, position: Tensor, item: Tensor) -> Tensor:
    """Trilinear (K, 4) values at positions (K, 3) in cells of the grids ``item`` (K,)."""
    size = grids.volume.new_tensor(grids.volume.shape[2:])
    offset = torch.stack([item * (grids.shape[0] + 3), torch.zeros_like(item), torch.zeros_like(item)], -1)
    normalised = (position + offset) * (2.0 / (size - 1)) - 1.0
    values = functional.grid_sample(grids.volume, normalised.flip(-1)[None, None, None], align_corners=True)
    return values[0, :, 0, 0].T


def _composite(values: Tensor, depth: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
    """Integrate samples (M, S, 4) at depths (M, S) into premultiplied colour and opacity (M, 4) and depth (M,)."""
    alpha = values[..., 3]
    level = torch.where(alpha < MIN_ALPHA, 0.0, alpha)
    opacity = table[(level * LUT_SCALE + 0.5).long()]
    after = torch.cumprod(1.0 - opacity, 1)
    before = torch.cat([torch.ones_like(after[:, :1]), after[:, :-1]], 1)
    weight = torch.where(before < MIN_TRANSMITTANCE, 0.0, before * opacity)
    scale = weight / alpha.clamp(min=MIN_ALPHA)
    colour = (values[..., :3] * (255.0 * scale)[..., None]).sum(1)
    covered = weight.sum(1)
    gain = torch.where(covered > 1.0 - MIN_TRANSMITTANCE, 1.0 / covered.clamp(min=0.5), 1.0)
    rgba = torch.cat([colour * gain[:, None], (covered * gain * 255.0)[:, None]], 1)
    return rgba, (weight * depth).sum(1) / covered.clamp(min=MIN_COVERAGE)


@torch.no_grad()
def render_voxels_torch(
    grids: np.ndarray | Tensor | PreparedGrids,
    projections: np.ndarray,
    corners: np.ndarray,
    width: int,
    height: int,
    steps_per_voxel: float = 1.0,
    unit: np.ndarray = UNIT,
) -> tuple[Tensor, Tensor]:
    """Render one window of each of N grids.

    Args:
        grids: (N, X, Y, Z, 4) uint8, or the same prepared once by :func:`prepare_grids_torch`.
        projections: (N, 3, 4) canonical cube to pixels.
        corners: (N, 2) column and row of each window's first pixel in its image.
        width: columns of the windows.
        height: rows of the windows.
        steps_per_voxel: samples a voxel (:func:`datamodules.assets.voxels.voxel_render.sample_step`).
        unit: (3,) as for :func:`datamodules.assets.voxels.voxel_render.render_voxels`.

    Returns:
        (N, height, width, 4) uint8 premultiplied colour and opacity, (N, height, width) float32 depth in metres, on the
        device of the grids.
    """
    grids = grids if isinstance(grids, PreparedGrids) else prepare_grids_torch(grids)
    device, count = grids.volume.device, len(projections)
    origins, directions = _rays(grids, projections, np.asarray(corners), width, height)
    first_hit = (grids.low[:, None] - origins[:, None]) / directions
    last_hit = (grids.high[:, None] - origins[:, None]) / directions
    enter = torch.minimum(first_hit, last_hit).amax(-1).clamp(min=NEAR)
    leave = torch.maximum(first_hit, last_hit).amin(-1)
    # Batches share one step: the finest that any of the views asks for.
    unit = np.asarray(unit, dtype=np.float64)
    step = min(sample_step(np.asarray(p), grids.shape, unit, steps_per_voxel) for p in projections)
    metric = torch.as_tensor(2.0 * np.asarray(unit) / np.array(grids.shape), device=device)
    dt = step / (directions * metric).norm(dim=-1)  # N R
    first, last = torch.ceil(enter / dt - 0.5), torch.ceil(leave / dt - 0.5)
    rgba = torch.zeros(count * height * width, 4, device=device, dtype=torch.uint8)
    depth = torch.zeros(count * height * width, device=device)
    hit = (last > first).flatten().nonzero()[:, 0]
    if len(hit):
        item = hit // (height * width)
        colour, distance = _integrate(
            grids, item, origins[item], directions.reshape(-1, 3)[hit], dt.flatten()[hit],
            first.flatten()[hit], last.flatten()[hit], torch.from_numpy(opacity_table(step / OPACITY_STEP)).to(device),
            math.ceil(FIRST_PASS * steps_per_voxel),
        )  # fmt: skip
        seen = colour[:, 3] >= MIN_COVERAGE * 255.0
        rgba[hit[seen]] = (colour[seen] + 0.5).clamp(max=255.0).to(torch.uint8)
        depth[hit[seen]] = distance[seen]
    return rgba.view(count, height, width, 4), depth.view(count, height, width)


def _integrate(
    grids: PreparedGrids, item: Tensor, origin: Tensor, direction: Tensor, dt: Tensor, first: Tensor, last: Tensor,
    table: Tensor, first_pass: int,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Colour (M, 4) and depth (M,) of M rays that hit the occupied bounds of their grid."""
    count = int((last - first).max())
    start = (origin + ((first + 0.5) * dt)[:, None] * direction).float()
    stride = (dt[:, None] * direction).float()
    index = torch.arange(count, device=item.device, dtype=torch.float32)
    position = start[:, None] + index[None, :, None] * stride[:, None]  # M S 3
    inside = index[None] < (last - first)[:, None]
    blocks = torch.tensor(grids.occupied.shape[1:], device=item.device)
    block = (position * (1.0 / BLOCK)).int()
    flat = ((item[:, None].int() * blocks[0] + block[..., 0]) * blocks[1] + block[..., 1]) * blocks[2] + block[..., 2]
    occupied = inside & grids.occupied.flatten()[flat.clamp_(0, grids.occupied.numel() - 1).int()]
    values = torch.zeros(len(item), count, 4, device=item.device)
    early = occupied & (occupied.cumsum(1) <= first_pass)
    ray, sample = early.nonzero(as_tuple=True)
    values[ray, sample] = _lookup(grids, position[ray, sample], item[ray])
    through = torch.prod(1.0 - table[(values[..., 3] * LUT_SCALE + 0.5).long()], 1)
    ray, sample = (occupied & ~early & (through >= MIN_TRANSMITTANCE)[:, None]).nonzero(as_tuple=True)
    values[ray, sample] = _lookup(grids, position[ray, sample], item[ray])
    depth = ((first[:, None] + index[None] + 0.5) * dt[:, None]).float()
    return _composite(values, depth, table)
