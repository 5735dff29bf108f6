"""Style mixing, and the mean style that truncation draws to.

Source: Karras et al., "A Style-Based Generator Architecture for GANs", CVPR 2019, section 3.1 and appendix B.
"""

from __future__ import annotations

import torch
from torch import Tensor

from detectors.precision import full_precision
from detectors.rank_counts import mean_over_ranks
from lit.networks.batch_draws import batch_draw
from lit.networks.stylegan2 import StyleGAN2Generator


def mixed_latents(generator: StyleGAN2Generator, count: int, mixing: float, kept: float | None = None) -> Tensor:
    """W+ latents (count, rows, w_dim) of new draws, some with later rows of a second style.

    Args:
        generator: whose styles they are.
        count: latents.
        mixing: probability that one has a second style.
        kept: share of the mean style ``w_avg`` that stays when it moves to these styles; None leaves it.
    """
    mapping, rows = generator.mapping, generator.rows
    device = mapping.w_avg.device
    with full_precision(device):
        z = batch_draw(lambda n: torch.randn(2 * n, generator.z_dim, device=device).unflatten(0, (2, n)), count, dim=1)
        first, second = mapping(z.flatten(0, 1)).chunk(2)
    if kept is not None:
        mapping.w_avg.lerp_(mean_over_ranks(first.detach().mean(0)), 1 - kept)
    mixed = batch_draw(lambda n: torch.rand(n, 1, device=device), count) < mixing
    crossover = batch_draw(lambda n: torch.randint(1, rows, (n, 1), device=device), count)
    later = (torch.arange(rows, device=device) >= crossover) & mixed
    return torch.where(later[..., None], second[:, None], first[:, None])
