"""Where samples lie along rays: in the object's cube, between fixed depths, around known ones, or where light stops."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from lit.rendering.rays import clip_to_cube

Sampler = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Origins and directions (B, R, 3) to rising depths (B, R, S) and the widths (B, R) of the equal bins they lie in."""

Refinement = Callable[[Tensor, Tensor], Tensor]
"""Edges (B, R, K + 1) and weights (B, R, K) of the first pass's pieces to depths (B, R, F) of more samples."""


def stratified(near: Tensor, far: Tensor, count: int, jitter: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Depths (..., S) of one sample in each of S equal bins between near and far (...), and the bins' width (...).

    Args:
        jitter: place within the bins in [0, 1): (..., S) independent, or (S,) shared by all rays as Lift3D's code has
            it; None takes the middles.
    """
    width = (far - near).clamp_min(0) / count
    place = torch.arange(count, device=near.device, dtype=near.dtype) + (0.5 if jitter is None else jitter)
    return near.unsqueeze(-1) + width.unsqueeze(-1) * place, width


def in_cube(count: int, jitter: Tensor | None = None, half: float | Tensor = 1.0) -> Sampler:
    """Samples between entry into and exit from the cube of half-size ``half``; none have a width where rays miss it."""
    return lambda origins, directions: stratified(*clip_to_cube(origins, directions, half), count, jitter)


def between(near: float | Tensor, far: float | Tensor, count: int, jitter: Tensor | None = None) -> Sampler:
    """Samples between depths that are numbers or (B, R), whatever the rays meet there (EG3D's ``ray_start, ray_end``).

    The cube's own size is a matter of the field (:class:`lit.networks.fields.planes.DecodedPlanes`).
    """

    def sample(origins: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        base = torch.zeros_like(directions[..., 0])
        return stratified(base + near, base + far, count, jitter)

    return sample


def around(depth: Tensor, reach: float, count: int, jitter: Tensor | None = None) -> Sampler:
    """Samples within ``reach`` of each ray's depth (B, R), which a depth map tells (G3DR)."""
    return between(depth - reach, depth + reach, count, jitter)


def importance(place: Tensor, blur: bool = True, floor: float = 0.01, released: bool = False) -> Refinement:
    """Samples where the first pass's weights are (NeRF's hierarchical sampling).

    Args:
        place: (B, R, F), or (F,) for all rays: places in [0, 1) on the weights' cumulative distribution.
        blur: first take the larger of neighbouring weights, then their mean, as EG3D does.
        floor: added to every weight, so that no piece goes without.
        released: as EG3D's released renderer has it (``sample_importance``; pix2pix3D and G3DR took it over): the
            first and the last piece are left out, and every other one is sought between its middle and the middle of
            the piece before it, half a piece too near.
    """

    def refine(edges: Tensor, weights: Tensor) -> Tensor:
        if blur:
            flat = F.max_pool1d(weights.flatten(0, 1).unsqueeze(1), 2, 1, padding=1)
            weights = F.avg_pool1d(flat, 2, 1).view_as(weights)
        if released:
            edges, weights = (edges[..., 1:-1] + edges[..., :-2]) / 2, weights[..., 1:-1]
        return inverse_cdf(edges, weights + floor, place)

    return refine


def inverse_cdf(edges: Tensor, weights: Tensor, place: Tensor) -> Tensor:
    """Depths (B, R, F) at which the distribution of ``weights`` (B, R, K) between ``edges`` (B, R, K + 1), uniform
    within each piece, reaches ``place`` (B, R, F) or (F,).
    """
    place = place.expand(*edges.shape[:-1], place.shape[-1]).contiguous()
    cumulative = F.pad(torch.cumsum(weights / weights.sum(-1, keepdim=True), -1), (1, 0))
    above = torch.searchsorted(cumulative, place, right=True).clamp(1, weights.shape[-1])
    low, high = cumulative.gather(-1, above - 1), cumulative.gather(-1, above)
    start, end = edges.gather(-1, above - 1), edges.gather(-1, above)
    return start + ((place - low) / (high - low).clamp_min(1e-5)).clamp(0, 1) * (end - start)
