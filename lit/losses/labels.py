"""Losses between rendered and given label maps: class-balanced cross-entropy, and edges.

Source: Deng et al., "3D-aware Conditional Image Synthesis", CVPR 2023, section 3.2; released code (``cross_entropy2d``,
``seg_weight``), whose weights fall with a class's frequency, while the paper's printed formula rises with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from datamodules.errors import InputError

Balance = Literal["none", "inverse", "root"]
CLIPPED = 99.0  # percentile of the weights beyond which they do not rise


def class_weights(counts: Sequence[float], balance: Balance = "inverse") -> Tensor:
    """Weights (C,) of classes by how often they occur.

    Args:
        counts: pixels of each class; classes that do not occur weigh nothing.
        balance: "inverse": all pixels / (classes x pixels of the class), the released ``seg_weight`` 2; "root": the
            square root of that, its 1; "none": all 1.

    Raises:
        InputError: a negative count, or none at all.
    """
    number = torch.tensor(list(counts), dtype=torch.float64)
    if not len(number) or bool((number < 0).any()) or not float(number.sum()) > 0:
        raise InputError(f"class counts {list(counts)}: expected the pixels of each class, at least one above 0")
    if balance == "none":
        return torch.ones(len(number))
    known = number > 0
    weights = torch.where(known, number.sum() / (len(number) * number.clamp_min(1e-12)), 0.0)
    if bool(known.any()):
        weights = weights.clamp_max(float(torch.quantile(weights[known], CLIPPED / 100, interpolation="higher")))
    return (weights.sqrt() if balance == "root" else weights).float()


def label_cross_entropy(logits: Tensor, ids: Tensor, weights: Tensor | None = None) -> Tensor:
    """Cross-entropy, a mean that is weighted by the true pixels' weights.

    Args:
        logits: (B, C, h, w), brought to the size of the ids by bilinear interpolation between their corners.
        ids: (B, H, W) int64.
        weights: (C,) of the classes; None for all alike.
    """
    logits = logits.float()
    if logits.shape[-2:] != ids.shape[-2:]:
        logits = F.interpolate(logits, ids.shape[-2:], mode="bilinear", align_corners=True)
    return F.cross_entropy(logits, ids, weights)


def edge_loss(rendered: Tensor, edges: Tensor, squared: bool = False) -> Tensor:
    """Mean smooth-L1 (the released code) or squared (the paper) difference of edge maps of one size."""
    if squared:
        return F.mse_loss(rendered.float(), edges)
    return F.smooth_l1_loss(rendered.float(), edges)


def nearest_labels(labels: Tensor, size: int) -> Tensor:
    """Label maps (B, H, W) of ids or (B, 1, H, W) of edges at ``size`` x ``size`` pixels.

    Pixel i is what lies at floor(i x scale), as in the released code.
    """
    rows, columns = (torch.arange(size, device=labels.device) * side // size for side in labels.shape[-2:])
    return labels[..., rows[:, None], columns]
