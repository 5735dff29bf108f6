"""StyleGAN2-type synthesis of tri-planes from a learned constant, conditioned on one W+-shaped latent per object.

Layer for layer EG3D's synthesis network without its mapping network and without noise (Lift3D's tri-plane net):
modulated 3x3 convolutions with demodulation, one style row a layer, skip connections that add up the planes of every
resolution.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from datamodules.errors import InputError

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

    Args:
        up: double the resolution: transposed convolution of stride 2, then the [1, 3, 3, 1] low-pass filter.
        demodulate: divide by the norm that the modulated weights give each output channel.
    """

    kernel: Tensor

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


def blur(x: Tensor) -> Tensor:
    """Low-pass (B, C, 2H + 1, 2W + 1) by outer([1, 3, 3, 1]) / 16 to (B, C, 2H, 2W), gain 4 in all as after zero
    insertion.

    Written as three 2x2 averages, whose composition is exactly that filter.
    """
    x = F.pad(x, (1, 1, 1, 1))
    for _ in range(3):
        x = x[..., 1:] + x[..., :-1]
        x = x[..., 1:, :] + x[..., :-1, :]
    return x * (1.0 / 16.0)


def upsample(x: Tensor) -> Tensor:
    """Double (B, C, H, W) by zero insertion and the same filter; a bilinear resize whose border is zero padded."""
    height, width = x.shape[-2:]
    padded = F.pad(x, (1, 1, 1, 1))
    doubled = F.interpolate(padded, scale_factor=2, mode="bilinear", align_corners=False)
    return doubled[..., 2 : 2 + 2 * height, 2 : 2 + 2 * width]


class SynthesisBlock(nn.Module):
    """One resolution: (upsampling convolution,) convolution, and the planes this resolution adds."""

    def __init__(self, inputs: int, outputs: int, w_dim: int, planes: int) -> None:
        super().__init__()
        self.conv0 = ModulatedConv(inputs, outputs, w_dim, up=True) if inputs else None
        self.conv1 = ModulatedConv(outputs, outputs, w_dim)
        self.to_planes = ModulatedConv(outputs, planes, w_dim, size=1, demodulate=False)
        self.styles = 2 if inputs else 1

    def forward(self, x: Tensor, planes: Tensor | None, w: Tensor) -> tuple[Tensor, Tensor]:
        """Features and accumulated planes; ``w`` (B, styles + 1, w_dim), the last row being the next block's first."""
        if self.conv0 is not None:
            x = F.leaky_relu(self.conv0(x, w[:, 0]), 0.2) * SQRT2
        x = F.leaky_relu(self.conv1(x, w[:, self.styles - 1]), 0.2) * SQRT2
        added = self.to_planes(x, w[:, self.styles])
        return x, added if planes is None else upsample(planes) + added


class TriplaneSynthesis(nn.Module):
    """Latents to three feature planes.

    Args:
        resolution: side of the planes, a power of two >= 8.
        channels: channels C of each plane.
        w_dim: width of a style row.
        channel_base: feature maps at resolution r have ``min(channel_base / r, channel_max)`` channels.
        channel_max: see ``channel_base``.
    """

    def __init__(
        self,
        resolution: int = 128,
        channels: int = 64,
        w_dim: int = 512,
        channel_base: int = 32768,
        channel_max: int = 512,
    ) -> None:
        super().__init__()
        if resolution < 8 or resolution & (resolution - 1):
            raise InputError(f"plane_resolution {resolution}: expected a power of two >= 8, e.g. 64 or 128")
        self.resolution, self.channels, self.w_dim = resolution, channels, w_dim
        sizes = [2**i for i in range(2, int(math.log2(resolution)) + 1)]
        widths = [min(channel_base // size, channel_max) for size in sizes]
        self.constant = nn.Parameter(torch.randn(1, widths[0], 4, 4))
        pairs = zip([0, *widths[:-1]], widths)
        self.blocks = nn.ModuleList(SynthesisBlock(before, width, w_dim, 3 * channels) for before, width in pairs)
        self.styles = 2 * len(sizes)  # rows of a latent: one a convolution and a last one, 12 for 128 x 128 planes

    def used(self, latent: Tensor) -> Tensor:
        """The last ``styles`` rows of latents (B, rows, w_dim): Lift3D stores 16 rows and drops the first ones."""
        return latent[:, latent.shape[1] - self.styles :]

    def forward(self, latent: Tensor) -> Tensor:
        """Planes (B, 3, C, R, R), in the order (x, y), (x, z), (y, z), of latents (B, rows >= styles, w_dim)."""
        w = self.used(latent)
        x, planes = self.constant.expand(len(w), -1, -1, -1), None
        for index, block in enumerate(self.blocks):  # rows: the block's convolutions, then the next block's first
            x, planes = block(x, planes, w[:, max(2 * index - 1, 0) : 2 * index + 2])
        assert planes is not None
        return planes.unflatten(1, (3, self.channels))
