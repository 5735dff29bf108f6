"""The one quadrature: from densities along rays to weights, and from weights to the picture of every channel.

In words: samples cut a ray into pieces. A piece of density s and length d lets the share ``exp(-s d)`` of the light
through; ``s d`` is its optical thickness. What arrives at piece i has passed all before it, so it contributes with the
weight ``w_i = (1 - exp(-s_i d_i)) prod_{j<i} exp(-s_j d_j)``, the picture of any channel c is the sum of ``w_i c_i``,
and the opacity the sum of ``w_i``. Methods differ only in what a piece is:

* equal bins with a sample in each, ``d`` the width of a bin (Lift3D);
* from each sample to the next, the last one without length or reaching to infinity (:func:`spans`; NeRF, GIRAFFE);
* between each two samples, with the mean of their channels (:func:`midpoints`; EG3D, pix2pix3D, G3DR).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from lit.networks.fields.field_values import FieldValues

INFINITE = 1e10  # length of a last sample that lets nothing through: the background ends every ray


class Rendering(NamedTuple):
    """Rendered rays, or pixels (H, W) in place of (B, R).

    Attributes:
        rgb: (B, R, 3) premultiplied colour, the sum of w_i c_i.
        opacity: (B, R) the sum of w_i.
        depth: (B, R) mean over the weights, in the unit of the samples' depths; 0 where the opacity is 0.
        parts: (B, R, K) weighted logits, or None.
        features: (B, R, F) weighted features, or None.
    """

    rgb: Tensor
    opacity: Tensor
    depth: Tensor
    parts: Tensor | None = None
    features: Tensor | None = None

    @property
    def rgba(self) -> Tensor:
        """(B, R, 4) premultiplied colour and opacity."""
        return torch.cat([self.rgb, self.opacity.unsqueeze(-1)], -1)

    @property
    def labels(self) -> Tensor:
        """(B, R) uint8 the part with the largest logit where the opacity is above a half, elsewhere 0, background."""
        assert self.parts is not None, "a field without part logits has no labels"
        return torch.where(self.opacity > 0.5, self.parts.argmax(-1), 0).to(torch.uint8)


def spans(depths: Tensor, last: float | Tensor = 0.0) -> Tensor:
    """Distances (..., S) from each of the rising depths (..., S) to the next; ``last``, a number or (..., 1), ends."""
    end = torch.full_like(depths[..., :1], last) if isinstance(last, float) else last
    return torch.cat([depths[..., 1:] - depths[..., :-1], end], -1)


def midpoints(
    values: FieldValues, depths: Tensor, activation: Callable[[Tensor], Tensor]
) -> tuple[FieldValues, Tensor, Tensor]:
    """EG3D's rule: the pieces between each two samples.

    Args:
        values: (..., S) at the samples, their density raw.
        depths: (..., S) rising.
        activation: the mean of two raw densities to a density.

    Returns:
        Values, middles and lengths (..., S - 1) of the pieces.
    """
    values = values.each(lambda channel: (channel[..., 1:] + channel[..., :-1]) / 2)
    middles = (depths[..., 1:] + depths[..., :-1]) / 2
    return values._replace(density=activation(values.density)), middles, depths[..., 1:] - depths[..., :-1]


def ray_weights(thickness: Tensor, bounded: bool = False) -> Tensor:
    """Weights (..., S) of pieces of optical thickness (..., S) along rays, nearest first.

    Args:
        thickness: density times length, non-negative.
        bounded: no piece is as thick as :data:`INFINITE` makes one; what lies before a piece is then the running sum
            less the piece itself, which spares a pass over the memory.
    """
    if bounded:
        before = torch.cumsum(thickness, -1) - thickness
    else:
        before = torch.cumsum(thickness[..., :-1], -1)
        before = torch.cat([torch.zeros_like(thickness[..., :1]), before], -1)
    return torch.exp(-before) * -torch.expm1(-thickness)


def integrate(values: FieldValues, weights: Tensor, depths: Tensor) -> Rendering:
    """The picture of every channel.

    Args:
        values: (B, C, R, S) and density (B, R, S).
        weights: (B, R, S).
        depths: (B, R, S).
    """

    def seen(channel: Tensor) -> Tensor:
        return (channel * weights.unsqueeze(1)).sum(-1).transpose(1, 2)

    rgb = seen(values.rgb)
    parts, features = (None if channel is None else seen(channel) for channel in (values.parts, values.features))
    opacity = weights.sum(-1)
    depth = (weights * depths).sum(-1) / opacity.clamp_min(1e-6)
    return Rendering(rgb, opacity, depth.where(opacity > 1e-6, torch.zeros_like(depth)), parts, features)
