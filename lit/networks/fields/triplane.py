"""StyleGAN2-type synthesis of tri-planes from a learned constant, conditioned on one W+-shaped latent per object.

Layer for layer EG3D's synthesis network without its mapping network and without noise (Lift3D's tri-plane net): skip
connections add up the planes of every resolution.
"""

from __future__ import annotations

from torch import Tensor

from lit.networks.layers.synthesis import Noise, SynthesisNetwork


class TriplaneSynthesis(SynthesisNetwork):
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
        super().__init__(resolution, w_dim, channel_base, channel_max, 3 * channels, noise=False)
        self.channels = channels

    def used(self, latent: Tensor) -> Tensor:
        """The last ``rows`` rows of latents (B, rows, w_dim): Lift3D stores 16 rows and drops the first ones."""
        return latent[:, latent.shape[1] - self.rows :]

    def forward(self, latent: Tensor, noise: Noise = "none") -> Tensor:
        """Planes (B, 3, C, R, R), in the order (x, y), (x, z), (y, z), of latents (B, >= ``rows``, w_dim)."""
        return super().forward(self.used(latent), noise).unflatten(1, (3, self.channels))
