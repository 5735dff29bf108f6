"""Means of gradients over the processes of a training."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from detectors.rank_counts import mean_over_ranks, ranks


def average_gradients(parameters: Iterable[nn.Parameter], finite: bool = True) -> None:
    """Replace each gradient by its mean over all processes, in one message.

    A parameter that some processes did not use (a coin may fall differently there) counts as a zero gradient on these;
    one that none used keeps none, so that its optimiser leaves it alone.

    Args:
        parameters: those of one optimiser.
        finite: values that are not finite become 0 or large, as in the published training, so that one bad step does
            not end it. A loss scaler has to see them: it leaves the step out.
    """
    known = [p for p in parameters if ranks() > 1 or p.grad is not None]
    if not known:
        return
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in known]
    used = gradients[0].new_tensor([p.grad is not None for p in known])
    flat = mean_over_ranks(torch.cat([*(gradient.flatten() for gradient in gradients), used]))
    if finite:
        torch.nan_to_num(flat, nan=0.0, posinf=1e5, neginf=-1e5, out=flat)
    *means, shares = flat.split([*(p.numel() for p in known), len(known)])
    for parameter, mean, share in zip(known, means, shares.tolist()):
        parameter.grad = mean.view(parameter.shape) if share else None
