"""Losses of centre-point detectors; all take float32 and return sums or means as said."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def centre_focal(logits: Tensor, heatmap: Tensor, weight: Tensor, positives: Tensor | None = None) -> Tensor:
    """Penalty-reduced focal loss (CornerNet, Law and Deng 2018, eq. 1; alpha 2, beta 4), divided by the positives.

    Args:
        logits: (B, C, h, w).
        heatmap: targets in [0, 1], 1 exactly at positives.
        weight: 0 where a cell does not count.
        positives: scalar, what to divide by where other processes have a part of the batch
            (:func:`detectors.rank_counts.share_of`); None for the positives here.
    """
    positive = heatmap == 1
    p = torch.sigmoid(logits)
    hit = F.logsigmoid(logits) * (1 - p) ** 2
    miss = F.logsigmoid(-logits) * p**2 * (1 - heatmap) ** 4
    total = torch.where(positive, hit, miss) * weight
    return -total.sum() / (positive.sum().clamp_min(1) if positives is None else positives)


def laplacian_nll(prediction: Tensor, log_scale: Tensor, target: Tensor) -> Tensor:
    """Negative log likelihood (N,) of a Laplace distribution, less a constant (MonoPair, Chen et al. 2020, eq. 7)."""
    return math.sqrt(2) * (prediction - target).abs() * torch.exp(-log_scale) + log_scale


def gaussian_nll(prediction: Tensor, log_scale: Tensor, target: Tensor) -> Tensor:
    """Negative log likelihood (N,) of a normal distribution of standard deviation exp(log_scale), less a constant."""
    return 0.5 * ((prediction - target) * torch.exp(-log_scale)).square() + log_scale


def bin_centres(bins: int, device: torch.device | str = "cpu") -> Tensor:
    """(bins,) centres of equal bins around the circle, the first at 0."""
    return torch.arange(bins, device=device) * (2 * math.pi / bins)


def multibin(logits: Tensor, residual: Tensor, angle: Tensor) -> Tensor:
    """Bin cross entropy plus L1 on the true bin's residual as (sin, cos); (N,) (Mousavian et al. 2017).

    Args:
        logits: (N, bins).
        residual: (N, bins, 2) sine and cosine of the angle less the bin's centre, not necessarily of unit length.
        angle: (N,) radians.
    """
    bins = logits.shape[1]
    label = torch.round(angle * (bins / (2 * math.pi))).long() % bins
    rest = angle - bin_centres(bins, angle.device)[label]
    wanted = torch.stack([torch.sin(rest), torch.cos(rest)], 1)
    chosen = residual[torch.arange(len(label), device=angle.device), label]
    return F.cross_entropy(logits, label, reduction="none") + (chosen - wanted).abs().sum(1)


def decode_multibin(logits: Tensor, residual: Tensor) -> Tensor:
    """Angles (N,) radians (not wrapped) of the likeliest bins and their residuals."""
    label = logits.argmax(1)
    chosen = residual[torch.arange(len(label), device=label.device), label]
    return bin_centres(logits.shape[1], logits.device)[label] + torch.atan2(chosen[:, 0], chosen[:, 1])
