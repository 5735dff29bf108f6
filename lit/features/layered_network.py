"""Feature maps by layer: VGG16 and AlexNet with torchvision's weights, and three random convolutions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from datamodules.errors import InputError
from lit.weights.files import read_state
from lit.weights.fitting import fit_state

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def statistics_of(network: nn.Module) -> tuple[Tensor, Tensor]:
    """Mean and deviation (3, 1, 1) of uint8 pictures that a timm model's weights know; ImageNet's by default.

    Vision transformers of several families were trained with 0.5 and 0.5.
    """
    stated = getattr(network, "pretrained_cfg", None) or {}
    found = (stated.get("mean", IMAGENET_MEAN), stated.get("std", IMAGENET_STD))
    mean, std = found if {len(part) for part in found} == {3} else (IMAGENET_MEAN, IMAGENET_STD)
    return torch.tensor(mean)[:, None, None] * 255, torch.tensor(std)[:, None, None] * 255


# A convolution and its ReLU each: name, channels, kernel, stride, padding, and whether a maximum pooling stands before.
VGG16 = [
    (f"relu{block}_{number}", width, 3, 1, 1, block > 1 and number == 1)
    for block, (width, count) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)), 1)
    for number in range(1, count + 1)
]
ALEXNET = [("relu1", 64, 11, 4, 2, False), ("relu2", 192, 5, 1, 2, True), ("relu3", 384, 3, 1, 1, True)]
ALEXNET += [("relu4", 256, 3, 1, 1, False), ("relu5", 256, 3, 1, 1, False)]
TRUNKS = {"vgg16": (VGG16, 2), "alexnet": (ALEXNET, 3)}  # with the kernel of their poolings


class LayeredNetwork(nn.Sequential):
    """A frozen chain of layers that answers with the maps of some of them; differentiable in the images.

    Args:
        chain: layers; those that may be read have a name, others "".
        read: names of the layers to read; the chain ends at the deepest.

    Raises:
        InputError: a name that is not in the chain.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, chain: Iterator[tuple[str, nn.Module]], read: Sequence[str]) -> None:
        super().__init__()
        names: list[str] = []
        while not {*read} <= {*names}:  # further layers would cost draws of torch's generator
            name, layer = next(chain, ("", None))
            if layer is None:
                wrong, known = ({*read} - {*names}).pop(), ", ".join(filter(None, names))
                raise InputError(f"layer '{wrong}': expected some of {known}")
            self.append(layer)
            names.append(name)
        self.taps = [index for index, name in enumerate(names) if name in read]
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD)[:, None, None], persistent=False)
        self.requires_grad_(False)

    def maps(self, images: Tensor) -> list[Tensor]:
        """Feature maps (B, C, h, w), shallow to deep, of images (B, 3, H, W) in [0, 1]."""
        return self.activations((images - self.mean) / self.std)

    def activations(self, x: Tensor) -> list[Tensor]:
        """Feature maps (B, C, h, w) of images (B, 3, H, W) that are normalised already."""
        found = []
        for index, layer in enumerate(self):
            x = layer(x)
            if index in self.taps:
                found.append(x)
        return found


def trunk(network: str, weights: str | None, read: Sequence[str], hint: str = "") -> LayeredNetwork:
    """The convolutions of a classifier of torchvision.

    Args:
        network: "vgg16" (Simonyan and Zisserman, ICLR 2015), layers relu1_1 to relu5_3, or "alexnet", relu1 to relu5.
        weights: file with torchvision's state dict (``vgg16-397923af.pth``); None for random weights.
        read: layers to read.
        hint: what to do without the file, for messages.

    Raises:
        InputError: an unknown layer, no such file, or weights of another network.
    """
    layers = LayeredNetwork(_chain(network), read)
    if weights is not None:
        state = read_state(Path(weights), f"torchvision's {network}{hint}")
        named = nn.ModuleDict({"features": layers})  # as torchvision calls it; what lies deeper is left out
        given = {key: state[key] for key in named.state_dict() if key in state}
        fit_state(named, given, weights, f"torchvision's {network}")
    return layers


def random_layers(seed: int = 0) -> LayeredNetwork:
    """Three convolutions with fixed Gaussian weights and leaky ReLUs, strides 1, 2, 2, all read.

    No learned semantics, but local contrast and edges at three scales, which is what sharpens small crops.
    """
    return LayeredNetwork(_random_chain(seed), ("relu1", "relu2", "relu3"))


def map_distance(first: Sequence[Tensor], second: Sequence[Tensor], squared: bool = False) -> Tensor:
    """Mean over layers of the mean absolute (or squared) difference of two lists of maps; a scalar."""
    difference = F.mse_loss if squared else F.l1_loss
    return torch.stack([difference(a, b) for a, b in zip(first, second)]).mean()


def _chain(network: str) -> Iterator[tuple[str, nn.Module]]:
    rows, pooling = TRUNKS[network]
    before = 3
    for name, width, kernel, stride, padding, pooled in rows:
        if pooled:
            yield "", nn.MaxPool2d(pooling, 2)
        yield "", nn.Conv2d(before, width, kernel, stride, padding)
        yield name, nn.ReLU()
        before = width


def _random_chain(seed: int) -> Iterator[tuple[str, nn.Module]]:
    generator = torch.Generator().manual_seed(seed)
    before = 3
    for number, (width, stride) in enumerate(((16, 1), (32, 2), (48, 2)), 1):
        convolution = nn.Conv2d(before, width, 3, stride=stride, padding=1, bias=False)
        scale = (2.0 / (9 * before)) ** 0.5
        convolution.weight.data = torch.randn(convolution.weight.shape, generator=generator) * scale
        yield "", convolution
        yield f"relu{number}", nn.LeakyReLU(0.2)
        before = width
