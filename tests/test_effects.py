"""Paired statistics against worked examples from the literature, scipy, statsmodels and hand arithmetic."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as statsmodels
from scipy import stats
from statsmodels.stats.weightstats import DescrStatsW

from budgetlens.statistics.contrasts import Contrast, comparison
from budgetlens.statistics.decisions import CARRIED, TAILS, carriers, coverage_cautions, decide
from budgetlens.statistics.effects import adjusted_p, effects_table, paired_effect, stars
from budgetlens.statistics.inference import Inference
from budgetlens.statistics.intervals import detectable_shift, hedges_factor
from budgetlens.statistics.permutations import sign_flip_p
from budgetlens.statistics.tails import length_factor
from budgetlens.statistics.verdicts import verdict

# Extra hours of sleep under two drugs, ten patients (Student 1908, "The probable error of a mean", table in
# section IX).
SLEEP_FIRST = np.array([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0])
SLEEP_SECOND = np.array([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4])

# Crossed minus self-fertilised maize, eighths of an inch (Fisher 1935, The Design of Experiments, section
# 17).
MAIZE = np.array([49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48], dtype=float)

# Hamilton depression factor before and after (Hollander and Wolfe 1973, Nonparametric Statistical Methods,
# table 3.1).
DEPRESSION_BEFORE = np.array([1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30])
DEPRESSION_AFTER = np.array([0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29])


def heavy(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Differences with skewness 9 and excess kurtosis 108: rare exponentials among small normal ones."""
    return np.where(generator.random(shape) < 0.0556, generator.exponential(1, shape), 0) + generator.normal(
        0, 0.02, shape
    )


def test_students_sleep_example():
    effect = paired_effect(SLEEP_SECOND, SLEEP_FIRST, Inference(seed=1))
    assert effect.n == 10
    assert effect.mean_difference == pytest.approx(1.58)
    assert effect.p_t == pytest.approx(0.002833, abs=5e-7)
    assert effect.d_z * math.sqrt(10) == pytest.approx(4.0621, abs=5e-5)
    assert effect.win_percent == 90
    assert effect.tie_percent == 10
    assert effect.median == pytest.approx(1.3)
    # One value at each end is left out of ten.
    assert effect.trimmed_mean == pytest.approx((15.8 - 0.0 - 4.6) / 8)


def test_fishers_maize_permutation_is_exact():
    # Fisher (1935, section 21): 863 of 32,768 sign patterns give a sum of 314 or more.
    effect = paired_effect(MAIZE, np.zeros(15), Inference(seed=1, resamples=40_000))
    assert effect.p_sign_flip == pytest.approx(2 * 863 / 2**15, abs=1e-12)


def test_random_sign_flips_approach_the_exact_p():
    p = sign_flip_p(MAIZE[:, None], seed=3, permutations=20_000)[0]
    exact = 2 * 863 / 2**15
    assert abs(p - exact) < 4 * math.sqrt(exact * (1 - exact) / 20_000)
    # (k + 1)/(m + 1) with a whole k.
    assert p * 20_001 == pytest.approx(round(p * 20_001), abs=1e-6)


def test_sign_flip_p_is_never_zero():
    p = sign_flip_p(np.linspace(1, 2, 60)[:, None], seed=1, permutations=999)[0]
    assert p == pytest.approx(1 / 1000)


def test_hollander_and_wolfes_wilcoxon():
    effect = paired_effect(DEPRESSION_BEFORE, DEPRESSION_AFTER, Inference(seed=1))
    assert effect.p_wilcoxon == pytest.approx(0.03906, abs=5e-6)


def test_tests_equal_scipy_and_statsmodels():
    generator = np.random.default_rng(5)
    before, after = heavy(generator, (80,)), heavy(generator, (80,)) + 0.1
    effect = paired_effect(before, after, Inference(seed=1, smallest_difference=0.08))
    assert effect.p_t == pytest.approx(stats.ttest_rel(before, after).pvalue, rel=1e-12)
    assert effect.p_wilcoxon == pytest.approx(stats.wilcoxon(before, after).pvalue, rel=1e-12)
    assert effect.skewness == pytest.approx(
        pd.Series(before - after).skew() * 78 / math.sqrt(80 * 79), rel=1e-10
    )


