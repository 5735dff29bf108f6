"""Penalties on what is learned itself, whatever it shows."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def total_variation(planes: Tensor) -> Tensor:
    """Mean absolute step to the next texel along both axes of planes (..., H, W); speckles cost, flat areas do not."""
    return planes.diff(dim=-1).abs().mean() + planes.diff(dim=-2).abs().mean()


def noise_structure(noise: Tensor) -> Tensor:
    """(N,) squared autocorrelation of noise maps (N, 1, R, R) at shifts of one pixel, on every scale down to 8.

    Source: Karras et al., StyleGAN2, CVPR 2020, appendix D: keeps an inversion from painting the image into its noise.
    """
    total = torch.zeros(len(noise), device=noise.device)
    while True:
        for axis in (2, 3):
            total = total + (noise * noise.roll(1, axis)).mean((1, 2, 3)).square()
        if noise.shape[-1] <= 8:
            return total
        noise = F.avg_pool2d(noise, 2)


def density_change(first: Tensor, second: Tensor) -> Tensor:
    """Mean absolute difference of raw densities at points and close beside them (EG3D's density regularisation)."""
    return (first.float() - second.float()).abs().mean()
