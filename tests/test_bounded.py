"""Bounded outcomes: intervals against statsmodels and by hand, within their bounds, and what they keep by simulation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.weightstats import DescrStatsW

from budgetlens.model.declaration import Declaration
from budgetlens.runs.manifest import CellFacts
from budgetlens.statistics.bounded import PSEUDO, SHARE, Range, bounded_means
from budgetlens.statistics.contrasts import Contrast, comparison
from budgetlens.statistics.effects import effects_table
from budgetlens.statistics.inference import Inference
from budgetlens.statistics.quantities import Quantity
from budgetlens.tables.outcomes import by_cell
from tests import simulation_bounded

BOTH = Range(-1.0, 1.0)
F1 = Quantity("f1", "F1", "fraction of 1", better="higher", smallest_difference=0.01, part_of_whole=True)
RIGHT = Quantity("f1", "right", "fraction of 1", better="higher", smallest_difference=0.01, binary=True)
SHARE_OF_CELL = Declaration(title="F1", quantities=(F1,))


def scores(seed: int, n: int, cells: int = 2) -> np.ndarray:
    """F1 of examples in cells: many 0 and 1."""
    return np.clip(np.random.default_rng(seed).normal(0.6, 0.5, (n, cells)), 0, 1)


def records(values: np.ndarray) -> pd.DataFrame:
    """Long records, cells a, b, …, of values examples × cells."""
    names = [f"e{number:03}" for number in range(len(values))]
    return pd.concat(
        pd.DataFrame({"example": names, "cell": chr(97 + place), "f1": column})
        for place, column in enumerate(values.T)
    )


def documents(n: int, size: int) -> pd.Series:
    names = [f"e{number:03}" for number in range(n)]
    return pd.Series([f"d{number // size:03}" for number in range(n)], index=names)


@pytest.mark.parametrize("n", [2, 7, 60])
def test_independent_examples_against_statsmodels(n: int) -> None:
    """Weighted mean and standard error of the sample and what is added, Student's t of the sample's own degrees."""
    values = np.diff(scores(n, n), axis=1)
    means = bounded_means(values, BOTH, None, n)
    larger = DescrStatsW(np.append(values, [-1, 1]), weights=[1.0] * n + [PSEUDO] * 2, ddof=1)
    assert means.estimate[0] == pytest.approx(larger.mean)
    assert means.error[0] == pytest.approx(larger.std / np.sqrt(n + 2 * PSEUDO))
    low, high = means.interval(0.9)
    expected = stats.t.interval(0.9, n - 1, loc=larger.mean, scale=means.error[0])
    assert (low[0], high[0]) == pytest.approx(tuple(np.clip(expected, -1, 1)))


def test_documents_by_hand() -> None:
    """Two of two examples, one of one: 5 examples, size 5/3; the sandwich of document sums, CR1."""
    values, labels = np.array([0.5, -0.5, 1.0, 0.0, 0.25]), np.array([0, 0, 1, 1, 2])
    means = bounded_means(values[:, None], BOTH, labels, 3)
    size = 5 / 3
    estimate = 1.25 / (5 + 3 * size)
    sums = [0 - 2 * estimate, 1 - 2 * estimate, 0.25 - estimate]
    squares = sum(own**2 for own in sums)
    squares += PSEUDO * size**2 * ((1 - estimate) ** 2 + (1 + estimate) ** 2)
    assert means.estimate[0] == pytest.approx(estimate)
    assert means.error[0] == pytest.approx(np.sqrt(6 / 5 * squares) / (5 + 3 * size))


def test_documents_of_one_example_are_examples() -> None:
    values = np.diff(scores(3, 30), axis=1)
    one, other = (bounded_means(values, BOTH, labels, 30) for labels in (None, np.arange(30)))
    np.testing.assert_allclose(one.interval(0.95), other.interval(0.95))


def test_many_documents_are_tested_as_obuchowski_does() -> None:
    """Obuchowski 1998: the squared sum of documents' differences over the sum of their squares, chi-squared."""
    generator = np.random.default_rng(1)
    labels = np.repeat(np.arange(400), 4)
    lean = generator.choice([-1.0, 0.0, 1.0], 400, p=[0.2, 0.5, 0.3])[labels]
    values = np.where(generator.random(1600) < 0.5, lean, 0.0)
    sums = np.bincount(labels, values)
    expected = stats.chi2.sf(sums.sum() ** 2 / (sums**2).sum(), 1)
    assert 1e-4 < expected < 0.2
    assert bounded_means(values[:, None], BOTH, labels, 400).p_difference[0] == pytest.approx(
        expected, rel=0.15
    )


@pytest.mark.parametrize("seed", range(6))
def test_p_and_interval_decide_alike(seed: int) -> None:
    values = np.diff(np.clip(scores(seed, 40) + np.array([0, 0.12]), 0, 1), axis=1)
    means = bounded_means(values, BOTH, None, 40)
    p, alike = means.p_difference[0], means.p_equivalence(0.3)[0]
    for level, inside in ((p, 0.0), (alike, 0.3)):
        for nearby, out in ((level * 1.001, True), (level * 0.999, False)):
            low, high = (float(end[0]) for end in means.interval(1 - nearby))
            if inside:
                assert (-inside < low and high < inside) == out
            else:
                assert (low > 0 or high < 0) == out


