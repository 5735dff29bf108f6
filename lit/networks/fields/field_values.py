"""What a field says about points: named channels, of which only density is always there."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor


class FieldValues(NamedTuple):
    """A field at P points of B objects, channels first.

    Attributes:
        rgb: (B, 3, P) straight colour in [0, 1].
        density: (B, P) per unit of the points' frame.
        parts: (B, K, P) logits of semantic parts or labels, or None.
        features: (B, F, P) anything else that is drawn like a colour, or None.
    """

    rgb: Tensor
    density: Tensor
    parts: Tensor | None = None
    features: Tensor | None = None

    def each(self, change: Callable[[Tensor], Tensor]) -> FieldValues:
        """Every channel that there is, changed in the same way."""
        return FieldValues(*(None if channel is None else change(channel) for channel in self))  # type: ignore[arg-type]


Field = Callable[[Tensor], FieldValues]
"""A field of B objects: points (B, P, 3) in the canonical cube to their values."""
