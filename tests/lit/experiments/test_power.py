"""Seeds that a comparison needs: published tables, simulation, and what cannot be planned."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from datamodules.errors import InputError
from lit.experiments.power import detectable_difference, power, sample_deviation, seeds_needed, upper_deviation


@pytest.mark.parametrize(("size", "pairs"), [(0.2, 199), (0.5, 34), (0.8, 15), (1.0, 10), (2.0, 5)])
def test_number_of_pairs_of_the_tables(size: float, pairs: int) -> None:
    """Two-sided paired t, alpha .05, power .8, by G*Power 3.1."""
    assert seeds_needed(1.0, size) == pairs
    assert seeds_needed(2.5, 2.5 * size) == pairs


def test_power_is_the_share_of_significant_simulations() -> None:
    rng = np.random.default_rng(0)
    differences = rng.normal(2.0, 1.8, (20_000, 8))
    share = float((stats.ttest_1samp(differences, 0, axis=1).pvalue < 0.05).mean())
    assert power(1.8, 8, 2.0) == pytest.approx(share, abs=0.01)
    assert power(1.8, 8, 0.0) == pytest.approx(0.05)
    assert power(1.8, 8, -2.0) == power(1.8, 8, 2.0)
    assert power(0.01, 50, 5.0) == pytest.approx(1.0)


def test_power_is_that_of_the_noncentral_t() -> None:
    for seeds, effect in ((3, 2.0), (8, 2.0), (40, 0.3)):
        freedom, shift = seeds - 1, effect * np.sqrt(seeds) / 1.8
        limit = stats.t.ppf(0.975, freedom)
        expected = stats.nct.sf(limit, freedom, shift) + stats.nct.cdf(-limit, freedom, shift)
        assert power(1.8, seeds, effect) == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("seeds", [2, 5, 8, 30])
def test_a_detectable_difference_needs_these_seeds(seeds: int) -> None:
    effect = detectable_difference(1.8, seeds)
    assert power(1.8, seeds, effect) == pytest.approx(0.8)
    assert seeds_needed(1.8, effect * 1.0001) == seeds
    assert detectable_difference(3.6, seeds) == pytest.approx(2 * effect)


def test_a_pilot_of_few_seeds_is_not_trusted_to_the_letter() -> None:
    deviation = sample_deviation([1.0, 3.0, 2.0, 2.0])
    assert deviation == pytest.approx(np.sqrt(2 / 3))
    limits = [upper_deviation(deviation, pilots) for pilots in (3, 4, 30, 10_000)]
    assert limits == sorted(limits, reverse=True)
    assert limits[0] > 2 * deviation
    assert limits[-1] == pytest.approx(deviation, rel=0.01)
    rng = np.random.default_rng(0)
    estimates = rng.normal(0, 1, (4000, 4)).std(1, ddof=1)
    assert np.mean([upper_deviation(float(s), 4) >= 1 for s in estimates]) == pytest.approx(0.8, abs=0.02)


def test_what_cannot_be_planned() -> None:
    assert seeds_needed(1.0, 1e-4) is None
    for differences in ([], [1.0], [2.0, 2.0]):
        with pytest.raises(InputError, match="paired differences"):
            sample_deviation(differences)
    with pytest.raises(InputError, match="deviation 0"):
        seeds_needed(0.0)
    with pytest.raises(InputError, match="effect 0"):
        seeds_needed(1.0, 0.0)
    with pytest.raises(InputError, match="1 seeds"):
        detectable_difference(1.0, 1)
    with pytest.raises(InputError, match=r"alpha 0\.9"):
        seeds_needed(1.0, 2.0, 0.8, 0.9)
