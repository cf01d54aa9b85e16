"""Promises of intervals and p-values, kept or warned of, in seeded simulations.

What concludes is tried on resampled real differences (:mod:`tests.simulation`); the rest on differences with the skewness
(9) and excess kurtosis (108) of the published ones: rare exponentials among small normal noise. Every simulated data set is
one column, and all columns share their sign patterns.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from budgetlens.statistics.adjustment import false_discovery_q
from budgetlens.statistics.contrasts import Contrast, comparison
from budgetlens.statistics.decisions import of_student
from budgetlens.statistics.effects import effects_table
from budgetlens.statistics.inference import Inference
from budgetlens.statistics.paired import one_sample_effects
from budgetlens.statistics.permutations import max_statistic, sign_flip_p
from budgetlens.statistics.ratios import _ratios
from budgetlens.statistics.strata import _permuted_p
from budgetlens.statistics.tails import (
    CRITICAL,
    CRITICAL_BETWEEN,
    CRITICAL_OF_MANY,
    PER_ASYMMETRY,
    PER_ASYMMETRY_OF_MANY,
    PER_OWN_ASYMMETRY_BETWEEN,
    UNITS,
    UNITS_OF_MANY,
    factor_of_many,
    length_factor,
    tailed,
    unit_sums,
)
from budgetlens.statistics.verdicts import SLOPE
from tests.simulation import (
    SIZES,
    clustered,
    moved,
    own_between,
    own_population,
    rates,
    samples,
    summary,
    table,
)
from tests.simulation_shares import own_shares, table_of_shares, worst_of_shares

RARE = 0.0556


def heavy(generator: np.random.Generator, n: int, columns: int) -> np.ndarray:
    """Skewed differences whose mean is `RARE`."""
    big = generator.random((n, columns)) < RARE
    return np.where(big, generator.exponential(1, (n, columns)), 0) + generator.normal(0, 0.02, (n, columns))


def symmetric(generator: np.random.Generator, n: int, columns: int) -> np.ndarray:
    """The same tails on both sides: what exchangeable cells give; the mean is 0."""
    return heavy(generator, n, columns) * generator.choice([-1, 1], (n, columns))


def test_simulated_differences_have_the_published_skew_and_tails():
    values = heavy(np.random.default_rng(1), 400_000, 1)[:, 0]
    assert stats.skew(values) == pytest.approx(9, abs=0.5)
    assert stats.kurtosis(values) == pytest.approx(110, abs=12)


def test_the_project_s_population_is_that_of_a_public_run():
    own = own_population()
    assert len(own.difference) == 500
    assert stats.skew(own.difference) == pytest.approx(10.3, abs=0.1)
    assert stats.kurtosis(own.difference) == pytest.approx(136, abs=1)


def test_the_factor_is_the_fitted_value_over_student_s():
    for units, critical, slope in zip(UNITS, CRITICAL, PER_ASYMMETRY, strict=True):
        student = stats.t.ppf(0.975, units - 1)
        found = length_factor(np.array([-0.4, 0.0, 0.3]), units)
        expected = [critical / student, critical / student, (critical + 0.3 * slope) / student]
        assert found == pytest.approx(np.maximum(1, expected))
    halfway = length_factor(np.array([0.0]), 32)[0] * stats.t.ppf(0.975, 31)
    assert 2.92 < halfway < 3.95
    own_slopes = zip(UNITS, CRITICAL_BETWEEN, PER_ASYMMETRY, PER_OWN_ASYMMETRY_BETWEEN, strict=True)
    for units, critical, slope, own in own_slopes:
        found = length_factor(np.array([-0.2, 0.0, 0.3]), units, np.ones(3, dtype=bool))
        expected = np.array([critical - 0.2 * own, critical, critical + 0.3 * slope]) / stats.t.ppf(
            0.975, units - 1
        )
        assert found == pytest.approx(np.maximum(1, expected))
    assert (np.array(CRITICAL_BETWEEN) >= CRITICAL).all()
    assert (length_factor(np.zeros(3), np.array([6_000, 10**9, 10**6])) == 1).all()
    assert np.isnan(length_factor(np.zeros(2), np.array([0, 1]))).all()


def rejected(n: int, count: int = 4_000) -> float:
    """In what share of samples of a centred population Student's t finds a mean."""
    own = own_population()
    means = samples(own.difference - own.difference.mean(), n, count, 1)
    return float((means.p_student < 0.05).mean())


