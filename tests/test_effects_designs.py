"""Contrasts, splits, ratios, analysis of variance, strata and seeds by hand and by other code."""

from __future__ import annotations

import itertools
import math
import re

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as statsmodels
from scipy import stats
from statsmodels.stats.anova import AnovaRM

from budgetlens.report.findings import sentence
from budgetlens.statistics.contrasts import (
    Contrast,
    comparison,
    contrast_values,
    factor_steps,
    parse_cell,
    wide_cells,
)
from budgetlens.statistics.effects import decomposition, effects_table, ratio_of_means, split_of_means
from budgetlens.statistics.findings import findings
from budgetlens.statistics.inference import Inference
from budgetlens.statistics.paired import paired_effect
from budgetlens.statistics.ratios import decompositions
from budgetlens.statistics.strata import (
    _permuted_p,
    length_strata,
    quantile_strata,
    seed_effect,
    strata_table,
    trend_test,
)
from budgetlens.statistics.tails import length_factor
from budgetlens.statistics.variance import repeated_measures_anova
from tests.factorial import factor_contrast, factorial_contrasts
from tests.run_records import records

# Mean NLL of the published runs (run summaries of exp08 and exp05).
PUBLISHED_08 = {
    "prefix=none|prompt=none": 3.6834375,
    "prefix=none|prompt=random": 3.113513671875,
    "prefix=none|prompt=query": 2.553734375,
    "prefix=oracle|prompt=none": 2.99694140625,
    "prefix=oracle|prompt=random": 3.0264482421875,
    "prefix=oracle|prompt=query": 2.39665234375,
}
PUBLISHED_05 = {
    "coherence=sentence|overlap=this": 2.818220703125,
    "coherence=sentence|overlap=another": 2.49154296875,
    "coherence=words|overlap=this": 2.4795576171875,
    "coherence=words|overlap=another": 2.4369375,
}

# Five subjects, four conditions (Abdi 2010, "The Greenhouse-Geisser correction", Encyclopedia of Research
# Design).
ABDI = np.array([[76, 64, 34, 26], [60, 48, 46, 30], [58, 34, 32, 28], [46, 46, 32, 28], [30, 18, 36, 28]])


def crossed(**factors: list[str]) -> list[str]:
    return [
        "|".join(f"{factor}={level}" for factor, level in zip(factors, levels, strict=True))
        for levels in itertools.product(*factors.values())
    ]


def wide(cells: list[str], n: int, seed: int) -> pd.DataFrame:
    return pd.DataFrame(np.random.default_rng(seed).gamma(2, 1, (n, len(cells))), columns=cells)


def long(values: pd.DataFrame) -> pd.DataFrame:
    melted = values.rename_axis("example").reset_index().melt("example", var_name="cell", value_name="nll")
    return melted.assign(answer_tokens=4)


def prompt_steps(prefix: str) -> tuple[Contrast, list[Contrast]]:
    """Total none → query at one encoder level, and its steps length and semantic."""

    def step(name: str, first: str, second: str) -> Contrast:
        return factor_contrast(
            list(PUBLISHED_08), {"prompt": (first, second)}, family="f", at={"prefix": prefix}, name=name
        )

    return step("total", "none", "query"), [
        step("length", "none", "random"),
        step("semantic", "random", "query"),
    ]


def interaction_steps() -> tuple[Contrast, list[Contrast]]:
    def step(name: str, first: str, second: str) -> Contrast:
        factors = {"prefix": ("none", "oracle"), "prompt": (first, second)}
        return factor_contrast(list(PUBLISHED_08), factors, family="f", name=name)

    return step("total", "none", "query"), [
        step("length", "none", "random"),
        step("semantic", "random", "query"),
    ]


def test_published_interaction_splits_into_113_and_minus_13_percent():
    # Protocol 4h: .529 nats = length .599 (113 %) + semantic -.070 (-13 %).
    split = split_of_means(PUBLISHED_08, *interaction_steps())
    assert split["mean_difference"].round(3).tolist() == [0.529, 0.599, -0.070]
    assert (100 * split["share"]).round().tolist() == [100, 113, -13]