def skewness(values: np.ndarray) -> float:
    """Of a sample over the square root of its size."""
    return float(stats.skew(values)) / math.sqrt(len(values))


def test_an_interval_is_students_with_each_side_as_much_longer_as_its_factor():
    values = heavy(np.random.default_rng(11), (120,))
    effect = paired_effect(values, np.zeros(120), Inference(seed=1, confidence=0.9))
    error, reach = stats.sem(values), stats.t.ppf(0.95, 119)
    below, above = (float(length_factor(np.array(sign * skewness(values)), 120)) for sign in (-1, 1))
    assert above > below > 1
    mean = values.mean()
    assert (effect.low, effect.high) == pytest.approx(
        (mean - below * reach * error, mean + above * reach * error)
    )
    # The same of p: the side that reaches 0 is the lower one of a mean above it.
    assert effect.p == pytest.approx(2 * stats.t.sf(mean / error / below, 119), rel=1e-9)


def test_a_sample_turned_round_is_judged_alike():
    values = heavy(np.random.default_rng(12), (60,))
    one, other = (paired_effect(sign * values, np.zeros(60), Inference(seed=1)) for sign in (1, -1))
    assert (other.low, other.high, other.p, other.p_tost) == pytest.approx(
        (-one.high, -one.low, one.p, one.p_tost)
    )


@pytest.mark.parametrize("shift", [-0.2, 0.02, 0.3])
@pytest.mark.parametrize("n", [20, 150, 2000])
def test_p_and_equivalence_say_what_the_interval_says(n, shift):
    generator = np.random.default_rng(n)
    for _ in range(20):
        values = heavy(generator, (n,)) + shift * generator.random()
        effect = paired_effect(values, np.zeros(n), Inference(seed=1, smallest_difference=0.2, resamples=9))
        assert (effect.p < 0.05) == (effect.low > 0 or effect.high < 0)
        assert (effect.p_tost < 0.05) == (effect.low > -0.2 and effect.high < 0.2)


def test_many_examples_make_it_students_interval():
    values = np.random.default_rng(13).normal(0.1, 1, 6000)
    effect = paired_effect(values, np.zeros(6000), Inference(seed=1, smallest_difference=0.2, resamples=9))
    expected = stats.ttest_1samp(values, 0).confidence_interval()
    assert (effect.low, effect.high) == pytest.approx(tuple(expected), rel=1e-12)
    assert effect.p == pytest.approx(effect.p_t, rel=1e-12)
    # Twice statsmodels' p: 95 and not 90 % of the interval within the bound.
    assert effect.p_tost == pytest.approx(2 * DescrStatsW(values).ttost_mean(-0.2, 0.2)[0], rel=1e-9)


def test_a_token_weighted_mean_is_statsmodels_weighted_regression():
    generator = np.random.default_rng(14)
    values, tokens = generator.normal(0.2, 1, 5000), generator.integers(1, 30, 5000).astype(float)
    effect = paired_effect(values, np.zeros(5000), Inference(seed=1, resamples=9), weights=tokens)
    # White's standard error of the weighted mean, with the factor n / (n - 1).
    fit = statsmodels.WLS(values, np.ones(5000), weights=tokens).fit(cov_type="HC1", use_t=True)
    assert effect.token_weighted_mean == pytest.approx(fit.params[0], rel=1e-12)
    ends = (effect.token_weighted_low, effect.token_weighted_high)
    assert ends == pytest.approx(tuple(fit.conf_int()[0]), rel=1e-9)


def test_the_interval_of_d_z_is_that_of_a_normal_sample_from_5000_examples_on():
    values = np.random.default_rng(15).normal(0.4, 1, 5000)
    effect = paired_effect(values, np.zeros(5000), Inference(seed=1, resamples=9))
    # Of normal values: the variance of d is 1/n + d²/(2n) (Hedges and Olkin 1985, section 5E).
    half = 1.96 * math.sqrt((1 + effect.d_z**2 / 2) / 5000)
    assert effect.d_z_high - effect.d_z == pytest.approx(half, rel=0.05)
    assert effect.d_z - effect.d_z_low == pytest.approx(half, rel=0.05)
    fewer = paired_effect(values[:4999], np.zeros(4999), Inference(seed=1, resamples=9))
    assert math.isnan(fewer.d_z_low)
    assert "interval of d_z withheld: fewer than 5,000" in fewer.withheld