@pytest.mark.parametrize("within", [SHARE, BOTH])
@pytest.mark.parametrize("n", [2, 5, 50])
def test_no_interval_leaves_its_bounds(within: Range, n: int) -> None:
    for end in (within.lowest, within.highest):
        low, high = bounded_means(np.full((n, 1), end), within, None, n).interval(0.999)
        assert within.lowest <= low[0] < high[0] <= within.highest


def test_what_the_rules_keep() -> None:
    """The short form of ``python -m tests.simulation``: 1,000 samples of every population at three numbers of units."""
    rows = simulation_bounded.table((8, 20, 50), 1_000, 42)
    worst = simulation_bounded.summary(rows)
    assert worst["false"].max() <= 6
    assert worst["none at the bound"].max() <= 6
    assert worst["least coverage"].min() >= 93
    # It must be able to fail: somewhere the interval is nearly too short.
    assert worst["least coverage"].min() < 97


def test_effects_on_bounded_outcomes_are_by_these() -> None:
    """Differences and interactions, whose range is twice as wide; documents; no caution, no t, no carriers."""
    values = scores(5, 60, 4)
    contrasts = [
        comparison("a", "b", "f"),
        Contrast("i", "g", {"a": 1.0, "b": -1.0, "c": -1.0, "d": 1.0}),
    ]
    for clusters in (None, documents(60, 3)):
        table = effects_table(
            records(values), contrasts, Inference(seed=1, clusters=clusters).of(F1), quantity=F1
        )
        labels = None if clusters is None else np.arange(60) // 3
        for row, own, reach in (
            (table.iloc[0], values[:, 0] - values[:, 1], 1.0),
            (table.iloc[1], values[:, 0] - values[:, 1] - values[:, 2] + values[:, 3], 2.0),
        ):
            units = 60 if clusters is None else 20
            means = bounded_means(own[:, None], Range(-reach, reach), labels, units)
            assert (row["low"], row["high"]) == pytest.approx(tuple(end[0] for end in means.interval(0.95)))
            assert row["p"] == pytest.approx(means.p_difference[0])
            assert row["p_tost"] == pytest.approx(means.p_equivalence(0.01)[0])
            assert row["mean_difference"] == pytest.approx(own.mean())
            assert (row["caution"], row["carriers"], row["clusters"]) == ("", 0, units)
            assert np.isnan(row["p_t"])


def test_binary_outcomes_in_documents_are_bounded_ones() -> None:
    values = (scores(6, 40) > 0.5).astype(float)
    own = Inference(seed=1, clusters=documents(40, 4)).of(RIGHT)
    (row,) = effects_table(records(values), [comparison("a", "b", "f")], own, quantity=RIGHT).to_dict(
        "records"
    )
    means = bounded_means(-np.diff(values, axis=1), BOTH, np.arange(40) // 4, 10)
    assert (row["low"], row["high"]) == pytest.approx(tuple(end[0] for end in means.interval(0.95)))


def test_where_nothing_differs_there_is_an_interval_and_missing_examples_are_still_told() -> None:
    values = np.repeat(scores(7, 30, 1), 2, axis=1)
    values[3, 0] = np.nan
    (row,) = effects_table(
        records(values), [comparison("a", "b", "f")], Inference(seed=1).of(F1), quantity=F1, missing="drop"
    ).to_dict("records")
    assert row["reason"] == "1 of 30 examples left out: NaN or infinite"
    assert row["low"] < 0 < row["high"]
    assert row["p"] == pytest.approx(1)
    (refused,) = effects_table(
        records(values), [comparison("a", "b", "f")], Inference(seed=1).of(F1), quantity=F1
    ).to_dict("records")
    assert np.isnan(refused["low"])


def test_one_document_and_values_beyond_the_bounds_are_no_bounded_outcome() -> None:
    values = scores(8, 12)
    one = Inference(seed=1, clusters=documents(12, 12)).of(F1)
    contrast = [comparison("a", "b", "f")]
    (row,) = effects_table(records(values), contrast, one, quantity=F1).to_dict("records")
    assert np.isnan(row["low"])
    assert row["reason"] == "one document: no interval, no test"
    (beyond,) = effects_table(records(values * 3), contrast, Inference(seed=1).of(F1), quantity=F1).to_dict(
        "records"
    )
    assert beyond["caution"] == "tails"


def test_means_of_cells_keep_to_their_bounds() -> None:
    values = np.column_stack([np.ones(9), np.r_[np.ones(8), 0.9], scores(9, 9, 1)[:, 0]])
    cells = [CellFacts(name=chr(97 + place), alias="", factors={}) for place in range(3)]
    table = by_cell(records(values), SHARE_OF_CELL, cells, Inference(seed=1))
    assert ((table["low"] >= 0) & (table["high"] <= 1)).all()
    means = bounded_means(values, SHARE, None, 9)
    np.testing.assert_allclose(table["low"], means.interval(0.95)[0])
    assert (table["caution"] == "").all()
