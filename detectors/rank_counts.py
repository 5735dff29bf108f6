"""Means over the processes of a training: what one process with the whole batch would have counted."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


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


def sum_over_ranks(values: Tensor) -> Tensor:
    """Sum of a tensor over all processes, for losses that are no means of samples.

    The mean over processes of a loss's gradients through it is the gradient of the loss of the whole batch.
    """
    if ranks() == 1:
        return values
    total = values.detach().clone()
    torch.distributed.all_reduce(total)
    own = values * ranks()
    return own + (total - own.detach())


def joined_over_ranks(values: Tensor) -> Tensor:
    """(R * N, ...) values of all R processes, each with as many (N, ...), in their order; without gradients."""
    if ranks() == 1:
        return values.detach()
    parts = [torch.empty_like(values) for _ in range(ranks())]
    torch.distributed.all_gather(parts, values.detach().contiguous())
    return torch.cat(parts)


def align_buffers(module: nn.Module) -> None:
    """Give all processes the first one's buffers: batch statistics that each has followed on its own samples."""
    if ranks() > 1:
        for buffer in module.buffers():
            torch.distributed.broadcast(buffer, 0)


def effective_batch(trainer: Any) -> int | None:
    """Samples a step over all processes and accumulated batches; None where the data states no ``batch_size``."""
    data = getattr(trainer, "datamodule", None)
    size = getattr(data, "batch_size", None) or getattr(data, "hparams", {}).get("batch_size")
    return None if size is None else int(size) * int(trainer.world_size) * int(trainer.accumulate_grad_batches)


def batch_line(batch: int | None, lr: float, cure: str) -> str:
    """What several processes change of a recipe that was chosen for one: a line for the log.

    Args:
        batch: samples a step over all processes, where known.
        lr: learning rate.
        cure: how to change it.
    """
    size = "many" if batch is None else str(batch)
    return f"{ranks()} processes: {size} samples a step, learning rate {lr:g} as given; {cure}"
