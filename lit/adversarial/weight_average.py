"""Averages of weights over the images of a training: the generator that is kept.

Source: Karras et al., "Training Generative Adversarial Networks with Limited Data", NeurIPS 2020 (half-life, ramp-up).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn


@dataclass
class WeightAverage:
    """Moves one network after another.

    Attributes:
        average: the network that follows; its weights are made constants here.
        module: the network in training.
        half_life: images after which half of the past is forgotten; 0 keeps nothing.
        rampup: the half-life is at most this share of the images seen so far; 0 for no such limit.
    """

    average: nn.Module
    module: nn.Module
    half_life: float
    rampup: float = 0.0

    def __post_init__(self) -> None:
        self.average.requires_grad_(False)

    def kept(self, seen: int, step: int) -> float:
        """Share of the average that stays in the step from ``seen`` images to ``seen + step``."""
        half_life = min(self.half_life, seen * self.rampup) if self.rampup else self.half_life
        return 0.5 ** (step / half_life) if half_life > 0 else 0.0

    @torch.no_grad()
    def follow(self, seen: int, step: int) -> None:
        """Move the weights to ``kept * average + (1 - kept) * module``; copy the buffers."""
        kept = self.kept(seen, step)
        for mean, value in zip(self.average.parameters(), self.module.parameters()):
            mean.lerp_(value, 1 - kept)
        for buffer, current in zip(self.average.buffers(), self.module.buffers()):
            buffer.copy_(current)
