"""Processor time of the non-flatness score against a loop of ``torch.histc``, map by map, as 3DGP's code has it."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from lit.commands.bench.timing import one_thread, timed
from lit.metrics.geometry import non_flatness_scores

MAPS, SIDE, CHUNK = 10_000, 128, 500  # ten thousand maps are 655 MB of float32: made and measured in chunks
NEAREST, FARTHEST, BINS = (
    0.88,
    1.12,
    64,
)  # metres; generic frustum of an object at distance 1, with depths beyond both ends


def histc_scores(depth: Tensor, near: float, far: float, bins: int) -> Tensor:
    """Scores (N,) float64 of maps (N, H, W): one histogram after the other."""
    counts = torch.stack([torch.histc(one.clamp(near, far), bins, near, far) for one in depth]).double()
    share = counts / counts.sum(1, keepdim=True)
    return torch.exp(-(share * torch.log(share + 1e-12)).sum(1))


def depth_maps(count: int, seed: int) -> Tensor:
    """Seeded maps (count, SIDE, SIDE) float32: a tilted bump each, some noise, an empty background."""
    generator = torch.Generator().manual_seed(seed)
    axis = torch.linspace(-1, 1, SIDE)
    tilt = torch.rand(count, 2, 1, 1, generator=generator) * 0.1
    radius = axis[:, None] ** 2 + axis**2
    bump = 1 - 0.1 * (1 - radius) + tilt[:, 0] * axis + tilt[:, 1] * axis[:, None]
    bump = bump + 0.01 * torch.randn(count, SIDE, SIDE, generator=generator)
    return torch.where(radius < 0.8, bump, torch.tensor(10.0))


def measure(maps: int = MAPS) -> dict[str, Any]:
    """Score the same maps both ways on one thread.

    Returns:
        ``nfs_cpu_seconds``, ``nfs_histc_cpu_seconds`` (process time), their ratio ``nfs_ratio``, ``nfs_difference``
        (largest difference of a score), ``nfs_maps`` and the mean ``nfs``.
    """
    ours, theirs, difference, total = 0.0, 0.0, 0.0, 0.0
    with one_thread():
        non_flatness_scores(depth_maps(2, 0), NEAREST, FARTHEST, BINS)  # loads the compiled code
        for start in range(0, maps, CHUNK):
            depth = depth_maps(min(CHUNK, maps - start), start)
            scores, spent, _ = timed(partial(non_flatness_scores, depth, NEAREST, FARTHEST, BINS))
            reference, their_spent, _ = timed(partial(histc_scores, depth, NEAREST, FARTHEST, BINS))
            ours, theirs = ours + spent, theirs + their_spent
            difference = max(difference, float((scores - reference).abs().max()))
            total += float(scores.sum())
    return {
        "nfs_cpu_seconds": ours,
        "nfs_histc_cpu_seconds": theirs,
        "nfs_ratio": theirs / ours,
        "nfs_difference": difference,
        "nfs_maps": maps,
        "nfs": total / maps,
    }
