"""Training on images in any number of processes: schedules that count images, running means, averaged steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Cadence:
    """Something that is due once every so many images, for example a lazy regularisation.

    Attributes:
        images: interval; 0 for never.
    """

    images: int

    def due(self, seen: int, step: int) -> bool:
        """Whether the step from ``seen`` images to ``seen + step`` begins a new interval."""
        return bool(self.images) and -(-seen // self.images) * self.images < seen + step

    def gain(self, step: int) -> float:
        """Factor on what is applied only when due: steps of ``step`` images that one interval holds, at least 1."""
        return max(self.images / step, 1.0)


def half_life_decay(step: int, half_life: float) -> float:
    """Share that a running mean keeps over ``step`` images when half of it is to be forgotten in ``half_life``."""
    return 0.5 ** (step / half_life) if half_life > 0 else 0.0


@torch.no_grad()
def follow(average: nn.Module, module: nn.Module, decay: float) -> None:
    """Move the weights of ``average`` to ``decay * average + (1 - decay) * module``; copy the buffers."""
    for mean, value in zip(average.parameters(), module.parameters()):
        mean.lerp_(value, 1 - decay)
    for kept, current in zip(average.buffers(), module.buffers()):
        kept.copy_(current)


def mean_over_ranks(values: Tensor) -> Tensor:
    """Mean of a tensor over all processes, in place."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(values)
        values /= torch.distributed.get_world_size()
    return values


def average_gradients(module: nn.Module) -> None:
    """Replace each gradient by its mean over all processes, in one message; nothing in a single process.

    Every process must have gradients for the same parameters. Values that are not finite become 0 or large, as in the
    published training, so that one bad step does not end it.
    """
    held = [p for p in module.parameters() if p.grad is not None]
    if not held:
        return
    flat = mean_over_ranks(torch.cat([p.grad.flatten() for p in held if p.grad is not None]))
    torch.nan_to_num(flat, nan=0.0, posinf=1e5, neginf=-1e5, out=flat)
    for parameter, part in zip(held, flat.split([p.numel() for p in held])):
        parameter.grad = part.view(parameter.shape)


def descend(loss: Tensor, network: nn.Module, optimizer: Any) -> None:
    """Step along the gradients of all processes.

    Plain ``backward``: DDP's own hooks expect one backward pass a step through all parameters, and adversarial training
    makes several.
    """
    optimizer.zero_grad()
    loss.backward()
    average_gradients(network)
    optimizer.step()
