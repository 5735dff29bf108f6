"""Paired statistics of the leaderboard: differences with intervals and tests, and what an arm is worth in labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats
from scipy.optimize import isotonic_regression

SIGNIFICANT = 0.05  # of a p-value after the correction for its family


@dataclass(frozen=True)
class Difference:
    """Mean paired difference of two arms.

    Attributes:
        delta: mean over common seeds of (arm - other).
        low: lower end of the 95 % confidence interval (Student's t); None where nothing can be claimed: below two
            common seeds, or when the seeds do not differ.
        high: upper end.
        p: two-sided paired t-test; None likewise.
        seeds: the common seeds.
        deviation: sample deviation of the differences; None below two common seeds.
        holm: p after Holm's correction for the family it was planned in; None for an exploratory difference.
    """

    delta: float
    low: float | None
    high: float | None
    p: float | None
    seeds: list[int]
    deviation: float | None = None
    holm: float | None = None


def paired_difference(arm: Mapping[int, float], other: Mapping[int, float]) -> Difference | None:
    """Compare two arms over the seeds both have.

    Seeds whose differences agree to the last digit are copies of one run, not repetitions: they prove nothing, and no
    interval is given.

    Args:
        arm: seed to metric.
        other: seed to metric.

    Returns:
        The difference, or None without a common seed.
    """
    common = sorted(arm.keys() & other.keys())
    if not common:
        return None
    pairs = [arm[seed] for seed in common], [other[seed] for seed in common]
    differences = np.subtract(*pairs)
    delta = float(differences.mean())
    if len(common) < 2 or np.ptp(differences) <= 1e-12 * max(1.0, float(np.abs(pairs).max())):
        return Difference(delta, None, None, None, common)
    test = stats.ttest_rel(*pairs)
    interval = test.confidence_interval(0.95)
    return Difference(
        delta, float(interval.low), float(interval.high), float(test.pvalue), common, float(differences.std(ddof=1))
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for their number by Holm's step-down rule (Holm 1979): the family's error rate is kept."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted, least = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = least
    return adjusted


def frames_at(curve_frames: np.ndarray, curve: np.ndarray, value: float) -> float:
    """Labelled frames at which a learning curve reaches ``value``.

    The curve is made non-decreasing and read as linear in log(frames) between its points.

    Args:
        curve_frames: (K,) increasing numbers of frames.
        curve: (K,) metric at each.
        value: metric of the arm.

    Returns:
        Frames; ``inf`` above the curve's last point, 0 below its first.
    """
    heights = isotonic_regression(curve).x
    if value > heights[-1]:
        return float("inf")
    if value < heights[0]:
        return 0.0
    upper = int(np.searchsorted(heights, value, side="left"))
    if upper == 0:
        return float(curve_frames[0])
    share = (value - heights[upper - 1]) / (heights[upper] - heights[upper - 1])
    logs = np.log(curve_frames.astype(np.float64))
    return float(np.exp(logs[upper - 1] + share * (logs[upper] - logs[upper - 1])))


def equivalent_frames(
    curve: Mapping[int, Mapping[int, float]], arm: Mapping[int, float], draws: int = 2000, seed: int = 0
) -> dict[str, float | str | list[int] | None] | None:
    """How many labelled frames without augmentation an arm is worth.

    Args:
        curve: frames to (seed to metric) of the arm without augmentation.
        arm: seed to metric of the arm in question.
        draws: bootstrap samples over the common seeds (curve and arm are resampled together: they are paired).
        seed: of the bootstrap.

    Returns:
        ``value``, ``low``, ``high`` (95 % percentile interval; None below two common seeds), the range ``first`` to
        ``last`` of the curve, and the common ``seeds`` that both were read from; a number beyond the range is the text
        "<first" or ">last". None when the curve has fewer than two points or no seed is common to all.
    """
    frames = np.array(sorted(curve))
    common = sorted(set(arm).intersection(*(curve[int(f)] for f in frames))) if len(frames) else []
    if len(frames) < 2 or not common:
        return None
    table = np.array([[curve[int(f)][s] for s in common] for f in frames])
    values = np.array([arm[s] for s in common])

    def shown(number: float) -> float | str:
        if number == 0.0:
            return f"<{frames[0]}"
        return f">{frames[-1]}" if np.isinf(number) else round(number, 1)

    result: dict[str, float | str | list[int] | None] = {
        "value": shown(frames_at(frames, table.mean(1), float(values.mean())))
    }
    result |= {"low": None, "high": None, "first": int(frames[0]), "last": int(frames[-1])}
    result["seeds"] = common
    if len(common) > 1:
        picks = np.random.default_rng(seed).integers(0, len(common), (draws, len(common)))
        found = [frames_at(frames, table[:, pick].mean(1), float(values[pick].mean())) for pick in picks]
        low, high = np.quantile(found, [0.025, 0.975], method="nearest")
        result |= {"low": shown(float(low)), "high": shown(float(high))}
    return result