def test_promises_are_kept_on_real_differences_where_student_s_t_breaks_them():
    own = own_population()
    found = summary(table([(own, n) for n in SIZES], 4_000, 1), 4_000).set_index("n")
    # Four Monte-Carlo errors of a share of 6 % in 4,000 samples are 1.5 %.
    assert (found["false"] < 6 + 1.0).all()
    assert (found[["none at +1", "none at -1"]] < 6 + 1.0).all(axis=None)
    assert (found["least coverage"] > 93).all()
    # Without a caution nothing is told as conservative either.
    assert found.loc[found["cautioned"] == "no", "most coverage"].max() < 98
    assert found.loc[found["cautioned"] == "no"].index.tolist() == [500, 1_000]
    assert (found.loc[[500, 1_000], ["of t +1", "of t +2", "of t -1", "of t -2"]] > 90).all(axis=None)
    assert rejected(20) > 0.2
    assert rejected(500) > 0.08


def test_promises_are_kept_of_differences_between_treatments_which_have_values_of_their_own():
    own = own_between()
    pairs = [(each, n) for each in (own, replace(own, between=False)) for n in (100, 200, 500)]
    rows = table(pairs, 4_000, 1)
    errs = (rows["helps"] + rows["hurts"]).tolist()
    # Four Monte-Carlo errors of a share of 6 % in 4,000 samples are 1.5 %.
    assert max(errs[:3]) < 6 + 1.0
    assert rows["coverage"].iloc[:3].min() > 93
    # By the values of differences from a baseline they would err.
    assert max(errs[3:]) > 6.5


def test_no_head_is_discovered_in_more_than_6_percent_of_null_maps_and_bands_hold_every_layer():
    own = own_shares()
    rows = table_of_shares([own], 400, 1)
    found = worst_of_shares(rows).set_index("n")
    # Two Monte-Carlo errors of a share of 6 % in 400 samples are 2.4 %.
    assert (found.loc[found["mapped"] == "yes", "discovery"] < 6 + 2.4).all()
    assert found.index[found["mapped"] == "yes"].tolist() == [200, 500, 1_000]
    assert (found["direction"] < 6 + 2.4).all()
    assert (found["least coverage"] > 93).all()
    assert found.loc[found["cautioned"] == "no", "most coverage"].max() < 98 + 1
    # With the values of single differences maps would err twice as often at 500 examples.
    generator = np.random.default_rng(6)
    drawn = [own.heads[generator.integers(0, 200, 500)] for _ in range(400)]
    q = [false_discovery_q(tailed(sample.mean(axis=0), sample).p_difference) for sample in drawn]
    assert np.mean([(each <= 0.05).any() for each in q]) > 0.10


def test_the_factor_of_many_is_the_longer_of_its_own_and_a_single_tests():
    for units, critical in zip(UNITS_OF_MANY, CRITICAL_OF_MANY, strict=True):
        student = stats.t.ppf(0.975, units - 1)
        own = np.array([critical, critical, critical + 0.3 * PER_ASYMMETRY_OF_MANY]) / student
        asymmetry = np.array([-0.3, 0.0, 0.3])
        expected = np.maximum(own, length_factor(asymmetry, units))
        assert factor_of_many(asymmetry, units) == pytest.approx(np.maximum(1, expected))
    few = np.array([0.0, 0.3])
    assert factor_of_many(few, 20) == pytest.approx(length_factor(few, 20))
    values = np.random.default_rng(8).exponential(1, (300, 2)) * [1, -1] - [1.2, 0.8]
    means = tailed(values.mean(axis=0), values)
    t = values.mean(axis=0) / stats.sem(values)
    # Both claims are negative; the first column has its tail against it, the second with it.
    factors = [factor_of_many(np.array([stats.skew(column) / np.sqrt(300)]), 300)[0] for column in values.T]
    expected = [2 * stats.t.sf(abs(each) / factor, 299) for each, factor in zip(t, factors, strict=True)]
    assert means.p_of_many == pytest.approx(expected)


