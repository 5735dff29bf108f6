"""Image quality: FID, KID, Inception score, precision and recall, diversity."""

from lit.metrics.image.scores import (
    frechet_distance,
    frechet_from_moments,
    inception_score,
    inception_scores,
    kernel_distance,
    kernel_distances,
    precision_recall,
)

__all__ = [
    "frechet_distance",
    "frechet_from_moments",
    "inception_score",
    "inception_scores",
    "kernel_distance",
    "kernel_distances",
    "precision_recall",
]
