"""PSNR, perceptual distance and mask IoU of rendered against observed views, and contact sheets of both."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from lit.losses import PerceptualLoss
from lit.metrics.lpips_distance import LpipsDistance


def composite(rgba: Tensor, background: float) -> Tensor:
    """Premultiplied RGBA (..., 4) over grey ``background``: (..., 3)."""
    return rgba[..., :3] + (1 - rgba[..., 3:]) * background


def premultiplied(rgba: Tensor) -> Tensor:
    """Straight uint8 RGBA (..., 4) as premultiplied floats in [0, 1]."""
    straight = rgba.float() / 255
    return torch.cat([straight[..., :3] * straight[..., 3:], straight[..., 3:]], -1)


def psnr(rendered: Tensor, target: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, (V,), of images (V, H, W, 3) in [0, 1]."""
    return -10 * torch.log10((rendered - target).square().flatten(1).mean(1).clamp_min(1e-10))


def view_metrics(rendered: Tensor, target: Tensor) -> dict[str, Tensor]:
    """Metrics (V,) of rendered against observed views, both premultiplied RGBA (V, H, W, 4) in [0, 1].

    * ``psnr``: over the whole crop, mean of the values on a black and on a mid-grey background.
    * ``psnr_object``: over the pixels in either mask only, on mid-grey.
    * ``mask_iou``: of the masks (opacity > 0.5).
    """
    found, wanted = rendered[..., 3] > 0.5, target[..., 3] > 0.5
    either = found | wanted
    error = (composite(rendered, 0.5) - composite(target, 0.5)).square().mean(-1)
    inside = (error * either).flatten(1).sum(1) / either.flatten(1).sum(1).clamp_min(1)
    values = [psnr(composite(rendered, grey), composite(target, grey)) for grey in (0.0, 0.5)]
    overlap = (found & wanted).flatten(1).sum(1) / either.flatten(1).sum(1).clamp_min(1)
    return {
        "psnr": torch.stack(values).mean(0),
        "psnr_object": -10 * torch.log10(inside.clamp_min(1e-10)),
        "mask_iou": overlap,
    }


class ViewScores:
    """Collects the metrics of many objects and the pictures of the first ones.

    Args:
        vgg16: file of torchvision's VGG16 weights for ``lpips``; None gives ``perceptual`` instead, the distance of
            fixed random features, which ranks runs of this suite but compares with no published number.
        sheet_objects: objects on the contact sheet.
    """

    def __init__(self, vgg16: str | None = None, sheet_objects: int = 8) -> None:
        self.distance: torch.nn.Module = PerceptualLoss() if vgg16 is None else LpipsDistance(vgg16)
        self.distance_name = "perceptual" if vgg16 is None else "lpips"
        self.sheet_objects = sheet_objects
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.values: dict[str, list[Tensor]] = defaultdict(list)
        self.rows: list[Tensor] = []

    def add(self, rendered: Tensor, observed: Tensor) -> None:
        """Add one object: premultiplied renders (V, S, S, 4) in [0, 1] and straight uint8 views (V, S, S, 4)."""
        target = premultiplied(observed)
        rendered = rendered.float().to(target.device)
        for name, value in view_metrics(rendered, target).items():
            self.values[name].append(value)
        shown, wanted = composite(rendered, 0.5), composite(target, 0.5)
        distance = self.distance.to(shown.device)(shown.permute(0, 3, 1, 2), wanted.permute(0, 3, 1, 2))
        self.values[self.distance_name].append(distance.reshape(-1))
        if len(self.rows) < 2 * self.sheet_objects:
            self.rows += [torch.cat(list(images[:8].cpu()), 1) for images in (wanted, shown)]

    def means(self) -> dict[str, float]:
        """Mean of every metric over all views."""
        return {name: float(torch.cat(values).mean()) for name, values in self.values.items()}

    def sheet(self) -> np.ndarray:
        """(H, W, 3) uint8: two rows an object, its observed views above its rendered ones."""
        image = torch.cat(self.rows, 0).clamp(0, 1)
        return (image * 255).round().byte().numpy()


def write_png(path: str | Path, image: np.ndarray) -> None:
    """Write (H, W, 3) uint8 RGB through a temporary name."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.writing.png")
    cv2.imwrite(str(temporary), np.ascontiguousarray(image[..., ::-1]))
    os.replace(temporary, target)