def test_published_prompt_effect_of_the_bare_encoder_splits_into_halves():
    split = split_of_means(PUBLISHED_08, *prompt_steps("none"))
    assert (100 * split["share"]).round().tolist() == [100, 50, 50]


def test_the_interaction_of_exp05_is_a_difference_of_differences():
    factors = {"coherence": ("sentence", "words"), "overlap": ("this", "another")}
    contrast = factor_contrast(list(PUBLISHED_05), factors, family="f")
    value = sum(weight * PUBLISHED_05[cell] for cell, weight in contrast.weights.items())
    # (first - wrong first) - (shuffled - wrong keywords), in nats; published was a difference of two d.
    assert value == pytest.approx((2.818220703125 - 2.49154296875) - (2.4795576171875 - 2.4369375))
    assert round(value, 3) == 0.284
    # Tested per example: the t of the interaction is that of the per-example difference of differences.
    values = wide(list(PUBLISHED_05), 40, seed=3)
    row = effects_table(long(values), [contrast], Inference(seed=1, resamples=99)).iloc[0]
    sentence, words = (
        values[f"coherence={kind}|overlap=this"] - values[f"coherence={kind}|overlap=another"]
        for kind in ("sentence", "words")
    )
    assert row["p_t"] == pytest.approx(stats.ttest_rel(sentence, words).pvalue, rel=1e-9)


def test_split_adds_up_and_its_intervals_are_ratios_of_means():
    values = wide(list(PUBLISHED_08), 60, seed=4) + np.array([2.0, 1.0, 0.0, 1.0, 0.5, 0.0])
    total, parts = prompt_steps("none")
    table = decomposition(long(values), total, parts, Inference(seed=7, resamples=499))
    assert table["part"].tolist() == ["total", "length", "semantic"]
    assert table["share"][1:].sum() == pytest.approx(1)
    assert table["mean_difference"][1:].sum() == pytest.approx(table["mean_difference"][0])
    columns = contrast_values(values, [parts[0], total])
    ratio = ratio_of_means(columns["length"], columns["total"], Inference(seed=7, resamples=499))
    assert (table["share_low"][1], table["share_high"][1]) == pytest.approx((ratio.low, ratio.high))
    effects = effects_table(long(values), [total, *parts], Inference(seed=7, resamples=499))
    # A difference between two treatments has a longer interval than one from doing nothing, in either table.
    assert [each.between for each in (total, *parts)] == [False, False, True]
    for end in ("low", "high"):
        assert table[end].tolist() == pytest.approx(effects[end].tolist())
    # All of its parts stand beside the total, each with the caution of its own kind.
    assert (
        table["caution"].str.split("; ").str[0].tolist() == effects["caution"].str.split("; ").str[0].tolist()
    )


def test_parts_that_do_not_add_up_are_refused():
    total, parts = prompt_steps("none")
    with pytest.raises(ValueError, match="do not add up"):
        split_of_means(PUBLISHED_08, total, parts[:1])
    with pytest.raises(ValueError, match="do not add up"):
        decomposition(long(wide(list(PUBLISHED_08), 5, 1)), total, [parts[0], parts[0]], Inference(seed=1))


def test_splits_together_equal_splits_alone():
    likelihood = records(["p=none", "p=random", "p=oracle"], n=24, effect=0.3)
    first = (
        comparison("p=none", "p=oracle", "f"),
        [comparison("p=none", "p=random", "f"), comparison("p=random", "p=oracle", "f")],
    )
    second = (comparison("p=none", "p=random", "g"), [comparison("p=none", "p=random", "g")])
    together = decompositions(likelihood, [first, second], Inference(seed=1, resamples=199))
    alone = [decomposition(likelihood, *split, Inference(seed=1, resamples=199)) for split in (first, second)]
    pd.testing.assert_frame_equal(together, pd.concat(alone, ignore_index=True))


