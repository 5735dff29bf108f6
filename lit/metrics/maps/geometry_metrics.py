"""Scores of depth maps over any number of processes, see :mod:`lit.metrics.geometry`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from lit.metrics.geometry import depth_errors, non_flatness_scores
from lit.metrics.sample_rows import SampleRows


class NonFlatnessScore(SampleRows):
    """Non-flatness score of 3DGP.

    Args:
        near: lower bound of the histogram.
        far: upper bound.
        bins: number of bins.
    """

    higher_is_better = True

    def __init__(self, near: float, far: float, bins: int = 64, **kwargs: Any) -> None:
        super().__init__(1, **kwargs)
        self.near, self.far, self.bins = near, far, bins
        name = f"non-flatness score (3DGP), {bins} bins over [{near:g}, {far:g}]"
        self.evaluator = {"name": name, "version": "nfs-1"}

    def update(self, depth: Tensor, sample_ids: Sequence[str], mask: Tensor | None = None) -> None:
        """Add maps (N, H, W), where ``mask`` is True.

        Raises:
            InputError: see :func:`lit.metrics.geometry.non_flatness_scores`.
        """
        self.add(sample_ids, non_flatness_scores(depth, self.near, self.far, self.bins, mask))

    def compute(self) -> float:
        """Mean over the distinct maps."""
        return float(self.distinct_rows().mean())


class DepthAccuracy(SampleRows):
    """Depth accuracy of G3DR (by our reading), lower is better."""

    higher_is_better = False

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(1, **kwargs)
        self.evaluator = {"name": "depth accuracy (G3DR, our reading): z-scored MSE", "version": "depth-1"}

    def update(self, pred: Tensor, target: Tensor, sample_ids: Sequence[str], mask: Tensor | None = None) -> None:
        """Add maps (N, H, W) and what they are compared with, where ``mask`` is True.

        Raises:
            InputError: see :func:`lit.metrics.geometry.depth_errors`.
        """
        self.add(sample_ids, depth_errors(pred, target, mask))

    def compute(self) -> float:
        """Mean over the distinct maps."""
        return float(self.distinct_rows().mean())
