"""StyleGAN2's skip synthesis: what grows pictures, tri-planes and the pictures of feature images from style rows.

Source: Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020, config F. Parameters hold the
numbers that NVIDIA's stylegan2-ada-pytorch stores (see :class:`lit.networks.layers.modulated.ModulatedConv` for the
kernels' convention), so that its float32 forward is reproduced.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from datamodules.errors import InputError
from lit.networks.batch_draws import batch_draw
from lit.networks.layers.equalised import activated
from lit.networks.layers.modulated import ModulatedConv, clamped, upsample

Noise = Literal["random", "const", "none"]


def resolutions(resolution: int, size: int = 4) -> list[int]:
    """Sides ``size``, 2 ``size``, ... up to ``resolution``.

    Raises:
        InputError: doubling does not lead there, or there is nothing to double.
    """
    steps = (resolution // size).bit_length() - 1
    if steps < 1 or size << steps != resolution:
        kind = "a power of two" if size == 4 else f"{size} times a power of two"
        raise InputError(f"resolution {resolution}: expected {kind} >= {2 * size}, e.g. {16 * size} or {32 * size}")
    return [size << step for step in range(steps + 1)]


class StyledConv(ModulatedConv):
    """Modulated convolution, noise of a learned strength, bias, activation, and a clamp of the result if wanted.

    Args:
        inputs: input channels.
        outputs: output channels.
        w_dim: width of a style row.
        resolution: side of the result, which its noise has; None for a layer without noise.
        up: double the resolution.
        clamp: bound on the activations; None for none.
    """

    noise_const: Tensor

    def __init__(
        self,
        inputs: int,
        outputs: int,
        w_dim: int,
        resolution: int | None,
        up: bool = False,
        clamp: float | None = None,
    ) -> None:
        super().__init__(inputs, outputs, w_dim, up=up)
        self.clamp, self.noisy = clamp, resolution is not None
        if resolution is not None:
            self.noise_strength = nn.Parameter(torch.zeros(()))
            self.register_buffer("noise_const", torch.randn(resolution, resolution))

    def forward(self, x: Tensor, w: Tensor, noise: Noise = "random") -> Tensor:
        """Map (B, inputs, H, W) with style rows (B, w_dim) to (B, outputs, R, R)."""
        x = super().forward(x, w)
        if self.noisy and noise == "random":
            drawn = batch_draw(lambda n: x.new_empty(n, 1, *x.shape[2:]).normal_(), len(x))
            x = x + drawn * self.noise_strength
        elif self.noisy and noise == "const":
            x = x + self.noise_const * self.noise_strength
        return clamped(activated(x), self.clamp)


class SynthesisBlock(nn.Module):
    """One resolution: (a first convolution, which may double it,) convolution, and the image this resolution adds."""

    def __init__(self, conv0: StyledConv | None, conv1: StyledConv, to_rgb: ModulatedConv) -> None:
        super().__init__()
        self.conv0, self.conv1, self.to_rgb = conv0, conv1, to_rgb
        self.styles = 1 if conv0 is None else 2
        self.up = conv0 is not None and conv0.up

    def forward(self, x: Tensor, image: Tensor | None, w: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
        """Features and accumulated image; ``w`` (B, styles + 1, w_dim), the last row being the next block's first."""
        if self.conv0 is not None:
            x = self.conv0(x, w[:, 0], noise)
        x = self.conv1(x, w[:, self.styles - 1], noise)
        added = clamped(self.to_rgb(x, w[:, self.styles]), self.conv1.clamp)
        return x, added if image is None else (upsample(image) if self.up else image) + added


class SynthesisNetwork(nn.Module):
    """Style rows, and a feature image where there is one, to images of any number of channels.

    Args:
        resolution: side of the images: ``size`` times a power of two, at least 2.
        w_dim: width of a style row.
        channel_base: feature maps at resolution r have ``min(channel_base / r, channel_max)`` channels.
        channel_max: see ``channel_base``.
        image_channels: channels of the images.
        conv_clamp: bound on the activations and on what a block adds to the image, which the published training sets
            to 256 against overflows of half precision; None for none.
        noise: layers add noise.
        size: side of the first block.
        features: channels of the feature image that it starts from; 0 starts from a learned constant.

    Attributes:
        rows: style rows of a latent; the last block's to_rgb takes the last.
        outputs: channels of the features behind the image.
    """

    def __init__(
        self,
        resolution: int,
        w_dim: int = 512,
        channel_base: int = 32768,
        channel_max: int = 512,
        image_channels: int = 3,
        conv_clamp: float | None = None,
        noise: bool = True,
        size: int = 4,
        features: int = 0,
    ) -> None:
        super().__init__()
        sizes = resolutions(resolution, size)
        widths = [min(channel_base // side, channel_max) for side in sizes]
        self.resolution, self.w_dim, self.rows, self.outputs = resolution, w_dim, 2 * len(sizes), widths[-1]
        self.constant = None if features else nn.Parameter(torch.randn(1, widths[0], 4, 4))

        def conv(inputs: int, outputs: int, side: int, up: bool = False) -> StyledConv:
            return StyledConv(inputs, outputs, w_dim, side if noise else None, up, conv_clamp)

        def convs() -> Iterable[tuple[StyledConv | None, StyledConv]]:
            yield None, conv(features or widths[0], widths[0], size)
            for (before, width), side in zip(pairwise(widths), sizes[1:]):
                yield conv(before, width, side, up=True), conv(width, width, side)

        # A seed draws weights block by block; over a feature image all convolutions first, then what adds to images.
        pairs = list(convs()) if features else convs()
        images = (ModulatedConv(width, image_channels, w_dim, size=1, demodulate=False) for width in widths)
        self.blocks = nn.ModuleList(SynthesisBlock(*pair, image) for pair, image in zip(pairs, images))

    def forward(self, latent: Tensor, noise: Noise = "random") -> Tensor:
        """Images (B, image_channels, R, R), about [-1, 1], that latents (B, rows, w_dim) make of the constant.

        Args:
            latent: one style row a layer.
            noise: "random" draws it, "const" takes the stored maps, "none" leaves it out.

        Raises:
            InputError: another number of rows or width.
        """
        assert self.constant is not None, "starts from a feature image"
        return self.render(self.constant.expand(len(latent), -1, -1, -1), latent, noise)[0]

    def render(self, x: Tensor, latent: Tensor, noise: Noise = "random") -> tuple[Tensor, Tensor]:
        """Images, and the features (B, outputs, R, R) behind them, from features x (B, features, size, size).

        Raises:
            InputError: a latent of another number of rows or width.
        """
        if latent.shape[1:] != (self.rows, self.w_dim):
            got = tuple(latent.shape)
            raise InputError(f"latent of shape {got}: expected (B, {self.rows}, {self.w_dim}); repeat w over the rows")
        image = None
        for index, block in enumerate(self.blocks):  # rows: the block's convolutions, then the next block's first
            x, image = block(x, image, latent[:, max(2 * index - 1, 0) : 2 * index + 2], noise)
        assert image is not None
        return image, x
