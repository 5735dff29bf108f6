"""Means over the processes of a training: of statistics, and of gradients before a step."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


def mean_over_ranks(values: Tensor) -> Tensor:
    """Mean of a tensor over all processes, in place."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(values)
        values /= torch.distributed.get_world_size()
    return values


def average_gradients(parameters: Iterable[nn.Parameter], finite: bool = True) -> None:
    """Replace each gradient by its mean over all processes, in one message.

    A parameter that some processes did not use (a coin may fall differently there) counts as a zero gradient on these;
    one that none used keeps none, so that its optimiser leaves it alone.

    Args:
        parameters: those of one optimiser.
        finite: values that are not finite become 0 or large, as in the published training, so that one bad step does
            not end it. A loss scaler has to see them: it leaves the step out.
    """
    known = list(parameters)
    if known and torch.distributed.is_available() and torch.distributed.is_initialized():
        used = mean_over_ranks(torch.tensor([float(p.grad is not None) for p in known], device=known[0].device))
        for parameter, share in zip(known, used.tolist()):
            if share and parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
    held = [p for p in known if p.grad is not None]
    if not held:
        return
    flat = mean_over_ranks(torch.cat([p.grad.flatten() for p in held if p.grad is not None]))
    if finite:
        torch.nan_to_num(flat, nan=0.0, posinf=1e5, neginf=-1e5, out=flat)
    for parameter, part in zip(held, flat.split([p.numel() for p in held])):
        parameter.grad = part.view(parameter.shape)