def test_median_and_trimmed_mean_have_inference_of_their_own():
    values = heavy(np.random.default_rng(16), (300,)) + 0.003
    effect = paired_effect(values, np.zeros(300), Inference(seed=1, resamples=9))
    ordered = np.sort(values)
    # Conover (1999, Practical Nonparametric Statistics, section 3.2): ranks r and n + 1 - r with P(B < r) at most .025.
    rank = max(r for r in range(1, 150) if stats.binom.cdf(r - 1, 300, 0.5) <= 0.025)
    assert (effect.median_low, effect.median_high) == (ordered[rank - 1], ordered[300 - rank])
    assert effect.p_sign == pytest.approx(stats.binomtest(int((values > 0).sum()), 300).pvalue)
    winsorised = stats.mstats.winsorize(values, (0.1, 0.1))
    error = np.std(winsorised, ddof=1) / (0.8 * math.sqrt(300))
    reach = stats.t.ppf(0.975, 239)
    assert effect.trimmed_low == pytest.approx(effect.trimmed_mean - reach * error)
    assert effect.p_trimmed == pytest.approx(2 * stats.t.sf(abs(effect.trimmed_mean) / error, 239))
    few = paired_effect(values[:199], np.zeros(199), Inference(seed=1, resamples=9))
    assert math.isnan(few.trimmed_low)
    assert "interval of the trimmed mean withheld" in few.withheld


def test_hedges_factor_closed_forms():
    # gamma(1)/(sqrt(1) gamma(1/2)) and gamma(2)/(sqrt(2) gamma(3/2)).
    assert hedges_factor(2) == pytest.approx(1 / math.sqrt(math.pi))
    assert hedges_factor(4) == pytest.approx(1 / (math.sqrt(2) * math.sqrt(math.pi) / 2))
    effect = paired_effect(SLEEP_SECOND, SLEEP_FIRST, Inference(seed=1))
    assert effect.d_z_hedges / effect.d_z == pytest.approx(math.gamma(4.5) / (math.sqrt(4.5) * math.gamma(4)))


def test_minimum_detectable_effect_has_power_of_four_fifths():
    for n in (5, 30, 500):
        shift = detectable_shift(n - 1)
        critical = stats.t.ppf(0.975, n - 1)
        power = stats.nct.sf(critical, n - 1, shift) + stats.nct.cdf(-critical, n - 1, shift)
        assert power == pytest.approx(0.8, abs=1e-4)
    effect = paired_effect(SLEEP_SECOND, SLEEP_FIRST, Inference(seed=1))
    # As much more as the longer side of the interval is longer than Student's.
    mean = effect.mean_difference
    student = stats.t.ppf(0.975, 9) * effect.sd / math.sqrt(10)
    longer = max(effect.high - mean, mean - effect.low) - student
    assert longer > 0
    expected = detectable_shift(9) * effect.sd / math.sqrt(10) + longer
    assert effect.minimum_detectable == pytest.approx(expected)


def test_share_of_the_five_percent_largest_by_hand():
    difference = np.ones(40)
    difference[[3, 17]] = 10.0, -4.0
    difference[5] = 0.5
    effect = paired_effect(difference, np.zeros(40), Inference(seed=1))
    # The two largest of forty by size are 10 and -4; the sum of all is 37 + 10 - 4 + 0.5.
    assert effect.share_of_largest == pytest.approx(6 / 43.5)


def test_shared_documents_equal_statsmodels_cluster_robust():
    generator = np.random.default_rng(8)
    documents = np.repeat(np.arange(30), generator.integers(1, 6, 30))
    values = generator.normal(0, 1, documents.size) + generator.normal(0, 1, 30)[documents] + 0.3
    effect = paired_effect(values, np.zeros(values.size), Inference(seed=1), clusters=documents)
    fit = statsmodels.OLS(values, np.ones(values.size)).fit(
        cov_type="cluster", cov_kwds={"groups": documents}, use_t=True
    )
    assert effect.p_t == pytest.approx(fit.pvalues[0], rel=1e-9)
    assert effect.clusters == 30
    assert effect.n == documents.size
    sums = np.array([values[documents == document].sum() for document in range(30)])
    assert effect.p_sign_flip == sign_flip_p(sums[:, None], seed=1, permutations=9_999)[0]
    assert math.isnan(effect.p_wilcoxon)
    assert effect.reason == ""
    assert "share documents" in effect.withheld
    # Examples of one document move together, so that counting them as independent is too sure.
    assert (
        effect.high - effect.low
        > paired_effect(values, np.zeros(values.size), Inference(seed=1)).high - effect.low
    )


