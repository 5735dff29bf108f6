"""The autoencoder of photographs with depth: colour and depth share one latent, as in LDM3D.

Source: Stan et al., "LDM3D: Latent Diffusion Model for 3D", 2023; diffusers' AutoencoderKL with four channels.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from lit.generators.dst.autoencoder import DstAutoencoder
from lit.generators.rgbd.pictures import RGBD_CHANNELS, RgbdViews, rgbd_pictures


class RgbdAutoencoder(DstAutoencoder):
    """As :class:`lit.generators.dst.autoencoder.DstAutoencoder`, of pictures with depth."""

    inputs = RGBD_CHANNELS
    experiment = "rgbd_autoencoder"

    def pictures(self, batch: Any) -> Tensor:
        """(B, 4, S, S) in [-1, 1] of photographs."""
        return rgbd_pictures(batch)

    def shown(self, found: Tensor, pictures: Tensor) -> RgbdViews:
        """Decoded pictures beside the photographs."""
        return RgbdViews.of(found.clamp(-1, 1), pictures)
