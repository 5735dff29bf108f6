"""Differentiable augmentation of what a discriminator sees, real and generated alike.

Source: Zhao et al., "Differentiable Augmentation for Data-Efficient GAN Training", NeurIPS 2020, section 3 and
appendix: brightness, saturation, contrast; shifts by up to an eighth; a square cut-out of half the side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from datamodules.errors import InputError
from lit.arguments import closest


def colour(images: Tensor) -> Tensor:
    """Shift the brightness by up to 0.5, scale the saturation by 0 to 2 and the contrast by 0.5 to 1.5."""
    brightness, saturation, contrast = torch.rand(3, len(images), 1, 1, 1, device=images.device, dtype=images.dtype)
    images = images + (brightness - 0.5)
    grey = images.mean(1, keepdim=True)
    images = (images - grey) * (saturation * 2) + grey
    middle = images.mean((1, 2, 3), keepdim=True)
    return (images - middle) * (contrast + 0.5) + middle


def translation(images: Tensor, share: float = 0.125) -> Tensor:
    """Shift by whole pixels, up to ``share`` of each side; what comes in is 0 (mid-grey)."""
    batch, _, height, width = images.shape
    rows, columns = (_shifts(batch, side, share, images.device) for side in (height, width))
    inside = ((rows >= 0) & (rows < height))[:, None, :, None] & ((columns >= 0) & (columns < width))[:, None, None]
    item = torch.arange(batch, device=images.device)[:, None, None]
    picked = images.permute(0, 2, 3, 1)[
        item, rows.clamp(0, height - 1)[:, :, None], columns.clamp(0, width - 1)[:, None]
    ]
    return picked.permute(0, 3, 1, 2) * inside


def _shifts(batch: int, side: int, share: float, device: torch.device) -> Tensor:
    """(batch, side) source indices of a shifted axis."""
    most = round(side * share)
    shift = torch.randint(-most, most + 1, (batch, 1), device=device)
    return torch.arange(side, device=device)[None] + shift


def cutout(images: Tensor, share: float = 0.5) -> Tensor:
    """Set a square of ``share`` of the sides, whose middle lies anywhere in the image, to 0."""
    batch, _, height, width = images.shape
    covered = []
    for side in (height, width):
        middle = torch.randint(0, side + 1, (batch, 1), device=images.device)
        offset = torch.arange(side, device=images.device)[None] - middle + round(side * share) // 2
        covered.append((offset >= 0) & (offset < round(side * share)))
    hole = covered[0][:, None, :, None] & covered[1][:, None, None]
    return images * ~hole


STEPS: dict[str, Callable[[Tensor], Tensor]] = {"colour": colour, "translation": translation, "cutout": cutout}


class DiffAugment(nn.Module):
    """Apply each step to a random share of the images; gradients pass, draws come from torch's generator.

    Args:
        steps: some of "colour", "translation", "cutout", in this order.

    Raises:
        InputError: an unknown step.
    """

    def __init__(self, steps: Sequence[str] = tuple(STEPS)) -> None:
        super().__init__()
        for step in steps:
            if step not in STEPS:
                raise InputError(f"augmentation '{step}': expected {', '.join(STEPS)}{closest(step, STEPS)}")
        self.steps = tuple(steps)

    def forward(self, images: Tensor, probability: float | Tensor = 1.0) -> Tensor:
        """Augmented (B, 3, H, W) images in about [-1, 1]; each step touches an image with ``probability``."""
        for step in self.steps:
            chosen = torch.rand(len(images), 1, 1, 1, device=images.device) < probability
            images = torch.where(chosen, STEPS[step](images), images)
        return images