def test_clusters_of_one_example_change_nothing():
    values = heavy(np.random.default_rng(2), (50,))
    alone = paired_effect(values, np.zeros(50), Inference(seed=3))
    named = paired_effect(values, np.zeros(50), Inference(seed=3), clusters=[f"d{i:02d}" for i in range(50)])
    assert pd.Series(named.as_row()).equals(pd.Series(alone.as_row()))


def test_columns_together_equal_columns_alone():
    generator = np.random.default_rng(4)
    records = pd.concat(
        pd.DataFrame(
            {"example": range(30), "cell": cell, "answer_tokens": 3, "nll": generator.gamma(1, 1, 30)}
        )
        for cell in "abc"
    )
    contrasts = [comparison("a", "b", "f"), comparison("a", "c", "f")]
    together = effects_table(records, contrasts, Inference(seed=5))
    alone = effects_table(records, contrasts[1:], Inference(seed=5))
    for column in ("low", "high", "p", "p_sign_flip", "token_weighted_high"):
        assert together[column].iloc[1] == pytest.approx(alone[column].iloc[0], rel=1e-12)


def test_row_order_changes_nothing():
    generator = np.random.default_rng(4)
    records = pd.concat(
        pd.DataFrame(
            {"example": range(30), "cell": cell, "answer_tokens": 3, "nll": generator.gamma(1, 1, 30)}
        )
        for cell in "ab"
    )
    shuffled = records.sample(frac=1, random_state=1)
    shuffled["cell"] = pd.Categorical(shuffled["cell"], categories=["z", "b", "a"])
    contrasts = [comparison("a", "b", "f")]
    pd.testing.assert_frame_equal(
        effects_table(records, contrasts, Inference(seed=5)),
        effects_table(shuffled, contrasts, Inference(seed=5)),
    )


def test_holm_by_hand():
    # Holm (1979): 4 × .01, then 3 × .02 and 2 × .03 made monotone, then .2.
    assert adjusted_p(np.array([0.03, 0.01, 0.2, 0.02])) == pytest.approx([0.06, 0.04, 0.2, 0.06])
    assert adjusted_p(np.array([0.03, 0.4]), "bonferroni") == pytest.approx([0.06, 0.8])


def test_false_discovery_rate_equals_scipy_and_no_correction_is_none():
    p = np.array([0.03, 0.01, 0.2, 0.02, 0.9])
    assert adjusted_p(p, "fdr") == pytest.approx(stats.false_discovery_control(p))
    assert adjusted_p(p, "none").tolist() == p.tolist()


def test_undefined_p_still_counts_in_its_family():
    found = adjusted_p(np.array([0.01, np.nan]))
    assert found[0] == pytest.approx(0.02)
    assert math.isnan(found[1])


def test_families_are_corrected_apart():
    generator = np.random.default_rng(6)
    records = pd.concat(
        pd.DataFrame({"example": range(25), "cell": cell, "nll": generator.normal(0, 1, 25)})
        for cell in "abcd"
    )
    contrasts = [comparison("a", "b", "one"), comparison("a", "c", "two"), comparison("a", "d", "two")]
    table = effects_table(records, contrasts, Inference(seed=1))
    raw = table["p"].to_numpy()
    assert table["p_holm"][0] == raw[0]
    assert table["p_holm"][1:].min() == pytest.approx(min(1, 2 * raw[1:].min()))
    published = effects_table(records, contrasts, Inference(seed=1, correction="bonferroni"))
    assert published["p_bonferroni"].to_numpy() == pytest.approx(
        np.minimum(1, published["p_t"] * np.array([1, 2, 2])).to_numpy()
    )


def test_published_stars():
    assert [stars(p) for p in (0.0009, 0.001, 0.01, 0.05, float("nan"))] == ["***", "**", "*", "ns", ""]


