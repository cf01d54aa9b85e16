"""Statistics of ranks and of moments beside scipy's own, which is slow to load and not used for them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from budgetlens.statistics.adjustment import false_discovery_q
from budgetlens.statistics.inference import Inference
from budgetlens.statistics.intervals import detectable_shift
from budgetlens.statistics.paired import one_sample_effects
from budgetlens.statistics.ranks import spearman, wilcoxon_p


@pytest.mark.parametrize("kind", ["plain", "tied", "zeros"])
@pytest.mark.parametrize("n", [2, 5, 12, 13, 14, 30, 50, 51, 200])
def test_the_signed_rank_test_is_scipys(n: int, kind: str) -> None:
    """Exact and approximate, on both sides of the sizes at which one gives way to the other."""
    generator = np.random.default_rng(n)
    for shift in (0.0, 0.4, -2.0):
        values = generator.normal(shift, 1.0, n)
        if kind != "plain":
            values = np.round(values, 1)
        if kind == "zeros":
            values[0] = 0.0
            values[1] = 0.3
        expected = stats.wilcoxon(values).pvalue
        assert wilcoxon_p(values) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("digits", [8, 1, 0])
def test_rank_correlation_is_scipys(digits: int) -> None:
    """With ties and without."""
    one, noise = np.random.default_rng(3).normal(size=(2, 60))
    one, other = np.round(one, digits), np.round(one + noise, digits)
    assert spearman(one, other) == pytest.approx(stats.spearmanr(one, other).statistic, rel=1e-12)


def test_moments_are_scipys_and_unknown_where_only_rounding_varies() -> None:
    values = np.random.default_rng(4).exponential(size=(80, 2))
    values[:, 1] = 1e8 + 1e-9 * values[:, 1]
    skewed, flat = one_sample_effects(values, Inference(seed=1))
    assert skewed.skewness == pytest.approx(stats.skew(values[:, 0]), rel=1e-12)
    assert skewed.kurtosis == pytest.approx(stats.kurtosis(values[:, 0]), rel=1e-12)
    assert np.isnan(flat.skewness)


def test_false_discovery_q_is_scipys_and_an_undefined_p_is_no_member() -> None:
    p = np.random.default_rng(5).uniform(size=40) ** 2
    p[7:9] = p[6]
    expected = stats.false_discovery_control(p, method="bh")
    with_gap = np.insert(p, 3, np.nan)
    assert np.isnan(false_discovery_q(with_gap)[3])
    assert np.delete(false_discovery_q(with_gap), 3) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("degrees", [1, 2, 9, 199])
def test_a_detectable_shift_has_the_power_it_was_asked_for(degrees: int) -> None:
    for power in (0.5, 0.8, 0.95):
        shift = detectable_shift(degrees, power=power)
        critical = stats.t.ppf(0.975, degrees)
        assert stats.nct.sf(critical, degrees, shift) == pytest.approx(power, abs=1e-6)
