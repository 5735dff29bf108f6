"""Losses of generators: photometric, perceptual and soft mask IoU (Lift3D Eq. 5-8)."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lit.weights.weight_files import fit_state, read_state

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
VGG16_CHANNELS = (64, 64, 0, 128, 128, 0, 256, 256, 256)  # to relu3_3; 0 is a 2x2 maximum pooling


def photometric_loss(
    rgb: Tensor, opacity: Tensor, target: Tensor, background: Tensor | None = None, region: str = "composited"
) -> Tensor:
    """L1 between rendered and observed rays.

    Args:
        rgb: (..., 3) premultiplied rendered colour.
        opacity: (...) rendered opacity.
        target: (..., 4) straight colour and alpha, in [0, 1].
        background: (..., 3) colour both are composited on; needed by "composited".
        region: "composited" compares whole images on one background, which also supervises opacity (the paper's
            whole-image L1 for images whose background is known); "mask" averages over the mask only (the released
            code), for images whose background is not modelled.
    """
    alpha = target[..., 3:]
    if region == "mask":
        # Un-premultiplied: without a background to show, a half transparent render must not have to be brighter.
        straight = rgb / opacity.unsqueeze(-1).clamp_min(0.05)
        return ((straight - target[..., :3]).abs() * alpha).sum() / (3.0 * alpha.sum()).clamp_min(1.0)
    if background is None:
        raise ValueError("the composited photometric loss needs a background")
    rendered = rgb + (1 - opacity.unsqueeze(-1)) * background
    return (rendered - (target[..., :3] * alpha + (1 - alpha) * background)).abs().mean()


def soft_iou_loss(opacity: Tensor, alpha: Tensor) -> Tensor:
    """``1 - mean_n(sum(a b) / sum(a + b - a b))`` over masks (N, R) in [0, 1] (Eq. 8, made differentiable)."""
    both = opacity * alpha
    return 1.0 - (both.sum(-1) / ((opacity + alpha - both).sum(-1) + 1e-10)).mean()


def semantic_loss(logits: Tensor, labels: Tensor, alpha: Tensor) -> Tensor:
    """Cross-entropy of part logits (B, R, K) against labels (B, R), weighted by the observed mask."""
    loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view_as(alpha)
    return (loss * alpha).sum() / alpha.sum().clamp_min(1.0)


class PerceptualLoss(nn.Module):
    """Mean L1 (or squared) distance of convolutional features: VGG16 relu3_3, or a fixed random network.

    Nothing is downloaded. Without a file of VGG16 weights the features come from three fixed strided convolutions
    drawn from a
    seed: no learned semantics, but local contrast and edges at three scales, which is what sharpens small crops.

    Args:
        vgg16: file with torchvision's ``vgg16`` state dict; None for the random network.
        squared: squared instead of absolute differences (the released code).
        seed: seed of the random network.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, vgg16: str | None = None, squared: bool = False, seed: int = 0) -> None:
        super().__init__()
        self.squared = squared
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD)[:, None, None], persistent=False)
        self.layers = _random_layers(seed) if vgg16 is None else _vgg16_layers(vgg16)
        self.taps = {len(self.layers) - 1} if vgg16 is not None else {1, 3, 5}
        self.requires_grad_(False)

    def features(self, images: Tensor) -> list[Tensor]:
        """Feature maps of images (B, 3, H, W) in [0, 1]."""
        x, out = (images - self.mean) / self.std, []
        for index, layer in enumerate(self.layers):
            x = layer(x)
            if index in self.taps:
                out.append(x)
        return out

    def forward(self, rendered: Tensor, target: Tensor) -> Tensor:
        """Distance of images (B, 3, H, W) in [0, 1]; the target carries no gradient."""
        with torch.no_grad():
            wanted = self.features(target)
        pairs = list(zip(self.features(rendered), wanted))
        distances = [F.mse_loss(a, b) if self.squared else F.l1_loss(a, b) for a, b in pairs]
        return torch.stack(distances).mean()


def _vgg16_layers(path: str) -> nn.ModuleList:
    """VGG16 up to relu3_3 with torchvision's weights."""
    state = read_state(Path(path), "torchvision's vgg16, or null for random features")
    layers: list[nn.Module] = []
    before = 3
    for width in VGG16_CHANNELS:
        layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU()] if width else [nn.MaxPool2d(2)]
        before = width or before
    network = nn.ModuleDict({"features": nn.ModuleList(layers)})  # named as in torchvision's
    fit_state(
        network, {key: state[key] for key in network.state_dict() if key in state}, Path(path), "torchvision's vgg16"
    )
    return nn.ModuleList(layers)


def _random_layers(seed: int) -> nn.ModuleList:
    """Three convolutions with fixed Gaussian weights, each followed by a leaky ReLU; strides 1, 2, 2."""
    generator = torch.Generator().manual_seed(seed)
    layers: list[nn.Module] = []
    before = 3
    for width, stride in ((16, 1), (32, 2), (48, 2)):
        convolution = nn.Conv2d(before, width, 3, stride=stride, padding=1, bias=False)
        scale = (2.0 / (9 * before)) ** 0.5
        convolution.weight.data = torch.randn(convolution.weight.shape, generator=generator) * scale
        layers += [convolution, nn.LeakyReLU(0.2)]
        before = width
    return nn.ModuleList(layers)
