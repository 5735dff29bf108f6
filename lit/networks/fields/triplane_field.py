"""Lift3D's conditional field: latents to tri-planes and a style, and from these to colour and density at points."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from lit.networks.fields.planes import DecodedPlanes
from lit.networks.fields.siren import SirenDecoder
from lit.networks.fields.triplane import TriplaneSynthesis


class TriplaneField(nn.Module):
    """The shared network of Lift3D: tri-plane synthesis and decoder.

    Args:
        plane_resolution: side of the planes.
        plane_channels: channels of each plane.
        channel_base: see :class:`TriplaneSynthesis`.
        channel_max: see :class:`TriplaneSynthesis`.
        w_dim: width of a latent row.
        hidden: channels of the FiLM-SIREN layer.
        aggregate: "mean" (released weights) or "sum" (paper) over the three planes.
        decoder: see :class:`SirenDecoder`.
    """

    def __init__(
        self,
        plane_resolution: int = 128,
        plane_channels: int = 64,
        channel_base: int = 32768,
        channel_max: int = 512,
        w_dim: int = 512,
        hidden: int = 64,
        aggregate: str = "mean",
        **decoder: Any,
    ) -> None:
        super().__init__()
        self.synthesis = TriplaneSynthesis(plane_resolution, plane_channels, w_dim, channel_base, channel_max)
        self.decoder = SirenDecoder(plane_channels, hidden, w_dim, **decoder)
        self.aggregate = aggregate

    def forward(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Planes (B, 3, C, R, R) and styles (B, w_dim), the mean of the used rows, of latents (B, rows, w_dim)."""
        return self.synthesis(latent), self.synthesis.used(latent).mean(1)

    def field(self, planes: Tensor, style: Tensor) -> DecodedPlanes:
        """The field of planes (B, 3, C, R, R) under styles (B, w_dim)."""
        return DecodedPlanes(planes, lambda features: self.decoder(features, style), self.aggregate)
