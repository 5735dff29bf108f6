"""From a label map, a latent and a pose to w+: geometry rows from the labels, appearance rows from the others.

Source: Deng et al., CVPR 2023, section 3.1; released code (``MaskMappingNetwork_disentangle``): seven geometry rows
come first, whatever the training script asks for; the moving average holds one row for each of w+.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lit.networks.layers.mapping import MappingNetwork
from lit.networks.pix2pix3d.label_encoder import LabelEncoder


class LabelMapping(nn.Module):
    """w+ of label maps, latents and poses.

    Args:
        encoder: makes the geometry rows, which come first.
        rows: of w+ in all.
        z_dim: width of z.
        layers: of the appearance's mapping network.
        c_dim: length of the pose vector.
    """

    w_avg: Tensor

    def __init__(self, encoder: LabelEncoder, rows: int, z_dim: int = 512, layers: int = 2, c_dim: int = 25) -> None:
        super().__init__()
        self.encoder, self.rows = encoder, rows
        self.style = MappingNetwork(z_dim, encoder.w_dim, layers, c_dim=c_dim, average=False)
        self.register_buffer("w_avg", torch.zeros(rows, encoder.w_dim))

    def appearance(self, z: Tensor, pose: Tensor, rows: int | None = None) -> Tensor:
        """Rows (B, rows, w_dim), all alike, of latents (B, z_dim) and poses (B, c_dim); None: all but geometry's."""
        style: Tensor = self.style(z, pose)
        return style[:, None].expand(-1, self.rows - self.encoder.rows if rows is None else rows, -1)

    def forward(self, z: Tensor, pose: Tensor, labels: Tensor) -> Tensor:
        """w+ (B, rows, w_dim) of latents (B, z_dim), poses (B, c_dim) and label channels (B, C, R, R)."""
        return torch.cat([self.encoder(labels), self.appearance(z, pose)], 1)

    def truncated(self, latent: Tensor, truncation: float) -> Tensor:
        """w+ (B, rows, w_dim) drawn towards its mean by ``1 - truncation``: all rows, those of the labels too."""
        return self.w_avg.lerp(latent, truncation) if truncation != 1.0 else latent

    def follow(self, mean: Tensor, kept: float) -> None:
        """Move the average towards the mean (rows, w_dim) of a batch, keeping so much of it."""
        self.w_avg.lerp_(mean.detach().to(self.w_avg), 1 - kept)
