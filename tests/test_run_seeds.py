"""Contrasts over several draws of a random level, pooled by example, against statsmodels and hand arithmetic."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.regression.linear_model import OLS

from budgetlens.statistics.contrasts import Contrast, comparison
from budgetlens.statistics.crossings import contrasts_by_draw
from budgetlens.tables.run_statistics import seeds_table
from tests.factorial import factor_contrast
from tests.run_records import SETTINGS, cells_of, crossed, records


def seeded(n: int = 25) -> tuple[pd.DataFrame, dict[str, dict[str, str]]]:
    names = ["p=none", "p=random", "p=random#1", "p=random#2", "p=oracle"]
    return records(names, n=n, effect=0.1), cells_of(*names)


def test_seeds_are_pooled_by_example():
    likelihood, cells = seeded()
    contrasts = [comparison("p=none", "p=random", "f"), comparison("p=none", "p=oracle", "f")]
    table = seeds_table(likelihood, cells, contrasts, SETTINGS)
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
    row = seeds_table(likelihood, cells, contrasts[:1], replace(SETTINGS, clusters=documents)).iloc[0]
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
        likelihood, cells_of("p=none", "p=random"), [comparison("p=none", "p=random", "f")], SETTINGS
    ).empty


@pytest.mark.parametrize(
    ("n", "value", "reason"),
    [(1, None, "one"), (9, 0.5, "equal"), (9, np.nan, "NaN or infinite"), (9, np.inf, "NaN or infinite")],
)
def test_undefined_seeds_say_why(n, value, reason):
    likelihood, cells = seeded(n)
    if value is not None:
        likelihood["nll"] = value
    row = seeds_table(likelihood, cells, [comparison("p=none", "p=random", "f")], SETTINGS).iloc[0]
    assert math.isnan(row["low"])
    assert math.isnan(row["p_sign_flip"])
    assert row["verdict"] == "undecided"
    assert reason in row["reason"]
