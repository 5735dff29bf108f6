"""How many seeds a comparison needs: power of the two-sided paired t-test, by the noncentral t distribution.

Source: J. Cohen, Statistical Power Analysis for the Behavioral Sciences, 1988, chapter 2; the noncentrality of n paired
differences of standard deviation s is effect * sqrt(n) / s.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import integrate, special, stats
from scipy.optimize import brentq

from datamodules.errors import InputError

MOST_SEEDS = 10_000
NODES = 60  # of the Gauss-Legendre rule on each piece: within 1e-10 of adaptive quadrature


def sample_deviation(differences: Sequence[float]) -> float:
    """Standard deviation (n - 1) of paired differences of pilot seeds.

    Raises:
        InputError: fewer than two, or all the same, which says that the seeds did not vary.
    """
    if len(differences) < 2:
        raise InputError(f"{len(differences)} paired differences: expected those of two pilot seeds or more; run more")
    deviation = float(np.std(differences, ddof=1))
    if not deviation > 0:
        raise InputError(
            f"paired differences {list(differences)[:4]}: expected some that differ; check that the seeds do"
        )
    return deviation


def upper_deviation(deviation: float, pilots: int, confidence: float = 0.8) -> float:
    """Upper confidence limit of the deviation that ``pilots`` differences estimate.

    A plan with the estimate itself is too small about half of the time (R. Browne, On the use of a pilot sample for
    sample size determination, Statistics in Medicine 1995).
    """
    _check(deviation, 0.5, 0.5)
    return deviation * math.sqrt((pilots - 1) / stats.chi2.ppf(1 - confidence, pilots - 1))


def power(deviation: float, seeds: int, effect: float, alpha: float = 0.05) -> float:
    """Probability that a test of ``seeds`` paired differences finds a true mean difference significant.

    Args:
        deviation: standard deviation of one paired difference.
        seeds: number of seeds, at least 2.
        effect: the true mean difference.
        alpha: level of the two-sided test.

    Raises:
        InputError: a number is out of range.
    """
    _check(deviation, alpha, 0.5)
    if seeds < 2:
        raise InputError(f"{seeds} seeds: expected two or more, a paired test needs their spread; add seeds")
    freedom, shift = seeds - 1, abs(effect) * math.sqrt(seeds) / deviation
    limit = stats.t.ppf(1 - alpha / 2, freedom)

    def found(ratio: np.ndarray) -> np.ndarray:
        """Density of an estimated deviation of ``ratio`` times the true one, times the power given that."""
        density = 2 * ratio * freedom * stats.chi2.pdf(ratio**2 * freedom, freedom)
        return np.asarray(density * (special.ndtr(shift - limit * ratio) + special.ndtr(-shift - limit * ratio)))

    least, most = np.sqrt(stats.chi2.ppf([1e-12, 1 - 1e-12], freedom) / freedom)
    # scipy's noncentral t is NaN for two seeds and for large effects; this is its definition. About the knee the power
    # falls, steeply or not: the rule takes it in pieces of its own.
    knee = np.clip((shift + np.array([-8.0, 0.0, 8.0])) / limit, least, most)
    pieces = zip((least, *knee), (*knee, most), strict=True)
    return float(sum(integrate.fixed_quad(found, low, high, n=NODES)[0] for low, high in pieces))


def seeds_needed(deviation: float, effect: float = 2.0, wanted: float = 0.8, alpha: float = 0.05) -> int | None:
    """Least number of seeds that tells a difference of ``effect`` with power ``wanted``; None beyond 10,000.

    Args:
        deviation: standard deviation of one paired difference, as of :func:`sample_deviation`.
        effect: true mean difference to be told, in the figure's unit (AP in percent).
        wanted: power.
        alpha: level of the two-sided test.

    Raises:
        InputError: a number is out of range.
    """
    _check(deviation, alpha, wanted)
    if not effect > 0:
        raise InputError(f"effect {effect}: expected a difference above 0; give what is worth telling")
    low, high = 1, 2  # power grows with the number of seeds
    while power(deviation, high, effect, alpha) < wanted:
        low, high = high, 2 * high
        if low > MOST_SEEDS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(deviation, middle, effect, alpha) >= wanted else (middle, high)
    return high


def detectable_difference(deviation: float, seeds: int, wanted: float = 0.8, alpha: float = 0.05) -> float:
    """Least true mean difference that ``seeds`` seeds tell with power ``wanted``. Arguments as above.

    Raises:
        InputError: a number is out of range.
    """
    _check(deviation, alpha, wanted)
    high = deviation
    while power(deviation, seeds, high, alpha) < wanted:
        high *= 2
    return float(brentq(lambda effect: power(deviation, seeds, effect, alpha) - wanted, 0.0, high, xtol=1e-9))


def _check(deviation: float, alpha: float, wanted: float) -> None:
    if not 0 < deviation < math.inf:
        raise InputError(f"deviation {deviation}: expected a number above 0; take it from pilot seeds that differ")
    if not 0 < alpha <= wanted < 1:
        raise InputError(f"alpha {alpha} and power {wanted}: expected 0 < alpha <= power < 1")
