"""A small network that learns to tell injected crops from real ones."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from datamodules.randomness import derive
from lit.metrics.realism.crops import CROP_SIZE, Crop

STEPS, BATCH, LR, MARGIN = 300, 64, 2e-3, 3


class CropDiscriminator(nn.Sequential):
    """Four convolutions from 48 x 48 pixels; mean and maximum of the last map; one logit (positive: injected)."""

    def __init__(self, width: int = 16) -> None:
        layers: list[nn.Module] = []
        channels = [3, width, 2 * width, 4 * width, 4 * width]
        for before, after in pairwise(channels):
            layers += [nn.Conv2d(before, after, 3, 2, 1), nn.GroupNorm(4, after), nn.ReLU()]
        super().__init__(*layers, _MeanAndMax(), nn.Dropout(0.2), nn.Linear(2 * channels[-1], 1), nn.Flatten(0))


class _MeanAndMax(nn.Module):
    def forward(self, maps: Tensor) -> Tensor:
        return torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], 1)


def learn(pairs: list[tuple[Crop, Crop]], seed: int, steps: int | None = None) -> CropDiscriminator:
    """Train on pairs of a real and an injected crop; flips and shifts of a few pixels are all that is varied.

    Colours, noise and sharpness stay as they are, because they are what may give an object away.
    """
    steps = steps or STEPS
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = CropDiscriminator()
        rng = derive(seed, 0, "discriminator")
        optimizer = torch.optim.AdamW(network.parameters(), LR, weight_decay=0.05)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, total_steps=steps)
        pixels = tensor([crop for pair in pairs for crop in pair])
        for _ in range(steps):
            chosen = rng.integers(0, len(pairs), BATCH // 2)
            index = torch.from_numpy(np.concatenate([2 * chosen, 2 * chosen + 1]))
            logits = network(varied(pixels[index], rng))
            truth = torch.arange(BATCH) >= BATCH // 2
            loss = F.binary_cross_entropy_with_logits(logits, truth.float())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()


@torch.no_grad()
def scores(network: CropDiscriminator, crops: list[Crop]) -> np.ndarray:
    """(N,) logits, higher for what looks injected; the mean of a crop's and its mirror image's."""
    if not crops:
        return np.zeros(0)
    pixels = tensor(crops)
    both = [network(pixels), network(pixels.flip(3))]
    return np.asarray(torch.stack(both).mean(0).double().numpy())


def tensor(crops: list[Crop]) -> Tensor:
    """(N, 3, CROP_SIZE, CROP_SIZE) float32 about [-2, 2]."""
    return torch.from_numpy(np.stack([crop.pixels for crop in crops])).float() / 64 - 2


def varied(pixels: Tensor, rng: np.random.Generator) -> Tensor:
    """Each picture mirrored or not, and moved by up to MARGIN pixels."""
    padded = F.pad(pixels, (MARGIN,) * 4, mode="replicate")
    offsets, mirrored = rng.integers(0, 2 * MARGIN + 1, (len(pixels), 2)), rng.random(len(pixels)) < 0.5
    moved = [picture[:, y : y + CROP_SIZE, x : x + CROP_SIZE] for picture, (y, x) in zip(padded, offsets.tolist())]
    return torch.stack([picture.flip(2) if flip else picture for picture, flip in zip(moved, mirrored)])
