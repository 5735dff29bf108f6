"""Losses on the depth along rays: of its mean, of the weights behind it, and of its roughness (G3DR, DS-NeRF)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from detectors.rank_counts import share_of

WeighAs = Callable[[Tensor, Tensor, Tensor], Tensor]

STABLE = 1e-3  # of opacity, below which a mean depth says little (G3DR's epsilon)


def accumulated_depth(depth: Tensor, opacity: Tensor) -> Tensor:
    """``sum t w / (sum w + 0.001)`` (Eq. 4), from the weighted mean depth (...) and the opacity (...)."""
    return depth * opacity / (opacity + STABLE)


def depth_loss(depth: Tensor, opacity: Tensor, surface: Tensor) -> Tensor:
    """L1 between accumulated and known depth over the rays whose surface (...) is known, that is not NaN."""
    known = ~surface.isnan()
    away = (accumulated_depth(depth, opacity) - torch.nan_to_num(surface)).abs() * known
    return away.sum() / share_of(known.sum().to(away))


@dataclass
class WeightsNearDepth:
    """The alternative of Table 5: weights that are a narrow Gaussian about the known depth (DS-NeRF's KL divergence).

    As ``weigh`` of :func:`lit.rendering.render.render_rays` it weighs as ever and keeps what :meth:`loss` compares:
    ``-sum_k log(w_k + 1e-5) exp(-(t_k - D)^2 / (2 spread^2)) length_k``, averaged over rays of known depth.

    Source: Deng et al., "Depth-supervised NeRF", CVPR 2022, Eq. 7.

    Attributes:
        surface: (B, R) known depth, NaN where unknown.
        spread: standard deviation.
        weigh_as: weights of thickness, lengths and depths.
    """

    surface: Tensor
    spread: float
    weigh_as: WeighAs
    kept: list[tuple[Tensor, Tensor, Tensor]] = field(default_factory=list)

    def __call__(self, thickness: Tensor, lengths: Tensor, depths: Tensor) -> Tensor:
        """Weights (B, R, S), which are kept."""
        weights = self.weigh_as(thickness, lengths, depths)
        self.kept.append((weights, lengths, depths))
        return weights

    def loss(self) -> Tensor:
        """Of the rendering that came last; a scalar."""
        weights, lengths, depths = self.kept.pop()
        known = ~self.surface.isnan()
        away = depths - torch.nan_to_num(self.surface).unsqueeze(-1)
        near = torch.exp(-away.square() / (2 * self.spread**2)) * lengths
        rays = -(torch.log(weights + 1e-5) * near).sum(-1) * known
        return rays.sum() / share_of(known.sum().to(rays))
