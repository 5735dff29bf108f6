"""Augmentation of what a discriminator sees, with a probability that follows how far it overfits.

Source: Karras et al., "Training Generative Adversarial Networks with Limited Data", NeurIPS 2020, section 3.1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from detectors.rank_counts import mean_over_ranks
from lit.adversarial.diff_augment import DiffAugment


class AdaptiveAugment(nn.Module):
    """Differentiable augmentation, applied with a probability.

    Args:
        steps: of :class:`lit.adversarial.diff_augment.DiffAugment`; empty for none.
        target: the probability moves until the mean sign of real logits is this; None: it is 1.
        kimg: thousands of images in which it can move from 0 to 1.
    """

    probability: Tensor
    real_sign: Tensor

    def __init__(self, steps: Sequence[str], target: float | None, kimg: float) -> None:
        super().__init__()
        self.steps, self.target, self.kimg = DiffAugment(steps), target, kimg
        self.register_buffer("probability", torch.tensor(float(target is None)))
        self.register_buffer("real_sign", torch.zeros(()))

    def forward(self, images: Tensor) -> Tensor:
        """Augmented images (B, C, R, R) in about [-1, 1]."""
        return self.together([images])[0]

    def together(self, pictures: Sequence[Tensor], maps: Sequence[Tensor] = ()) -> list[Tensor]:
        """Pictures, then maps, under the same draws; see :meth:`DiffAugment.together`."""
        return self.steps.together(pictures, maps, self.probability)

    def observe(self, real_logits: Tensor) -> None:
        """Take logits of real images into the running mean of their sign, over all processes."""
        self.real_sign.lerp_(mean_over_ranks(real_logits.detach().sign().mean()), 0.1)

    def adapt(self, images: int) -> None:
        """Move the probability by the share of so many images."""
        if self.target is not None:
            move = torch.sign(self.real_sign - self.target) * images / (self.kimg * 1000)
            self.probability.add_(move).clamp_(0, 1)
