"""A feature extractor without weights from anywhere: drawn from a seed."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lit.features.extractors import FrozenExtractor


class RandomExtractor(FrozenExtractor):
    """Three strided convolutions drawn from a seed, no resize: for tests and for ranking runs of one small world.

    The figures compare with no published number. Float64, so that they do not depend on how images were batched.

    Args:
        seed: of the weights.
    """

    def __init__(self, seed: int = 0, width: int = 16, classes: int = 10) -> None:
        super().__init__(f"random-{seed}", "1", 4 * width, classes)
        generator = torch.Generator().manual_seed(seed)
        self.layers = nn.ModuleList()
        for before, after in ((3, width), (width, 2 * width), (2 * width, 4 * width)):
            layer = nn.Conv2d(before, after, 3, stride=2, padding=1, dtype=torch.float64)
            for value in layer.parameters():
                drawn = torch.randn(value.shape, generator=generator, dtype=torch.float64)
                value.data = drawn * (2.0 / (9 * before)) ** 0.5
            self.layers.append(layer)
        self.head = nn.Linear(4 * width, classes, bias=False, dtype=torch.float64)
        self.head.weight.data = torch.randn(self.head.weight.shape, generator=generator, dtype=torch.float64)
        self.freeze()

    def measure(self, pixels: Tensor) -> tuple[Tensor, Tensor | None]:
        """Mean activations of the last layer, and a random linear map of them as logits."""
        x = pixels.double() / 127.5 - 1
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
        features = x.mean((2, 3))
        return features, self.head(features)
