"""What all frozen networks have in common: they never train."""

from __future__ import annotations

from typing import TypeVar

from torch import nn

Self = TypeVar("Self", bound="FrozenNetwork")


class FrozenNetwork(nn.Module):
    """A network whose weights take no gradient (or DDP reports unused parameters), in evaluation mode for good.

    Its input may take one: frozen features serve as losses too.
    """

    def freeze(self: Self) -> Self:
        """Self without gradients and in evaluation mode; the last call of a constructor."""
        return self.requires_grad_(False).eval()

    def train(self: Self, mode: bool = True) -> Self:
        """Stay in evaluation mode: the module that owns a metric switches its children to training."""
        return super().train(False)
