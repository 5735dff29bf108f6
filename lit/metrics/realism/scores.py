"""Area under the ROC curve of a network that tells injected from real crops: .5 is the floor, 1 is told at a glance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from datamodules.errors import InputError
from datamodules.randomness import derive
from lit.metrics.realism.crops import Crop, halves, matched
from lit.metrics.realism.discriminator import CropDiscriminator, learn, scores

VERSION = "1"
LEAST_PAIRS = 16  # in each half: with fewer the network learns its few pictures by heart
RESAMPLES = 1000


@dataclass(frozen=True)
class Realism:
    """How well injected objects are told from real ones.

    Attributes:
        auc: mean over both halves and all seeds.
        low, high: its 95 % interval over drives (frames, where drives are unknown).
        by_seed: the mean over both halves of each network's seed.
        pairs: of a real and an injected crop, of both halves.
        left_out: injected crops without a partner of their size, or copied from the other half.
        groups: drives, or frames.
    """

    auc: float
    low: float
    high: float
    by_seed: list[float]
    pairs: list[tuple[Crop, Crop]]
    left_out: int
    groups: int


def area(real: np.ndarray, injected: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Chance that an injected object's score is above a real one's, ties counted half (Mann-Whitney).

    Args:
        real: (n,) scores.
        injected: (m,) scores.
        weights: (n + m,) whole numbers, how often each counts.
    """
    if weights is not None:
        counts = weights.astype(int)
        real, injected = np.repeat(real, counts[: len(real)]), np.repeat(injected, counts[len(real) :])
    if not len(real) or not len(injected):
        return float("nan")
    ranks = rankdata(np.concatenate([real, injected]))[len(real) :]
    return float((ranks.sum() - len(injected) * (len(injected) + 1) / 2) / (len(real) * len(injected)))


def realism(
    real: Sequence[Crop],
    injected: Sequence[Crop],
    groups: Mapping[str, str],
    seeds: Sequence[int] = (0, 1, 2),
    steps: int | None = None,
) -> Realism:
    """Train on one half of the drives, score the other, and the reverse.

    A copied object counts only where its pixels come from a frame of the same half: the network must not have seen
    them as real ones.

    Args:
        real: crops of labelled objects.
        injected: crops of injected ones.
        groups: frame to drive; a frame without one is its own.
        seeds: of the networks.
        steps: of each training.

    Raises:
        InputError: too few pairs in one half.
    """
    side = halves([*real, *injected], groups)
    own = [crop for crop in injected if side.get(crop.source, side[crop.frame]) == side[crop.frame]]
    parts = [
        matched([c for c in real if side[c.frame] == half], [c for c in own if side[c.frame] == half])
        for half in (0, 1)
    ]
    if (fewest := min(map(len, parts))) < LEAST_PAIRS:
        raise InputError(
            f"{fewest} pairs of a real and an injected object of one size in one half of the drives, expected at least "
            f"{LEAST_PAIRS}; give more frames, a lower --min-height, or an injection with more objects"
        )
    folds = [
        [(part, *_scored(learn(parts[1 - half], seed, steps), part)) for seed in seeds]
        for half, part in enumerate(parts)
    ]
    by_seed = [float(np.mean([area(*fold[seed][1:]) for fold in folds])) for seed in range(len(seeds))]
    names = sorted({groups.get(crop.frame, crop.frame) for part in parts for pair in part for crop in pair})
    low, high = _interval(folds, names, groups)
    pairs = [pair for part in parts for pair in part]
    return Realism(float(np.mean(by_seed)), low, high, by_seed, pairs, len(injected) - len(pairs), len(names))


Fold = tuple[list[tuple[Crop, Crop]], np.ndarray, np.ndarray]  # pairs, scores of the real and of the injected


def _scored(network: CropDiscriminator, pairs: list[tuple[Crop, Crop]]) -> tuple[np.ndarray, np.ndarray]:
    return scores(network, [real for real, _ in pairs]), scores(network, [injected for _, injected in pairs])


def _interval(folds: list[list[Fold]], names: list[str], groups: Mapping[str, str]) -> tuple[float, float]:
    """95 % of the mean area when drives are drawn with replacement."""
    rng, values = derive(0, 0, "realism"), []
    column = {name: index for index, name in enumerate(names)}
    owners = [
        np.array([column[groups.get(pair[which].frame, pair[which].frame)] for which in (0, 1) for pair in fold[0][0]])
        for fold in folds
    ]
    for _ in range(RESAMPLES):
        times = np.bincount(rng.integers(0, len(names), len(names)), minlength=len(names))
        drawn = [area(*fold[1:], times[owner]) for runs, owner in zip(folds, owners) for fold in runs]
        values.append(float(np.nanmean(drawn)) if not np.isnan(drawn).all() else 0.5)
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)
