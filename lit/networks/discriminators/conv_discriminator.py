"""DCGAN's discriminator, as GIRAFFE has it.

Source: Radford et al., "Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks",
ICLR 2016; Niemeyer and Geiger, CVPR 2021, supplementary material.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from lit.networks.discriminators.projection import Projection, side_by_side


class ConvDiscriminator(nn.Module):
    """Stack of strided convolutions without normalisation.

    Args:
        resolution: pixels a side of the pictures.
        channels: of the last layer; they halve towards the picture.
        input_channels: channels of the pictures.
        raw_channels: of the same pictures at a lower resolution; 0 for none.
        c_dim: classes, or length of the vectors that condition; 0 for none.
    """

    def __init__(
        self, resolution: int = 256, channels: int = 512, input_channels: int = 3, raw_channels: int = 0, c_dim: int = 0
    ) -> None:
        super().__init__()
        steps = int(math.log2(resolution)) - 2
        widths = [input_channels + raw_channels, *(channels // 2 ** (steps - 1 - step) for step in range(steps))]
        self.raw_channels = raw_channels
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 4, 2, 1, bias=False) for a, b in pairwise(widths))
        self.project = Projection(c_dim, channels)
        self.out = nn.Conv2d(channels, self.project.features, 4, bias=False)

    def forward(self, images: Tensor, raw: Tensor | None = None, condition: Tensor | None = None) -> Tensor:
        """Logits (B, 1) of pictures (B, input_channels, R, R); see :class:`StyleGAN2Discriminator`."""
        x = side_by_side(images, raw, self.raw_channels)
        for conv in self.convs:
            x = F.leaky_relu(conv(x), 0.2)
        logits: Tensor = self.project(self.out(x).flatten(1), condition)
        return logits
