"""LPIPS with weights from a local file: nothing is downloaded."""

from __future__ import annotations

from importlib.metadata import distribution

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lit.features.extractors import FrozenNetwork
from lit.features.layered_network import trunk
from lit.weights.files import load_weights

LAYERS = {
    "vgg": ("vgg16", ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3"), ", or null for no LPIPS"),
    "alex": ("alexnet", ("relu1", "relu2", "relu3", "relu4", "relu5"), ""),
}
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of images in [-1, 1]


class LpipsDistance(FrozenNetwork):
    """LPIPS (version 0.1) of Zhang et al. 2018: the package's own linear weights on torchvision's features.

    Squared differences of features of unit length, weighted by channel and averaged over the image, of five layers.

    Args:
        weights: file with torchvision's state dict of the network; None for weights drawn from ``seed``, which rank
            runs of this suite but compare with no published number.
        network: "vgg" for VGG16, "alex" for AlexNet.
        seed: of random weights.

    Raises:
        InputError: no such file, or weights of another network.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, weights: str | None, network: str = "vgg", seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            name, read, hint = LAYERS[network]
            self.trunk = trunk(name, weights, read, hint)
        # The package has the linear weights; importing it would take a second.
        path = str(distribution("lpips").locate_file(f"lpips/weights/v0.1/{network}.pth"))
        heads = load_weights(path, "the linear weights that the package lpips brings")
        self.heads = nn.ParameterList([heads[f"lin{layer}.model.1.weight"] for layer in range(5)])
        self.register_buffer("shift", torch.tensor(SHIFT)[:, None, None], persistent=False)
        self.register_buffer("scale", torch.tensor(SCALE)[:, None, None], persistent=False)
        self.freeze()

    def by_layer(self, first: Tensor, second: Tensor) -> list[Tensor]:
        """Each layer's part of the distances, (B,) each, of images (B, 3, H, W) in [0, 1]."""
        sides = (self.trunk.activations((2 * images - 1 - self.shift) / self.scale) for images in (first, second))
        pairs = zip(*([_unit(x) for x in maps] for maps in sides), self.heads)
        return [F.conv2d((a - b) ** 2, head).mean((2, 3)).flatten() for a, b, head in pairs]

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Distances (B,) of images (B, 3, H, W) in [0, 1]."""
        total, *others = self.by_layer(first, second)
        for part in others:  # one after the other, as the package adds them
            total = total + part
        return total


def _unit(x: Tensor) -> Tensor:
    """Features (B, C, h, w) of unit length along C."""
    return x / (torch.sqrt(torch.sum(x**2, dim=1, keepdim=True)) + 1e-10)
