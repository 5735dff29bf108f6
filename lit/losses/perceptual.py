"""Distance of images as a frozen network sees them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lit.features.layered_network import map_distance, random_layers, trunk


class PerceptualLoss(nn.Module):
    """Mean L1 (or squared) distance of convolutional features: VGG16's, or a fixed random network's.

    Nothing is downloaded: without a file of VGG16's weights the features are those of
    :func:`lit.features.layered_network.random_layers`.

    Args:
        vgg16: file with torchvision's ``vgg16`` state dict; None for the random network.
        squared: squared instead of absolute differences (the released code).
        seed: seed of the random network.
        read: VGG16's layers; Lift3D compares relu3_3.
    """

    def __init__(
        self, vgg16: str | None = None, squared: bool = False, seed: int = 0, read: Sequence[str] = ("relu3_3",)
    ) -> None:
        super().__init__()
        self.squared = squared
        hint = ", or null for random features"
        self.layers = random_layers(seed) if vgg16 is None else trunk("vgg16", vgg16, read, hint)

    def forward(self, rendered: Tensor, target: Tensor) -> Tensor:
        """Distance of images (B, 3, H, W) in [0, 1]; the target carries no gradient."""
        with torch.no_grad():
            wanted = self.layers.maps(target)
        return map_distance(self.layers.maps(rendered), wanted, self.squared)
