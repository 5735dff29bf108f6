"""Losses between rendered and given label maps: class-balanced cross-entropy, and edges.

Source: Deng et al., "3D-aware Conditional Image Synthesis", CVPR 2023, section 3.2; released code
(``cross_entropy2d``). Weights of classes are :func:`datamodules.objects.labelled_views.class_weights`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


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


def labels_at(labels: Tensor, size: int) -> Tensor:
    """Label maps (B, H, W) of ids or (B, 1, H, W) of edges at ``size`` x ``size`` pixels.

    Pixel i is what lies at floor(i x scale), as in the released code.
    """
    rows, columns = (torch.arange(size, device=labels.device) * side // size for side in labels.shape[-2:])
    return labels[..., rows[:, None], columns]
