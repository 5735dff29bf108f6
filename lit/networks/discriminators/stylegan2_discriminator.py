"""StyleGAN2's residual discriminator.

Source: Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020, config F.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from lit.networks.discriminators.projection import Projection, side_by_side
from lit.networks.layers.equalised import EqualConv, EqualLinear
from lit.networks.layers.synthesis import resolutions


class DiscriminatorBlock(nn.Module):
    """Two convolutions, whose activations may be bounded, beside a 1x1 shortcut, together half the resolution."""

    def __init__(self, inputs: int, outputs: int, clamp: float | None = None) -> None:
        super().__init__()
        self.conv0 = EqualConv(inputs, inputs, 3, clamp=clamp)
        self.conv1 = EqualConv(inputs, outputs, 3, down=True, clamp=clamp)
        self.skip = EqualConv(inputs, outputs, 1, down=True, bias=False, activate=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H/2, W/2)."""
        both: Tensor = self.conv1(self.conv0(x)) + self.skip(x)
        return both * math.sqrt(0.5)


def minibatch_deviation(x: Tensor, group: int) -> Tensor:
    """Append one channel to (B, C, H, W): the mean standard deviation over the image's group.

    Image n is in a group with n + B / g, n + 2 B / g, ..., where g is the largest divisor of B up to ``group``.
    """
    batch, channels, height, width = x.shape
    size = max(g for g in range(1, min(group, batch) + 1) if batch % g == 0)
    groups = x.reshape(size, batch // size, channels, height, width)
    deviation = (groups - groups.mean(0)).square().mean(0).add(1e-8).sqrt().mean((1, 2, 3))
    return torch.cat([x, deviation.repeat(size)[:, None, None, None].expand(-1, -1, height, width)], 1)


class StyleGAN2Discriminator(nn.Module):
    """Residual discriminator.

    Args:
        resolution: side of the images, a power of two >= 8.
        channel_base: feature maps at resolution r have ``min(channel_base / r, channel_max)`` channels.
        channel_max: see ``channel_base``.
        minibatch_std_group: images that share a deviation.
        input_channels: channels of the images.
        raw_channels: of the same images before a generator's upsampler, judged together; 0 for none.
        c_dim: classes, or length of the vectors (of a pose) that condition; 0 for none.
        conv_clamp: bound on the convolutions' activations, which the published training sets to 256; None for none.
        guesses: numbers that are given behind the logit of a judge without a condition, such as a guessed pose.
    """

    def __init__(
        self,
        resolution: int,
        channel_base: int = 32768,
        channel_max: int = 512,
        minibatch_std_group: int = 4,
        input_channels: int = 3,
        raw_channels: int = 0,
        c_dim: int = 0,
        conv_clamp: float | None = None,
        guesses: int = 0,
    ) -> None:
        super().__init__()
        widths = [min(channel_base // size, channel_max) for size in reversed(resolutions(resolution))]
        self.group, self.raw_channels, last = minibatch_std_group, raw_channels, widths[-1]
        self.from_rgb = EqualConv(input_channels + raw_channels, widths[0], 1, clamp=conv_clamp)
        self.blocks = nn.ModuleList(DiscriminatorBlock(a, b, conv_clamp) for a, b in pairwise(widths))
        self.conv = EqualConv(last + 1, last, 3, clamp=conv_clamp)
        self.hidden = EqualLinear(last * 16, last)
        self.project = Projection(c_dim, last)
        self.out = EqualLinear(last, self.project.features + guesses, activate=False)

    def forward(self, images: Tensor, raw: Tensor | None = None, condition: Tensor | None = None) -> Tensor:
        """Logits (B, 1 + guesses).

        Args:
            images: (B, input_channels, R, R).
            raw: (B, raw_channels, r, r), brought to R x R pixels.
            condition: (B,) classes, or (B, c_dim) vectors.

        Raises:
            InputError: ``raw`` or ``condition`` is missing or not expected.
        """
        x = self.from_rgb(side_by_side(images, raw, self.raw_channels))
        for block in self.blocks:
            x = block(x)
        x = self.conv(minibatch_deviation(x, self.group))
        logits: Tensor = self.project(self.out(self.hidden(x.flatten(1))), condition)
        return logits
