"""A Gaussian fitted to learned latents, from which new objects are drawn (random codes do not give good cars)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class LatentGaussian:
    """Principal axes of N learned latents together with the objects' dims.

    Attributes:
        mean: (D,) mean of the flattened latents followed by the logarithms of the dims.
        axes: (K, D) principal axes scaled by their standard deviations.
        shape: shape of one latent, (rows, w_dim).
    """

    mean: Tensor
    axes: Tensor
    shape: tuple[int, int]

    @staticmethod
    def fit(latents: Tensor, dims: Tensor, components: int | None = None) -> LatentGaussian:
        """Fit to latents (N, rows, w_dim) and dims (N, 3) in metres, keeping ``components`` axes (default N - 1)."""
        joint = torch.cat([latents.detach().flatten(1), dims.to(latents).clamp_min(1e-3).log()], 1).double()
        mean = joint.mean(0)
        _, values, axes = torch.linalg.svd(joint - mean, full_matrices=False)
        kept = min(components or len(joint), max(len(joint) - 1, 1))
        scaled = axes[:kept] * (values[:kept] / max(len(joint) - 1, 1) ** 0.5)[:, None]
        return LatentGaussian(mean.float(), scaled.float(), (latents.shape[1], latents.shape[2]))

    def sample(self, count: int, rng: np.random.Generator, truncation: float = 0.7) -> tuple[Tensor, Tensor]:
        """Latents (count, rows, w_dim) and dims (count, 3).

        Args:
            count: objects to draw.
            rng: source of the draws.
            truncation: scale of the deviations from the mean; below 1 trades variety for plausibility.
        """
        draws = torch.from_numpy(rng.standard_normal((count, len(self.axes)))).to(self.mean) * truncation
        joint = self.mean + draws @ self.axes
        return joint[:, :-3].reshape(count, *self.shape), joint[:, -3:].exp()
