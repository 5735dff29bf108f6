"""Schedules that count images, so that the batch and the number of processes change nothing."""

from __future__ import annotations

from dataclasses import dataclass


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