@pytest.mark.parametrize(
    ("low", "high", "p", "equivalence", "expected"),
    [
        (0.1, 0.3, 0.001, 1.0, "helps"),
        (-0.3, -0.1, 0.001, 1.0, "hurts"),
        (-0.3, 0.3, 0.9, 0.4, "undecided"),
        (-0.02, 0.02, 0.9, 0.001, "no effect within ±0.05"),
        (0.1, 0.3, 0.06, 1.0, "undecided"),
        (0.001, 0.02, 0.06, 0.001, "no effect within ±0.05"),
        (0.001, 0.02, 0.001, 0.001, "helps, small (below 0.05)"),
        (-0.02, -0.001, 0.001, 0.049, "hurts, small (below 0.05)"),
        (0.001, 0.02, 0.001, 0.051, "helps"),
        (0.001, 0.02, 0.001, float("nan"), "helps"),
        (0.1, 0.3, float("nan"), float("nan"), "undecided"),
        (float("nan"), 0.3, 0.001, 0.001, "undecided"),
    ],
)
def test_verdict_words(low, high, p, equivalence, expected):
    assert verdict(decide(low, high, p, equivalence), 0.05) == expected


def test_a_large_p_alone_is_undecided():
    generator = np.random.default_rng(1)
    records = pd.concat(
        pd.DataFrame({"example": range(12), "cell": cell, "nll": generator.normal(0, 1, 12)}) for cell in "ab"
    )
    row = effects_table(records, [comparison("a", "b", "f")], Inference(seed=1)).iloc[0]
    assert row["p_holm"] > 0.05
    assert row["verdict"] == "undecided"


def test_what_the_tails_forbid_is_said():
    tails = decide(-0.1, 0.3, 0.2, 1.0, p_student=0.01)
    assert verdict(tails, 0.05) == "undecided (n too small for tails like these)"
    assert tails.because == TAILS
    assert decide(-0.1, 0.3, 0.2, 1.0, p_student=0.06).because == ""
    # Equivalence was shown: that is a decision, whatever Student's t says.
    assert decide(-0.01, 0.02, 0.2, 0.001, p_student=0.01).kind == "none"


@pytest.mark.parametrize(("count", "words"), [(1, "carried by 1 example"), (3, "carried by 3 examples")])
def test_what_few_examples_carry_is_undecided(count, words):
    found = decide(0.1, 0.3, 0.001, 1.0, carriers=count)
    assert (found.kind, found.because, found.carriers) == ("undecided", CARRIED, count)
    assert verdict(found, 0.05) == f"undecided ({words})"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        # 1 + 1 + 1 + 17 × 0.1 = 4.7: three are more than half, and 5 % of twenty are one.
        ([1.0] * 3 + [0.1] * 17, 0),
        # One of twenty carries 3 of 4.9.
        ([3.0] + [0.1] * 19, 1),
        # The median is below 0: two carry the mean, 6 of 5.1.
        ([3.0] * 3 + [-0.1] * 15 + [-0.2] * 2, 2),
        # The same turned round.
        ([-3.0] * 3 + [0.1] * 15 + [0.2] * 2, 2),
        ([0.0] * 4, 0),
        ([], 0),
    ],
)
def test_the_examples_that_carry_a_mean(values, expected):
    own = np.array(values)
    assert carriers(own, len(own)) == expected
    # From 500 units on the test of the mean holds what it promises.
    assert carriers(own, 500) == 0


def test_a_caution_knows_the_number_of_units_and_nothing_of_the_sample():
    assert coverage_cautions(499) == (TAILS,)
    assert coverage_cautions(500) == ()
    symmetric = paired_effect(np.tile([1.0, -1.0], 100), np.zeros(200), Inference(seed=1, resamples=9))
    assert symmetric.caution == TAILS


def test_a_relative_bound_is_a_part_of_the_baselines_mean():
    before = np.array([1.0, 2.0, 3.0, 6.0])
    relative = Inference(seed=1, smallest_difference=0.05, smallest_relative=True, resamples=9)
    effect = paired_effect(before, before - [0.1, 0.0, 0.2, 0.3], relative)
    assert effect.smallest_effect == pytest.approx(0.05 * 3.0)
    nothing = paired_effect(np.zeros(4), np.array([0.1, 0.2, 0.0, 0.3]), relative)
    assert math.isnan(nothing.smallest_effect)
    assert math.isnan(nothing.p_tost)


