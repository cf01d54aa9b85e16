"""The tables that every run gets from its records, against hand arithmetic, scipy and statsmodels."""

from __future__ import annotations

import itertools
import json
import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.anova import AnovaRM

from analyses.analysis import analysis_of
from analyses.effects import effects_table
from analyses.finishing import MOST_PRINTED, first_rows, tables_of
from analyses.statistics.budget_arrays import read_arrays
from analyses.statistics.contrasts import Contrast, comparison, factor_contrast
from analyses.statistics.crossings import contrasts_by_draw, full_crossings, without_draw
from analyses.statistics.ratios import decomposition, decompositions
from analyses.statistics.strata import range_strata, trend_test, trend_tests
from analyses.statistics.verdicts import SLOPE, no_effect_within, rule, verdict
from analyses.tables.attention_presentation import (
    band_table,
    entropy_tables,
    head_table,
    runs,
    share_tables,
    shown_layers,
)
from analyses.tables.captions import Captions
from analyses.tables.presentation import Table, effects_presentation
from analyses.tables.run_statistics import (
    BASELINE_NLL,
    MEAN_NLL,
    REGRESSION,
    anova_table,
    seeds_table,
    shared_documents,
    strata_tables,
)
from analyses.tables.strata_presentation import strata_presented
from tests.test_table_scale import write_run


def cells_of(*names: str) -> dict[str, dict[str, str]]:
    return {name: dict(part.split("=") for part in name.split("|")) for name in names}


def crossed(**factors: tuple[str, ...]) -> list[str]:
    return [
        "|".join(f"{factor}={level}" for factor, level in zip(factors, levels, strict=True))
        for levels in itertools.product(*factors.values())
    ]


def records(cells, n: int = 30, seed: int = 1, effect: float = 0.0) -> pd.DataFrame:
    """Likelihood records: a base per example, noise per cell, every later cell lower by `effect`."""
    generator = np.random.default_rng(seed)
    base = generator.gamma(2, 1, n)
    frames = []
    for number, cell in enumerate(cells):
        nll = base + generator.normal(0, 0.3, n) - effect * number
        keys = {"example": [f"e{i:03d}" for i in range(n)], "cell": cell}
        frames.append(pd.DataFrame({**keys, "answer_tokens": 2 + np.arange(n) % 7, "nll": nll}))
    return pd.concat(frames, ignore_index=True)


def facts(n: int = 30) -> pd.DataFrame:
    """One row per example of the trials records."""
    return pd.DataFrame(
        {
            "example": [f"e{i:03d}" for i in range(n)],
            "answer_words": 1 + np.arange(n) % 25,
            "document_words": 40 + 3 * np.arange(n),
        }
    )


# Crossings


def test_extra_cells_are_left_out_of_the_crossing():
    cells = cells_of(
        *crossed(prefix=("none", "oracle"), prompt=("none", "query")), "prefix=none|prompt=position"
    )
    first, second = full_crossings(cells)
    assert first.factors == {"prefix": ("none", "oracle"), "prompt": ("none", "query")}
    assert len(first.cells) == 4
    # The control joins the one-factor crossing of the bare encoder, which no larger crossing holds.
    assert second.factors == {"prompt": ("none", "query", "position")}
    assert second.held == {"prefix": "none"}


def test_draws_are_one_level():
    cells = cells_of(
        "prefix=none|prompt=none", *(f"prefix=random{draw}|prompt=none" for draw in ("", "#1", "#2", "@-1"))
    )
    (crossing,) = full_crossings(cells)
    assert crossing.factors == {"prefix": ("none", "random")}
    assert len(crossing.cells["prefix=random"]) == 4
    assert without_draw("wrong_keywords@1:5") == ("wrong_keywords:5", "@1")
    assert without_draw("pool#2") == ("pool", "#2")
    assert without_draw("20-33") == ("20-33", "")


def test_crossings_within_a_larger_one_are_not_told_again():
    names = crossed(prefix=("none", "oracle"), hidden=("none",), prompt=("none", "random", "query"))
    (crossing,) = full_crossings(cells_of(*names))
    assert crossing.factors == {"prefix": ("none", "oracle"), "prompt": ("none", "random", "query")}
    assert crossing.held == {"hidden": "none"}


def test_designs_without_a_crossing_have_none():
    assert full_crossings({}) == []
    assert full_crossings(cells_of("prefix=none|prompt=none")) == []
    assert full_crossings(cells_of("prefix=a|prompt=b", "prefix=c|prompt=d")) == []


def test_large_designs_are_peeled_to_a_full_crossing():
    factors = {"one": tuple("abcdefghijkl"), "two": tuple("abcdefghijkl"), "three": tuple("uvwxyz")}
    names = [name for name in crossed(**factors) if name != "one=c|two=d|three=y"]
    (crossing,) = full_crossings(cells_of(*names))
    assert len(crossing.cells) == 11 * 12 * 6
    assert all(own[0] in names for own in crossing.cells.values())


# Analysis of variance


def test_anova_of_a_run_equals_statsmodels():
    names = crossed(prefix=("none", "oracle"), prompt=("none", "random", "query"))
    likelihood = records([*names, "prefix=none|prompt=position"])
    table = anova_table(likelihood, cells_of(*names, "prefix=none|prompt=position"))
    own = likelihood[likelihood["cell"].isin(names)]
    levels = own["cell"].str.extract(r"prefix=(?P<prefix>\w+)\|prompt=(?P<prompt>\w+)")
    theirs = AnovaRM(own.join(levels), "nll", "example", within=["prefix", "prompt"]).fit().anova_table
    ours = table[table["crossing"] == "prefix (2) × prompt (3)"].set_index("effect")
    assert ours["f"].tolist() == pytest.approx(theirs["F Value"].tolist())
    assert ours["cells_left_out"].tolist() == [1, 1, 1]
    # Holm by hand: sorted p times 3, 2, 1, never falling.
    p = np.sort(ours["p_greenhouse_geisser"].to_numpy())
    assert np.sort(ours["p_holm"]) == pytest.approx(np.minimum(np.maximum.accumulate(p * [3, 2, 1]), 1))


