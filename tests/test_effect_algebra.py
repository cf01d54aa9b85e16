"""Effects by algebra, held against crossings that are written down cell by cell."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from budgetlens.design.custom import custom_analysis
from budgetlens.design.design import Cell, Factor, crossed
from budgetlens.design.effects import effect, mean, place
from budgetlens.design.schema import DesignError
from budgetlens.statistics.contrasts import Contrast
from tests.factorial import factor_contrast

FACTORS = {
    "prefix": ("none", "oracle", "random", "random@1"),
    "hidden": ("a", "b"),
    "prompt": ("none", "query"),
}
CELLS = crossed([Factor(name, levels) for name, levels in FACTORS.items()]).cells


def by_hand(factors: dict[str, tuple[str, str]], at: dict[str, str]) -> Contrast:
    return factor_contrast([cell.name for cell in CELLS], factors, family="f", at=at)


def value(contrast: Contrast, seed: int = 3) -> float:
    """The contrast of one example's random cells."""
    generator = np.random.default_rng(seed)
    cells = {cell.name: generator.normal() for cell in CELLS}
    return sum(weight * cells[cell] for cell, weight in contrast.weights.items())


@given(
    chosen=st.sets(st.sampled_from(sorted(FACTORS)), min_size=1),
    treatment=st.sampled_from(FACTORS["prefix"][1:]),
    held=st.booleans(),
)
def test_an_effect_is_its_crossing_cell_by_cell(chosen: set[str], treatment: str, held: bool) -> None:
    """Main effects, simple effects and interactions of every order."""
    ends = {
        name: (levels[0], treatment if name == "prefix" else levels[1])
        for name, levels in FACTORS.items()
        if name in chosen
    }
    at = {name: levels[1] for name, levels in FACTORS.items() if name not in chosen} if held else {}
    made, expected = effect(**ends, **at).named("x", "f").contrast(CELLS), by_hand(ends, at)
    assert made.weights == pytest.approx(expected.weights)
    assert made.effect_order == expected.effect_order == len(chosen)
    assert effect(**ends, **at).words == expected.name


def test_the_difference_of_two_effects_is_their_interaction() -> None:
    prefix = ("none", "oracle")
    alone, asked = (effect(prefix=prefix, prompt=prompt, hidden="a") for prompt in ("none", "query"))
    crossing = effect(prefix=prefix, prompt=("none", "query"), hidden="a")
    made = (alone - asked).named("x").contrast(CELLS)
    assert made.weights == crossing.contrast(CELLS).weights
    assert made.effect_order == 2
    # What they share is taken away: the effect of one treatment over another is no interaction.
    over = effect(prefix=prefix, prompt="query", hidden="a") - effect(
        prefix=("none", "random"), prompt="query", hidden="a"
    )
    weights = over.named("x").contrast(CELLS).weights
    assert {cell.partition("|")[0]: weight for cell, weight in weights.items()} == {
        "prefix=oracle": -1,
        "prefix=random": 1,
    }


def test_lists_and_means_average_and_what_is_not_named_is_averaged_over() -> None:
    draws = effect(prefix=("none", ["random", "random@1"]), prompt="query", hidden="a").contrast(CELLS)
    singles = [effect(prefix=("none", draw), prompt="query", hidden="a") for draw in ("random", "random@1")]
    assert draws.weights == pytest.approx(mean(*singles).named("x").contrast(CELLS).weights)
    assert value(draws) == pytest.approx(np.mean([value(own.contrast(CELLS)) for own in singles]))
    over_hidden = effect(prefix=("none", "oracle"), prompt="query").contrast(CELLS)
    both = [effect(prefix=("none", "oracle"), prompt="query", hidden=level) for level in "ab"]
    assert value(over_hidden) == pytest.approx(np.mean([value(own.contrast(CELLS)) for own in both]))
    held = effect(prefix=("none", "oracle"), prompt=["none", "query"], hidden="a").contrast(CELLS)
    assert value(held) == pytest.approx(
        np.mean(
            [
                value(effect(prefix=("none", "oracle"), prompt=prompt, hidden="a").contrast(CELLS))
                for prompt in ("none", "query")
            ]
        )
    )


def test_places_compare_what_changes_in_several_factors_at_once() -> None:
    made = place(prefix="none", prompt="none") - place(prefix="oracle", prompt="query")
    weights = made.at(hidden="b").named("x").contrast(CELLS).weights
    assert weights == {"prefix=none|hidden=b|prompt=none": 1, "prefix=oracle|hidden=b|prompt=query": -1}
    # A factor that a place names itself stays.
    assert "hidden=a" in next(iter((made.at(hidden="a")).at(hidden="b").contrast(CELLS).weights))
    with pytest.raises(ValueError, match="hidden is named on one side alone, and averaged over on the other"):
        (place(prefix="none", prompt="none") - place(prefix="oracle", prompt="none", hidden="a")).contrast(
            CELLS
        )
    half = (made * 0.5).at(hidden="b").contrast(CELLS).weights
    assert set(half.values()) == {0.5, -0.5}
    assert [cell.name for cell in place(prefix="oracle", prompt="none").cells(CELLS)] == [
        "prefix=oracle|hidden=a|prompt=none",
        "prefix=oracle|hidden=b|prompt=none",
    ]


