"""Differentiable augmentation of what a discriminator sees, real and generated alike.

Source: Zhao et al., "Differentiable Augmentation for Data-Efficient GAN Training", NeurIPS 2020, section 3 and
appendix: brightness, saturation, contrast; shifts by up to an eighth; a square cut-out of half the side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from datamodules.errors import InputError, closest
from lit.networks.batch_draws import batch_draw


def colour(images: Sequence[Tensor]) -> list[Tensor]:
    """Shift the brightness by up to 0.5, scale the saturation by 0 to 2 and the contrast by 0.5 to 1.5."""
    first = images[0]
    draws = batch_draw(lambda n: torch.rand(3, n, 1, 1, 1, device=first.device, dtype=first.dtype), len(first), dim=1)
    return [_coloured(image, *draws) for image in images]


def _coloured(images: Tensor, brightness: Tensor, saturation: Tensor, contrast: Tensor) -> Tensor:
    images = images + (brightness - 0.5)
    grey = images.mean(1, keepdim=True)
    images = (images - grey) * (saturation * 2) + grey
    middle = images.mean((1, 2, 3), keepdim=True)
    return (images - middle) * (contrast + 0.5) + middle


def translation(images: Sequence[Tensor], share: float = 0.125) -> list[Tensor]:
    """Shift by whole pixels (of the coarsest images), up to ``share`` of each side; what comes in is 0 (mid-grey)."""
    coarse = _coarsest(images)

    def shift(reach: int) -> Tensor:
        return batch_draw(lambda n: torch.randint(-reach, reach + 1, (n, 1), device=coarse.device), len(coarse))

    shifts = [shift(round(side * share)) for side in coarse.shape[-2:]]
    return [_shifted(image, *(moved * (image.shape[-1] // coarse.shape[-1]) for moved in shifts)) for image in images]


def _shifted(images: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Images (B, C, H, W) whose pixels come from ``down`` rows below and ``right`` columns to the right, (B, 1)."""
    batch, _, height, width = images.shape
    rows, columns = (
        torch.arange(side, device=images.device) + shift for side, shift in ((height, down), (width, right))
    )
    inside = ((rows >= 0) & (rows < height))[:, None, :, None] & ((columns >= 0) & (columns < width))[:, None, None]
    item = torch.arange(batch, device=images.device)[:, None, None]
    picked = images.permute(0, 2, 3, 1)[
        item, rows.clamp(0, height - 1)[:, :, None], columns.clamp(0, width - 1)[:, None]
    ]
    return picked.permute(0, 3, 1, 2) * inside


def cutout(images: Sequence[Tensor], share: float = 0.5) -> list[Tensor]:
    """Set a square of ``share`` of the sides, whose middle lies anywhere in the image, to 0."""
    coarse, covered = _coarsest(images), []

    def place(side: int) -> Tensor:
        return batch_draw(lambda n: torch.randint(0, side + 1, (n, 1), device=coarse.device), len(coarse))

    for side in coarse.shape[-2:]:
        middle = place(side)
        offset = torch.arange(side, device=coarse.device)[None] - middle + round(side * share) // 2
        covered.append((offset >= 0) & (offset < round(side * share)))
    hole = covered[0][:, None, :, None] & covered[1][:, None, None]
    factors = [image.shape[-1] // coarse.shape[-1] for image in images]
    return [image * ~hole.repeat_interleave(k, 2).repeat_interleave(k, 3) for image, k in zip(images, factors)]


def _coarsest(images: Sequence[Tensor]) -> Tensor:
    return min(images, key=lambda image: image.shape[-1])


STEPS: dict[str, Callable[[Sequence[Tensor]], list[Tensor]]] = {
    "colour": colour,
    "translation": translation,
    "cutout": cutout,
}


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
        """Augmented (B, C, H, W) images in about [-1, 1]; each step touches an image with ``probability``."""
        return self.together([images], (), probability)[0]

    def together(
        self, pictures: Sequence[Tensor], maps: Sequence[Tensor] = (), probability: float | Tensor = 1.0
    ) -> list[Tensor]:
        """Pictures, then maps, under the same draws.

        Args:
            pictures: (B, C, H, W) of the same scenes, in about [-1, 1]; sides are multiples of the coarsest's.
            maps: (B, L, H, W) that lie over them, for example labels: they move along but keep their values.
            probability: that a step touches an image.
        """
        done = [*pictures, *maps]
        count, device = len(done[0]), done[0].device
        for step in self.steps:
            chosen = batch_draw(lambda n: torch.rand(n, 1, 1, 1, device=device), count) < probability
            touched = done[: len(pictures)] if step == "colour" else done
            changed = STEPS[step](touched)
            done[: len(changed)] = [torch.where(chosen, new, old) for new, old in zip(changed, touched)]
        return done
