"""Feature extractors of image metrics: frozen networks whose name says which network and which resize."""

from __future__ import annotations

from typing import Protocol, TypeVar, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from datamodules.errors import InputError
from lit.arguments import closest

KINDS = "random:SEED, inception, timm:NAME[:FILE] or open_clip:NAME[:FILE]"
RESIZES = ("torchfidelity", "cleanfid")
Self = TypeVar("Self", bound="FrozenExtractor")


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


class FrozenExtractor(nn.Module):
    """A network that never trains: no gradients (or DDP reports unused parameters), evaluation mode for good.

    Subclasses implement :meth:`measure`.

    Args:
        name: see :class:`Extractor`.
        version: see :class:`Extractor`.
        dims: see :class:`Extractor`.
        classes: see :class:`Extractor`.
    """

    def __init__(self, name: str, version: str, dims: int, classes: int = 0) -> None:
        super().__init__()
        self.name, self.version, self.dims, self.classes = name, version, dims, classes

    def freeze(self: Self) -> Self:
        """Self without gradients and in evaluation mode; the last call of a constructor."""
        return self.requires_grad_(False).eval()

    def train(self: Self, mode: bool = True) -> Self:
        """Stay in evaluation mode: the module that owns a metric switches its children to training."""
        return super().train(False)

    def forward(self, images: Tensor) -> Tensor:
        """Features (B, dims) of RGB images (B, 3, H, W), uint8 or floats in [0, 1]."""
        return self.both(images)[0]

    @torch.no_grad()
    def both(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Features (B, dims), and logits (B, classes) or None."""
        pixels = to_uint8(images)
        with torch.autocast(pixels.device.type, enabled=False):  # a trainer's half precision would change the figure
            return self.measure(pixels)

    def measure(self, pixels: Tensor) -> tuple[Tensor, Tensor | None]:
        """What :meth:`both` returns, for uint8 (B, 3, H, W)."""
        raise NotImplementedError


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


def build_extractor(spec: str, weights: str | None = None, resize: str | None = None) -> FrozenExtractor:
    """Build the extractor that a specification names. Nothing is downloaded: pretrained networks read ``weights``.

    Args:
        spec: ``random:SEED``, ``inception`` (the FID network), ``timm:NAME[:FILE]`` or ``open_clip:NAME[:FILE]``.
        weights: file of weights, instead of FILE in the specification.
        resize: for inception only: "torchfidelity" (bilinear as TensorFlow 1, the default) or "cleanfid" (bicubic,
            antialiased, as clean-fid).

    Raises:
        InputError: unknown kind, model or resize, or a weights file that is missing or of another network.
    """
    kind, _, rest = spec.partition(":")
    if kind not in ("random", "inception", "timm", "open_clip"):
        hint = closest(kind, ("random", "inception", "timm", "open_clip"))
        raise InputError(f"extractor '{spec}': expected {KINDS}{hint}")
    if resize is not None and kind != "inception":
        raise InputError(f"resize '{resize}' with the extractor '{spec}': only inception has a choice; leave it out")
    if kind == "random":
        if weights is not None or not (rest or "0").isdecimal():
            raise InputError(f"extractor '{spec}': expected random:SEED such as random:0, without weights")
        return RandomExtractor(int(rest or 0))
    if kind == "inception":
        from lit.features.inception import InceptionExtractor  # only here: imports torch-fidelity and clean-fid

        if rest:
            raise InputError(f"extractor '{spec}': expected just inception; its weights and resize are options")
        return InceptionExtractor(weights, resize or RESIZES[0])
    from lit.features.pretrained import OpenClipExtractor, TimmExtractor

    name, _, file = rest.partition(":")
    if file and weights:
        raise InputError(f"extractor '{spec}' and weights '{weights}' both name a file; give one of them")
    extractor = TimmExtractor if kind == "timm" else OpenClipExtractor
    return extractor(name, file or weights)


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
