"""A blur of what a discriminator sees that fades in the first images of a training.

Source: Chan et al., "Efficient Geometry-aware 3D Generative Adversarial Networks", CVPR 2022, supplement (after
StyleGAN3): a discriminator that sees fine detail too early wins.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class FadingBlur:
    """Standard deviations over the images of a training.

    Attributes:
        sigma: width in pixels at the start, the distance at which the filter has fallen to a half; 0 for none.
        images: after so many it is 0.
    """

    sigma: float = 0.0
    images: float = 0.0

    def at(self, seen: int) -> float:
        """The width after so many images."""
        return max(1 - seen / self.images, 0.0) * self.sigma if self.images > 0 else 0.0


def blurred(images: Tensor, sigma: float) -> Tensor:
    """Images (B, C, H, W) under the filter 2^-(x / sigma)^2, cut off at 3 sigma; what lies outside counts as 0."""
    reach = math.floor(3 * sigma)
    if reach < 1:
        return images
    taps = torch.exp2(-(torch.arange(-reach, reach + 1, device=images.device, dtype=images.dtype) / sigma).square())
    row = (taps / taps.sum()).expand(images.shape[1], 1, 1, -1)
    across = F.conv2d(images, row, padding=(0, reach), groups=images.shape[1])
    return F.conv2d(across, row.transpose(2, 3), padding=(reach, 0), groups=images.shape[1])
