"""StyleGAN2's generator and discriminator in plain PyTorch operators.

Source: Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020, config F: skip generator,
residual discriminator. Parameters hold the numbers that NVIDIA's stylegan2-ada-pytorch stores (see
:class:`lit.networks.layers.modulated.ModulatedConv` for the kernels' convention), so that its float32 forward is
reproduced.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn

from datamodules.errors import InputError
from lit.networks.layers.equalised import EqualConv, EqualLinear, activated
from lit.networks.layers.mapping import MappingNetwork
from lit.networks.layers.modulated import ModulatedConv, clamped, upsample

Noise = Literal["random", "const", "none"]


def resolutions(resolution: int) -> list[int]:
    """4, 8, ... up to ``resolution``.

    Raises:
        InputError: not a power of two of at least 8.
    """
    if resolution < 8 or resolution & (resolution - 1):
        raise InputError(f"resolution {resolution}: expected a power of two >= 8, e.g. 64 or 512")
    return [2**i for i in range(2, int(math.log2(resolution)) + 1)]


class NoisyConv(ModulatedConv):
    """Modulated convolution, noise of a learned strength, bias, activation, and a clamp of the result if wanted."""

    noise_const: Tensor

    def __init__(
        self, inputs: int, outputs: int, w_dim: int, resolution: int, up: bool = False, clamp: float | None = None
    ) -> None:
        super().__init__(inputs, outputs, w_dim, up=up)
        self.clamp = clamp
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("noise_const", torch.randn(resolution, resolution))

    def forward(self, x: Tensor, w: Tensor, noise: Noise = "random") -> Tensor:
        """Map (B, inputs, H, W) with style rows (B, w_dim) to (B, outputs, R, R)."""
        x = super().forward(x, w)
        if noise == "random":
            x = x + torch.randn_like(x[:, :1]) * self.noise_strength
        elif noise == "const":
            x = x + self.noise_const * self.noise_strength
        return clamped(activated(x), self.clamp)


class SynthesisBlock(nn.Module):
    """One resolution: (upsampling convolution,) convolution, and the image this resolution adds."""

    def __init__(
        self, inputs: int, outputs: int, w_dim: int, resolution: int, image_channels: int, clamp: float | None = None
    ) -> None:
        super().__init__()
        self.clamp = clamp
        self.conv0 = NoisyConv(inputs, outputs, w_dim, resolution, up=True, clamp=clamp) if inputs else None
        self.conv1 = NoisyConv(outputs, outputs, w_dim, resolution, clamp=clamp)
        self.to_rgb = ModulatedConv(outputs, image_channels, w_dim, size=1, demodulate=False)
        self.styles = 2 if inputs else 1

    def forward(self, x: Tensor, image: Tensor | None, w: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
        """Features and accumulated image; ``w`` (B, styles + 1, w_dim), the last row being the next block's first."""
        if self.conv0 is not None:
            x = self.conv0(x, w[:, 0], noise)
        x = self.conv1(x, w[:, self.styles - 1], noise)
        added = clamped(self.to_rgb(x, w[:, self.styles]), self.clamp)
        return x, added if image is None else upsample(image) + added


