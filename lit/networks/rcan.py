"""Residual channel attention network: enlarges pictures.

Source: Zhang et al., "Image Super-Resolution Using Very Deep Residual Channel Attention Networks", ECCV 2018.
"""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from datamodules.errors import InputError

_MIDDLE = 0.5  # pictures are centred about it


class ChannelAttention(nn.Module):
    """Weighs channels by what all places of a map together say (section 3.3).

    Args:
        features: channels.
        reduction: narrows the layer between.
    """

    def __init__(self, features: int, reduction: int) -> None:
        super().__init__()
        inner = max(features // reduction, 1)
        self.weigh = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(features, inner, 1),
            nn.ReLU(),
            nn.Conv2d(inner, features, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, C, H, W), weighed."""
        weighed: Tensor = x * self.weigh(x)
        return weighed


class AttentiveBlock(nn.Module):
    """Two convolutions and channel attention, added to what came in (section 3.4)."""

    def __init__(self, features: int, reduction: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_conv(features), nn.ReLU(), _conv(features), ChannelAttention(features, reduction))

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, C, H, W) to as many."""
        out: Tensor = x + self.body(x)
        return out


class ResidualGroup(nn.Module):
    """Blocks and a convolution, added to what came in: the residual within the residual (section 3.2)."""

    def __init__(self, features: int, reduction: int, blocks: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*(AttentiveBlock(features, reduction) for _ in range(blocks)), _conv(features))

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, C, H, W) to as many."""
        out: Tensor = x + self.body(x)
        return out


class Rcan(nn.Module):
    """Pictures to ones that are ``scale`` times as large. The defaults are the paper's.

    Args:
        scale: 2, 4 or 8.
        features: channels.
        groups: of blocks.
        blocks: of each group.
        reduction: of the attention's channels.
        bicubic: add the picture enlarged by cubic interpolation, with which training then begins: only the rest has to
            be learned. Not in the paper, and what few steps need.

    Raises:
        InputError: another scale.
    """

    def __init__(
        self,
        scale: int = 2,
        features: int = 64,
        groups: int = 10,
        blocks: int = 20,
        reduction: int = 16,
        bicubic: bool = False,
    ) -> None:
        super().__init__()
        if scale not in (2, 4, 8):
            raise InputError(f"scale {scale}: expected 2, 4 or 8; correct model.network.scale")
        self.scale, self.bicubic = scale, bicubic
        self.head = nn.Conv2d(3, features, 3, padding=1)
        self.body = nn.Sequential(*(ResidualGroup(features, reduction, blocks) for _ in range(groups)), _conv(features))
        grown: list[nn.Module] = []
        for _ in range(int(math.log2(scale))):
            grown += [nn.Conv2d(features, 4 * features, 3, padding=1), nn.PixelShuffle(2)]
        last = nn.Conv2d(features, 3, 3, padding=1)
        for parameter in last.parameters() if bicubic else ():
            nn.init.zeros_(parameter)
        self.tail = nn.Sequential(*grown, last)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, scale H, scale W), about [0, 1], of images (B, 3, H, W) in [0, 1]."""
        x = self.head(images - _MIDDLE)
        out: Tensor = self.tail(x + self.body(x))
        return out + (bicubic(images, self.scale) if self.bicubic else _MIDDLE)


def bicubic(images: Tensor, scale: float) -> Tensor:
    """Images (B, 3, scale H, scale W) in [0, 1] by cubic interpolation; antialiased where they shrink."""
    found = F.interpolate(images, scale_factor=scale, mode="bicubic", align_corners=False, antialias=scale < 1)
    return found.clamp(0, 1)


def _conv(features: int) -> nn.Conv2d:
    return nn.Conv2d(features, features, 3, padding=1)
