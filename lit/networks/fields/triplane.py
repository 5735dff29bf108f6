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
from lit.networks.layers.modulated import SQRT2, ModulatedConv, upsample


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