def test_anova_averages_draws_and_documents():
    names = ["p=none", "p=random", "p=random#1"]
    likelihood = records(names, n=20)
    wide = likelihood.pivot(index="example", columns="cell", values="nll")
    drawn = wide[["p=random", "p=random#1"]].mean(axis=1)
    row = anova_table(likelihood, cells_of(*names)).iloc[0]
    assert row["f"] == pytest.approx(stats.ttest_rel(wide["p=none"], drawn).statistic ** 2)
    clusters = pd.Series(np.arange(20) // 2, index=wide.index)
    row = anova_table(likelihood, cells_of(*names), clusters=clusters).iloc[0]
    difference = (wide["p=none"] - drawn).groupby(clusters).mean()
    assert row["n"] == 10
    assert row["f"] == pytest.approx(stats.ttest_1samp(difference, 0).statistic ** 2)
    # A draw that is missing is not left out of the mean of the draws.
    likelihood.loc[likelihood["cell"].eq("p=random#1") & likelihood["example"].eq("e003"), "nll"] = np.nan
    row = anova_table(likelihood, cells_of(*names)).iloc[0]
    assert math.isnan(row["f"])
    assert "1 of 20 examples are NaN" in row["reason"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda nll: np.where(np.arange(nll.size) == 3, np.nan, nll), "NaN or infinite"),
        (lambda nll: np.where(np.arange(nll.size) == 3, np.inf, nll), "NaN or infinite"),
        (lambda nll: np.full(nll.size, 0.5), "no error term"),
    ],
)
def test_an_undefined_anova_says_why(change, reason):
    likelihood = records(["p=none", "p=oracle"], n=8)
    likelihood["nll"] = change(likelihood["nll"].to_numpy())
    row = anova_table(likelihood, cells_of("p=none", "p=oracle")).iloc[0]
    assert math.isnan(row["f"])
    assert math.isnan(row["p_holm"])
    assert reason in row["reason"]


def test_anova_of_one_example_is_undefined_and_unpaired_examples_are_named():
    likelihood = records(["p=none", "p=oracle"], n=1)
    row = anova_table(likelihood, cells_of("p=none", "p=oracle")).iloc[0]
    assert math.isnan(row["p"])
    assert "fewer than two" in row["reason"]
    unpaired = records(["p=none", "p=oracle"], n=6).iloc[:-1]
    row = anova_table(unpaired, cells_of("p=none", "p=oracle")).iloc[0]
    assert "1 of 6 examples are NaN" in row["reason"]


# Strata

SETTINGS = {"seed": 3, "smallest_effect": 0.05}


def test_strata_are_the_published_bins_and_their_means_are_by_hand():
    likelihood = records(["p=none", "p=oracle"], effect=0.4)
    strata, trends = strata_tables(likelihood, facts(), [comparison("p=none", "p=oracle", "f")], **SETTINGS)
    wide = likelihood.pivot(index="example", columns="cell", values="nll")
    difference = (wide["p=none"] - wide["p=oracle"]).to_numpy()
    words = facts()["answer_words"].to_numpy()
    own = strata[strata["by"] == "answer length (words)"].set_index("stratum")
    assert list(own.index) == ["1-2", "3-5", "6-10", "11-20", "21+"]
    for label, (low, high) in {"1-2": (1, 2), "3-5": (3, 5), "11-20": (11, 20)}.items():
        members = (words >= low) & (words <= high)
        assert own.loc[label, "n"] == members.sum()
        assert own.loc[label, "mean_difference"] == pytest.approx(difference[members].mean())
    position = np.searchsorted([3, 6, 11, 21], words, side="right").astype(float)
    trend = trends[trends["by"] == "answer length (words)"].iloc[0]
    design = np.column_stack([np.ones(30), position])
    assert trend["slope"] == pytest.approx(OLS(difference, design).fit().params[1])
    by_document = strata[strata["by"] == "document length (words)"]
    assert by_document["stratum"].tolist() == ["40-55", "58-73", "76-91", "94-109", "112-127"]
    assert by_document["n"].tolist() == [6] * 5


def test_strata_stand_beside_each_other_with_their_trend():
    likelihood = records(["p=none", "p=oracle", "p=random"], n=60, effect=0.4)
    contrasts = [comparison("p=none", f"p={prefix}", "f") for prefix in ("oracle", "random")]
    strata, trends = strata_tables(likelihood, facts(60), contrasts, **SETTINGS)
    presented = dict(strata_presented(strata, trends, seed=3, correction="holm"))
    assert set(presented) == {
        f"strata_{kind}" for kind in ("answer_length", "document_length", "baseline", "mean")
    }
    shown = presented["strata_answer_length"].frame.set_index("contrast")
    wide = likelihood.pivot(index="example", columns="cell", values="nll")
    words = facts(60)["answer_words"].to_numpy()
    members = (words >= 6) & (words <= 10)
    own = trends[trends["by"] == "answer length (words)"].set_index("contrast")
    for prefix in ("oracle", "random"):
        row = shown.loc[f"p=none → p={prefix}"]
        difference = (wide["p=none"] - wide[f"p={prefix}"]).to_numpy()
        text = row[f"6-10 (n {members.sum()})"]
        assert float(text.split(" [")[0]) == pytest.approx(difference[members].mean(), abs=0.006)
        assert row["slope"] == own.loc[row.name, "slope"]
        assert row["p_holm"] == own.loc[row.name, "p_holm"]
    assert own["p_holm"].tolist() != own["p"].tolist()
    slopes = presented["strata_document_length"].frame["slope"].tolist()
    assert slopes == trends[trends["by"] == "document length (words)"]["slope"].tolist()
    assert "trends of 2 headline contrasts over answer length" in presented["strata_answer_length"].caption
    # Every caution of strata and trend once, none about columns that are not shown.
    shown = presented["strata_baseline"].frame
    for row, found in zip(shown.itertuples(), trends[trends["by"] == BASELINE_NLL].itertuples(), strict=True):
        strata_of = strata[(strata["by"] == BASELINE_NLL) & (strata["contrast"] == row.contrast)]
        expected = {
            part for own in [*strata_of["caution"], found.caution] for part in own.split("; ") if part
        }
        assert set(row.caution.split("; ")) == expected
        assert row.caution.count("regression to the mean") == 1


