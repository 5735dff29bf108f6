"""Perceptual distance with a choice of levels: all five of LPIPS, or the deepest alone (G3DR's losses 3 and 6)."""

from __future__ import annotations

from torch import Tensor, nn

from datamodules.errors import InputError
from lit.features.layered_network import map_distance, random_layers
from lit.features.lpips_distance import LpipsDistance
from lit.weights.files import require_file

RANDOM = "random"  # what has to be said instead of a file
SOURCE = "download torchvision's vgg16-397923af.pth once and name it, or say 'random'"


class PerceptualLevels(nn.Module):
    """LPIPS on VGG16 by levels, or the same on three fixed random convolutions, which are quick on small pictures.

    Args:
        weights: file with torchvision's VGG16 state dict; "random" for VGG16 with random weights.
        network: "vgg", or "convolutions" for :func:`lit.features.layered_network.random_layers`, which takes no file.

    Raises:
        InputError: no weights, no such file, or an unknown network.
    """

    def __init__(self, weights: str | None = None, network: str = "vgg") -> None:
        super().__init__()
        if network == "convolutions":
            if weights not in (None, RANDOM):
                raise InputError(f"weights '{weights}' of random convolutions: expected none; take network vgg")
            self.layers: LpipsDistance | None = None
            self.convolutions = random_layers()
        elif network == "vgg":
            file = None if weights == RANDOM else str(require_file(weights, "the perceptual loss's VGG16", SOURCE))
            self.layers = LpipsDistance(file)
        else:
            raise InputError(f"perceptual network '{network}': expected vgg or convolutions")

    def forward(self, rendered: Tensor, target: Tensor, deepest: int | None = None) -> Tensor:
        """Distance of images (B, 3, H, W) in [0, 1], a scalar, over all levels or so many of the deepest ones."""
        if self.layers is not None:
            parts = self.layers.by_layer(rendered, target)
            chosen = parts if deepest is None else parts[-deepest:]
            return sum(chosen[1:], chosen[0]).mean()
        maps = [self.convolutions.maps(images) for images in (rendered, target)]
        first, second = maps if deepest is None else (side[-deepest:] for side in maps)
        return map_distance(first, second)