def test_ratio_is_withheld_where_the_denominator_may_be_zero():
    generator = np.random.default_rng(5)
    top, bottom = generator.normal(1, 0.1, 50), generator.normal(0, 1, 50)
    ratio = ratio_of_means(top, bottom, Inference(seed=1))
    assert math.isnan(ratio.ratio)
    assert math.isnan(ratio.low)
    assert "holds 0" in ratio.reason
    assert ratio.denominator_low < 0 < ratio.denominator_high
    known = ratio_of_means(bottom, top, Inference(seed=1))
    assert known.ratio == pytest.approx(bottom.mean() / top.mean())
    assert known.reason == ""


@pytest.mark.parametrize(
    ("top", "bottom", "reason"),
    [
        ([], [], "no examples"),
        ([1.0], [2.0], "one example"),
        ([1.0, 2.0], [3.0, 3.0], "does not vary"),
        # Tenths, whose sums are rounded.
        (np.arange(60.0), [0.1] * 60, "does not vary"),
        ([1.0, np.nan, 2.0], [1.0, 2.0, 3.0], "1 of 3 examples"),
        ([1.0, 2.0, 2.5], [1.0, np.inf, 3.0], "1 of 3 examples"),
    ],
)
def test_ratios_of_undefined_inputs_are_nan_with_a_reason(top, bottom, reason):
    ratio = ratio_of_means(np.array(top), np.array(bottom), Inference(seed=1, resamples=99))
    assert math.isnan(ratio.ratio)
    assert math.isnan(ratio.low)
    assert reason in ratio.reason


def test_unpaired_ratio_is_refused():
    with pytest.raises(ValueError, match="must be paired"):
        ratio_of_means([1.0, 2.0], [1.0], Inference(seed=1))


def test_structural_fraction_is_no_ratio_of_d():
    # Means .5 and 1 with very different spread: the ratio of d would be far from a half.
    generator = np.random.default_rng(6)
    top, bottom = generator.normal(0.5, 0.1, 4000), generator.normal(1, 2, 4000)
    ratio = ratio_of_means(top, bottom, Inference(seed=1, resamples=199))
    assert ratio.low < 0.5 < ratio.high
    assert (top.mean() / top.std()) / (bottom.mean() / bottom.std()) > 5


def test_higher_interactions_by_hand():
    cells = crossed(a=["0", "1"], b=["0", "1"], c=["0", "1"])
    values = wide(cells, 6, seed=2)
    contrast = factor_contrast(cells, dict.fromkeys("abc", ("0", "1")), family="f")
    found = contrast_values(values, [contrast]).iloc[:, 0]

    def cell(a: int, b: int, c: int) -> pd.Series:
        return values[f"a={a}|b={b}|c={c}"]

    def difference(b: int, c: int) -> pd.Series:
        return cell(0, b, c) - cell(1, b, c)

    by_hand = (difference(0, 0) - difference(1, 0)) - (difference(0, 1) - difference(1, 1))
    assert found.to_numpy() == pytest.approx(by_hand.to_numpy())


def test_main_effects_average_over_the_other_factors():
    cells = crossed(prefix=["none", "oracle"], prompt=["none", "random", "query"])
    contrast = factor_contrast(cells, {"prefix": ("none", "oracle")}, family="f")
    values = wide(cells, 5, seed=3)
    by_hand = values[cells[:3]].mean(axis=1) - values[cells[3:]].mean(axis=1)
    assert contrast_values(values, [contrast]).iloc[:, 0].to_numpy() == pytest.approx(by_hand.to_numpy())


