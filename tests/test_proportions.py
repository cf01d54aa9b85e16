"""Paired proportions: McNemar's test against statsmodels, Newcombe's interval by his figures and by simulation."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

from budgetlens.statistics.contrasts import Contrast
from budgetlens.statistics.effects import effects_table
from budgetlens.statistics.inference import Inference
from budgetlens.statistics.proportions import Counts, counts_of, equivalence_p, mcnemar_p, newcombe, wilson
from budgetlens.statistics.quantities import Quantity

RIGHT = Quantity(
    "right", "answers that are right", "fraction of 1", better="higher", smallest_difference=0.01, binary=True
)


@pytest.mark.parametrize("differing", list(itertools.product((0, 1, 4, 9), (0, 3, 12))))
def test_mcnemar_is_statsmodels(differing: tuple[int, int]) -> None:
    one, other = differing
    found = mcnemar_p(Counts(20, one, other, 5))
    assert found == pytest.approx(min(1.0, mcnemar([[20, one], [other, 5]], exact=True).pvalue))


@pytest.mark.parametrize(("successes", "n"), [(0, 12), (3, 12), (12, 12), (250, 500)])
def test_wilson_is_statsmodels(successes: int, n: int) -> None:
    assert wilson(successes, n, 0.9) == pytest.approx(
        proportion_confint(successes, n, alpha=0.1, method="wilson"), abs=1e-12
    )


def test_newcombe_is_what_he_published() -> None:
    """Newcombe 1998, table II, method 10: 36 and 12 and 2 and 0 of 50 pairs."""
    assert newcombe(Counts(36, 12, 2, 0), 0.95) == pytest.approx((0.0569, 0.3404), abs=5e-5)


def test_newcombe_turns_with_the_sides() -> None:
    low, high = newcombe(Counts(30, 9, 2, 14), 0.95)
    assert newcombe(Counts(30, 2, 9, 14), 0.95) == pytest.approx((-high, -low))


@pytest.mark.parametrize("n", [20, 50, 200])
@pytest.mark.parametrize("shares", [(0.4, 0.1, 0.1, 0.4), (0.7, 0.15, 0.05, 0.1), (0.02, 0.03, 0.03, 0.92)])
def test_they_keep_their_promises(n: int, shares: tuple[float, ...]) -> None:
    """2,000 samples: the interval covers at least 93 %, the test is false in at most 6 %, equivalence at the bound too."""
    samples = np.random.default_rng(n).multinomial(n, shares, size=2000)
    truth = shares[1] - shares[2]
    covered, found, alike = 0, 0, 0
    for sample in samples:
        counts = Counts(*map(int, sample))
        low, high = newcombe(counts, 0.95)
        covered += low <= truth <= high
        found += mcnemar_p(counts) < 0.05
        # The bound at which the true difference lies: every "no effect" is false.
        alike += truth != 0 and equivalence_p(counts, abs(truth)) < 0.05
    assert covered / 2000 >= 0.93
    assert truth != 0 or found / 2000 <= 0.06
    assert alike / 2000 <= 0.06


def test_equivalence_is_where_the_interval_reaches_the_bound() -> None:
    counts = Counts(200, 10, 12, 278)
    p = equivalence_p(counts, 0.05)
    low, high = newcombe(counts, 1 - 2 * p)
    assert max(-low, high) == pytest.approx(0.05)
    assert equivalence_p(Counts(10, 8, 0, 2), 0.05) == 0.5


def records(before: np.ndarray, after: np.ndarray) -> pd.DataFrame:
    names = [f"example {number}" for number in range(len(before))]
    return pd.concat(
        pd.DataFrame({"example": names, "cell": cell, "right": values})
        for cell, values in (("before", before), ("after", after))
    )


def test_a_binary_outcome_is_compared_by_proportions() -> None:
    """Also where nothing differs, which a mean's statistics leave undefined; shared documents keep those."""
    contrast = Contrast("effect", "all", {"before": 1.0, "after": -1.0})
    before = np.array([1.0] * 30 + [0.0] * 70)
    after = np.array([1.0] * 45 + [0.0] * 55)
    row = effects_table(records(before, after), [contrast], Inference(seed=1).of(RIGHT), quantity=RIGHT).iloc[
        0
    ]
    counts = counts_of(before, after)
    assert counts == Counts(30, 0, 15, 55)
    assert (row["low"], row["high"]) == newcombe(counts, 0.95)
    assert row["p"] == mcnemar_p(counts)
    assert (row["kind"], row["caution"]) == ("negative", "")
    same = effects_table(
        records(before, before), [contrast], Inference(seed=1).of(RIGHT), quantity=RIGHT
    ).iloc[0]
    assert (same["p"], same["reason"]) == (1, "")
    assert same["low"] < 0 < same["high"]
    documents = pd.Series(
        [f"document {number // 2}" for number in range(100)], index=records(before, after)["example"][:100]
    )
    shared = effects_table(
        records(before, after), [contrast], Inference(seed=1, clusters=documents).of(RIGHT), quantity=RIGHT
    ).iloc[0]
    assert shared["low"] != row["low"]
    halves = effects_table(
        records(before, after / 2), [contrast], Inference(seed=1).of(RIGHT), quantity=RIGHT
    ).iloc[0]
    assert halves["p"] != row["p"]


def test_wins_are_of_the_treatment_and_rounding_is_no_difference() -> None:
    """Of 100 examples the treatment is better in 15 and the same in 85; sevenths of a number are that but for rounding."""
    contrast = Contrast("effect", "all", {"before": 1.0, "after": -1.0})
    before, after = np.repeat([1.0, 0.0], [30, 70]), np.repeat([1.0, 0.0], [45, 55])
    own = Inference(seed=1).of(RIGHT)
    row = effects_table(records(before, after), [contrast], own, quantity=RIGHT).iloc[0]
    assert (row["win_percent"], row["tie_percent"]) == (15, 85)
    score = Quantity(
        "right", "F1", "fraction of 1", better="higher", smallest_difference=0.01, part_of_whole=True
    )
    values = np.linspace(0.1, 0.7, 12)
    draws = [records(values, values).assign(cell=lambda own, at=at: own["cell"] + at) for at in "1234567"]
    sevenths = Contrast("draws", "all", {"before1": 1.0} | {f"after{at}": -1 / 7 for at in "1234567"})
    drawn = effects_table(pd.concat(draws), [sevenths], Inference(seed=1).of(score), quantity=score).iloc[0]
    assert (drawn["mean_difference"], drawn["tie_percent"]) == (0, 100)
