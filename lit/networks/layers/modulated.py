"""Modulated convolution and the [1, 3, 3, 1] resampling that StyleGAN2-type networks are made of."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SQRT2 = math.sqrt(2.0)


class StyleAffine(nn.Module):
    """Equalised linear map from a style row to channel scales, bias 1 so that a zero style means no modulation."""

    def __init__(self, w_dim: int, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels, w_dim))
        self.bias = nn.Parameter(torch.ones(channels))
        self.gain = 1.0 / math.sqrt(w_dim)

    def forward(self, w: Tensor) -> Tensor:
        """Scales (B, channels) of style rows (B, w_dim)."""
        return F.linear(w, self.weight * self.gain, self.bias)


class ModulatedConv(nn.Module):
    """Convolution whose input channels are scaled by a style (StyleGAN2, Karras et al. 2020, section 2.2).

    The modulation is applied to the activations rather than to the weights: the same numbers, one plain batched
    convolution instead of a grouped one, which is several times faster on a CPU.

    Kernel convention: weights are those that NVIDIA's stylegan2-ada-pytorch stores. Its plain layers correlate
    (``flip_weight=True``); its upsampling layers (``flip_weight=False``) hand the stored kernel to a transposed
    convolution as it is, which equals zero insertion followed by a true convolution, i.e. a correlation with the kernel
    turned by 180 degrees. rosinality's checkpoints hold the same kernels for its ``conv_transpose2d``.

    Args:
        up: double the resolution: transposed convolution of stride 2, then the [1, 3, 3, 1] low-pass filter.
        demodulate: divide by the norm that the modulated weights give each output channel.
    """

    def __init__(
        self, inputs: int, outputs: int, w_dim: int, size: int = 3, up: bool = False, demodulate: bool = True
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, size, size))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.affine = StyleAffine(w_dim, inputs)
        self.up, self.demodulate = up, demodulate
        self.gain = 1.0 / math.sqrt(inputs * size * size)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Map (B, inputs, H, W) with style rows (B, w_dim) to (B, outputs, H, W), or 2H x 2W when ``up``."""
        style = self.affine(w)
        weight = self.weight
        if not self.demodulate:
            style = style * self.gain
        x = x * style[:, :, None, None]
        if self.up:
            x = blur(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2))
        else:
            x = F.conv2d(x, weight, padding=weight.shape[-1] // 2)
        if self.demodulate:
            norm = torch.rsqrt(style.square() @ weight.square().sum((2, 3)).t() + 1e-8)
            x = x * norm[:, :, None, None]
        return x + self.bias[None, :, None, None]


def clamped(x: Tensor, bound: float | None) -> Tensor:
    """x (any shape) within [-bound, bound]; None leaves it."""
    return x if bound is None else x.clamp(-bound, bound)


def blur(x: Tensor, padding: int = 1, gain: float = 4.0) -> Tensor:
    """Low-pass (B, C, H, W) by outer([1, 3, 3, 1]) / 64 times ``gain``; the sides grow by ``2 * padding - 3``.

    The defaults are those after a transposed convolution of stride 2: (B, C, 2H + 1, 2W + 1) to (B, C, 2H, 2W), gain 4
    to make up for the inserted zeros.
    """
    taps = x.new_tensor([1.0, 3.0, 3.0, 1.0]) / 8
    kernel = (torch.outer(taps, taps) * gain).expand(x.shape[1], 1, 4, 4)
    return F.conv2d(x, kernel, padding=padding, groups=x.shape[1])


def upsample(x: Tensor) -> Tensor:
    """Double (B, C, H, W) by zero insertion and the same filter; a bilinear resize whose border is zero padded."""
    height, width = x.shape[-2:]
    padded = F.pad(x, (1, 1, 1, 1))
    doubled = F.interpolate(padded, scale_factor=2, mode="bilinear", align_corners=False)
    return doubled[..., 2 : 2 + 2 * height, 2 : 2 + 2 * width]
