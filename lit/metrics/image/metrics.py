"""FID, KID, Inception score, precision and recall as metrics over any number of processes.

``DistributedSampler`` repeats samples to even out the processes, so an image may come twice. With ``sample_ids`` each
id counts once, wherever its repeats are; without ids every image counts. Rows are ordered by id, so that splits and
subsets do not depend on the number of processes either.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from datamodules.errors import InputError
from lit.features.extractors import Extractor
from lit.metrics.image.feature_metric import FeatureMetric
from lit.metrics.image.frechet_metric import FrechetDistance
from lit.metrics.image.scores import inception_scores, kernel_distances, precision_recall

__all__ = ["FrechetDistance", "KernelDistance", "InceptionScore", "PrecisionRecall"]


class KernelDistance(FeatureMetric):
    """KID; see :func:`lit.metrics.image.scores.kernel_distances`.

    Args:
        extractor: makes the features.
        subsets: number of subsets.
        subset_size: images a subset; None with one subset for everything at once.
        seed: of the subsets.
    """

    higher_is_better = False
    kind = "kid"

    def __init__(
        self, extractor: Extractor, subsets: int = 100, subset_size: int | None = 1000, seed: int = 0, **kwargs: Any
    ) -> None:
        super().__init__(extractor, **kwargs)
        self.subsets, self.subset_size, self.seed = subsets, subset_size, seed

    def compute(self) -> tuple[float, float]:
        """Mean and population standard deviation over the subsets."""
        size, seed = self.subset_size, self.seed
        values = kernel_distances(self.rows("real"), self.rows("fake"), self.subsets, size, seed)
        return float(values.mean()), float(values.std())


class InceptionScore(FeatureMetric):
    """Inception score of the generated images; see :func:`lit.metrics.image.inception_scores`. Real ones are ignored.

    Args:
        extractor: a network with logits.
        splits: number of splits.

    Raises:
        InputError: the extractor has no logits.
    """

    higher_is_better = True
    kind = "is"
    sides = ("fake",)

    def __init__(self, extractor: Extractor, splits: int = 10, **kwargs: Any) -> None:
        super().__init__(extractor, **kwargs)
        if not extractor.classes:
            raise InputError(f"{extractor.name} has no logits: expected a classifier such as the FID Inception network")
        self.splits = splits

    def extract(self, images: Tensor) -> Tensor:
        """Class probabilities (B, C) in float64."""
        _, logits = self.extractor.both(images.to(self.device))
        assert logits is not None
        return logits.double().softmax(1)

    def compute(self) -> tuple[float, float]:
        """Mean and population standard deviation over the splits."""
        values = inception_scores(self.rows("fake"), self.splits)
        return float(values.mean()), float(values.std())


class PrecisionRecall(FeatureMetric):
    """Improved precision and recall; see :func:`lit.metrics.image.scores.precision_recall`.

    Args:
        extractor: makes the features.
        k: which neighbour bounds the balls.
    """

    higher_is_better = True
    kind = "pr"

    def __init__(self, extractor: Extractor, k: int = 3, **kwargs: Any) -> None:
        super().__init__(extractor, **kwargs)
        self.k = k

    def compute(self) -> tuple[float, float]:
        """Precision and recall."""
        return precision_recall(self.rows("real"), self.rows("fake"), self.k)