def test_a_full_crossing_gives_every_effect_once():
    cells = crossed(prefix=["none", "oracle"], hidden=["none", "bos"], prompt=["none", "random", "query"])
    levels = {"prefix": ["none", "oracle"], "hidden": ["none", "bos"], "prompt": ["none", "random", "query"]}
    contrasts = factorial_contrasts(cells, levels, family="all")
    counts = pd.Series([contrast.family for contrast in contrasts]).value_counts()
    # Main 1 + 1 + 2; two-way 1 + 2 + 2, three-way 2; simple 6 + 6 + 2 × 4.
    assert counts.to_dict() == {"all: main effects": 4, "all: interactions": 7, "all: simple effects": 20}
    assert len({contrast.name for contrast in contrasts}) == len(contrasts)
    matrix = np.array([[contrast.weights.get(cell, 0) for cell in cells] for contrast in contrasts[:11]])
    # Together with the grand mean, main effects and interactions span the whole design.
    assert np.linalg.matrix_rank(matrix) == 11


def test_incomplete_crossings_and_unknown_factors_are_refused():
    cells = crossed(prefix=["none", "oracle"], prompt=["none", "query"])
    with pytest.raises(ValueError, match="do not cross"):
        factor_contrast(cells[:3], {"prefix": ("none", "oracle")}, family="f")
    with pytest.raises(ValueError, match="do not cross"):
        factor_contrast(cells, {"prefix": ("none", "random")}, family="f")
    with pytest.raises(ValueError, match="no factor 'length'"):
        factor_contrast(cells, {"length": ("256", "512")}, family="f")


def test_cell_names():
    name = "prefix=oracle|hidden=prefix+separator|prompt=random"
    assert parse_cell(name) == {"prefix": "oracle", "hidden": "prefix+separator", "prompt": "random"}
    for wrong in ("oracle", "a=1|a=2", ""):
        with pytest.raises(ValueError, match="not written factor=level"):
            parse_cell(wrong)
    assert comparison("x", "y", "f").baseline == "x"
    mixed = Contrast("m", "f", {"x": 0.5, "y": 0.5, "z": -1.0})
    assert (mixed.baseline, mixed.treatment) == ("0.5 × x + 0.5 × y", "z")


def test_wide_cells_ignore_categories_without_rows():
    records = long(wide(["a", "b", "c"], 4, 1))
    for key in ("cell", "example"):
        records[key] = records[key].astype("category")
    table = wide_cells(records[records["cell"] != "c"], "nll")
    assert list(table.columns) == ["a", "b"]
    records["example"] = pd.Categorical(records["example"].astype(int), categories=[3, 1, 0, 2])
    assert list(wide_cells(records, "nll").index) == [0, 1, 2, 3]
    assert len(table) == 4


# Analysis of variance.


def test_greenhouse_geisser_worked_example():
    # Published: F(3, 12) = 600/112 = 5.36; epsilon .4460, p = .06 on (1.34, 5.35) df; Huynh-Feldt epsilon
    # .5872.
    table = repeated_measures_anova(pd.DataFrame(ABDI, columns=crossed(a=list("1234"))), {"a": list("1234")})
    row = table.iloc[0]
    assert (row["df"], row["df_error"]) == (3, 12)
    assert row["sum_of_squares"] == pytest.approx(1800)
    assert row["f"] == pytest.approx(600 / 112)
    assert row["epsilon_greenhouse_geisser"] == pytest.approx(0.4460, abs=5e-5)
    assert row["p_greenhouse_geisser"] == pytest.approx(stats.f.sf(600 / 112, 1.33788, 5.35154), rel=1e-4)
    assert row["p_greenhouse_geisser"] == pytest.approx(0.06, abs=0.001)
    assert row["epsilon_huynh_feldt"] == pytest.approx(0.5872, abs=5e-5)


