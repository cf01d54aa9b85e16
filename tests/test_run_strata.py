"""Effects by strata of the examples and trends over them, against hand arithmetic, scipy and statsmodels."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.regression.linear_model import OLS

from budgetlens.statistics.contrasts import comparison
from budgetlens.statistics.decisions import DOCUMENT_MEANS, REGRESSION, codes_of
from budgetlens.statistics.inference import Inference
from budgetlens.statistics.strata import range_strata, trend_test, trend_tests
from budgetlens.tables.run_statistics import BASELINE_NLL, MEAN_NLL, strata_tables
from budgetlens.tables.strata_presentation import strata_presented
from tests.factorial import factor_contrast
from tests.run_records import SETTINGS, crossed, facts, records


def test_strata_are_the_published_bins_and_their_means_are_by_hand():
    likelihood = records(["p=none", "p=oracle"], effect=0.4)
    strata, trends = strata_tables(likelihood, facts(), [comparison("p=none", "p=oracle", "f")], SETTINGS)
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
    strata, trends = strata_tables(likelihood, facts(60), contrasts, SETTINGS)
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
        assert row.caution.count(REGRESSION) == 1


def test_cautions_of_the_trend_alone_and_of_hidden_columns():
    likelihood = records(["p=none", "p=oracle"], n=40, effect=0.2)
    strata, trends = strata_tables(likelihood, facts(40), [comparison("p=none", "p=oracle", "f")], SETTINGS)
    strata["caution"], strata["reason"], strata["withheld"] = "", "odd", "Wilcoxon withheld"
    trends["caution"], trends["reason"] = "only the trend", ""
    for table in dict(strata_presented(strata, trends, seed=3, correction="holm")).values():
        assert table.frame["caution"].tolist() == ["only the trend"]
        assert table.frame["reason"].tolist() == ["odd"]


def test_hardness_is_the_baseline_s_own_nll_and_says_what_that_does():
    # No effect at all: two noisy readings of one difficulty.
    likelihood = records(["p=none", "p=other"], n=400)
    strata, trends = strata_tables(likelihood, facts(400), [comparison("p=none", "p=other", "f")], SETTINGS)
    wide = likelihood.pivot(index="example", columns="cell", values="nll")
    hardest = wide["p=none"].nlargest(80).index
    difference = wide["p=none"] - wide["p=other"]
    own = strata[strata["by"] == BASELINE_NLL].set_index("stratum")
    assert own.loc["5 of 5", "mean_difference"] == pytest.approx(difference[hardest].mean())
    assert own["caution"].str.contains(REGRESSION).all()
    trends = trends.set_index("by")
    assert REGRESSION in trends.loc[BASELINE_NLL, "caution"]
    assert trends.loc[BASELINE_NLL, "p"] < 0.01
    assert trends.loc[MEAN_NLL, "p"] > 0.05
    assert REGRESSION not in trends.loc[MEAN_NLL, "caution"]


def test_families_of_strata_and_trends():
    likelihood = records(["p=none", "p=oracle", "p=random"], n=60, effect=0.1)
    contrasts = [comparison("p=none", f"p={prefix}", "f") for prefix in ("oracle", "random")]
    strata, trends = strata_tables(likelihood, facts(60), contrasts, SETTINGS)
    assert strata.groupby("family").size().tolist() == [5] * 8
    for _, own in strata.groupby("family"):
        p = own["p"].sort_values().to_numpy()
        holm = np.minimum(np.maximum.accumulate(p * np.arange(5, 0, -1)), 1)
        assert own["p_holm"].sort_values().to_numpy() == pytest.approx(holm)
    assert trends.groupby("family").size().tolist() == [2] * 4
    for _, own in trends.groupby("family"):
        low, high = np.sort(own["p"])
        assert np.sort(own["p_holm"]) == pytest.approx([min(1, 2 * low), min(1, max(2 * low, high))])
    assert strata_tables(likelihood, facts(60), [], SETTINGS)[0].empty


def test_strata_of_interactions_and_of_shared_documents():
    names = crossed(prefix=("none", "oracle"), prompt=("none", "query"))
    likelihood = records(names, n=50)
    # Together they save 3 nats less than the sum of each alone.
    likelihood["nll"] += 3.0 * likelihood["cell"].eq(names[3])
    contrast = factor_contrast(names, {"prefix": ("none", "oracle"), "prompt": ("none", "query")}, family="f")
    documents = pd.Series(np.arange(50) // 2, index=sorted(set(likelihood["example"])))
    strata, trends = strata_tables(likelihood, facts(50), [contrast], replace(SETTINGS, clusters=documents))
    own = strata[strata["by"] == "document length (words)"]
    assert (own["order"] == 2).all()
    assert (own["n"] == 10).all()
    assert (own["clusters"] == 5).all()
    found = strata_tables(likelihood, facts(50), [contrast], SETTINGS)[0]
    found = found[found["by"] == "document length (words)"]
    assert (found["verdict"] == "sub-additive").all()
    assert (trends["caution"].map(codes_of).map(set) >= {DOCUMENT_MEANS}).all()


def test_trends_of_shared_documents_are_trends_of_their_means():
    generator = np.random.default_rng(3)
    examples = [f"e{number:02d}" for number in range(40)]
    values = pd.Series(generator.normal(size=40), index=examples)
    strata = pd.Series(pd.Categorical(generator.integers(0, 4, 40), ordered=True), index=examples)
    documents = pd.Series(np.arange(40) % 10, index=examples)
    found = trend_tests([(values, strata)], Inference(seed=1, clusters=documents))[0]
    means = pd.DataFrame({"x": strata.astype(float), "y": values}).groupby(documents).mean()
    fit = stats.linregress(means["x"], means["y"])
    assert found.n == 10
    assert found.slope == pytest.approx(fit.slope)
    # Ten documents bear no tails: the p that allows for them is larger than the one that does not.
    assert 1 > found.p > fit.pvalue
    # A document that is only repeated adds no evidence.
    twice = pd.concat([values, values.rename(lambda name: f"{name}b")])
    doubled = pd.concat([strata, strata.rename(lambda name: f"{name}b")])
    owners = pd.Series([*examples, *examples], index=twice.index)
    once = trend_tests([(values.sort_index(), strata)], Inference(seed=1))[0]
    again = trend_tests([(twice, doubled)], Inference(seed=1, clusters=owners))[0]
    assert (again.slope, again.p, again.low) == pytest.approx((once.slope, once.p, once.low))


def test_records_without_words_give_strata_of_tokens():
    trials = facts().drop(columns=["answer_words", "document_words"]).assign(document_tokens=100)
    strata, trends = strata_tables(
        records(["p=none", "p=oracle"]), trials, [comparison("p=none", "p=oracle", "f")], SETTINGS
    )
    assert set(strata["by"]) >= {"answer length (tokens)", "document length (tokens)"}
    documents = trends[trends["by"] == "document length (tokens)"].iloc[0]
    assert math.isnan(documents["slope"])
    assert "fewer than two strata" in documents["reason"]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_strata_of_undefined_values_are_undefined_and_the_others_stay(value):
    likelihood = records(["p=none", "p=oracle"])
    likelihood.loc[likelihood["example"].eq("e000") & likelihood["cell"].eq("p=oracle"), "nll"] = value
    strata, trends = strata_tables(likelihood, facts(), [comparison("p=none", "p=oracle", "f")], SETTINGS)
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
            likelihood, facts(n), [comparison("p=none", "p=oracle", "f")], SETTINGS
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
    together = trend_tests(pairs, Inference(seed=1, resamples=199))
    for found, pair in zip(together, pairs, strict=True):
        alone = trend_test(*pair, Inference(seed=1, resamples=199))
        assert found.slope == pytest.approx(alone.slope, nan_ok=True)
        assert found.low == pytest.approx(alone.low, nan_ok=True)
        assert found.p == pytest.approx(alone.p, nan_ok=True)
