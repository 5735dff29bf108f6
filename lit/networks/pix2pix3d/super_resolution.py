"""EG3D's upsampler of rendered features: two styled blocks that add to the low-resolution picture.

Sources: Chan et al., CVPR 2022, section 4.3; released code (``SuperresolutionHybrid2X``, ``4X``, ``8XDC``; pix2pix3D
has twins with as many output channels as there are labels).
"""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from datamodules.errors import InputError
from lit.networks.layers.modulated import ModulatedConv
from lit.networks.layers.synthesis import Noise, StyledConv, SynthesisBlock

CLAMP = 256.0  # what the half-precision option of the released code sets, also where it runs in float32
RELEASED = {128: (64, (128, 64)), 256: (128, (128, 64)), 512: (128, (256, 128))}
"""By resolution: side of the features that go in, and the channels of the two blocks (2X, 4X and 8XDC)."""


class Upsampled(NamedTuple):
    """A picture, and what its first block made of the low-resolution one.

    Attributes:
        picture: (B, C, R, R).
        first: (B, C, s, s) the low-resolution picture with the first block's addition, where that block neither
            resizes nor doubles; else None.
    """

    picture: Tensor
    first: Tensor | None


def antialiased(images: Tensor, size: int) -> Tensor:
    """Images (B, C, H, W) at ``size`` x ``size`` pixels, bilinear and antialiased."""
    if images.shape[-2:] == (size, size):
        return images
    return F.interpolate(images, (size, size), mode="bilinear", align_corners=False, antialias=True)


class SuperResolution(nn.Module):
    """Feature images and pictures of any side to pictures of a higher resolution.

    The first block doubles where ``resolution`` is four times ``size``, and keeps it where it is twice.

    Args:
        resolution: side of the pictures.
        channels: of the feature images.
        image_channels: of the pictures: 3, or those of the labels.
        w_dim: width of a style row.
        size: side that the input is brought to first; None for the released one.
        widths: channels of the two blocks; None for the released ones.
        clamp: bound on the activations and on what a block adds; None for none.

    Raises:
        InputError: ``resolution`` is neither twice nor four times ``size``, or no released one and no size given.
    """

    def __init__(
        self,
        resolution: int,
        channels: int = 32,
        image_channels: int = 3,
        w_dim: int = 512,
        size: int | None = None,
        widths: tuple[int, int] | None = None,
        clamp: float | None = CLAMP,
    ) -> None:
        super().__init__()
        usual = RELEASED.get(resolution, (resolution // 2, (128, 64)))
        self.size, (first, second) = size or usual[0], widths or usual[1]
        if resolution not in (2 * self.size, 4 * self.size):
            raise InputError(
                f"super-resolution from {self.size} to {resolution} pixels: expected twice or four times as many"
            )
        middle = resolution // 2

        def block(inputs: int, outputs: int, side: int, up: bool) -> SynthesisBlock:
            return SynthesisBlock(
                StyledConv(inputs, outputs, w_dim, side, up, clamp),
                StyledConv(outputs, outputs, w_dim, side, clamp=clamp),
                ModulatedConv(outputs, image_channels, w_dim, size=1, demodulate=False),
            )

        self.block0 = block(channels, first, middle, middle != self.size)
        self.block1 = block(first, second, resolution, True)

    def forward(self, picture: Tensor, features: Tensor, latent: Tensor, noise: Noise = "none") -> Upsampled:
        """Pictures (B, C, R, R) of pictures (B, C, s, s) and features (B, channels, s, s).

        Args:
            picture: low-resolution pictures.
            features: behind them.
            latent: w+ (B, rows, w_dim), of which the last row steers all layers.
            noise: as in :class:`lit.networks.layers.synthesis.SynthesisNetwork`; released without.
        """
        same = picture.shape[-1] == self.size and not self.block0.up
        rows = latent[:, -1:].expand(-1, 3, -1)
        x, first = self.block0(antialiased(features, self.size), antialiased(picture, self.size), rows, noise)
        _, image = self.block1(x, first, rows, noise)
        return Upsampled(image, first if same else None)
