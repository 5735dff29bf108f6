"""Feature extractors of image metrics: frozen networks whose name says which network and which resize."""

from __future__ import annotations

from typing import Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn

from datamodules.errors import InputError
from detectors.precision import full_precision

Self = TypeVar("Self", bound="FrozenNetwork")


@runtime_checkable
class Extractor(Protocol):
    """What an image metric needs of a network.

    Attributes:
        name: network and resize, such as ``fid-inception-cleanfid``; part of every figure's name.
        version: tells weights apart: a digest of the file, or the seed's scheme.
        dims: length of the features.
        classes: length of the logits, 0 where the network has none.
    """

    name: str
    version: str
    dims: int
    classes: int

    def __call__(self, images: Tensor) -> Tensor:
        """Features (B, dims) of RGB images (B, 3, H, W), uint8 or floats in [0, 1]."""
        ...

    def both(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Features (B, dims), and logits (B, classes) or None."""
        ...


class FrozenNetwork(nn.Module):
    """A network whose weights take no gradient (or DDP reports unused parameters), in evaluation mode for good.

    Its input may take one: frozen features serve as losses too.
    """

    def freeze(self: Self) -> Self:
        """Self without gradients and in evaluation mode; the last call of a constructor."""
        return self.requires_grad_(False).eval()

    def train(self: Self, mode: bool = True) -> Self:
        """Stay in evaluation mode: the module that owns a metric switches its children to training."""
        return super().train(False)


class FrozenExtractor(FrozenNetwork):
    """A frozen :class:`Extractor` with one feature vector an image; subclasses implement :meth:`measure`."""

    def __init__(self, name: str, version: str, dims: int, classes: int = 0) -> None:
        super().__init__()
        self.name, self.version, self.dims, self.classes = name, version, dims, classes

    def forward(self, images: Tensor) -> Tensor:
        """Features (B, dims) of RGB images (B, 3, H, W), uint8 or floats in [0, 1]."""
        return self.both(images)[0]

    @torch.no_grad()
    def both(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Features (B, dims), and logits (B, classes) or None."""
        pixels = to_uint8(images)
        with full_precision(pixels.device):  # a trainer's half precision would change the figure
            return self.measure(pixels)

    def vector(self, images: Tensor) -> Tensor:
        """Features (B, dims), differentiable in the images (B, 3, H, W), floats in [0, 1]: for losses.

        They are neither rounded nor checked; clean-fid's resize, which Pillow does, has no gradient.
        """
        with full_precision(images.device):
            return self.measure(images * 255)[0]

    def measure(self, pixels: Tensor) -> tuple[Tensor, Tensor | None]:
        """What :meth:`both` returns, for numbers (B, 3, H, W) in [0, 255], uint8 or floats."""
        raise NotImplementedError


def to_uint8(images: Tensor) -> Tensor:
    """RGB images (B, 3, H, W) as uint8; floats are in [0, 1] and are rounded to the nearest of 256 levels.

    Raises:
        InputError: another shape or dtype, or floats outside [0, 1], which a plain conversion would wrap around.
    """
    if images.ndim != 4 or images.shape[1] != 3:
        raise InputError(f"images have the shape {tuple(images.shape)}: expected RGB (batch, 3, height, width)")
    if 0 in images.shape[2:]:
        raise InputError(f"images have the shape {tuple(images.shape)}: expected at least one pixel")
    if images.dtype == torch.uint8:
        return images
    if not images.is_floating_point():
        raise InputError(f"images are {images.dtype}: expected uint8, or floats in [0, 1]")
    if not len(images):
        return images.to(torch.uint8)
    pixels = images.detach().float()
    low, high = float(pixels.min()), float(pixels.max())
    if not (low >= 0 and high <= 1):  # NaN fails too
        raise InputError(f"float images span {low:.6g} to {high:.6g}: expected [0, 1]; scale and clamp them first")
    return (pixels * 255).round().to(torch.uint8)