def test_the_bound_of_an_interaction_is_a_part_of_the_cell_of_all_references():
    cells = {f"a={a}|b={b}": 10.0 * a + b + 1.0 for a in (0, 1) for b in (0, 1)}
    records = pd.concat(
        pd.DataFrame(
            {"example": range(6), "cell": cell, "nll": mean + np.linspace(-0.5, 0.5, 6) ** (1 + number)}
        )
        for number, (cell, mean) in enumerate(cells.items())
    )
    crossed = Contrast("a × b", "f", dict(zip(cells, (1.0, -1.0, -1.0, 1.0), strict=True)))
    simple = Contrast("b | a=1", "f", {"a=1|b=0": 1.0, "a=1|b=1": -1.0})
    relative = Inference(seed=1, smallest_difference=0.1, smallest_relative=True, resamples=9)
    table = effects_table(records, [crossed, simple], relative)
    means = records.groupby("cell")["nll"].mean()
    expected = [0.1 * means["a=0|b=0"], 0.1 * means["a=1|b=0"]]
    assert table["smallest_effect"].tolist() == pytest.approx(expected)
    assert table["smallest_share"].tolist() == [0.1, 0.1]


def test_a_small_effect_is_told_as_small_and_never_as_none():
    # Published exp03: .022 to .031 nats on .68.
    generator = np.random.default_rng(3)
    before = generator.gamma(4, 0.17, 500)
    gain = 0.027 + generator.normal(0, 0.06, 500)
    records = pd.concat(
        pd.DataFrame({"example": range(500), "cell": cell, "nll": values})
        for cell, values in (("bare", before), ("oracle", before - gain))
    )
    relative = Inference(seed=1, smallest_difference=0.05, smallest_relative=True, resamples=99)
    row = effects_table(records, [comparison("bare", "oracle", "f")], relative).iloc[0]
    assert row["verdict"] == "helps, small (below 5 %)"


# Inputs that must not give a number that looks fine.

INFERENCE = (
    "low",
    "high",
    "d_z",
    "d_z_low",
    "p",
    "median_low",
    "p_sign_flip",
    "p_wilcoxon",
    "p_t",
    "p_tost",
    "minimum_detectable",
)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([], "no examples"),
        ([0.4], "one example"),
        ([0.4] * 20, "all differences are equal"),
        ([0.0] * 20, "all differences are equal"),
        ([0.1 + 0.2, 0.3] * 10, "all differences are equal"),
        ([0.1, np.nan, 0.3], "1 of 3 examples are NaN or infinite"),
        ([0.1, np.inf, -np.inf], "2 of 3 examples are NaN or infinite"),
    ],
)
def test_undefined_inputs_give_nan_with_a_reason(values, reason):
    effect = paired_effect(np.array(values, dtype=float), np.zeros(len(values)), Inference(seed=1))
    assert all(math.isnan(getattr(effect, name)) for name in INFERENCE)
    assert reason in effect.reason
    assert effect.n == len(values)


def test_missing_examples_are_left_out_on_purpose_and_counted():
    values = heavy(np.random.default_rng(3), (30,))
    with_gaps = np.insert(values, [0, 7], [np.nan, np.inf])
    documents = np.insert(np.arange(30), [0, 7], [97, 98])
    effect = paired_effect(with_gaps, np.zeros(32), Inference(seed=1), clusters=documents, missing="drop")
    alone = paired_effect(values, np.zeros(30), Inference(seed=1))
    assert (effect.n, effect.clusters, effect.low) == (30, 30, alone.low)
    assert "2 of 32 examples left out" in effect.reason


def test_two_infinite_sides_are_not_a_difference():
    effect = paired_effect([np.inf, 1.0, 2.0], [np.inf, 0.0, 3.0], Inference(seed=1))
    assert math.isnan(effect.mean_difference)
    assert effect.reason


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        (([1.0, 2.0], [1.0]), {}, "paired comparison needs one of each"),
        (([[1.0], [2.0]], [[1.0], [2.0]]), {}, "expected one value per example"),
        ((["a", "b"], [1.0, 2.0]), {}, "not a number"),
        (([1.0, 2.0], [0.0, 0.0]), {"weights": [1.0, 0.0]}, "above 0"),
        (([1.0, 2.0], [0.0, 0.0]), {"weights": [1.0]}, "1 values for 2 examples"),
        (([1.0, 2.0], [0.0, 0.0]), {"clusters": ["a"]}, "1 labels for 2 examples"),
        (([1.0, 2.0], [0.0, 0.0]), {"clusters": ["a", None]}, "every example"),
        (([1.0, 2.0], [0.0, 0.0]), {"missing": "ignore"}, "'refuse' or 'drop'"),
    ],
)
def test_wrong_inputs_are_refused(arguments, settings, message):
    with pytest.raises(ValueError, match=message):
        paired_effect(*arguments, Inference(seed=1), **settings)