class SynthesisNetwork(nn.Module):
    """W+ latents to images.

    Args:
        resolution: side of the images, a power of two >= 8.
        w_dim: width of a style row.
        channel_base: feature maps at resolution r have ``min(channel_base / r, channel_max)`` channels.
        channel_max: see ``channel_base``.
        image_channels: channels of the images.
        conv_clamp: bound on the activations and on what a block adds to the image, which the published training sets
            to 256 against overflows of half precision; None for none.
    """

    def __init__(
        self,
        resolution: int,
        w_dim: int = 512,
        channel_base: int = 32768,
        channel_max: int = 512,
        image_channels: int = 3,
        conv_clamp: float | None = None,
    ) -> None:
        super().__init__()
        sizes = resolutions(resolution)
        widths = [min(channel_base // size, channel_max) for size in sizes]
        self.resolution, self.w_dim, self.rows = resolution, w_dim, 2 * len(sizes)
        self.constant = nn.Parameter(torch.randn(1, widths[0], 4, 4))
        self.blocks = nn.ModuleList(
            SynthesisBlock(before, width, w_dim, size, image_channels, conv_clamp)
            for before, width, size in zip([0, *widths[:-1]], widths, sizes)
        )

    def forward(self, latent: Tensor, noise: Noise = "random") -> Tensor:
        """Images (B, image_channels, R, R), about [-1, 1], of latents (B, rows, w_dim).

        Args:
            latent: one style row a layer; the last block's to_rgb takes the last.
            noise: "random" draws it, "const" takes the stored maps, "none" leaves it out.

        Raises:
            InputError: another number of rows or width.
        """
        if latent.shape[1:] != (self.rows, self.w_dim):
            got = tuple(latent.shape)
            raise InputError(f"latent of shape {got}: expected (B, {self.rows}, {self.w_dim}); repeat w over the rows")
        x, image = self.constant.expand(len(latent), -1, -1, -1), None
        for index, block in enumerate(self.blocks):  # rows: the block's convolutions, then the next block's first
            x, image = block(x, image, latent[:, max(2 * index - 1, 0) : 2 * index + 2], noise)
        assert image is not None
        return image

    def noise_maps(self) -> list[Tensor]:
        """The stored noise maps (R, R), from the coarsest layer to the finest."""
        return [layer.noise_const for layer in self.modules() if isinstance(layer, NoisyConv)]


class StyleGAN2Generator(nn.Module):
    """Mapping and synthesis; see there for the arguments, and for what classes mean.

    Attributes:
        config: the constructor's arguments, from which the network can be built again.
    """

    def __init__(
        self,
        resolution: int = 64,
        z_dim: int = 512,
        w_dim: int = 512,
        mapping_layers: int = 8,
        channel_base: int = 32768,
        channel_max: int = 512,
        image_channels: int = 3,
        conv_clamp: float | None = None,
        c_dim: int = 0,
        class_label: int | None = None,
    ) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "resolution": resolution,
            "z_dim": z_dim,
            "w_dim": w_dim,
            "mapping_layers": mapping_layers,
            "channel_base": channel_base,
            "channel_max": channel_max,
            "image_channels": image_channels,
            "conv_clamp": conv_clamp,
            "c_dim": c_dim,
            "class_label": class_label,
        }
        self.z_dim, self.w_dim = z_dim, w_dim
        self.mapping = MappingNetwork(z_dim, w_dim, mapping_layers, c_dim=c_dim, class_label=class_label)
        self.synthesis = SynthesisNetwork(resolution, w_dim, channel_base, channel_max, image_channels, conv_clamp)

    def choose(self, class_label: int) -> None:
        """Draw this class where none is given; see :meth:`MappingNetwork.choose`."""
        self.mapping.choose(class_label)
        self.config["class_label"] = class_label

    @property
    def rows(self) -> int:
        """Rows of a W+ latent."""
        return self.synthesis.rows

    def latents(self, z: Tensor, truncation: float = 1.0, class_label: int | Tensor | None = None) -> Tensor:
        """W+ latents (B, rows, w_dim) of z (B, z_dim), drawn towards the mean style by ``1 - truncation``."""
        w = self.mapping(z, class_label)
        if truncation != 1.0:
            w = self.mapping.w_avg.lerp(w, truncation)
        return w[:, None].expand(-1, self.rows, -1)

    def forward(
        self, z: Tensor, truncation: float = 1.0, noise: Noise = "random", class_label: int | Tensor | None = None
    ) -> Tensor:
        """Images (B, C, R, R), about [-1, 1], of z (B, z_dim), and of a class or (B,) classes where there are any."""
        images: Tensor = self.synthesis(self.latents(z, truncation, class_label), noise)
        return images


class DiscriminatorBlock(nn.Module):
    """Two convolutions beside a 1x1 shortcut, together half the resolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv0 = EqualConv(inputs, inputs, 3)
        self.conv1 = EqualConv(inputs, outputs, 3, down=True)
        self.skip = EqualConv(inputs, outputs, 1, down=True, bias=False, activate=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H/2, W/2)."""
        both: Tensor = self.conv1(self.conv0(x)) + self.skip(x)
        return both * math.sqrt(0.5)


def minibatch_deviation(x: Tensor, group: int) -> Tensor:
    """Append one channel to (B, C, H, W): the mean standard deviation over the image's group.

    Image n is in a group with n + B / g, n + 2 B / g, ..., where g is the largest divisor of B up to ``group``.
    """
    batch, channels, height, width = x.shape
    size = max(g for g in range(1, min(group, batch) + 1) if batch % g == 0)
    groups = x.reshape(size, batch // size, channels, height, width)
    deviation = (groups - groups.mean(0)).square().mean(0).add(1e-8).sqrt().mean((1, 2, 3))
    return torch.cat([x, deviation.repeat(size)[:, None, None, None].expand(-1, -1, height, width)], 1)


class StyleGAN2Discriminator(nn.Module):
    """Residual discriminator.

    Args:
        resolution: side of the images, a power of two >= 8.
        channel_base: see :class:`SynthesisNetwork`.
        channel_max: see :class:`SynthesisNetwork`.
        minibatch_std_group: images that share a deviation.
        input_channels: channels of the images.
    """

    def __init__(
        self,
        resolution: int,
        channel_base: int = 32768,
        channel_max: int = 512,
        minibatch_std_group: int = 4,
        input_channels: int = 3,
    ) -> None:
        super().__init__()
        widths = [min(channel_base // size, channel_max) for size in reversed(resolutions(resolution))]
        self.group, last = minibatch_std_group, widths[-1]
        self.from_rgb = EqualConv(input_channels, widths[0], 1)
        self.blocks = nn.ModuleList(DiscriminatorBlock(a, b) for a, b in pairwise(widths))
        self.conv = EqualConv(last + 1, last, 3)
        self.hidden = EqualLinear(last * 16, last)
        self.out = EqualLinear(last, 1, activate=False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, 1) of images (B, input_channels, R, R)."""
        x = self.from_rgb(images)
        for block in self.blocks:
            x = block(x)
        x = self.conv(minibatch_deviation(x, self.group))
        logits: Tensor = self.out(self.hidden(x.flatten(1)))
        return logits
