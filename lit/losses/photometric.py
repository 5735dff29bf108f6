"""Losses between colours (Lift3D Eq. 5)."""

from __future__ import annotations

from torch import Tensor

from detectors.rank_counts import share_of


def photometric_loss(
    rgb: Tensor, opacity: Tensor, target: Tensor, background: Tensor | None = None, region: str = "composited"
) -> Tensor:
    """L1 between rendered and observed rays.

    Args:
        rgb: (..., 3) premultiplied rendered colour.
        opacity: (...) rendered opacity.
        target: (..., 4) straight colour and alpha, in [0, 1].
        background: (..., 3) colour both are composited on; needed by "composited".
        region: "composited" compares whole images on one background, which also supervises opacity (the paper's
            whole-image L1 for images whose background is known); "mask" averages over the mask only (the released
            code), for images whose background is not modelled.
    """
    alpha = target[..., 3:]
    if region == "mask":
        # Un-premultiplied: without a background to show, a half transparent render must not have to be brighter.
        straight = rgb / opacity.unsqueeze(-1).clamp_min(0.05)
        return ((straight - target[..., :3]).abs() * alpha).sum() / share_of(3.0 * alpha.sum())
    if background is None:
        raise ValueError("the composited photometric loss needs a background")
    rendered = rgb + (1 - opacity.unsqueeze(-1)) * background
    return (rendered - (target[..., :3] * alpha + (1 - alpha) * background)).abs().mean()
