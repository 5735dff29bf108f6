"""Means over the processes of a training: what one process with the whole batch would have counted."""

from __future__ import annotations

import torch
from torch import Tensor


def ranks() -> int:
    """Processes that train together."""
    ready = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_world_size() if ready else 1


def mean_over_ranks(values: Tensor) -> Tensor:
    """Mean of a tensor over all processes, in place."""
    if ranks() > 1:
        torch.distributed.all_reduce(values)
        values /= ranks()
    return values


def share_of(counts: Tensor, least: float = 1.0) -> Tensor:
    """What a loss of this process's samples divides by, so that the mean over processes is the whole batch's loss.

    Args:
        counts: (...) float, what this process has counted, for example its positives.
        least: of each count over all processes.

    Returns:
        (...) counts over all processes, at least ``least``, divided by the number of processes. All processes have to
        call this together.
    """
    return mean_over_ranks(counts.detach().clone()).clamp_min(least / ranks())
