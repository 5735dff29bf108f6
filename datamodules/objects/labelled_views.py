"""Pictures of single objects with a label map and a camera each: what conditional 3D generators learn from.

Label maps are part segmentations (class ids) or edge maps. Edge files hold dark lines on white paper; a network is fed
with the paper at +1 and lines below, after a 3 x 3 box blur (pix2pix3D's data set class).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
import torch

Kind = Literal["edge", "seg"]
LABEL_KINDS: tuple[Kind, ...] = ("edge", "seg")
BLUR = (3, 3)  # pixels of the file, before any resize


@dataclass(frozen=True)
class LabelledViews:
    """A batch.

    Attributes:
        images: (B, 3, H, W) float32 RGB in [-1, 1].
        labels: (B, H, W) int64 class ids, or (B, 1, H, W) float32 edges in [-1, 1]: white paper +1, lines negative.
        cameras: (B, 25) float32: OpenCV camera-to-world, 4 x 4 row by row, then 3 x 3 intrinsics divided by the image
            size (:mod:`datamodules.objects.labelled.cameras`).
        keys: B names: the pictures' paths without suffix.
    """

    images: torch.Tensor
    labels: torch.Tensor
    cameras: torch.Tensor
    keys: list[str]

    def __len__(self) -> int:
        return len(self.keys)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> LabelledViews:
        """Move the tensors; Lightning calls this."""
        images, labels, cameras = (
            x.to(device, non_blocking=non_blocking) for x in (self.images, self.labels, self.cameras)
        )
        return replace(self, images=images, labels=labels, cameras=cameras)


def edge_input(drawing: np.ndarray, size: int | None = None) -> np.ndarray:
    """What a network is fed of an edge file: (1, S, S) float32, ``1 - blur(255 - v) / 127.5``.

    Args:
        drawing: (H, W) uint8 as stored, dark lines on white.
        size: side to bring it to by nearest neighbours, after the blur; None keeps it.
    """
    ink = cv2.blur(255 - drawing, BLUR)
    return (1 - nearest_labels(ink, size).astype(np.float32) / 127.5)[None]


def nearest_labels(values: np.ndarray, size: int | None) -> np.ndarray:
    """Label values (H, W) at another side: of pixel ``floor(i * scale)``, no value is made up; None keeps them."""
    if size is None or size == values.shape[0]:
        return values
    return cv2.resize(values, (size, size), interpolation=cv2.INTER_NEAREST)


def class_weights(pixels: np.ndarray, root: bool = False, most: float = 99.0) -> np.ndarray:
    """Weights (C,) float32 of classes in a cross-entropy: ``N / (C n_c)``, pix2pix3D's ``seg_weight`` 2.

    Args:
        pixels: (C,) pixels of each class in the training maps; a class without any gets weight 0.
        root: the square root of that, ``seg_weight`` 1.
        most: percentile of the weights that bounds them: a class of a few pixels would outweigh everything.
    """
    counts = np.asarray(pixels, np.float64)
    shown = counts > 0
    weights = np.zeros(len(counts))
    weights[shown] = counts.sum() / (len(counts) * counts[shown])
    if shown.any():
        weights = np.minimum(weights, np.percentile(weights[shown], most))
    return (np.sqrt(weights) if root else weights).astype(np.float32)