def test_anova_equals_statsmodels():
    factors = {"a": ["0", "1"], "b": ["0", "1", "2"], "c": ["0", "1"]}
    values = wide(crossed(**factors), 11, seed=9)
    table = repeated_measures_anova(values, factors).set_index("effect")
    records = long(values)
    for factor in factors:
        records[factor] = [parse_cell(cell)[factor] for cell in records["cell"]]
    expected = AnovaRM(records, "nll", "example", list(factors)).fit().anova_table
    assert len(table) == len(expected) == 7
    for effect, row in expected.iterrows():
        found = table.loc[effect.replace(":", " × ")]
        assert found["f"] == pytest.approx(row["F Value"], rel=1e-8)
        assert found["p"] == pytest.approx(row["Pr > F"], rel=1e-8)
        assert (found["df"], found["df_error"]) == (row["Num DF"], row["Den DF"])


def test_two_level_anova_is_the_squared_t_of_the_contrast():
    cells = crossed(a=["0", "1"], b=["0", "1"])
    values = wide(cells, 15, seed=1)
    table = repeated_measures_anova(values, {"a": ["0", "1"], "b": ["0", "1"]})
    contrast = factor_contrast(cells, {"a": ("0", "1"), "b": ("0", "1")}, family="f")
    t = stats.ttest_1samp(contrast_values(values, [contrast]).iloc[:, 0], 0)
    row = table[table["effect"] == "a × b"].iloc[0]
    assert row["f"] == pytest.approx(t.statistic**2)
    assert row["p_greenhouse_geisser"] == pytest.approx(t.pvalue)
    assert row["epsilon_greenhouse_geisser"] == pytest.approx(1)


def test_compound_symmetry_has_epsilon_one():
    # Rows of an orthogonal design around a common profile: all differences have the same variance exactly.
    scores = np.vstack([np.eye(4), -np.eye(4)])
    table = repeated_measures_anova(
        pd.DataFrame(scores, columns=crossed(a=list("0123"))), {"a": list("0123")}
    )
    assert table["epsilon_greenhouse_geisser"][0] == pytest.approx(1)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([[1.0, 2.0]], "fewer than two examples"),
        ([[1.0, 2.0], [np.nan, 3.0]], "1 of 2 examples"),
        ([[1.0, 2.0], [3.1, 4.1]], "no error term"),
    ],
)
def test_undefined_anova_is_nan_with_a_reason(values, reason):
    table = repeated_measures_anova(pd.DataFrame(values, columns=crossed(a=["0", "1"])), {"a": ["0", "1"]})
    assert math.isnan(table["f"][0])
    assert math.isnan(table["p"][0])
    assert reason in table["reason"][0]


def test_anova_of_an_incomplete_crossing_is_refused():
    with pytest.raises(ValueError, match="0 cells cross"):
        repeated_measures_anova(wide(crossed(a=["0"]), 3, 1), {"a": ["0", "1"]})


# Strata, trends and seeds.


def test_published_length_bins():
    strata = length_strata(pd.Series([1, 2, 3, 5, 6, 10, 11, 20, 21, 400]))
    assert (
        strata.astype(str).tolist() == ["1-2"] * 2 + ["3-5"] * 2 + ["6-10"] * 2 + ["11-20"] * 2 + ["21+"] * 2
    )
    assert length_strata(pd.Series([5, 6]), (1, 6)).astype(str).tolist() == ["1-5", "6+"]


def test_quantile_strata_are_equal_in_size_and_ordered():
    values = pd.Series(np.random.default_rng(2).gamma(1, 1, 53))
    strata = quantile_strata(values)
    sizes = strata.value_counts()
    assert sizes.sum() == 53
    assert sizes.max() - sizes.min() <= 1
    highest = values.groupby(strata, observed=True).max()
    lowest = values.groupby(strata, observed=True).min()
    assert (highest.to_numpy()[:-1] < lowest.to_numpy()[1:]).all()


def test_ties_are_shared_out_over_quantile_strata():
    assert quantile_strata(pd.Series([1.0] * 10)).value_counts().tolist() == [2] * 5


