"""Average precision of edge maps from tables of distinct scores, which add up over maps and processes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from datamodules.errors import InputError


def edge_counts(score: Tensor | np.ndarray, label: Tensor | np.ndarray) -> Tensor:
    """Distinct scores of some pixels, ascending, with their edge and other pixels: (U, 3) float64.

    Nothing about average precision is lost by it, and an 8-bit edge map needs 256 rows at most.

    Args:
        score: real numbers of any shape, higher where an edge is likelier; no sigmoid is applied, whatever the range.
        label: the same shape, bool or 0 and 1.

    Raises:
        InputError: shapes that differ, NaN scores, labels other than 0 and 1.
    """
    score, label = torch.as_tensor(score), torch.as_tensor(label)
    if score.shape != label.shape:
        raise InputError(f"score {tuple(score.shape)}, label {tuple(label.shape)}: expected equal shapes; resize one")
    positive = label.detach().cpu().reshape(-1)
    if positive.dtype != torch.bool:
        if not bool(((positive == 0) | (positive == 1)).all()):
            raise InputError("label: holds values other than 0 and 1; compare it with a threshold first")
        positive = positive.bool()
    values = score.detach().cpu().reshape(-1)
    if bool(torch.isnan(values).any()):
        raise InputError("score: holds NaN, which has no place in the order; repair the prediction")
    distinct, place = torch.unique(values.double() + 0.0, return_inverse=True)  # + 0.0: -0 and 0 are one score
    pixels = torch.bincount(place, minlength=len(distinct))
    edges = torch.bincount(place[positive], minlength=len(distinct))
    return torch.stack([distinct, edges.double(), (pixels - edges).double()], 1)


def merge_counts(parts: Sequence[Tensor]) -> Tensor:
    """One table (U, 3) of the pixels of several, see :func:`edge_counts`."""
    rows = torch.cat(list(parts)) if parts else torch.zeros(0, 3, dtype=torch.float64)
    distinct, place = torch.unique(rows[:, 0], return_inverse=True)
    sums = torch.zeros(len(distinct), 2, dtype=torch.float64, device=rows.device).index_add_(0, place, rows[:, 1:])
    return torch.cat([distinct[:, None], sums], 1)


def precision_of_counts(counts: Tensor) -> float:
    """Average precision of a table (U, 3) of distinct ascending scores, see :func:`edge_counts`."""
    edges, others = counts.flip(0)[:, 1].cpu(), counts.flip(0)[:, 2].cpu()
    total = float(edges.sum())
    if not total:
        raise InputError("label: no pixel is an edge, so recall is undefined; leave such a set out or check the labels")
    hits = edges.cumsum(0)
    precision = hits / (hits + others.cumsum(0))
    return float((precision * edges).sum() / total)


def edge_average_precision(score: Tensor | np.ndarray, label: Tensor | np.ndarray) -> float:
    """Average precision in [0, 1] pooled over all pixels: ``sum_k (R_k - R_{k-1}) P_k`` over distinct scores.

    Step-wise, as scikit-learn's and pix2pix3D's; pixels of equal score enter together, so their order does not matter.

    Raises:
        InputError: see :func:`edge_counts`; and when no pixel is an edge.
    """
    return precision_of_counts(edge_counts(score, label))
