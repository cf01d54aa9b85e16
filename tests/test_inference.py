"""The settings of statistics: which are refused, what they mean, and that functions take them whole."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, asdict, replace

import numpy as np
import pandas as pd
import pytest

from budgetlens.statistics.bands import SIGN_FLIPS, share_differences
from budgetlens.statistics.budget_arrays import budget_arrays
from budgetlens.statistics.contrasts import comparison, contrast_values, wide_cells
from budgetlens.statistics.effects import effects_table
from budgetlens.statistics.inference import Inference
from budgetlens.statistics.paired import PairedEffect, one_sample_effects, paired_effect
from budgetlens.statistics.strata import seed_effect, strata_table
from budgetlens.statistics.verdicts import SMALLEST_EFFECT
from tests.run_records import records
from tests.test_effects_bands import SHARE

FEW = Inference(seed=4, resamples=199)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"confidence": 95}, "confidence is 95; expected a number between 0 and 1"),
        ({"confidence": 1.0}, "confidence is 1.0"),
        ({"confidence": float("nan")}, "confidence is nan"),
        (
            {"correction": "holmes"},
            "correction is 'holmes'; expected one of 'none', 'holm', 'bonferroni', 'fdr'",
        ),
        ({"smallest_difference": 0}, "smallest_difference is 0; expected a finite number above 0"),
        ({"smallest_difference": -0.1}, "smallest_difference is -0.1"),
        ({"smallest_difference": float("inf")}, "smallest_difference is inf"),
        ({"smallest_difference": float("nan")}, "smallest_difference is nan"),
        ({"resamples": 0}, "resamples is 0; expected 1 or more"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Inference(seed=1, **settings)
    with pytest.raises(ValueError, match=message):
        replace(FEW, **settings)


def test_settings_are_named_and_cannot_be_changed():
    with pytest.raises(TypeError):
        Inference(1)
    with pytest.raises(FrozenInstanceError):
        FEW.seed = 2


def test_defaults_are_those_of_the_tables():
    found = Inference(seed=7)
    assert (found.confidence, found.correction, found.resamples, found.clusters) == (
        0.95,
        "holm",
        9_999,
        None,
    )
    assert found.smallest_difference == SMALLEST_EFFECT == 0.05


@pytest.mark.parametrize(("confidence", "alpha"), [(0.95, 0.05), (0.9, 0.1), (0.99, 0.01), (0.999, 0.001)])
def test_the_level_is_exactly_the_complement(confidence, alpha):
    """1 - 0.95 is a little above 0.05: a p of 0.05 would be called below the level of .05."""
    assert Inference(seed=1, confidence=confidence).alpha == alpha


def test_no_more_resamples_than_asked_for_or_allowed():
    documents = pd.Series({"a": "1"})
    own = Inference(
        seed=3, confidence=0.9, correction="bonferroni", smallest_difference=0.2, clusters=documents
    )
    few = own.at_most(500)
    assert few.resamples == 500
    assert own.at_most(20_000).resamples == 9_999
    for name in ("seed", "confidence", "correction", "smallest_difference", "clusters"):
        assert getattr(few, name) is getattr(own, name)


def shared(likelihood: pd.DataFrame) -> Inference:
    """Pairs of examples share a document; the documents' own order is another than the examples'."""
    names = sorted(set(likelihood["example"]), reverse=True)
    return replace(FEW, clusters=pd.Series([f"d{number // 2}" for number in range(len(names))], index=names))


def assert_same(one: PairedEffect, other: PairedEffect) -> None:
    pd.testing.assert_series_equal(pd.Series(asdict(one)), pd.Series(asdict(other)), check_exact=True)


def test_a_clustered_effect_is_that_of_explicit_labels():
    likelihood = records(["p=none", "p=oracle"], n=20, effect=0.2)
    inference, contrast = shared(likelihood), comparison("p=none", "p=oracle", "f")
    row = effects_table(likelihood, [contrast], inference).iloc[0]
    wide = wide_cells(likelihood, "nll")
    tokens = likelihood.groupby("example")["answer_tokens"].first()
    labels = [inference.clusters[example] for example in wide.index]
    found = paired_effect(wide["p=none"], wide["p=oracle"], FEW, weights=tokens, clusters=labels)
    assert (found.n, found.clusters) == (20, 10)
    assert_same(PairedEffect(**row[list(asdict(found))]), found)
    unweighted = paired_effect(wide["p=none"], wide["p=oracle"], FEW, clusters=labels)
    assert_same(seed_effect(contrast_values(wide, [contrast]), inference).effect, unweighted)


def test_strata_are_those_of_explicit_labels():
    likelihood = records(["p=none", "p=oracle"], n=24)
    inference = shared(likelihood)
    values = contrast_values(wide_cells(likelihood, "nll"), [comparison("p=none", "p=oracle", "f")]).iloc[
        :, 0
    ]
    strata = pd.Series(np.arange(24) % 2, index=values.index)
    table = strata_table(values, strata, inference).set_index("stratum")
    for stratum in (0, 1):
        own = values[strata == stratum]
        labels = inference.clusters[own.index].to_numpy()
        found = one_sample_effects(own.to_numpy()[:, None], FEW, clusters=labels)[0]
        assert_same(PairedEffect(**table.loc[str(stratum)]), found)


def test_no_sign_flips_leave_their_p_undefined_and_every_other_number_alone():
    values = np.random.default_rng(2).normal(0.1, 1, (30, 3))
    tested, untested = (
        one_sample_effects(values, FEW, clusters=np.arange(30) // 2, sign_flips=asked)
        for asked in (True, False)
    )
    for one, other in zip(tested, untested, strict=True):
        assert np.isfinite(one.p_sign_flip)
        assert np.isnan(other.p_sign_flip)
        assert_same(one, replace(other, p_sign_flip=one.p_sign_flip))


def test_many_columns_are_drawn_a_bounded_number_of_times():
    """The tables of shares give every layer and role its band: more than so many sign patterns are not drawn."""
    generator = np.random.default_rng(3)
    axes = {"example": range(20), "cell": ["a", "b"], "layer": [0, 1], "role": ["document", "answer"]}
    index = pd.MultiIndex.from_product(axes.values(), names=axes.keys())
    frame = index.to_frame(index=False).assign(stack="decoder", block="merged", head=0)
    budgets = budget_arrays(frame.assign(share=generator.random(len(frame))))
    contrasts = [comparison("a", "b", "f")]
    pd.testing.assert_frame_equal(
        share_differences(budgets, contrasts, Inference(seed=1), SHARE),
        share_differences(budgets, contrasts, Inference(seed=1, resamples=SIGN_FLIPS), SHARE),
    )
