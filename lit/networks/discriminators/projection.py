"""What a discriminator is shown beside a picture: the same picture at another resolution, and a condition.

Sources: Chan et al., "Efficient Geometry-aware 3D Generative Adversarial Networks", CVPR 2022, section 4.3 (dual
discrimination); Miyato and Koyama, "cGANs with Projection Discriminator", ICLR 2018, in StyleGAN2's form.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from datamodules.errors import InputError
from lit.networks.layers.mapping import MappingNetwork


def side_by_side(images: Tensor, raw: Tensor | None, raw_channels: int) -> Tensor:
    """Images (B, C, R, R) and, resized to their side, raw ones (B, raw_channels, r, r) along the channels.

    Raises:
        InputError: raw images are missing, not expected, or of another number of channels.
    """
    given = 0 if raw is None else raw.shape[1]
    if given != raw_channels:
        raise InputError(
            f"raw images of {given} channels: expected {raw_channels}, set the discriminator's raw_channels"
        )
    if raw is None:
        return images
    return torch.cat([images, F.interpolate(raw, images.shape[-2:], mode="bilinear", align_corners=False)], 1)


class Projection(nn.Module):
    """Makes a discriminator's last features its logit: the features themselves, or their product with a condition.

    Args:
        c_dim: classes, or length of the vectors (of a pose) that condition; 0 for none.
        width: features that are compared with a mapped condition.
        layers: of the condition's mapping network.

    Attributes:
        features: how many to give :meth:`forward`: 1 without a condition.
    """

    def __init__(self, c_dim: int, width: int, layers: int = 8) -> None:
        super().__init__()
        self.features = width if c_dim else 1
        self.mapping = MappingNetwork(0, width, layers, c_dim=c_dim, average=False) if c_dim else None

    def forward(self, x: Tensor, condition: Tensor | None) -> Tensor:
        """Logits (B, 1) of features x (B, features) and classes (B,) or vectors (B, c_dim).

        Raises:
            InputError: a condition is missing or not expected.
        """
        if (condition is None) != (self.mapping is None):
            expected = "none, its c_dim is 0" if self.mapping is None else "one class or vector an image"
            raise InputError(f"condition of a discriminator: expected {expected}; correct c_dim or what it is given")
        if self.mapping is None or condition is None:
            return x
        mapped = self.mapping(x.new_zeros(len(x), 0), condition)
        return (x * mapped).sum(1, keepdim=True) / math.sqrt(self.features)
