"""Path-length regularisation with its running mean.

Source: Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020, section 3.2.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from detectors.rank_counts import mean_over_ranks
from lit.losses.adversarial import path_length
from lit.networks.batch_draws import batch_draw


class PathLength(nn.Module):
    """Penalty on the distance of path lengths from their running mean.

    Args:
        decay: share by which the mean moves at each penalty.
    """

    mean: Tensor

    def __init__(self, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("mean", torch.zeros(()))

    def forward(self, images: Tensor, latents: Tensor) -> Tensor:
        """Penalty of images (B, C, H, W) made from latents (B, rows, w_dim); then the mean of all processes moves."""
        noise = batch_draw(lambda n: torch.randn_like(_times(images.detach(), n // len(images))), len(images))
        penalty, lengths = path_length(images, latents, self.mean.clone(), noise)
        self.mean.lerp_(mean_over_ranks(lengths.detach().mean()), self.decay)
        return penalty


def _times(images: Tensor, factor: int) -> Tensor:
    """So many copies of a batch, in its memory order, on which draws depend."""
    return images if factor == 1 else torch.cat([images] * factor)