def test_what_is_no_effect_is_refused_by_name() -> None:
    with pytest.raises(
        ValueError, match=r"needs a factor with a pair of levels .* got \{'prompt': 'query'\}"
    ):
        effect(prompt="query")
    with pytest.raises(ValueError, match="prefix=.*expected a pair of different levels"):
        effect(prefix=("none", "none"))
    with pytest.raises(ValueError, match="none on both sides"):
        effect(prefix=(["none", "oracle"], ["oracle", "random"]))
    one = effect(prefix=("none", "oracle"), prompt="query", hidden="a")
    with pytest.raises(ValueError, match="its sides are the same cells"):
        (one - one).contrast(CELLS)
    with pytest.raises(ValueError, match="mean takes effects, one by one; got list"):
        mean([one])  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        _ = one + 1
    # Twice an effect is no interaction, and what is left of cancelled weights is none.
    assert (2 * one).contrast(CELLS).effect_order == 1
    rest = (
        0.1 * one + 0.2 * one - 0.3 * one + effect(prefix=("none", "random"), prompt="query", hidden="a")
    ).contrast(CELLS)
    assert len(rest.weights) == 2
    assert effect(prefix=("none", "oracle")).at(prompt="query").words == "prefix none→oracle | prompt=query"
    with pytest.raises(ValueError, match="prefix=3: expected a level's name, or a list"):
        effect(prefix=("none", "oracle"), hidden="a").at(prefix=3)  # type: ignore[arg-type]
    with pytest.raises(
        ValueError,
        match=r"no cell has the factor 'prefx'\. Did you mean 'prefix'\? Known: prefix, ",
    ):
        effect(prefx=("none", "oracle")).contrast(CELLS)
    with pytest.raises(
        ValueError,
        match=r"no cell has prefix=orcale\. Did you mean 'oracle'\? Known: none, oracle, ",
    ):
        effect(prefix=("none", "orcale")).contrast(CELLS)
    with pytest.raises(ValueError, match="sum to 1"):
        place(prefix="none").named("x").contrast(CELLS)
    # Without a cell of one side, the sides are averages over different prompts.
    lacking = [cell for cell in CELLS if cell.name != "prefix=oracle|hidden=a|prompt=query"]
    with pytest.raises(
        ValueError,
        match="prefix=oracle has 3 cells, with other levels .* side's 4",
    ):
        effect(prefix=("none", "oracle")).contrast(lacking)
    assert effect(prefix=("none", "oracle"), prompt="none").contrast(lacking).weights


def test_effects_in_design_files() -> None:
    def plan(**contrast: object):
        factors = {"prefix": ["none", "oracle"], "prompt": ["none", "query"]}
        return custom_analysis({"factors": factors, "contrasts": [contrast]}).plan("corrected")

    (made,) = plan(effect={"prefix": ["none", "oracle"], "prompt": "query"}).contrasts
    assert made.name == "prefix none→oracle | prompt=query"
    assert made.weights == {"prefix=none|prompt=query": 1, "prefix=oracle|prompt=query": -1}
    (both,) = plan(effect={"prefix": ["none", "oracle"], "prompt": ["none", "query"]}, name="both").contrasts
    assert (both.name, both.effect_order) == ("both", 2)
    (over,) = plan(effect={"prefix": ["none", "oracle"]}).contrasts
    assert set(map(abs, over.weights.values())) == {0.5}
    (held,) = plan(effect={"prefix": ["none", "oracle"], "prompt": [["none", "query"]]}).contrasts
    assert held.weights == over.weights
    assert held.effect_order == 1
    for wrong, words in (
        (
            {"effect": {"prefix": ["none", "oracle"]}, "order": 2},
            "order: an effect knows its order, 1; leave it out",
        ),
        ({"effect": {"prompt": "query"}}, r"contrasts\[0\]: an effect needs a factor with a pair"),
        ({"effect": {"prefix": ["none"]}}, r"effect.prefix: expected a level, a pair .* got 1 entry"),
        ({"effect": {"prefix": ["none", "rain"]}}, "no cell has prefix=rain"),
        ({"effect": {"prefix": ["none", "oracle"]}, "weights": {}}, "expected one of effect, baseline and"),
        ({"effect": 5}, "effect: expected a table"),
    ):
        with pytest.raises(DesignError, match=words):
            plan(**wrong)


def test_every_cell_counts_alike_whatever_their_order() -> None:
    shuffled: tuple[Cell, ...] = tuple(np.random.default_rng(1).permutation(np.array(CELLS, dtype=object)))
    made = effect(prefix=("none", "oracle"))
    assert made.contrast(shuffled).weights == pytest.approx(made.contrast(CELLS).weights)
