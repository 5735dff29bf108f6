"""StyleGAN2's generator: a mapping network, and the skip synthesis that it steers.

Source: Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020, config F.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from lit.networks.layers.mapping import MappingNetwork
from lit.networks.layers.synthesis import Noise, SynthesisNetwork


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
        arguments = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        super().__init__()
        self.config: dict[str, Any] = arguments
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
