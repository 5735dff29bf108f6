"""Parts of diffusion U-Nets: residual blocks under FiLM, linear and full attention, halving and doubling.

Source: Ho et al., "Denoising Diffusion Probabilistic Models", NeurIPS 2020; weight standardisation of Qiao et al. 2019;
linear attention of Shen et al. 2021. G3DR's released U-Net is built from these.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GROUPS = 8


class StandardisedConv(nn.Conv2d):
    """A convolution whose kernels have mean 0 and variance 1, output by output."""

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, C, H, W) to maps."""
        variance, mean = torch.var_mean(self.weight, (1, 2, 3), unbiased=False, keepdim=True)
        weight = (self.weight - mean) * (variance + 1e-5).rsqrt()
        return F.conv2d(x, weight, self.bias, self.stride, self.padding)


class ResidualBlock(nn.Module):
    """Two standardised 3x3 convolutions with group norm and SiLU, FiLM between them, and a shortcut.

    Args:
        inputs: channels that come in.
        width: channels that go out.
        embedding: length of the vector that scales and shifts.
    """

    def __init__(self, inputs: int, width: int, embedding: int) -> None:
        super().__init__()
        self.film = nn.Sequential(nn.SiLU(), nn.Linear(embedding, 2 * width))
        self.first, self.first_norm = StandardisedConv(inputs, width, 3, padding=1), nn.GroupNorm(GROUPS, width)
        self.second, self.second_norm = StandardisedConv(width, width, 3, padding=1), nn.GroupNorm(GROUPS, width)
        self.shortcut = nn.Conv2d(inputs, width, 1) if inputs != width else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Maps (B, C, H, W) under an embedding (1, E) or (B, E)."""
        scale, shift = self.film(embedding)[..., None, None].chunk(2, 1)
        out = F.silu(self.first_norm(self.first(x)) * (scale + 1) + shift)
        out = F.silu(self.second_norm(self.second(out)))
        return out + self.shortcut(x)


class Attention(nn.Module):
    """Attention among all places of a map, added to it: full, or linear in their number.

    Args:
        width: channels.
        linear: softmax over keys and queries apart, so that no matrix of places by places is made.
        heads: heads.
        head_width: channels of a head.
    """

    def __init__(self, width: int, linear: bool, heads: int = 4, head_width: int = 32) -> None:
        super().__init__()
        self.linear, self.heads = linear, heads
        self.norm = nn.GroupNorm(1, width)
        self.read = nn.Conv2d(width, 3 * heads * head_width, 1, bias=False)
        out = nn.Conv2d(heads * head_width, width, 1)
        self.write = nn.Sequential(out, nn.GroupNorm(1, width)) if linear else nn.Sequential(out)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, C, H, W) to as many."""
        query, key, value = self.read(self.norm(x)).flatten(2).unflatten(1, (3, self.heads, -1)).unbind(1)
        if self.linear:
            query = query.softmax(2) * query.shape[2] ** -0.5
            context = key.softmax(3) @ value.transpose(2, 3)  # B heads D D
            out = context.transpose(2, 3) @ query
        else:
            pair = (part.transpose(2, 3) for part in (query, key, value))
            out = F.scaled_dot_product_attention(*pair).transpose(2, 3)
        written: Tensor = self.write(out.flatten(1, 2).unflatten(2, x.shape[2:]))
        return x + written


def halving(inputs: int, width: int) -> nn.Module:
    """Maps of half the size: each 2x2 square becomes channels, which a 1x1 convolution mixes."""
    return nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4 * inputs, width, 1))


def doubling(inputs: int, width: int) -> nn.Module:
    """Maps of double the size, by repetition, and a 3x3 convolution."""
    return nn.Sequential(nn.Upsample(scale_factor=2, mode="nearest"), nn.Conv2d(inputs, width, 3, padding=1))
