"""The words of the verdict column, by rule, for differences, interactions and slopes."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from budgetlens.statistics.contrasts import Contrast, comparison
from budgetlens.statistics.decisions import FAMILY, Decision, decide, decide_over_layers
from budgetlens.statistics.effects import effects_table
from budgetlens.statistics.inference import Inference
from budgetlens.statistics.quantities import Quantity
from budgetlens.statistics.verdicts import (
    ANSWER_NLL,
    SLOPE,
    layers_rule,
    rule,
    verdict,
)
from budgetlens.tables.presentation import effects_presentation
from probes.budgets import Budgets
from probes.entropies import ENTROPY
from tests.factorial import factor_contrast
from tests.run_records import crossed


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
        (0.1, 0.3, 0.001, 1.0, SLOPE, "more help or less harm"),
        (-0.3, -0.1, 0.001, 1.0, SLOPE, "less help or more harm"),
        (-0.02, 0.02, 0.9, 0.001, SLOPE, "steady within ±0.05"),
        # Neither a wide interval nor a corrected p above alpha is a trend, or the lack of one.
        (-0.3, 0.3, 0.9, 0.4, SLOPE, "undecided"),
        (0.1, 0.3, 0.06, 0.4, SLOPE, "undecided"),
        (0.1, math.nan, 0.001, 0.001, SLOPE, "undecided"),
    ],
)
def test_interactions_and_slopes_have_words_of_their_own(low, high, p, equivalence, order, expected):
    assert verdict(decide(low, high, p, equivalence), 0.05, order) == expected


@pytest.mark.parametrize(
    ("low", "high", "p", "equivalence", "expected"),
    [
        # The interval is of the contrast alone; what is corrected over the family finds nothing.
        (0.001, 0.02, 0.2, 0.001, "small, if any (below 0.05)"),
        (-0.02, -0.001, 0.2, 0.001, "small, if any (below 0.05)"),
        (-0.001, 0.02, 0.2, 0.001, "no effect within ±0.05"),
        (0.001, 0.02, 0.01, 0.001, "helps, small (below 0.05)"),
        (0.001, 0.2, 0.2, 0.3, "undecided"),
    ],
)
def test_no_effect_never_stands_beside_an_interval_without_0(low, high, p, equivalence, expected):
    decision = decide(low, high, p, equivalence)
    outside = low > 0 or high < 0
    assert (decision.because == FAMILY) == (outside and p >= 0.05)
    assert verdict(decision, 0.05) == expected
    for order in (1, 2, 3, SLOPE):
        words = verdict(decision, 0.05, order)
        assert ("within" in words) == (not outside)


@pytest.mark.parametrize(
    ("better", "rising", "falling"),
    [
        ("lower", "more help or less harm", "less help or more harm"),
        ("higher", "less help or more harm", "more help or less harm"),
        ("", "falls more or rises less", "falls less or rises more"),
    ],
)
def test_a_slope_is_told_by_what_is_better(better, rising, falling):
    quantity = replace(ANSWER_NLL, better=better)
    assert verdict(Decision("positive"), 0.05, SLOPE, quantity) == rising
    assert verdict(Decision("negative"), 0.05, SLOPE, quantity) == falling


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
    frame = effects_table(likelihood, [contrast, effect], Inference(seed=1, resamples=199))
    assert frame["verdict"].tolist() == ["sub-additive", "helps"]
    assert frame["order"].tolist() == [2, 1]
    caption = effects_presentation(frame, Inference(seed=1)).caption
    meaning = (
        "two treatments together less / more than the sum of what each does alone, of help where both help and of harm "
        "where both hurt; where one helps and one hurts: together worse / better than the sum; where the cells don't tell "
        "what each does alone: less help, or more harm, together / the reverse"
    )
    assert f"sub-additive / super-additive ({meaning})" in caption
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
    slopes = "more help or less harm / less help or more harm (along the quantity)"
    assert sentence.startswith(f"{slopes}: the interval leaves out 0")
    assert "the corrected p is below 0.1; steady within ±0.02: neither" in sentence
    assert "helps" not in sentence
    assert "a word followed by small (below 0.02): both, an effect too small to matter" in sentence
    both = rule(0.02, orders=(1, SLOPE))
    assert "helps / hurts" in both
    assert "no effect within ±0.02" in both
    assert "steady within ±0.02" in both
    assert "more help" not in rule(0.02, orders=(1, 2, 3))
    assert verdict(Decision("none", small=True), 0.02, SLOPE) == "steady within ±0.02"


@pytest.mark.parametrize(
    ("growth", "expected"),
    [(0.3, "more help or less harm"), (-0.3, "less help or more harm"), (0.0, "steady within ±0.05")],
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
    frame = effects_table(likelihood, [slope], Inference(seed=1, resamples=499))
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
    caption = effects_presentation(frame, Inference(seed=1)).caption
    assert "more help or less harm / less help or more harm (along the quantity)" in caption
    assert "helps / hurts" not in caption


# Attention: changes of shares and entropies, over layers


SHARE = Budgets.declares.quantities[0]


def over_layers(
    *layers: tuple[float, float, float, float], order: int = 1, quantity: Quantity = SHARE
) -> str:
    """The verdict of layers, each given as (low, high, p against 0, p of equivalence)."""
    low, high, p, equivalence = (np.array(column) for column in zip(*layers, strict=True))
    return verdict(decide_over_layers(low, high, p, equivalence), 0.01, order, quantity)


UP, DOWN = (-0.3, -0.1, 0.001, 1.0), (0.1, 0.3, 0.001, 1.0)
FLAT, WIDE = (-0.004, 0.004, 0.9, 0.001), (-0.2, 0.2, 0.9, 0.8)
SLIGHT = (0.001, 0.004, 0.001, 0.001)


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ([DOWN, FLAT], "falls"),
        ([UP, WIDE], "rises"),
        ([UP, DOWN], "rises and falls"),
        ([FLAT, FLAT], "no change within ±1 point"),
        ([SLIGHT, FLAT], "falls, small (below 1 point)"),
        # A large p against 0 is no absence of change: one wide layer leaves all undecided.
        ([FLAT, WIDE], "undecided"),
        ([SLIGHT, WIDE], "falls"),
        # The band must leave out 0, and p be small.
        ([(0.1, 0.3, 0.06, 1.0)], "undecided"),
        ([(-0.1, 0.3, 0.001, 1.0)], "undecided"),
        ([(math.nan, math.nan, math.nan, math.nan)], "undecided"),
        ([FLAT, (0.0, 0.0, math.nan, math.nan)], "undecided"),
    ],
)
def test_shares_rise_fall_do_not_change_or_are_undecided(layers, expected):
    assert over_layers(*layers) == expected


def test_no_layers_are_undecided():
    nothing = np.array([])
    assert (
        verdict(decide_over_layers(nothing, nothing, nothing, nothing), 0.01, quantity=SHARE) == "undecided"
    )


def test_changes_of_changes_and_entropies_have_words_of_their_own():
    assert over_layers(DOWN, order=2) == "falls less"
    assert over_layers(UP, order=2) == "falls more"
    assert over_layers(FLAT, order=2) == "changes alike within ±1 point"
    assert over_layers(DOWN, order=3) == "interaction falls"
    assert over_layers(FLAT, quantity=ENTROPY) == "no change within ±0.01 nats"
    assert SHARE.within(0.005) == "within ±0.5 points"
    assert verdict(decide(0.1, 0.3, 0.001, 1.0), 0.01, quantity=SHARE) == "falls"
    assert verdict(decide(-0.001, 0.001, 0.9, 0.001), 0.01, quantity=SHARE) == "no change within ±1 point"
    assert verdict(decide(-0.001, 0.001, 0.9, 0.9), 0.01, quantity=SHARE) == "undecided"


def test_the_rule_of_layers_names_the_words_of_its_contrasts():
    sentence = layers_rule(0.02, SHARE, orders=(1, 1))
    assert sentence.startswith("falls / rises: in some layer the band leaves out 0 and p is below 0.05")
    assert (
        "no change within ±2 points: in no layer, and in every layer tested the equivalence test" in sentence
    )
    assert "differences" not in sentence
    both = layers_rule(0.02, SHARE, orders=(2, 1, 3))
    assert "falls / rises, falls less / falls more (a difference of differences" in both
    assert "interaction falls / interaction rises (with the third factor's treatment)" in both
