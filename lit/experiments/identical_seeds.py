"""Seeds of an arm that agree to the last digit: they ran the same training, and prove nothing about its spread."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

TELLS_NOTHING = {0.0, 1.0}  # what an untrained detector scores: AP 0, nuScenes errors 1


def identical_seeds(metrics: Mapping[int, Mapping[str, float]]) -> list[tuple[int, int]]:
    """Pairs of seeds whose metrics are all the same numbers.

    Args:
        metrics: seed to the figures of its run by name.

    Returns:
        Pairs in ascending order. Runs that found nothing at all, so that every figure is 0 or 1, are never a pair.
    """
    return [
        (a, b)
        for a, b in combinations(sorted(metrics), 2)
        if dict(metrics[a]) == dict(metrics[b]) and not set(metrics[a].values()) <= TELLS_NOTHING
    ]