def test_cautions_of_the_trend_alone_and_of_hidden_columns():
    likelihood = records(["p=none", "p=oracle"], n=40, effect=0.2)
    strata, trends = strata_tables(likelihood, facts(40), [comparison("p=none", "p=oracle", "f")], **SETTINGS)
    strata["caution"], strata["reason"] = "", "Wilcoxon p withheld; odd"
    trends["caution"], trends["reason"] = "only the trend", ""
    for table in dict(strata_presented(strata, trends, seed=3, correction="holm")).values():
        assert table.frame["caution"].tolist() == ["only the trend"]
        assert table.frame["reason"].tolist() == ["odd"]


def test_hardness_is_the_baseline_s_own_nll_and_says_what_that_does():
    # No effect at all: two noisy readings of one difficulty.
    likelihood = records(["p=none", "p=other"], n=400)
    strata, trends = strata_tables(likelihood, facts(400), [comparison("p=none", "p=other", "f")], **SETTINGS)
    wide = likelihood.pivot(index="example", columns="cell", values="nll")
    hardest = wide["p=none"].nlargest(80).index
    difference = wide["p=none"] - wide["p=other"]
    own = strata[strata["by"] == BASELINE_NLL].set_index("stratum")
    assert own.loc["5 of 5", "mean_difference"] == pytest.approx(difference[hardest].mean())
    assert own["caution"].str.contains("regression to the mean").all()
    trends = trends.set_index("by")
    assert REGRESSION in trends.loc[BASELINE_NLL, "caution"]
    assert trends.loc[BASELINE_NLL, "p"] < 0.01
    assert trends.loc[MEAN_NLL, "p"] > 0.05
    assert "regression" not in trends.loc[MEAN_NLL, "caution"]


def test_families_of_strata_and_trends():
    likelihood = records(["p=none", "p=oracle", "p=random"], n=60, effect=0.1)
    contrasts = [comparison("p=none", f"p={prefix}", "f") for prefix in ("oracle", "random")]
    strata, trends = strata_tables(likelihood, facts(60), contrasts, **SETTINGS)
    assert strata.groupby("family").size().tolist() == [5] * 8
    for _, own in strata.groupby("family"):
        p = own["p_sign_flip"].sort_values().to_numpy()
        holm = np.minimum(np.maximum.accumulate(p * np.arange(5, 0, -1)), 1)
        assert own["p_holm"].sort_values().to_numpy() == pytest.approx(holm)
    assert trends.groupby("family").size().tolist() == [2] * 4
    for _, own in trends.groupby("family"):
        low, high = np.sort(own["p"])
        assert np.sort(own["p_holm"]) == pytest.approx([min(1, 2 * low), min(1, max(2 * low, high))])
    assert strata_tables(likelihood, facts(60), [], **SETTINGS)[0].empty