def test_the_interval_of_a_slope_is_statsmodels_hc3_with_its_factors():
    generator = np.random.default_rng(5)
    step = np.repeat(np.arange(4.0), 10)
    values = 0.2 * step + generator.gamma(1, 1, 40)
    strata = pd.Series(pd.Categorical.from_codes(step.astype(int), categories=list("abcd"), ordered=True))
    trend = trend_test(pd.Series(values), strata, Inference(seed=6, resamples=299))
    fit = statsmodels.OLS(values, statsmodels.add_constant(step)).fit()
    # Influences: what each example moves the slope by when it is left out (Cook and Weisberg 1982, section 2.2).
    influences = 40 * fit.get_influence().dfbeta[:, 1]
    error = influences.std(ddof=1) / math.sqrt(40)
    assert error == pytest.approx(fit.HC3_se[1], rel=0.03)
    asymmetry = stats.skew(influences) / math.sqrt(40)
    below, above = (float(length_factor(np.array(sign * asymmetry), 40)) for sign in (-1, 1))
    reach = stats.t.ppf(0.975, 39) * error
    assert trend.slope == pytest.approx(fit.params[1])
    assert abs(trend.slope - trend.low) == pytest.approx(below * reach, rel=1e-6)
    assert abs(trend.high - trend.slope) == pytest.approx(above * reach, rel=1e-6)


def test_strata_table_is_the_table_of_each_stratum():
    values = pd.Series(np.random.default_rng(3).normal(0.2, 1, 60))
    strata = length_strata(pd.Series(np.arange(60) % 12 + 1), (1, 6, 11))
    table = strata_table(values, strata, Inference(seed=4, resamples=199))
    assert table["stratum"].tolist() == ["1-5", "6-10", "11+"]
    for label, row in table.set_index("stratum").iterrows():
        own = values[strata.astype(str) == label]
        assert row["n"] == len(own)
        assert row["p_t"] == pytest.approx(stats.ttest_1samp(own, 0).pvalue, rel=1e-9)


def test_strata_must_name_every_example():
    with pytest.raises(ValueError, match="no entry for 1 examples"):
        strata_table(pd.Series([1.0, 2.0]), length_strata(pd.Series([1])), Inference(seed=1))


def test_trend_slope_is_least_squares_and_two_strata_are_a_difference():
    generator = np.random.default_rng(5)
    step = generator.integers(0, 4, 80)
    values = pd.Series(0.3 * step + generator.normal(0, 1, 80))
    strata = pd.Series(pd.Categorical.from_codes(step, categories=list("pqrs"), ordered=True))
    trend = trend_test(values, strata, Inference(seed=2, resamples=499))
    assert trend.slope == pytest.approx(stats.linregress(step, values).slope)
    assert trend.low < trend.slope < trend.high
    assert trend.p < 0.05
    assert trend.strata == 4
    two = trend_test(values, strata.where(strata.isin(["p", "s"])), Inference(seed=2, resamples=99))
    assert two.slope == pytest.approx(values[step == 3].mean() - values[step == 0].mean())
    assert two.n == ((step == 0) | (step == 3)).sum()


def test_trend_p_of_two_strata_equals_a_permuted_welch_test():
    generator = np.random.default_rng(6)
    values = generator.normal(0, 1, 9)
    group = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1])
    values[group == 1] += 1.5
    strata = pd.Series(pd.Categorical.from_codes(group, categories=["a", "b"], ordered=True))
    inference = Inference(seed=3, resamples=8000)
    x, y = group - group.mean(), values - values.mean()
    permuted = _permuted_p(x, y[:, None], x[:, None], inference)[0]

    def statistic(chosen: tuple[int, ...]) -> float:
        moved = np.where(np.isin(np.arange(9), chosen), 1, 0) - group.mean()
        return abs((moved * y).sum()) / math.sqrt((moved**2 * y**2).sum())

    observed = abs((x * y).sum()) / math.sqrt((x**2 * y**2).sum())
    exact = np.mean([statistic(chosen) >= observed - 1e-9 for chosen in itertools.combinations(range(9), 3)])
    assert permuted == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 8000))
    # Nine examples bear no tails: the p that allows for them is the larger one, and it is the trend's.
    trend = trend_test(pd.Series(values), strata, inference)
    assert trend.p > permuted
    assert trend.p > 0.05


