"""A batch of pictures with their label maps and cameras, as pix2pix3D trains on."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class LabelledViews:
    """Pictures, their label maps and their cameras.

    Attributes:
        images: (B, 3, H, W) float in [-1, 1].
        labels: (B, H, W) int64 class ids, or (B, 1, H, W) float edges in [-1, 1]: paper +1, lines negative.
        cameras: (B, 25) EG3D's: camera to world (OpenCV axes) row by row, then intrinsics divided by the image's size.
        keys: B names.
    """

    images: Tensor
    labels: Tensor
    cameras: Tensor
    keys: list[str]
