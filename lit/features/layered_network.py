"""Feature maps by layer: VGG16 and AlexNet with torchvision's weights, and three random convolutions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from datamodules.errors import InputError
from lit.weights.files import read_state
from lit.weights.fitting import fit_state

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
VGG16_WIDTHS = ((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3)  # channels of the convolutions, by block
ALEXNET = (
    (64, 11, 4, 2),
    (192, 5, 1, 2),
    (384, 3, 1, 1),
    (256, 3, 1, 1),
    (256, 3, 1, 1),
)  # width kernel stride padding
Chain = Iterable[tuple[str, nn.Module]]


class LayeredNetwork(nn.Sequential):
    """A frozen chain of layers that answers with the maps of some of them; differentiable in the images.

    It ends at the deepest layer that is read.

    Args:
        chain: layers with their names, of which those that are never read may be "".
        read: names of the layers to read.

    Raises:
        InputError: a name that is not in the chain.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, chain: Chain, read: Sequence[str]) -> None:
        super().__init__()
        self.taps: list[int] = []
        names = []
        for name, layer in chain:
            self.append(layer)
            names.append(name)
            if name in read:
                self.taps.append(len(self) - 1)
            if len(self.taps) == len(read):  # later layers would cost time, and draws of torch's generator
                break
        if wrong := [name for name in read if name not in names]:
            raise InputError(f"layer '{wrong[0]}': expected some of {', '.join(filter(None, names))}")
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

    def load(self, weights: str, network: str, hint: str = "") -> None:
        """Fill from torchvision's state dict of a classifier; the layers behind the deepest one are left out.

        Args:
            weights: the file.
            network: torchvision's name.
            hint: what to add to messages, such as what to do without the file.

        Raises:
            InputError: no such file, or weights of another network.
        """
        state = read_state(Path(weights), f"torchvision's {network}{hint}")
        named = nn.ModuleDict({"features": self})  # as torchvision calls it
        given = {key: state[key] for key in named.state_dict() if key in state}
        fit_state(named, given, weights, f"torchvision's {network}")


class VGG16(LayeredNetwork):
    """VGG16 (Simonyan and Zisserman, ICLR 2015) as torchvision has it.

    Args:
        weights: file with torchvision's ``vgg16`` state dict (``vgg16-397923af.pth``).
        read: layers to read, relu1_1 to relu5_3.
        hint: see :meth:`LayeredNetwork.load`.
    """

    def __init__(self, weights: str, read: Sequence[str], hint: str = "") -> None:
        super().__init__(_vgg16(), read)
        self.load(weights, "vgg16", hint)


class AlexNet(LayeredNetwork):
    """AlexNet (Krizhevsky, 2014) as torchvision has it.

    Args:
        weights: file with torchvision's ``alexnet`` state dict (``alexnet-owt-7be5be79.pth``); None for random weights.
        read: layers to read, relu1 to relu5.
    """

    def __init__(self, weights: str | None, read: Sequence[str]) -> None:
        super().__init__(_alexnet(), read)
        if weights is not None:
            self.load(weights, "alexnet")


class RandomLayers(LayeredNetwork):
    """Three fixed convolutions with leaky ReLUs, strides 1, 2, 2, all read.

    No learned semantics, but local contrast and edges at three scales, which is what sharpens small crops.

    Args:
        seed: of the weights.
    """

    def __init__(self, seed: int = 0) -> None:
        super().__init__(_random(seed), ("relu1", "relu2", "relu3"))


def map_distance(first: Sequence[Tensor], second: Sequence[Tensor], squared: bool = False) -> Tensor:
    """Mean over layers of the mean absolute (or squared) difference of two lists of maps; a scalar."""
    difference = F.mse_loss if squared else F.l1_loss
    return torch.stack([difference(a, b) for a, b in zip(first, second)]).mean()


def _vgg16() -> Iterator[tuple[str, nn.Module]]:
    before = 3
    for block, widths in enumerate(VGG16_WIDTHS, 1):
        for number, width in enumerate(widths, 1):
            yield "", nn.Conv2d(before, width, 3, padding=1)
            yield f"relu{block}_{number}", nn.ReLU()
            before = width
        yield "", nn.MaxPool2d(2)


def _alexnet() -> Iterator[tuple[str, nn.Module]]:
    before = 3
    for number, (width, kernel, stride, padding) in enumerate(ALEXNET, 1):
        yield "", nn.Conv2d(before, width, kernel, stride, padding)
        yield f"relu{number}", nn.ReLU()
        before = width
        if number < 3:
            yield "", nn.MaxPool2d(3, 2)


def _random(seed: int) -> Iterator[tuple[str, nn.Module]]:
    generator = torch.Generator().manual_seed(seed)
    before = 3
    for number, (width, stride) in enumerate(((16, 1), (32, 2), (48, 2)), 1):
        convolution = nn.Conv2d(before, width, 3, stride=stride, padding=1, bias=False)
        scale = (2.0 / (9 * before)) ** 0.5
        convolution.weight.data = torch.randn(convolution.weight.shape, generator=generator) * scale
        yield "", convolution
        yield f"relu{number}", nn.LeakyReLU(0.2)
        before = width
