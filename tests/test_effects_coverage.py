"""Promises of intervals and p-values, kept or warned of, in seeded simulations.

The differences have the skewness (9) and excess kurtosis (108) of the published ones: rare exponentials
among small normal noise. Every simulated data set is one column, and all columns share their resamples.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from budgetlens.statistics.decisions import SKEW, TAILS, codes_of, coverage_cautions
from budgetlens.statistics.inference import Inference
from budgetlens.statistics.intervals import bca_interval, left_out_sums, resampled_sums, unit_sums
from budgetlens.statistics.paired import one_sample_effects
from budgetlens.statistics.permutations import max_statistic, sign_flip_p
from budgetlens.statistics.ratios import _ratios
from budgetlens.statistics.strata import _permuted_p

RARE = 0.0556


def heavy(generator: np.random.Generator, n: int, columns: int) -> np.ndarray:
    """Skewed differences whose mean is `RARE`."""
    big = generator.random((n, columns)) < RARE
    return np.where(big, generator.exponential(1, (n, columns)), 0) + generator.normal(0, 0.02, (n, columns))


def symmetric(generator: np.random.Generator, n: int, columns: int) -> np.ndarray:
    """The same tails on both sides: what exchangeable cells give; the mean is 0."""
    return heavy(generator, n, columns) * generator.choice([-1, 1], (n, columns))


def bca_coverage(values: np.ndarray, mean: float, resamples: int = 999) -> tuple[float, float]:
    """Share of columns whose interval holds the mean, and share with a caution about the interval."""
    n = values.shape[0]
    resampled = resampled_sums(values, seed=1, resamples=resamples) / n
    low, high = bca_interval(values.mean(axis=0), resampled, left_out_sums(values) / (n - 1))
    skewness, kurtosis = stats.skew(values), stats.kurtosis(values)
    warned = [TAILS in coverage_cautions(n, s, k) for s, k in zip(skewness, kurtosis, strict=True)]
    return float(((low <= mean) & (mean <= high)).mean()), float(np.mean(warned))


def test_simulated_differences_have_the_published_skew_and_tails():
    values = heavy(np.random.default_rng(1), 400_000, 1)[:, 0]
    assert stats.skew(values) == pytest.approx(9, abs=0.5)
    assert stats.kurtosis(values) == pytest.approx(110, abs=12)


@pytest.mark.parametrize(("draw", "mean"), [("normal", 0.0), ("exponential", 1.0)])
def test_bca_covers_95_percent_where_no_caution_is_due(draw, mean):
    generator = np.random.default_rng(21)
    values = getattr(generator, draw)(size=(300, 1500))
    coverage, warned = bca_coverage(values, mean)
    assert 0.93 <= coverage <= 0.97
    assert warned < 0.2


def test_where_bca_covers_too_little_the_table_says_so():
    coverage, warned = bca_coverage(symmetric(np.random.default_rng(22), 500, 1000), 0.0)
    assert coverage < 0.93
    assert warned > 0.99
    effects = one_sample_effects(
        symmetric(np.random.default_rng(22), 500, 5), Inference(seed=1, resamples=99)
    )
    assert all(TAILS in codes_of(effect.caution) for effect in effects)


@pytest.mark.slow
@pytest.mark.parametrize(("draw", "mean"), [(heavy, RARE), (symmetric, 0.0)])
def test_bca_covers_95_percent_of_heavy_tails_at_5000_examples(draw, mean):
    coverage, warned = bca_coverage(draw(np.random.default_rng(23), 5000, 1000), mean)
    assert 0.93 <= coverage <= 0.97
    assert warned < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("n", [50, 100, 200, 500, 1000])
def test_undercoverage_is_warned_of_at_every_n(n):
    for draw, mean in ((heavy, RARE), (symmetric, 0.0)):
        coverage, warned = bca_coverage(draw(np.random.default_rng(24), n, 1000), mean)
        # At n = 50 one sample in sixteen shows no large difference, and nothing can warn of what it doesn't
        # show.
        assert 0.93 <= coverage <= 0.97 or warned > 0.85


def assert_uniform(p: np.ndarray, attainable: int) -> None:
    """Rejection rates as nominal, within four binomial standard errors."""
    for level in (0.05, 0.1, 0.25, 0.5):
        nominal = np.floor(level * attainable) / attainable
        spread = np.sqrt(nominal * (1 - nominal) / p.size)
        assert abs((p <= level).mean() - nominal) < 4 * spread, (
            f"rejection rate at {level}: {(p <= level).mean()}"
        )


@pytest.mark.parametrize("n", [12, 100])
def test_sign_flip_p_is_uniform_for_exchangeable_cells_with_heavy_tails(n):
    generator = np.random.default_rng(31)
    # Two cells with the same skewed NLL: their difference has heavy tails on both sides.
    values = heavy(generator, n, 4000) - heavy(generator, n, 4000)
    assert_uniform(sign_flip_p(values, seed=5, permutations=999), 1000)


def test_sign_flip_p_of_shared_documents_is_uniform():
    generator = np.random.default_rng(32)
    documents = np.repeat(np.arange(40), 3)
    values = symmetric(generator, 40, 2000)[documents] + symmetric(generator, 120, 2000)
    assert_uniform(sign_flip_p(unit_sums(values, documents, 40), seed=5, permutations=499), 500)
    # Ignoring the documents rejects far too often.
    assert np.mean(sign_flip_p(values, seed=5, permutations=499) <= 0.05) > 0.09


def test_cluster_intervals_cover_where_independent_ones_do_not():
    generator = np.random.default_rng(33)
    documents = np.repeat(np.arange(60), 4)
    values = generator.normal(size=(60, 300))[documents] + generator.normal(size=(240, 300))

    def coverage(clusters):
        effects = one_sample_effects(
            values, Inference(seed=5, resamples=399), clusters=clusters, sign_flips=False
        )
        return np.mean([effect.low <= 0 <= effect.high for effect in effects])

    assert 0.91 <= coverage(documents) <= 0.99
    assert coverage(None) < 0.85


def test_a_skewed_mean_of_zero_is_warned_of_where_tests_reject_too_often():
    values = heavy(np.random.default_rng(34), 500, 1000) - RARE
    p = sign_flip_p(values, seed=5, permutations=499)
    assert (p <= 0.05).mean() > 0.065
    skewness = stats.skew(values)
    assert np.mean([SKEW in coverage_cautions(500, s, 0.0) for s in skewness]) > 0.99


@pytest.mark.slow
def test_a_skewed_mean_of_zero_is_tested_fairly_at_5000_examples():
    p = sign_flip_p(heavy(np.random.default_rng(35), 5000, 1000) - RARE, seed=5, permutations=499)
    assert_uniform(p, 500)


def test_equivalence_is_claimed_wrongly_at_most_one_time_in_twenty():
    # The true difference lies exactly on the bound, where a TOST errs most.
    values = np.random.default_rng(36).normal(0.05, 0.2, size=(200, 600))
    effects = one_sample_effects(values, Inference(seed=1, resamples=9))
    rate = np.mean([effect.p_tost < 0.05 for effect in effects])
    assert 0.02 < rate < 0.08


def test_ratio_intervals_cover():
    generator = np.random.default_rng(37)
    n, columns = 300, 400
    bottom = generator.exponential(1, (n, columns)) + 0.2
    top = 0.5 * bottom + generator.normal(0, 0.5, (n, columns))
    held = []
    for column in range(columns):
        ratio = _ratios(top[:, [column]], bottom[:, column], Inference(seed=1, resamples=399))[0]
        held.append(ratio.low <= 0.5 <= ratio.high)
    assert 0.91 <= np.mean(held) <= 0.98


def test_d_z_intervals_cover():
    values = np.random.default_rng(38).gamma(4, 1, size=(300, 500))
    effects = one_sample_effects(values, Inference(seed=1, resamples=499), sign_flips=False)
    # A gamma variable of shape 4 has mean 4 and standard deviation 2.
    assert 0.92 <= np.mean([effect.d_z_low <= 2 <= effect.d_z_high for effect in effects]) <= 0.98


def test_bands_hold_every_layer_at_once_and_pointwise_p_does_not():
    generator = np.random.default_rng(39)
    n, layers, simulations = 60, 12, 400
    held, rejected, pointwise = [], [], []
    for number in range(simulations):
        shared = generator.normal(size=(n, 1))
        values = 0.6 * shared + generator.exponential(1, (n, layers)) - generator.exponential(1, (n, layers))
        found = max_statistic(values, np.zeros(layers, dtype=int), Inference(seed=number, resamples=199))
        held.append(((found["band_low"] <= 0) & (found["band_high"] >= 0)).all())
        rejected.append(found["p_simultaneous"].min())
        pointwise.append(found["p"].min())
    assert 0.92 <= np.mean(held) <= 0.98
    assert_uniform(np.array(rejected), 200)
    assert np.mean(np.array(pointwise) <= 0.05) > 0.2


def test_trend_p_is_uniform_where_strata_differ_in_spread_only():
    generator = np.random.default_rng(40)
    # Few examples with large spread in the last stratum: a plain permutation would reject too often.
    step = np.repeat([0.0, 1.0, 2.0], [80, 50, 20])
    spread = np.repeat([0.3, 0.6, 3.0], [80, 50, 20])
    moved = step - step.mean()
    p, plain = [], []
    for number in range(500):
        values = generator.normal(0, 1, 150) * spread
        centred = values - values.mean()
        columns = centred[:, None], moved[:, None]
        p.append(_permuted_p(moved, *columns, Inference(seed=number, resamples=199))[0])
        plain.append(stats.pearsonr(step, values).pvalue)
    assert np.mean(np.array(p) <= 0.05) < 0.10
    assert np.mean(np.array(plain) <= 0.05) > 0.15