def test_what_is_no_difference_from_doing_nothing():
    def contrast(**weights: float) -> Contrast:
        return Contrast(
            "c", "f", {name.replace("__", "|").replace("_is_", "="): own for name, own in weights.items()}
        )

    # From no prefix, under the same prompt, over draws, and averaged over prompts.
    assert not contrast(prefix_is_none__prompt_is_query=1, prefix_is_oracle__prompt_is_query=-1).between
    draws = {"prefix_is_none": 1, "prefix_is_random": -0.5, "prefix_is_random2": -0.5}
    assert not contrast(**draws).between
    ends = {
        f"prefix_is_{p}__prompt_is_{q}": s * 0.5
        for p, s in (("none", 1), ("oracle", -1))
        for q in ("none", "query")
    }
    assert not contrast(**ends).between
    # Between treatments, with another thing changed besides, of an interaction, of a slope.
    assert contrast(prefix_is_random=1, prefix_is_oracle=-1).between
    assert contrast(prefix_is_none__hidden_is_prefix=1, prefix_is_oracle__hidden_is_bos=-1).between
    assert contrast(
        a_is_none__b_is_none=1, a_is_x__b_is_none=-1, a_is_none__b_is_y=-1, a_is_x__b_is_y=1
    ).between
    assert Contrast("s", "f", {"a": 1.0, "b": -1.0}, order=SLOPE).between
    # Names of someone's own: the baseline is said to be one.
    assert not Contrast("n", "f", {"bare": 1.0, "oracle": -1.0}).between


def test_tables_give_each_contrast_its_own_values():
    own = own_between().difference[:200]
    wide = {
        "prefix=none": np.full(200, 9.0) + own,
        "prefix=a": np.full(200, 9.0),
        "prefix=b": np.full(200, 9.0) - own,
    }
    records = pd.concat(
        pd.DataFrame({"example": range(200), "cell": cell, "nll": nll}) for cell, nll in wide.items()
    )
    pairs = [comparison("prefix=none", "prefix=a", "f"), comparison("prefix=a", "prefix=b", "f")]
    table_ = effects_table(records, pairs, Inference(seed=1, resamples=9))
    widths = (table_["high"] - table_["low"]).to_numpy()
    student = stats.t.ppf(0.975, 199)
    plain = tailed(np.array([own.mean()]), own[:, None])
    for width, between in zip(widths, (False, True), strict=True):
        lower, upper = (length_factor(sign * plain.asymmetry, 200, between)[0] for sign in (-1, 1))
        assert width == pytest.approx((lower + upper) * student * plain.error[0])
    assert widths[1] > widths[0]


def test_promises_are_kept_for_documents_of_unequal_size():
    own = own_population()
    means = clustered(own.difference - own.difference.mean(), 40, 1_000, 1)
    found = rates(own, means)
    assert found["helps"] + found["hurts"] < 6 + 2
    assert found["coverage"] > 93


def test_tables_decide_as_the_simulation_does():
    """A few of the same samples through the table of effects: its kinds are those that the simulation counts."""
    own = own_population()
    drawn = np.random.default_rng([1, 100]).integers(0, 500, (100, 40))
    means = moved(samples(own.difference - own.difference.mean(), 100, 40, 1), own.bound)
    inference = Inference(seed=1, smallest_difference=own.bound, correction="none", resamples=9)
    low, high = means.interval(0.95)
    for column in range(40):
        values = own.difference[drawn[:, column]] - own.difference.mean() + own.bound
        records = pd.concat(
            pd.DataFrame({"example": range(100), "cell": cell, "nll": own_nll})
            for cell, own_nll in (("bare", values + 9.0), ("oracle", np.full(100, 9.0)))
        )
        row = effects_table(records, [comparison("bare", "oracle", "f")], inference).iloc[0]
        assert (row["low"], row["high"]) == pytest.approx((low[column], high[column]))
        found = low[column] > 0 or high[column] < 0
        assert (row["kind"] in ("positive", "negative")) == (found and not row["carriers"])
        assert (row["because"] == "tails") == (
            not found and row["kind"] == "undecided" and bool(means.p_student[column] < 0.05)
        )