def records_of(**cells: list[float]) -> pd.DataFrame:
    return pd.concat(
        pd.DataFrame({"example": range(len(values)), "cell": cell, "nll": values})
        for cell, values in cells.items()
    )


def test_unpaired_records_are_refused_or_dropped():
    records = records_of(a=[1.0, 2.0, 3.0, 5.0], b=[0.5, 1.0, 3.5])
    with pytest.raises(ValueError, match=r"1 of 4 examples are unpaired, first 3 without cell 'b'"):
        effects_table(records, [comparison("a", "b", "f")], Inference(seed=1))
    row = effects_table(records, [comparison("a", "b", "f")], Inference(seed=1), missing="drop").iloc[0]
    assert row["n"] == 3
    assert "1 of 4 examples left out" in row["reason"]


def test_a_missing_value_in_a_cell_makes_its_row_undefined_and_no_other():
    records = records_of(a=[1.0, 2.0, 3.0], b=[0.5, np.nan, 3.5], c=[0.1, 0.7, 3.3])
    table = effects_table(records, [comparison("a", "b", "f"), comparison("a", "c", "f")], Inference(seed=1))
    assert math.isnan(table["mean_difference"][0])
    assert table["verdict"][0] == "undecided"
    assert "1 of 3 examples" in table["reason"][0]
    assert table["mean_difference"][1] == pytest.approx((0.9 + 1.3 - 0.3) / 3)


def test_doubled_records_unknown_cells_and_columns_are_refused():
    records = records_of(a=[1.0, 2.0], b=[0.5, 1.0])
    with pytest.raises(ValueError, match="repeat an example and cell"):
        effects_table(pd.concat([records, records.head(1)]), [comparison("a", "b", "f")], Inference(seed=1))
    with pytest.raises(ValueError, match="'c', which the records do not hold"):
        effects_table(records, [comparison("a", "c", "f")], Inference(seed=1))
    with pytest.raises(ValueError, match="no column 'nll'"):
        effects_table(records.rename(columns={"nll": "loss"}), [comparison("a", "b", "f")], Inference(seed=1))
    with pytest.raises(ValueError, match="no contrasts"):
        effects_table(records, [], Inference(seed=1))


def test_answer_tokens_that_differ_between_cells_withhold_the_weighted_mean():
    records = records_of(a=[1.0, 2.0, 4.0], b=[0.5, 1.0, 3.9]).assign(answer_tokens=[1, 2, 3, 1, 2, 4])
    row = effects_table(records, [comparison("a", "b", "f")], Inference(seed=1)).iloc[0]
    assert math.isnan(row["token_weighted_mean"])
    assert "answer_tokens differ" in row["withheld"]
    assert row["mean_difference"] == pytest.approx(1.6 / 3)


def test_token_weighted_mean_is_the_difference_of_summed_nll_per_token():
    generator = np.random.default_rng(3)
    tokens = generator.integers(1, 20, 15)
    sums = {cell: generator.gamma(2, 2, 15) for cell in "ab"}
    records = pd.concat(
        pd.DataFrame({"example": range(15), "cell": c, "answer_tokens": tokens, "nll": sums[c] / tokens})
        for c in "ab"
    )
    row = effects_table(records, [comparison("a", "b", "f")], Inference(seed=1)).iloc[0]
    assert row["token_weighted_mean"] == pytest.approx((sums["a"].sum() - sums["b"].sum()) / tokens.sum())


@pytest.mark.parametrize("weights", [{"a": 1.0}, {"a": 0.0, "b": 0.0}, {"a": np.nan, "b": 1.0}])
def test_weights_that_are_no_contrast_are_refused(weights):
    with pytest.raises(ValueError, match="contrast 'x'"):
        Contrast("x", "f", weights)
