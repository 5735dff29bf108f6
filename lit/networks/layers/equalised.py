"""Layers with an equalised learning rate: weights are stored at unit variance and scaled in the forward pass.

Source: Karras et al., "Progressive Growing of GANs", ICLR 2018, section 4.1, in the form of StyleGAN2.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lit.networks.layers.modulated import SQRT2, blur, clamped


def activated(x: Tensor) -> Tensor:
    """Leaky ReLU of slope 0.2 at gain sqrt(2), which keeps the variance of its input."""
    return F.leaky_relu(x, 0.2) * SQRT2


class EqualLinear(nn.Module):
    """Linear layer; ``weight`` and ``bias`` are stored divided by ``lr_multiplier``, as NVIDIA stores them.

    Args:
        inputs: width of the input.
        outputs: width of the output.
        lr_multiplier: factor on the learning rate of this layer.
        activate: apply :func:`activated`.
    """

    def __init__(self, inputs: int, outputs: int, lr_multiplier: float = 1.0, activate: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / lr_multiplier)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.gain, self.bias_gain, self.activate = lr_multiplier / math.sqrt(inputs), lr_multiplier, activate

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs) to (B, outputs)."""
        x = F.linear(x, self.weight * self.gain, self.bias * self.bias_gain)
        return activated(x) if self.activate else x


class EqualConv(nn.Module):
    """Convolution that keeps the resolution, or low-passes by [1, 3, 3, 1] and halves it.

    Args:
        inputs: input channels.
        outputs: output channels.
        size: kernel side, odd.
        down: halve the resolution.
        bias: learn a bias.
        activate: apply :func:`activated`.
        clamp: bound on what is activated; None for none.
    """

    bias: nn.Parameter | None

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: int,
        down: bool = False,
        bias: bool = True,
        activate: bool = True,
        clamp: float | None = None,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, size, size))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.gain, self.size = 1.0 / math.sqrt(inputs * size * size), size
        self.down, self.activate, self.clamp = down, activate, clamp

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H, W), or to H/2 x W/2 when ``down``."""
        weight, pad = self.weight * self.gain, self.size // 2
        if not self.down:
            x = F.conv2d(x, weight, self.bias, padding=pad)
        elif self.size == 1:  # only every second low-passed value is needed
            x = F.conv2d(blur(x, 1, 1.0)[..., ::2, ::2], weight, self.bias)
        else:
            x = F.conv2d(blur(x, 1 + pad, 1.0), weight, self.bias, stride=2)
        return clamped(activated(x), self.clamp) if self.activate else x