@pytest.mark.slow
@pytest.mark.parametrize("n", [10, 14, 30, 70, 150, 300, 700, 2_000])
def test_promises_are_kept_between_the_numbers_that_were_fitted(n):
    own = own_population()
    found = rates(own, samples(own.difference - own.difference.mean(), n, 10_000, 2))
    assert found["helps"] + found["hurts"] < 6 + 0.8
    assert max(found["none at +1"], found["none at -1"]) < 6 + 0.8
    assert found["coverage"] > 93


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

    assert coverage(documents) >= 0.93
    assert coverage(None) < coverage(documents)


def test_a_skewed_mean_of_zero_is_found_too_often_by_sign_flips_and_a_published_p_says_so():
    values = heavy(np.random.default_rng(34), 500, 1000) - RARE
    p = sign_flip_p(values, seed=5, permutations=499)
    assert (p <= 0.05).mean() > 0.065
    assert of_student(500) == of_student(4_999) == "skew"
    assert of_student(5_000) == ""


@pytest.mark.slow
def test_a_skewed_mean_of_zero_is_tested_fairly_at_5000_examples():
    p = sign_flip_p(heavy(np.random.default_rng(35), 5000, 1000) - RARE, seed=5, permutations=499)
    assert_uniform(p, 500)


def test_equivalence_is_claimed_wrongly_at_most_one_time_in_twenty():
    # The true difference lies exactly on the bound, where a TOST errs most.
    values = np.random.default_rng(36).normal(0.05, 0.2, size=(200, 600))
    effects = one_sample_effects(values, Inference(seed=1, resamples=9))
    rate = np.mean([effect.p_tost < 0.05 for effect in effects])
    # Half of the two-sided error, and less by the factor of 200 units.
    assert rate < 0.04


def test_ratio_intervals_cover():
    generator = np.random.default_rng(37)
    n, columns = 300, 400
    bottom = generator.exponential(1, (n, columns)) + 0.2
    top = 0.5 * bottom + generator.normal(0, 0.5, (n, columns))
    held = []
    for column in range(columns):
        ratio = _ratios(top[:, [column]], bottom[:, column], Inference(seed=1, resamples=399))[0]
        held.append(ratio.low <= 0.5 <= ratio.high)
    assert np.mean(held) >= 0.93


@pytest.mark.slow
def test_d_z_intervals_cover_from_5000_examples_on():
    values = np.random.default_rng(38).gamma(4, 1, size=(5_000, 400))
    effects = one_sample_effects(values, Inference(seed=1), sign_flips=False)
    # A gamma variable of shape 4 has mean 4 and standard deviation 2.
    assert 0.92 <= np.mean([effect.d_z_low <= 2 <= effect.d_z_high for effect in effects]) <= 0.98


def test_bands_hold_every_layer_at_once_and_pointwise_p_does_not():
    generator = np.random.default_rng(39)
    n, layers, simulations = 60, 12, 400
    held, rejected, flipped, pointwise = [], [], [], []
    for number in range(simulations):
        shared = generator.normal(size=(n, 1))
        values = 0.6 * shared + generator.exponential(1, (n, layers)) - generator.exponential(1, (n, layers))
        found = max_statistic(values, np.zeros(layers, dtype=int), Inference(seed=number, resamples=199))
        held.append(((found["band_low"] <= 0) & (found["band_high"] >= 0)).all())
        rejected.append(found["p_simultaneous"].min())
        flipped.append(found["p_student"].min())
        pointwise.append(found["p"].min())
    assert np.mean(held) >= 0.93
    assert np.mean(np.array(rejected) <= 0.05) <= 0.06
    assert_uniform(np.array(flipped), 200)
    assert np.mean(np.array(pointwise) <= 0.05) > np.mean(np.array(rejected) <= 0.05)


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
