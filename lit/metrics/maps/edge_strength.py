"""Edges of pictures by their gradient: the extractor of re-extracted edges where no trained one is at hand."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SCHARR = ((3.0, 10.0, 3.0), (0.0, 0.0, 0.0), (-3.0, -10.0, -3.0))
STEP = 16.0  # the kernel's answer to a step of 1


def edge_strength(images: Tensor) -> Tensor:
    """How strong the edge at each pixel is: (B, 1, H, W) float32 in [0, 1], 1 for a step from black to white.

    The length of Scharr's gradient of the channel that changes most. It sees changes of paint, shadow and highlight as
    well as contours, so its score on real pictures, not 1, is what a generator can reach.

    Args:
        images: (B, 3, H, W) uint8.
    """
    x = F.pad(images.float() / 255, (1, 1, 1, 1), mode="replicate").flatten(0, 1)[:, None]
    down = torch.tensor(SCHARR, device=images.device)[None, None] / STEP
    across = down.transpose(2, 3)
    length = torch.hypot(F.conv2d(x, down), F.conv2d(x, across))
    return length.view(len(images), 3, *images.shape[2:]).amax(1, keepdim=True).clamp(max=1)
