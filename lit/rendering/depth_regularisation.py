"""G3DR's depth regularisation: gradients of density and colour fade with the distance from a known surface.

Source: Reddy et al., "G3DR: Generative 3D Reconstruction in ImageNet", CVPR 2024, Eq. 2-3, and released code. It is no
loss: what is rendered stays the same, only what flows back is scaled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from datamodules.errors import InputError
from lit.networks.fields.field_values import FieldValues
from lit.networks.fields.quadrature import ray_weights

ScaledSide = Literal["density", "alpha"]


class _ScaledGradient(torch.autograd.Function):
    """Forward the identity, backward a product."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, factor: Tensor) -> Tensor:
        ctx.save_for_backward(factor)
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (factor,) = ctx.saved_tensors
        return gradient * factor, None


def scale_gradient(values: Tensor, factor: Tensor) -> Tensor:
    """The values themselves, whose gradient is multiplied by ``factor``, of their shape or broadcast to it."""
    scaled: Tensor = _ScaledGradient.apply(values, factor)
    return scaled


@dataclass(frozen=True)
class DepthKernel:
    """``k(x, t) = min(cmax, max(s1 exp(-(x - t)^2 / s2), cmin))`` of the distance from the surface (Eq. 3).

    Distances are in the unit of depth, in which the scene's cube has the half-size 1.

    Attributes:
        s1: height.
        s2: spread; about half the distance of coarse samples. A large one switches the regularisation off.
        cmin: least factor, above 0, so that density far from any surface goes away from its initial value.
        cmax: largest factor.

    Raises:
        InputError: numbers of which no kernel can be made.
    """

    s1: float = 1.25
    s2: float = 0.03
    cmin: float = 0.05
    cmax: float = 1.0

    def __post_init__(self) -> None:
        if not (self.s1 > 0 and self.s2 > 0 and 0 < self.cmin <= self.cmax):
            raise InputError(
                f"depth kernel s1 {self.s1}, s2 {self.s2}, cmin {self.cmin}, cmax {self.cmax}: expected s1 and s2 "
                "above 0 and 0 < cmin <= cmax; the released values are 1.25, 0.03, 0.05 and 1"
            )

    def __call__(self, surface: Tensor, depths: Tensor) -> Tensor:
        """Factors (..., S) for samples at depths (..., S) of rays whose surface lies at (...); 1 where that is NaN."""
        away = surface.unsqueeze(-1) - depths
        factor = (self.s1 * torch.exp(-away.square() / self.s2)).clamp(self.cmin, self.cmax)
        return torch.where(away.isnan(), torch.ones_like(factor), factor)


@dataclass(frozen=True)
class DepthRegularisation:
    """The kernel along the rays of one rendering, in the two forms that :func:`lit.rendering.render.render_rays` takes.

    The paper scales density, the released code the opacity ``1 - exp(-density * length)`` of each piece. Density acts
    through nothing but this opacity, so both give the same gradients up to rounding; a test holds that.

    Attributes:
        kernel: of distances.
        surface: (B, R) depth of each ray's surface, NaN where unknown.
        side: "density" (paper) or "alpha" (code).
    """

    kernel: DepthKernel
    surface: Tensor
    side: ScaledSide = "density"

    def hook(self, values: FieldValues, depths: Tensor) -> FieldValues:
        """Colour and, on that side, density of pieces at depths (B, R, S) with scaled gradients."""
        factor = self.kernel(self.surface, depths)
        values = values._replace(rgb=scale_gradient(values.rgb, factor.unsqueeze(1)))
        if self.side == "alpha":
            return values
        return values._replace(density=scale_gradient(values.density, factor))

    def weigh(self, thickness: Tensor, lengths: Tensor, depths: Tensor) -> Tensor:
        """Weights (B, R, S) of pieces of optical thickness (B, R, S) at depths (B, R, S)."""
        if self.side == "density":
            return ray_weights(thickness, bounded=True)
        alpha = scale_gradient(-torch.expm1(-thickness), self.kernel(self.surface, depths))
        clear = torch.cumprod(1 - alpha[..., :-1] + 1e-10, -1)  # opaque pieces would divide by zero
        return alpha * torch.cat([torch.ones_like(alpha[..., :1]), clear], -1)
