"""Losses on masks and on labels under them (Lift3D Eq. 8)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from detectors.rank_counts import share_of


def soft_iou_loss(opacity: Tensor, alpha: Tensor) -> Tensor:
    """``1 - mean_n(sum(a b) / sum(a + b - a b))`` over masks (N, R) in [0, 1] (Eq. 8, made differentiable)."""
    both = opacity * alpha
    return 1.0 - (both.sum(-1) / ((opacity + alpha - both).sum(-1) + 1e-10)).mean()


def semantic_loss(logits: Tensor, labels: Tensor, alpha: Tensor) -> Tensor:
    """Cross-entropy of part logits (B, R, K) against labels (B, R), weighted by the observed mask."""
    loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view_as(alpha)
    return (loss * alpha).sum() / share_of(alpha.sum())
