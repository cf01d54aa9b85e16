"""The analysis of variance that every run gets from its records, against statsmodels and scipy."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.anova import AnovaRM

from budgetlens.tables.run_statistics import anova_table
from tests.run_records import SETTINGS, cells_of, crossed, records


def test_anova_of_a_run_equals_statsmodels():
    names = crossed(prefix=("none", "oracle"), prompt=("none", "random", "query"))
    likelihood = records([*names, "prefix=none|prompt=position"])
    table = anova_table(likelihood, cells_of(*names, "prefix=none|prompt=position"), SETTINGS)
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
    row = anova_table(likelihood, cells_of(*names), SETTINGS).iloc[0]
    assert row["f"] == pytest.approx(stats.ttest_rel(wide["p=none"], drawn).statistic ** 2)
    clusters = pd.Series(np.arange(20) // 2, index=wide.index)
    row = anova_table(likelihood, cells_of(*names), replace(SETTINGS, clusters=clusters)).iloc[0]
    difference = (wide["p=none"] - drawn).groupby(clusters).mean()
    assert row["n"] == 10
    assert row["f"] == pytest.approx(stats.ttest_1samp(difference, 0).statistic ** 2)
    # A draw that is missing is not left out of the mean of the draws.
    likelihood.loc[likelihood["cell"].eq("p=random#1") & likelihood["example"].eq("e003"), "nll"] = np.nan
    row = anova_table(likelihood, cells_of(*names), SETTINGS).iloc[0]
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
    row = anova_table(likelihood, cells_of("p=none", "p=oracle"), SETTINGS).iloc[0]
    assert math.isnan(row["f"])
    assert math.isnan(row["p_holm"])
    assert reason in row["reason"]


def test_anova_of_one_example_is_undefined_and_unpaired_examples_are_named():
    likelihood = records(["p=none", "p=oracle"], n=1)
    row = anova_table(likelihood, cells_of("p=none", "p=oracle"), SETTINGS).iloc[0]
    assert math.isnan(row["p"])
    assert "fewer than two" in row["reason"]
    unpaired = records(["p=none", "p=oracle"], n=6).iloc[:-1]
    row = anova_table(unpaired, cells_of("p=none", "p=oracle"), SETTINGS).iloc[0]
    assert "1 of 6 examples are NaN" in row["reason"]