@pytest.mark.parametrize(
    ("values", "codes", "reason"),
    [
        ([1.0, 2.0, 3.0], [0, 0, 0], "fewer than two strata"),
        ([1.0, 1.0, 1.0], [0, 1, 1], "all values are equal"),
        ([1.0, np.nan, 2.0], [0, 1, 1], "1 of 3 examples"),
    ],
)
def test_undefined_trends_are_nan_with_a_reason(values, codes, reason):
    strata = pd.Series(pd.Categorical.from_codes(codes, categories=["a", "b"], ordered=True))
    trend = trend_test(pd.Series(values), strata, Inference(seed=1, resamples=99))
    assert math.isnan(trend.slope)
    assert math.isnan(trend.p)
    assert reason in trend.reason


def test_seeds_within_examples():
    generator = np.random.default_rng(7)
    examples, seeds = 400, 4
    values = pd.DataFrame(generator.normal(0.1, 1, (examples, 1)) + generator.normal(0, 2, (examples, seeds)))
    found = seed_effect(values, Inference(seed=1, resamples=999))
    assert found.effect.n == examples * seeds
    assert found.effect.clusters == examples
    assert found.effect.mean_difference == pytest.approx(values.to_numpy().mean())
    # The interval is that of the examples' own means.
    own = paired_effect(values.mean(axis=1), np.zeros(examples), Inference(seed=1, resamples=9))
    assert (found.effect.low, found.effect.high) == pytest.approx((own.low, own.high))
    assert found.seed_mean_low == pytest.approx(values.mean().min())
    assert found.seed_mean_high == pytest.approx(values.mean().max())
    # Variance 4 between seeds of an example, 1 between examples.
    assert found.within_share == pytest.approx(0.8, abs=0.05)
    row = found.as_row()
    assert row["seeds"] == seeds
    assert row["mean_difference"] == found.effect.mean_difference


def test_seeds_that_agree_exactly_have_no_share_within():
    values = pd.DataFrame(np.repeat(np.random.default_rng(1).normal(0, 1, (30, 1)), 3, axis=1))
    found = seed_effect(values, Inference(seed=1, resamples=99))
    assert found.within_share == pytest.approx(0)
    assert found.seed_mean_sd == pytest.approx(0)


def test_the_factors_of_a_contrast_are_those_whose_ends_turn_its_sign():
    cells = [
        f"prefix={prefix}|hidden={hidden}|prompt={prompt}"
        for prefix in ("none", "oracle")
        for hidden in ("bos", "none")
        for prompt in ("none", "random", "query")
    ]
    prefix, prompt = {"prefix": ("none", "oracle")}, {"prompt": ("none", "query")}
    simple = factor_contrast(cells, prompt, family="f", at={"prefix": "oracle", "hidden": "bos"})
    assert factor_steps(simple) == prompt
    # Averaged over what is hidden, which turns no sign.
    assert factor_steps(factor_contrast(cells, prefix, family="f")) == prefix
    both = factor_contrast(cells, {**prefix, **prompt}, family="f")
    assert factor_steps(both) == {**prefix, **prompt}
    # Levels of one factor read as two properties, or cells of other names, are no crossing of factors.
    assert factor_steps(Contrast("f", "f", {"p=a": 1, "p=b": -1, "p=c": -1, "p=d": 1}, order=2)) == {}
    assert factor_steps(comparison("bare", "oracle", "f")) == {}


