"""How viewpoints are distributed, and how far two sets of them differ: whether objects are shown from all sides.

Text-to-image models show cars and buses from a few favoured sides; 3D-DST's viewpoints are drawn (Ma et al., ICLR 2024,
"removing biases in object viewpoints").
"""

from __future__ import annotations

import numpy as np

from datamodules.errors import InputError

AZIMUTH_BINS, ELEVATION_BINS = 36, 18
VERSION = "1"


def viewpoint_counts(azimuth: np.ndarray, elevation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Counts by 10 degrees of azimuth (36,), 0 first, and of elevation (18,), -90 first.

    Args:
        azimuth: (N,) degrees, any turn.
        elevation: (N,) degrees in [-90, 90].

    Raises:
        InputError: no viewpoint, angles that are not finite, or elevations out of range.
    """
    azimuth, elevation = np.asarray(azimuth, np.float64), np.asarray(elevation, np.float64)
    if azimuth.shape != elevation.shape or azimuth.ndim != 1 or not len(azimuth):
        raise InputError(f"viewpoints {azimuth.shape} and {elevation.shape}: expected as many of both, at least one")
    if not (np.isfinite(azimuth).all() and np.isfinite(elevation).all() and np.abs(elevation).max() <= 90):
        raise InputError("viewpoints: expected finite degrees, elevations in [-90, 90]; leave out what has no pose")
    turn = np.floor((azimuth % 360) / (360 / AZIMUTH_BINS)).astype(int) % AZIMUTH_BINS
    rise = np.clip(np.floor((elevation + 90) / (180 / ELEVATION_BINS)).astype(int), 0, ELEVATION_BINS - 1)
    return np.bincount(turn, minlength=AZIMUTH_BINS), np.bincount(rise, minlength=ELEVATION_BINS)


def entropy(counts: np.ndarray) -> float:
    """Of a histogram, as a share of the largest possible: 1 is uniform, 0 one single bin."""
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log(share)).sum() / np.log(len(counts)))


def divergence(one: np.ndarray, other: np.ndarray) -> float:
    """Jensen-Shannon divergence of two histograms of as many bins, bits in [0, 1]."""
    p, q = one / one.sum(), other / other.sum()
    middle = (p + q) / 2

    def relative(share: np.ndarray) -> float:
        there = share > 0
        return float((share[there] * np.log2(share[there] / middle[there])).sum())

    return (relative(p) + relative(q)) / 2


def viewpoint_figures(azimuth: np.ndarray, elevation: np.ndarray) -> dict[str, float]:
    """Count, evenness and favoured side of a set of viewpoints; angles as :func:`viewpoint_counts`.

    Returns:
        ``count``; ``azimuth_entropy`` in [0, 1]; ``azimuth_peak``, the largest share of 10 degrees times 36 (1 is
        uniform); ``front_share``, ``back_share`` and ``side_share`` of quarters; mean and spread of elevation.
    """
    turns, _ = viewpoint_counts(azimuth, elevation)
    quarter = np.floor(((np.asarray(azimuth) + 45) % 360) / 90).astype(int)
    return {
        "count": float(len(azimuth)),
        "azimuth_entropy": entropy(turns),
        "azimuth_peak": float(turns.max() / turns.sum() * AZIMUTH_BINS),
        "front_share": float((quarter == 0).mean()),
        "back_share": float((quarter == 2).mean()),
        "side_share": float((quarter % 2 == 1).mean()),
        "elevation_mean": float(np.mean(elevation)),
        "elevation_std": float(np.std(elevation)),
    }
