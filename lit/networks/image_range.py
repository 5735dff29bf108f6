"""Between pixels and the range that image generators work in: uint8 on disk and in batches, [-1, 1] in networks."""

from __future__ import annotations

import torch
from torch import Tensor


def from_pixels(images: Tensor) -> Tensor:
    """Float images in [-1, 1] of uint8 ones, any shape."""
    return images.float() / 127.5 - 1


def to_pixels(images: Tensor) -> Tensor:
    """uint8 images of float ones, any shape; what lies outside [-1, 1] is cut off."""
    return ((images.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