def test_splits_of_interactions_name_what_differs_between_what():
    names = [
        f"prefix={prefix}|prompt={prompt}" for prefix in ("none", "oracle") for prompt in ("none", "query")
    ]
    ends = {"prefix": ("none", "oracle"), "prompt": ("none", "query")}
    likelihood = records(names)
    interaction = factor_contrast(names, ends, family="f")
    simple = comparison(names[0], names[1], "f")
    split = decompositions(
        likelihood, [(interaction, [interaction]), (simple, [simple])], Inference(seed=1, resamples=99)
    )
    assert split["order"].tolist() == [2, 2, 1, 1]
    named = split[["effect_of", "at_baseline", "at_treatment"]].to_numpy().tolist()
    assert named[:2] == [["prefix none→oracle", "prompt=none", "prompt=query"]] * 2
    assert named[2:] == [["", "", ""]] * 2
    wide = likelihood.pivot(index="example", columns="cell", values="nll").mean()
    effects = [
        wide[f"prefix=none|prompt={end}"] - wide[f"prefix=oracle|prompt={end}"] for end in ("none", "query")
    ]
    assert split["mean_difference"].iloc[0] == pytest.approx(effects[0] - effects[1])


def test_a_ratio_over_a_denominator_that_is_too_small_to_matter_is_withheld():
    generator = np.random.default_rng(21)
    bottom = 0.04 + generator.normal(0, 0.05, 600)
    relative = Inference(seed=1, smallest_difference=0.05, smallest_relative=True)
    found = ratio_of_means(2 * bottom + 0.01, bottom, relative, reference=1.0)
    assert found.denominator_low > 0
    assert math.isnan(found.ratio)
    assert "is smaller than the smallest difference that matters, 0.05" in found.reason
    # 5 % of a baseline of .5 are less than it.
    assert ratio_of_means(2 * bottom + 0.01, bottom, relative, reference=0.5).ratio == pytest.approx(
        2 + 0.01 / bottom.mean()
    )
    assert ratio_of_means(2 * bottom + 0.01, bottom, relative).ratio > 2


def test_an_interaction_is_told_by_what_each_did_alone_and_both():
    """Two treatments that hurt alone (+1 each) and more together (+3) do not do less than the sum."""
    names = crossed(a=["none", "on"], b=["none", "on"])
    rises = dict(zip(names, (0.0, 1.0, 1.0, 3.0), strict=True))
    noise = np.random.default_rng(4).normal(0, 0.05, (200, 4))
    contrast = factor_contrast(names, {"a": ("none", "on"), "b": ("none", "on")}, family="f")

    def told(changes: dict[str, float]) -> tuple[str, str, tuple[float, ...]]:
        cells = {name: 5 + changes[name] + noise[:, place] for place, name in enumerate(names)}
        table = effects_table(long(pd.DataFrame(cells)), [contrast], Inference(seed=1, resamples=9))
        (found,) = findings(table)
        parts = (found.first_alone, found.second_alone, found.both)
        assert parts[0] + parts[1] - parts[2] == pytest.approx(found.estimate)
        assert (found.first, found.second) == ("a=on", "b=on")
        return found.verdict, sentence(found), parts

    word, words, parts = told(rises)
    assert word == "super-additive"
    assert parts == pytest.approx((-1, -1, -3), abs=0.02)
    assert re.match(
        r"a=on alone \+(1|0\.99\d*|1\.0\d*) nats, b=on alone \+(1|0\.99\d*|1\.0\d*), both \+(3|2\.99|3\.0\d*):",
        words,
    )
    assert "together they hurt more than the sum of each alone" in words
    word, words, _ = told({name: -value for name, value in rises.items()})
    assert word == "super-additive"
    assert "together they help more than the sum of each alone" in words
    word, words, _ = told(dict(zip(names, (0.0, 1.0, 1.0, 1.2), strict=True)))
    assert word == "sub-additive"
    assert "together they hurt less than the sum of each alone" in words
    word, words, _ = told(dict(zip(names, (0.0, 1.0, -1.0, 0.5), strict=True)))
    assert word == "together worse than the sum"
    assert "together they are worse than the sum of each alone" in words
