"""pix2pix3D's label encoder: the downsampling half of a discriminator, from a label map to rows of w+.

Source: Deng et al., "3D-aware Conditional Image Synthesis", CVPR 2023, section 3.1; released code (``Encoder``).
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from datamodules.errors import InputError
from lit.networks.discriminators.stylegan2_discriminator import DiscriminatorBlock
from lit.networks.layers.equalised import EqualConv
from lit.networks.layers.synthesis import resolutions


def label_channels(labels: Tensor, kind: Literal["segmentation", "edges"], classes: int, side: int) -> Tensor:
    """What encoders and discriminators take: (B, classes, side, side) one-hot of ids, or the edges themselves.

    Args:
        labels: (B, side, side) int64 class ids, or (B, 1, side, side) edges.
        kind: which of them.
        classes: of ids.
        side: of the label maps.

    Raises:
        InputError: another shape, or an id that is no class.
    """
    wanted = (side, side) if kind == "segmentation" else (1, side, side)
    if tuple(labels.shape[1:]) != wanted:
        raise InputError(
            f"label maps of shape {tuple(labels.shape)}: expected (B, {', '.join(map(str, wanted))})"
            f" for {kind}; resize them or set the network's resolution"
        )
    if kind == "edges":
        return labels.float()
    low, high = (int(edge) for edge in labels.aminmax())
    if low < 0 or high >= classes:
        wrong = low if low < 0 else high
        raise InputError(f"label map with class {wrong}: expected 0 to {classes - 1}; set the classes")
    return F.one_hot(labels.long(), classes).permute(0, 3, 1, 2).float()


class LabelEncoder(nn.Module):
    """Label channels to the first rows of w+, which hold the geometry.

    Args:
        resolution: side of the label maps, a power of two >= 8.
        channels: of the label maps: classes, or 1 for edges.
        rows: rows of w+.
        w_dim: width of a row.
        channel_base: feature maps at resolution r have ``min(channel_base / r, channel_max)`` channels.
        channel_max: see ``channel_base``.
    """

    def __init__(
        self,
        resolution: int,
        channels: int,
        rows: int = 7,
        w_dim: int = 512,
        channel_base: int = 32768,
        channel_max: int = 512,
    ) -> None:
        super().__init__()
        widths = [min(channel_base // size, channel_max) for size in reversed(resolutions(resolution))]
        self.rows, self.w_dim = rows, w_dim
        self.from_label = EqualConv(channels, widths[0], 1)
        self.blocks = nn.ModuleList(DiscriminatorBlock(a, b) for a, b in pairwise(widths))
        # A convolution over all of the last 4 x 4 features, without bias or activation.
        self.projector = nn.Parameter(torch.randn(rows * w_dim, widths[-1], 4, 4))
        self.gain = 1.0 / math.sqrt(widths[-1] * 16)

    def forward(self, labels: Tensor) -> Tensor:
        """Rows (B, rows, w_dim) of label channels (B, channels, R, R)."""
        x = self.from_label(labels)
        for block in self.blocks:
            x = block(x)
        return F.linear(x.flatten(1), self.projector.flatten(1) * self.gain).unflatten(1, (self.rows, self.w_dim))