def test_strata_of_interactions_and_of_shared_documents():
    names = crossed(prefix=("none", "oracle"), prompt=("none", "query"))
    likelihood = records(names, n=50)
    # Together they save 3 nats less than the sum of each alone.
    likelihood["nll"] += 3.0 * likelihood["cell"].eq(names[3])
    contrast = factor_contrast(names, {"prefix": ("none", "oracle"), "prompt": ("none", "query")}, family="f")
    documents = pd.Series(np.arange(50) // 2, index=sorted(set(likelihood["example"])))
    strata, trends = strata_tables(likelihood, facts(50), [contrast], clusters=documents, **SETTINGS)
    own = strata[strata["by"] == "document length (words)"]
    assert (own["order"] == 2).all()
    assert (own["n"] == 10).all()
    assert (own["clusters"] == 5).all()
    found = strata_tables(likelihood, facts(50), [contrast], **SETTINGS)[0]
    found = found[found["by"] == "document length (words)"]
    assert (found["verdict"] == "sub-additive").all()
    assert trends["caution"].str.contains("examples share documents").all()


def test_trends_of_shared_documents_are_trends_of_their_means():
    generator = np.random.default_rng(3)
    examples = [f"e{number:02d}" for number in range(40)]
    values = pd.Series(generator.normal(size=40), index=examples)
    strata = pd.Series(pd.Categorical(generator.integers(0, 4, 40), ordered=True), index=examples)
    documents = pd.Series(np.arange(40) % 10, index=examples)
    found = trend_tests([(values, strata)], seed=1, clusters=documents)[0]
    means = pd.DataFrame({"x": strata.astype(float), "y": values}).groupby(documents).mean()
    fit = stats.linregress(means["x"], means["y"])
    assert found.n == 10
    assert found.slope == pytest.approx(fit.slope)
    assert found.p == pytest.approx(fit.pvalue, abs=0.1)
    # A document that is only repeated adds no evidence.
    twice = pd.concat([values, values.rename(lambda name: f"{name}b")])
    doubled = pd.concat([strata, strata.rename(lambda name: f"{name}b")])
    owners = pd.Series([*examples, *examples], index=twice.index)
    once = trend_tests([(values.sort_index(), strata)], seed=1)[0]
    again = trend_tests([(twice, doubled)], seed=1, clusters=owners)[0]
    assert (again.slope, again.p, again.low) == pytest.approx((once.slope, once.p, once.low))


def test_records_without_words_give_strata_of_tokens():
    trials = facts().drop(columns=["answer_words", "document_words"]).assign(document_tokens=100)
    strata, trends = strata_tables(
        records(["p=none", "p=oracle"]), trials, [comparison("p=none", "p=oracle", "f")], **SETTINGS
    )
    assert set(strata["by"]) >= {"answer length (tokens)", "document length (tokens)"}
    documents = trends[trends["by"] == "document length (tokens)"].iloc[0]
    assert math.isnan(documents["slope"])
    assert "fewer than two strata" in documents["reason"]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_strata_of_undefined_values_are_undefined_and_the_others_stay(value):
    likelihood = records(["p=none", "p=oracle"])
    likelihood.loc[likelihood["example"].eq("e000") & likelihood["cell"].eq("p=oracle"), "nll"] = value
    strata, trends = strata_tables(likelihood, facts(), [comparison("p=none", "p=oracle", "f")], **SETTINGS)
    own = strata[strata["by"] == "answer length (words)"].set_index("stratum")
    assert math.isnan(own.loc["1-2", "mean_difference"])
    assert "NaN or infinite" in own.loc["1-2", "reason"]
    assert own.loc["1-2", "verdict"] == "undecided"
    assert np.isfinite(own.loc["6-10", "low"])
    trend = trends[trends["by"] == "answer length (words)"].iloc[0]
    assert math.isnan(trend["p"])
    assert "NaN or infinite" in trend["reason"]


def test_one_example_and_equal_values_have_no_strata_to_test():
    for n, nll in ((1, None), (12, 0.5)):
        likelihood = records(["p=none", "p=oracle"], n=n)
        if nll is not None:
            likelihood["nll"] = nll
        strata, trends = strata_tables(
            likelihood, facts(n), [comparison("p=none", "p=oracle", "f")], **SETTINGS
        )
        assert strata["low"].isna().all()
        assert (strata["reason"] != "").all()
        assert trends["p"].isna().all()
        assert (trends["reason"] != "").all()


def test_equal_lengths_stay_in_one_stratum():
    lengths = pd.Series([5] * 10 + [6, 7, 8, 9, 10], index=range(15))
    strata = range_strata(lengths)
    assert strata[lengths == 5].nunique() == 1
    assert strata.notna().all()
    assert list(range_strata(pd.Series([4.0, 4.0, np.nan])).cat.categories) == ["4"]


def test_trends_together_equal_trends_alone():
    generator = np.random.default_rng(2)
    strata = pd.Series(np.arange(60) % 4)
    other = pd.Series(generator.permutation(strata.to_numpy()))
    values = [pd.Series(generator.gamma(1, 1, 60)) for _ in range(3)]
    pairs = [(values[0], strata), (values[1], other), (values[2] * np.nan, strata)]
    together = trend_tests(pairs, seed=1, resamples=199, permutations=199)
    for found, pair in zip(together, pairs, strict=True):
        alone = trend_test(*pair, seed=1, resamples=199, permutations=199)
        assert found.slope == pytest.approx(alone.slope, nan_ok=True)
        assert found.low == pytest.approx(alone.low, nan_ok=True)
        assert found.p == pytest.approx(alone.p, nan_ok=True)


# Seeds


def seeded(n: int = 25) -> tuple[pd.DataFrame, dict[str, dict[str, str]]]:
    names = ["p=none", "p=random", "p=random#1", "p=random#2", "p=oracle"]
    return records(names, n=n, effect=0.1), cells_of(*names)


def test_seeds_are_pooled_by_example():
    likelihood, cells = seeded()
    contrasts = [comparison("p=none", "p=random", "f"), comparison("p=none", "p=oracle", "f")]
    table = seeds_table(likelihood, cells, contrasts, **SETTINGS)
    assert table["contrast"].tolist() == ["p=none → p=random"]
    wide = likelihood.pivot(index="example", columns="cell", values="nll")
    differences = pd.DataFrame({draw: wide["p=none"] - wide[draw] for draw in list(cells)[1:4]})
    row = table.iloc[0]
    assert (row["seeds"], row["clusters"], row["n"]) == (3, 25, 75)
    assert row["mean_difference"] == pytest.approx(differences.to_numpy().mean())
    assert row["seed_mean_low"] == pytest.approx(differences.mean().min())
    assert row["seed_mean_high"] == pytest.approx(differences.mean().max())
    assert row["seed_mean_sd"] == pytest.approx(differences.mean().std(ddof=1))
    # statsmodels: ordinary least squares on a constant, errors clustered by example.
    flat = differences.to_numpy().ravel()
    fitted = OLS(flat, np.ones(75)).fit(cov_type="cluster", cov_kwds={"groups": np.repeat(np.arange(25), 3)})
    assert row["p_t"] == pytest.approx(2 * stats.t.sf(abs(fitted.tvalues[0]), 24), rel=1e-9)
    documents = pd.Series(np.arange(25) // 2, index=wide.index)
    row = seeds_table(likelihood, cells, contrasts[:1], clusters=documents, **SETTINGS).iloc[0]
    assert (row["seeds"], row["clusters"], row["n"]) == (3, 13, 75)


def test_contrasts_that_average_over_draws_are_taken_apart():
    _, cells = seeded()
    mean = Contrast("mean", "f", {"p=none": 1.0, "p=random": -0.5, "p=random#1": -0.25, "p=random#2": -0.25})
    ((contrast, by_draw),) = contrasts_by_draw(cells, [mean, comparison("p=none", "p=random", "g")])
    assert contrast is mean
    assert {draw: dict(own.weights) for draw, own in by_draw.items()} == {
        "": {"p=none": 1.0, "p=random": -1.0},
        "#1": {"p=none": 1.0, "p=random#1": -1.0},
        "#2": {"p=none": 1.0, "p=random#2": -1.0},
    }


def test_an_interaction_takes_the_same_draw_on_both_sides():
    names = crossed(prefix=("none", "oracle"), prompt=("none", "random", "random#1"))
    cells = cells_of(*names)
    interaction = factor_contrast(
        cells, {"prefix": ("none", "oracle"), "prompt": ("none", "random")}, family="f", name="i"
    )
    ((_, by_draw),) = contrasts_by_draw(cells, [interaction])
    assert set(by_draw["#1"].weights) == {
        "prefix=none|prompt=none",
        "prefix=oracle|prompt=none",
        "prefix=none|prompt=random#1",
        "prefix=oracle|prompt=random#1",
    }
    assert by_draw["#1"].effect_order == 2


def test_only_draws_that_every_cell_has_are_pooled():
    def by_draw(*treated: str) -> list[dict[str, Contrast]]:
        names = ["prefix=none|prompt=none", "prefix=oracle|prompt=none", *treated]
        cells = cells_of(*names)
        plain = [names[0], names[1], treated[0], next(name for name in treated if "oracle" in name)]
        weights = dict(zip(plain, (1.0, -1.0, -1.0, 1.0), strict=True))
        return [found for _, found in contrasts_by_draw(cells, [Contrast("i", "f", weights)])]

    bare = [f"prefix=none|prompt=random{draw}" for draw in ("", "#1", "#2")]
    (found,) = by_draw(*bare, "prefix=oracle|prompt=random", "prefix=oracle|prompt=random#1")
    assert set(found) == {"", "#1"}
    assert by_draw(*bare, "prefix=oracle|prompt=random", "prefix=oracle|prompt=random#3") == []


def test_draws_of_two_factors_that_differ_are_no_draw():
    names = ["p=none|q=none", "p=random|q=random", "p=random#1|q=random#1", "p=random#1|q=random#2"]
    ((_, found),) = contrasts_by_draw(cells_of(*names), [comparison(names[0], names[1], "f")])
    assert {draw: own.treatment for draw, own in found.items()} == {"": names[1], "#1": names[2]}


def test_runs_of_one_draw_have_no_table_of_seeds():
    likelihood = records(["p=none", "p=random"])
    assert seeds_table(
        likelihood, cells_of("p=none", "p=random"), [comparison("p=none", "p=random", "f")], **SETTINGS
    ).empty


@pytest.mark.parametrize(
    ("n", "value", "reason"),
    [(1, None, "one"), (9, 0.5, "equal"), (9, np.nan, "NaN or infinite"), (9, np.inf, "NaN or infinite")],
)
def test_undefined_seeds_say_why(n, value, reason):
    likelihood, cells = seeded(n)
    if value is not None:
        likelihood["nll"] = value
    row = seeds_table(likelihood, cells, [comparison("p=none", "p=random", "f")], **SETTINGS).iloc[0]
    assert math.isnan(row["low"])
    assert math.isnan(row["p_sign_flip"])
    assert row["verdict"] == "undecided"
    assert reason in row["reason"]


# Documents that examples share


def test_documents_are_shared_only_where_some_are():
    trials = pd.DataFrame({"example": list("aabbcc"), "cell": list("xyxyxy"), "document": list("112233")})
    assert shared_documents(trials) is None
    assert shared_documents(trials.drop(columns="document")) is None
    shared = shared_documents(trials.assign(document=list("112211")))
    assert shared is not None
    assert shared.to_dict() == {"a": "1", "b": "2", "c": "1"}


def test_splits_of_shared_documents_resample_documents():
    likelihood = records(["p=none", "p=random", "p=oracle"], n=24, effect=0.3)
    total = comparison("p=none", "p=oracle", "f")
    parts = [comparison("p=none", "p=random", "f"), comparison("p=random", "p=oracle", "f")]
    examples = sorted(likelihood["example"].unique())
    alone = pd.Series(range(24), index=examples)
    plain = decomposition(likelihood, total, parts, seed=1, resamples=499)
    same = decomposition(likelihood, total, parts, seed=1, resamples=499, clusters=alone)
    numbers = ["low", "high", "share_low", "share_high"]
    assert same[numbers].to_numpy() == pytest.approx(plain[numbers].to_numpy(), nan_ok=True)
    # Every example twice: clusters bring the interval back to that of the single examples.
    twice = pd.concat([likelihood, likelihood.assign(example=likelihood["example"] + "x")])
    both = pd.concat([alone, pd.Series(range(24), index=[f"{name}x" for name in examples])])
    doubled = decomposition(twice, total, parts, seed=1, resamples=499, clusters=both)
    width, narrow = (
        (table["high"] - table["low"]).to_numpy()
        for table in (doubled, decomposition(twice, total, parts, seed=1, resamples=499))
    )
    assert width == pytest.approx((plain["high"] - plain["low"]).to_numpy(), rel=0.15)
    assert (narrow < 0.85 * width).all()


def test_splits_together_equal_splits_alone():
    likelihood = records(["p=none", "p=random", "p=oracle"], n=24, effect=0.3)
    first = (
        comparison("p=none", "p=oracle", "f"),
        [comparison("p=none", "p=random", "f"), comparison("p=random", "p=oracle", "f")],
    )
    second = (comparison("p=none", "p=random", "g"), [comparison("p=none", "p=random", "g")])
    together = decompositions(likelihood, [first, second], seed=1, resamples=199)
    alone = [decomposition(likelihood, *split, seed=1, resamples=199) for split in (first, second)]
    pd.testing.assert_frame_equal(together, pd.concat(alone, ignore_index=True))


# Words


@pytest.mark.parametrize(
    ("low", "high", "p", "equivalence", "order", "expected"),
    [
        (0.1, 0.3, 0.001, 1.0, 2, "sub-additive"),
        (-0.3, -0.1, 0.001, 1.0, 2, "super-additive"),
        (-0.02, 0.02, 0.9, 0.001, 2, "additive within ±0.05"),
        (-0.3, 0.3, 0.9, 0.4, 2, "undecided"),
        (0.1, 0.3, 0.001, 1.0, 3, "interaction falls"),
        (-0.3, -0.1, 0.001, 1.0, 3, "interaction rises"),
        (-0.02, 0.02, 0.9, 0.001, 3, "interaction unchanged within ±0.05"),
        (0.1, 0.3, 0.001, 1.0, SLOPE, "grows"),
        (-0.3, -0.1, 0.001, 1.0, SLOPE, "shrinks"),
        (-0.02, 0.02, 0.9, 0.001, SLOPE, "steady within ±0.05"),
        # Neither a wide interval nor a corrected p above alpha is a trend, or the lack of one.
        (-0.3, 0.3, 0.9, 0.4, SLOPE, "undecided"),
        (0.1, 0.3, 0.06, 0.4, SLOPE, "undecided"),
        (0.1, math.nan, 0.001, 0.001, SLOPE, "undecided"),
    ],
)
def test_interactions_and_slopes_have_words_of_their_own(low, high, p, equivalence, order, expected):
    assert verdict(low, high, p, equivalence, 0.05, order=order) == expected


def test_sub_additive_is_less_than_the_sum_of_both_alone():
    """Each treatment alone saves 1 nat, both together 1.2: less than 2."""
    generator = np.random.default_rng(5)
    noise = generator.normal(0, 0.05, (400, 4))
    savings = np.array([0.0, 1.0, 1.0, 1.2])
    names = crossed(prefix=("none", "oracle"), prompt=("none", "query"))
    likelihood = pd.concat(
        pd.DataFrame(
            {"example": range(400), "cell": name, "answer_tokens": 3, "nll": 3 - savings[i] + noise[:, i]}
        )
        for i, name in enumerate(names)
    )
    contrast = factor_contrast(names, {"prefix": ("none", "oracle"), "prompt": ("none", "query")}, family="f")
    effect = comparison(names[0], names[1], "g")
    frame = effects_table(likelihood, [contrast, effect], seed=1, resamples=199, permutations=199)
    assert frame["verdict"].tolist() == ["sub-additive", "helps"]
    assert frame["order"].tolist() == [2, 1]
    caption = effects_presentation(frame, seed=1, smallest_effect=0.05).caption
    assert "sub-additive / super-additive (two treatments together help less / more than the sum" in caption
    assert "interaction falls" not in caption


def test_the_order_of_a_contrast_is_read_from_its_weights():
    cells = crossed(a=("0", "1"), b=("0", "1"), c=("0", "1"))
    pair = ("0", "1")
    for factors, order in (
        ({"a": pair}, 1),
        ({"a": pair, "b": pair}, 2),
        ({"a": pair, "b": pair, "c": pair}, 3),
    ):
        contrast = factor_contrast(cells, factors, family="f")
        assert contrast.effect_order == order
        assert Contrast("by hand", "f", contrast.weights).effect_order == order
    assert Contrast("declared", "f", {"x": 2.0, "y": -2.0}, order=1).effect_order == 1
    # The weights of a slope cannot be told from those of an interaction: it is declared.
    slope = {"x": -0.5, "y": 0.5}
    assert Contrast("declared", "f", slope, order=SLOPE).effect_order == SLOPE
    assert Contrast("by hand", "f", slope).effect_order == 1
    with pytest.raises(ValueError, match=r"order of contrast 'wrong' is -2; expected .* -1 \(a slope\)"):
        Contrast("wrong", "f", {"x": 1.0, "y": -1.0}, order=-2)


def test_the_rule_of_slopes_is_written_where_there_are_slopes():
    sentence = rule(0.02, 0.1, (SLOPE, SLOPE))
    assert sentence.startswith("grows / shrinks (the effect, along the quantity): the interval leaves out 0")
    assert "the corrected p is below 0.1; steady within ±0.02: neither" in sentence
    assert "helps" not in sentence
    both = rule(0.02, orders=(1, SLOPE))
    assert "helps / hurts" in both
    assert "no effect within ±0.02" in both
    assert "steady within ±0.02" in both
    assert "grows" not in rule(0.02, orders=(1, 2, 3))
    assert no_effect_within(0.02, SLOPE) == "steady within ±0.02"


@pytest.mark.parametrize(
    ("growth", "expected"), [(0.3, "grows"), (-0.3, "shrinks"), (0.0, "steady within ±0.05")]
)
def test_slopes_of_an_effect_along_a_length(growth, expected):
    """The treatment saves growth × length: the slope is the mean of each example's own least-squares line."""
    generator = np.random.default_rng(8)
    lengths, n = np.array([0.0, 1.0, 3.0, 4.0]), 120
    frames = []
    for length in lengths:
        base = generator.gamma(2, 1, n)
        saved = 1 + growth * length + generator.normal(0, 0.1, n)
        for prefix, nll in (("none", base), ("oracle", base - saved)):
            cell = f"prefix={prefix}|padding={length:g}"
            frames.append(pd.DataFrame({"example": range(n), "cell": cell, "answer_tokens": 3, "nll": nll}))
    likelihood = pd.concat(frames)
    centred = (lengths - lengths.mean()) / ((lengths - lengths.mean()) ** 2).sum()
    weights = {
        f"prefix={prefix}|padding={length:g}": sign * weight
        for length, weight in zip(lengths, centred, strict=True)
        for prefix, sign in (("none", 1), ("oracle", -1))
    }
    slope = Contrast("oracle, per length", "trends", weights, order=SLOPE)
    frame = effects_table(likelihood, [slope], seed=1, resamples=499, permutations=499)
    wide = likelihood.pivot(index="example", columns="cell", values="nll")
    effects = np.column_stack(
        [wide[f"prefix=none|padding={own:g}"] - wide[f"prefix=oracle|padding={own:g}"] for own in lengths]
    )
    lines = np.polyfit(lengths, effects.T, 1)[0]
    row = frame.iloc[0]
    assert row["order"] == SLOPE
    assert row["mean_difference"] == pytest.approx(lines.mean())
    assert row["p_t"] == pytest.approx(stats.ttest_1samp(lines, 0).pvalue)
    assert row["verdict"] == expected
    caption = effects_presentation(frame, seed=1, smallest_effect=0.05).caption
    assert "grows / shrinks (the effect, along the quantity)" in caption
    assert "helps / hurts" not in caption


# A whole run


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    directory = write_run(tmp_path_factory.mktemp("tables") / "run", 30, layers=3, heads=2)
    return directory, *tables_of(directory)


def test_every_kind_of_table_is_there_with_a_caption(finished):
    _, frames, presented = finished
    assert {"effects", "anova", "strata", "trends", "heads", "entropies", "entropy_effects"} <= set(frames)
    shown = {"likelihood", "effects", "decomposition", "anova", "strata_baseline", "heads", "share_effects"}
    assert shown <= set(presented)
    for table in presented.values():
        for fact in ("Estimand", "unit", "n: ", "Family", "correction"):
            assert fact in table.caption
    for name in ("likelihood", "effects", "decomposition", "strata_mean", "entropies_decoder_merged"):
        assert "few examples for these tails" in "".join(presented[name].footnotes.values())
        assert "a: few" in presented[name].to_terminal(160)


@pytest.mark.parametrize("width", [100, 160])
def test_tables_fit_the_terminal_and_lose_nothing(finished, width):
    for table in finished[2].values():
        text = table.to_terminal(width)
        assert max(len(line.rstrip()) for line in text.splitlines()) <= width
        assert "…" not in text
        assert "nan" not in text


def test_entropies_have_intervals_and_equal_the_records(finished):
    directory, frames, _ = finished
    records = directory.read_records("entropies")
    table = frames["entropies"]
    by_example = records.groupby(["cell", "layer", "part", "example"], observed=True)[
        ["mass", "entropy"]
    ].mean()
    for row in table.sample(12, random_state=1).itertuples():
        own = by_example.loc[(row.cell, row.layer, row.part)]
        assert row.mass == pytest.approx(own["mass"].mean(), abs=1e-6)
        assert row.entropy == pytest.approx(own["entropy"].mean(), abs=1e-6)
        assert row.entropy_sd == pytest.approx(own["entropy"].std(), abs=1e-6)
        half = stats.t.ppf(0.975, 29) * own["entropy"].std() / math.sqrt(30)
        assert row.entropy_high - row.entropy_low == pytest.approx(2 * half, rel=0.2)
        assert row.mass_low < row.mass < row.mass_high
    arrays = read_arrays(directory.path / "records" / "entropies", "part", ("mass", "entropy"))
    assert arrays["mass"][0].roles == ("all", "cross", "self")


def test_heads_are_the_headline_contrasts_of_shares(finished):
    directory, frames, presented = finished
    heads = frames["heads"]
    assert len(heads) == heads["contrast"].nunique() * 3 * 2 * 8
    records = directory.read_records("budgets")
    row = heads[(heads["layer"] == 1) & (heads["head"] == 1) & (heads["role"] == "answer")].iloc[0]
    effects = frames["share_effects"]
    assert row["contrast"] in set(effects["contrast"])
    own = records[(records["layer"] == 1) & (records["head"] == 1) & (records["role"] == "answer")]
    wide = own.pivot(index="example", columns="cell", values="share")
    difference = (
        wide["prefix=none|hidden=prefix+separator|prompt=none"]
        - wide["prefix=oracle|hidden=prefix+separator|prompt=none"]
    )
    assert row["contrast"] == "oracle prefix | prompt=none, BOS visible"
    assert row["p"] == pytest.approx(stats.ttest_1samp(difference, 0).pvalue, rel=1e-4)
    assert "false discovery rate" in presented["heads"].caption


def analysis_plan(directory):
    manifest = directory.manifest()
    return analysis_of(manifest).plan(manifest["protocol"])


def test_shared_documents_reach_every_test_of_the_likelihood(tmp_path):
    directory = write_run(tmp_path / "run", 30, layers=1, heads=1)
    for path in (directory.path / "records" / "trials").glob("*.parquet"):
        trials = pd.read_parquet(path)
        trials["document"] = trials["example"].astype(str).str[1:].astype(int) // 3
        trials.to_parquet(path, index=False)
        marker = directory.path / "parts" / f"{path.stem}.json"
        files = json.loads(marker.read_text())
        from analyses.storage.run_directory import file_hash

        files["files"][f"records/trials/{path.name}"] = file_hash(path)
        marker.write_text(json.dumps(files))
    frames, presented = tables_of(directory)
    assert (frames["effects"]["clusters"] == 10).all()
    assert "share a document" in presented["effects"].caption
    assert set(frames["anova"]["n"]) == {10}
    assert frames["trends"]["caution"].str.contains("examples share documents").all()
    assert set(frames["trends"]["n"]) == {10}
    # Attention: the tests are those of the documents' means.
    records = directory.read_records("budgets")
    row = frames["share_effects"].query("role == 'document'").iloc[0]
    contrast = next(own for own in analysis_plan(directory).share_contrasts if own.name == row["contrast"])
    chosen = records[(records["role"] == "document") & (records["block"] == row["block"])]
    wide = chosen.pivot_table(index="example", columns="cell", values="share", observed=True)
    example = sum(wide[cell] * weight for cell, weight in contrast.weights.items())
    means = example.groupby(example.index.astype(str).str[1:].astype(int) // 3).mean()
    assert row["n"] == 10
    assert row["mean"] == pytest.approx(means.mean(), abs=1e-6)
    assert row["standard_error"] == pytest.approx(means.sem(), rel=1e-4)
    assert set(frames["shares"].query("n > 0")["n"]) == {10}
    assert set(frames["entropies"].query("n > 0")["n"]) == {10}
    assert "document where examples share one" in presented["share_effects"].caption
    assert "10 documents" in presented["anova"].caption


# Attention as people read it

CAPTIONS = Captions(7, "30 examples", "holm", {"a": "first", "b": "second"})


def test_shares_are_percent_of_chosen_layers_by_short_name():
    assert shown_layers(range(13)) == [0, 2, 4, 6, 8, 12]
    assert shown_layers([9, 3]) == [3, 9]
    frame = pd.DataFrame(
        [
            {"cell": cell, "stack": "decoder", "block": "merged", "layer": layer, "role": role, "mean": mean}
            for cell, layer in itertools.product("ab", range(13))
            for role, mean in (("bos", 0.25 + layer / 100), ("answer", 0.75 - layer / 100))
        ]
    )
    table = share_tables(CAPTIONS, frame, "predicting")["shares_decoder_merged"]
    assert table.frame["condition"].tolist() == ["first"] * 6 + ["second"] * 6
    assert table.frame["layer"].tolist() == [0, 2, 4, 6, 8, 12] * 2
    assert table.frame["bos"].tolist()[:3] == ["25.0", "27.0", "29.0"]
    assert table.frame["answer"].tolist()[:3] == ["75.0", "73.0", "71.0"]
    assert "percent" in table.caption
    assert "no random numbers" in table.caption
    assert "predicting rows" in table.caption


def test_entropies_and_masses_stand_beside_each_other():
    numbers = {"entropy": 2.5, "entropy_low": 2.4, "entropy_high": 2.6}
    masses = {"mass": 0.7, "mass_low": 0.6, "mass_high": 0.8}
    site = {"cell": "b", "stack": "decoder", "block": "merged", "layer": 0, **numbers, **masses}
    frame = pd.DataFrame(
        [
            {**site, "part": part, "caution": note, "reason": ""}
            for part, note in (("self", "thin"), ("all", ""))
        ]
    )
    table = entropy_tables(CAPTIONS, "entropies", frame)["entropies_decoder_merged"]
    assert table.frame.to_dict("records") == [
        {
            "condition": "second",
            "layer": 0,
            "self entropy": "2.50 [2.40, 2.60]",
            "all entropy": "2.50 [2.40, 2.60]",
            "self mass": "0.70 [0.60, 0.80]",
            "caution": "thin",
        }
    ]
    assert "seed 7" in table.caption


def test_bands_name_the_layers_that_leave_out_0_and_the_surest():
    nan = float("nan")
    mean = [0.2, 0.3, 0.01, -0.2, 0.4, nan]
    error = [0.02, 0.05, 0.05, 0.01, 0.5, nan]
    own = pd.DataFrame({"layer": range(6), "mean": mean, "standard_error": error})
    own["band_low"], own["band_high"] = (
        own["mean"] - 3 * own["standard_error"],
        own["mean"] + 3 * own["standard_error"],
    )
    own["p_simultaneous"], own["reason"] = [0.01, 0.02, 0.9, 0.001, 0.8, nan], ""
    empty = own.assign(mean=0.0, band_low=nan, band_high=nan, reason="equal")
    absent = own.assign(mean=nan, band_low=nan, band_high=nan, reason="nobody observed it")
    sites = {"contrast": "c", "stack": "decoder", "block": "merged"}
    frame = pd.concat(
        part.assign(role=role, **sites) for role, part in (("bos", own), ("eos", empty), ("answer", absent))
    )
    shown = band_table(CAPTIONS, frame, "role").frame.set_index("role")
    assert list(shown.index) == ["bos", "answer"]
    row = shown.loc["bos"]
    assert row["layers tested"] == 5
    assert row["positive in layers"] == "0-1"
    assert row["negative in layers"] == "3"
    assert row["surest at layer"] == "3"
    assert (row["mean"], row["p_simultaneous"]) == (-0.2, 0.001)
    assert shown.loc["answer", "reason"] == "nobody observed it"


def test_heads_are_counted_by_sign_and_the_strongest_named():
    site = {"contrast": "c", "stack": "decoder", "block": "merged"}
    found = [(0, 0, 0.02, True), (0, 1, 0.05, True), (3, 2, -0.04, True), (3, 3, -0.9, False)]
    frame = pd.DataFrame(
        [
            {**site, "layer": layer, "head": head, "role": role, "mean": mean, "p": 0.01, "discovered": own}
            for role, silent in (("bos", False), ("eos", True))
            for layer, head, mean, own in [(*one[:3], one[3] and not silent) for one in found]
        ]
    )
    table = head_table(CAPTIONS, frame)
    (row,) = table.frame.to_dict("records")
    assert row == {
        "contrast": "c",
        "role": "bos",
        "heads tested": 4,
        "discovered": 3,
        "treatment lowers": 2,
        "treatment raises": 1,
        "most lowered": "L0H1 +0.050",
        "most raised": "L3H2 -0.040",
    }
    assert "ot shown: 1 pair of contrast and role without a discovery" in table.caption


def test_runs_of_layers_in_words():
    assert runs([]) == ""
    assert runs([3]) == "3"
    assert runs([9, 0, 1, 2, 7]) == "0-2, 7, 9"


def test_one_example_is_one_example(tmp_path):
    frames, presented = tables_of(write_run(tmp_path / "run", 1, layers=2, heads=1))
    assert frames["effects"]["low"].isna().all()
    assert (frames["effects"]["reason"] != "").all()
    assert (frames["anova"]["reason"] != "").all()
    assert frames["heads"]["p"].isna().all()
    captions = " ".join(table.caption for table in presented.values())
    assert "1 example" in captions
    assert "1 examples" not in captions


def test_options_need_no_pandas():
    code = (
        "import sys, analyses.comparison.options, analyses.commands.effects_options; "
        "sys.exit('pandas' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_analysis_own_tables_say_that_shared_documents_count_as_independent(tmp_path, monkeypatch):
    directory = write_run(tmp_path / "run", 12, layers=1, heads=1)
    table = Table(pd.DataFrame({"x": [1]}), "T", "e", "u", "n", "none", "none", None)
    own = replace(analysis_of(directory.manifest()), tables=lambda run, plan: {"own": table})
    monkeypatch.setattr("analyses.finishing.analysis_of", lambda manifest: own)
    assert tables_of(directory)[1]["own"] == table
    monkeypatch.setattr("analyses.finishing.shared_documents", lambda trials: pd.Series({"a": "1", "b": "1"}))
    assert "share a document count as independent" in tables_of(directory)[1]["own"].caption


def test_a_long_table_is_printed_in_part_and_says_so():
    frame = pd.DataFrame({"contrast": [f"row {number:03d}" for number in range(MOST_PRINTED + 3)]})
    table = Table(frame, "T", "e", "u", "n", "none", "none", None)
    shown = first_rows(table)
    text = shown.to_terminal(100)
    assert f"row {MOST_PRINTED - 1:03d}" in text
    assert f"row {MOST_PRINTED:03d}" not in text
    assert f"{MOST_PRINTED} of {MOST_PRINTED + 3} rows are shown; the CSV file has all." in " ".join(
        text.split()
    )
    assert shown.frame is frame
    short = replace(table, frame=frame.head(MOST_PRINTED))
    assert first_rows(short) is short
