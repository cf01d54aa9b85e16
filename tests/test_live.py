"""Contrasts of what acts: by what trials fed, against values of cells that are equal where the trials are."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path

import numpy
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budgetlens.command.main import main
from budgetlens.corpora.corpus import read_corpus
from budgetlens.design.custom import custom_analysis
from budgetlens.design.design import Cell, Factor, context_of, crossed
from budgetlens.design.factorial_plan import automatic_contrasts
from budgetlens.design.plan import live_plan
from budgetlens.design.reach import feed, first_alike, idle_factors
from budgetlens.model.tokenization import TrialTokenizer
from budgetlens.runs.run import Run
from budgetlens.statistics.contrasts import Contrast, comparison, contrast_values
from budgetlens.statistics.live import (
    idle_in_every_example,
    live_cells,
    live_contrasts,
    same_in_every_example,
)
from tests.conftest import write_corpus
from tests.reference import tiny_models

BARE, BARE_SHUFFLED, ORACLE, SHUFFLED = (
    f"prefix={prefix}|shuffle={shuffle}"
    for prefix, shuffle in itertools.product(("none", "oracle"), ("none", "prefix:words"))
)
IDLE = {BARE_SHUFFLED: frozenset({"shuffle"})}
SAME = {BARE_SHUFFLED: BARE}


def contrasts_of(**factors: tuple[str, ...]) -> tuple[Contrast, ...]:
    return automatic_contrasts(crossed([Factor(name, levels) for name, levels in factors.items()]))


def weights(contrasts: tuple[Contrast, ...]) -> dict[str, dict[str, float]]:
    return {contrast.name: dict(contrast.weights) for contrast in contrasts}


@pytest.mark.parametrize(("idle", "same"), [(IDLE, {}), ({}, SAME), (IDLE, SAME)])
def test_nothing_is_shuffled_where_there_is_no_prefix(
    idle: Mapping[str, frozenset[str]], same: Mapping[str, str]
) -> None:
    """Either thing that records tell is enough: the factor is idle there, or the two trials are the same."""
    contrasts = contrasts_of(prefix=("none", "oracle"), shuffle=("none", "prefix:words"))
    assert len(contrasts) == 7
    assert weights(live_contrasts(contrasts, idle, same)) == {
        "prefix none→oracle": {BARE: 0.5, BARE_SHUFFLED: 0.5, ORACLE: -0.5, SHUFFLED: -0.5},
        # Undiluted; the simple effect with a prefix is the same, and the interaction no other either.
        "shuffle none→prefix:words": {ORACLE: 1, SHUFFLED: -1},
        "prefix none→oracle | shuffle=none": {BARE: 1, ORACLE: -1},
        "prefix none→oracle | shuffle=prefix:words": {BARE_SHUFFLED: 1, SHUFFLED: -1},
    }


def test_what_is_known_of_no_cell_leaves_everything_as_it_is() -> None:
    contrasts = contrasts_of(
        prefix=("none", "oracle"), hidden=("none", "bos", "eos"), prompt=("none", "query#2")
    )
    found = live_contrasts(contrasts, {}, {})
    assert all(one is other for one, other in zip(found, contrasts, strict=True))


def test_knocked_out_roles_that_are_nowhere_are_not_tested() -> None:
    base, eos, document = (
        f"prompt=query|knockout={level}"
        for level in ("none", "predicting->eos@all", "predicting->document@all")
    )
    idle = {eos: frozenset({"knockout"})}
    contrasts = [comparison(base, eos, "f"), comparison(base, document, "f"), comparison(eos, document, "f")]
    assert live_contrasts(contrasts, idle, {}) == (contrasts[1],)
    # A factor that is idle beside the one that is compared takes nothing away.
    other = {cell: frozenset({"prompt"}) for cell in (base, eos, document)}
    assert live_contrasts(contrasts, other, {}) == tuple(contrasts)


def test_hiding_more_acts_where_hiding_less_hid_nothing() -> None:
    """A bare document has no prefix to hide, but its BOS is hidden all the same."""
    none, exact, both = (f"prefix=none|hidden={level}" for level in ("none", "prefix", "bos+prefix"))
    contrasts = [comparison(none, exact, "f"), comparison(exact, both, "f"), comparison(none, both, "g")]
    assert live_contrasts(contrasts, {}, {exact: none}) == tuple(contrasts[1:])


def test_draws_are_idle_and_alike_together() -> None:
    factors = {"prefix": ("none", "oracle"), "shuffle": ("none", "prefix:words", "prefix:words#2")}
    contrasts = contrasts_of(**factors)
    cells = [f"prefix=none|shuffle={level}" for level in factors["shuffle"]]
    same = dict.fromkeys(cells[1:], cells[0])
    idle = dict.fromkeys(cells[1:], frozenset({"shuffle"}))
    for found in (live_contrasts(contrasts, idle, {}), live_contrasts(contrasts, {}, same)):
        own = weights(found)
        draws = [f"prefix=oracle|shuffle={level}" for level in factors["shuffle"]]
        assert own["shuffle none→prefix:words"] == dict(zip(draws, (1, -0.5, -0.5), strict=True))
        assert "prefix none→oracle × shuffle none→prefix:words" not in own
        assert not any("prefix=none" in name for name in own if name.startswith("shuffle"))


def test_crossings_that_count_unequally_keep_their_proportions_and_their_size() -> None:
    cells = {(p, s): f"prefix={p}|shuffle={s}" for p in ("none", "oracle", "random") for s in ("none", "w")}
    own = {"none": 1.0, "oracle": 0.6, "random": 0.4}
    contrast = Contrast(
        "c", "f", {cells[p, s]: own[p] * (1 if s == "none" else -1) for p, s in cells}, order=1
    )
    (found,) = live_contrasts([contrast], {cells["none", "w"]: frozenset({"shuffle"})}, {})
    expected = {cells[p, s]: 2 * own[p] * (1 if s == "none" else -1) for p, s in cells if p != "none"}
    assert dict(found.weights) == pytest.approx(expected)


def test_contrasts_of_other_kinds_are_left_out_only_where_they_cancel() -> None:
    contrasts = [
        comparison("one", "other", "f"),
        Contrast("three", "f", {"a=1": 0.5, "a=2": 0.5, "a=3": -1.0}),
        comparison("one", "third", "f"),
    ]
    assert live_contrasts(contrasts, {"a=3": {"a"}}, {"other": "one"}) == tuple(contrasts[1:])
    assert live_contrasts(contrasts, {}, {"a=2": "a=1", "a=3": "a=1"}) == (contrasts[0], contrasts[2])


def test_a_plan_loses_headlines_of_what_is_left_out() -> None:
    plan = custom_analysis(
        {
            "factors": {"prefix": ["none", "oracle"], "shuffle": ["none", "prefix:words"]},
            "headline": ["shuffle none→prefix:words | prefix=none", "shuffle none→prefix:words"],
        }
    ).plan("corrected")
    live = live_plan(plan, IDLE, SAME)
    assert live.headline == ("shuffle none→prefix:words",)
    assert live.headline_contrasts[0].weights == {ORACLE: 1, SHUFFLED: -1}
    assert [contrast.name for contrast in live.share_contrasts] == [
        "prefix none→oracle",
        "shuffle none→prefix:words",
    ]
    assert live_plan(plan, {}, {}) == plan


LEVELS = {"a": ("0", "1", "2"), "b": ("0", "1"), "c": ("0", "1")}


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_what_stays_has_values_and_what_goes_has_none(data: st.DataObject) -> None:
    """Cells that are the same have equal values, whatever they are: only a contrast of zeros goes, or an interaction."""
    contrasts = contrasts_of(**LEVELS)
    names = list(dict.fromkeys(cell for contrast in contrasts for cell in contrast.weights))
    same: dict[str, str] = {}
    for place, cell in enumerate(names[1:], 1):
        if data.draw(st.booleans()):
            first = data.draw(st.sampled_from(names[:place]))
            same[cell] = same.get(first, first)
    values = numpy.random.default_rng(3).normal(size=(5, len(names)))
    frame = pd.DataFrame(values, columns=names)
    for cell, first in same.items():
        frame[cell] = frame[first]
    live = {contrast.name: contrast for contrast in live_contrasts(contrasts, {}, same)}
    computed = contrast_values(frame, contrasts)
    for contrast in contrasts:
        zero = numpy.abs(computed[contrast.name]).max() < 1e-12
        assert not (zero and contrast.name in live)
        if contrast.name in live:
            assert sum(live[contrast.name].weights.values()) == pytest.approx(0)
            assert numpy.abs(contrast_values(frame, [live[contrast.name]])).to_numpy().max() > 1e-12
    for name, contrast in live.items():
        steps = name.split(" | ")[0].split(" × ")
        if len(steps) > 1:
            continue
        # A main effect is the mean over the steps that are no step.
        factor, ends = steps[0].split(" ")
        first, second = ends.split("→")
        pairs = [
            (cell, cell.replace(f"{factor}={first}", f"{factor}={second}"))
            for cell in next(one for one in contrasts if one.name == name).weights
            if f"{factor}={first}" in cell
        ]
        moving = [(one, other) for one, other in pairs if same.get(one, one) != same.get(other, other)]
        expected = sum(frame[one] - frame[other] for one, other in moving) / len(moving)
        assert contrast_values(frame, [contrast])[name].to_numpy() == pytest.approx(expected.to_numpy())


def test_cells_that_may_be_crossed() -> None:
    cells = {name: {} for name in (BARE, BARE_SHUFFLED, ORACLE, SHUFFLED)}
    assert list(live_cells(cells, IDLE, {})) == list(live_cells(cells, {}, SAME)) == [BARE, ORACLE, SHUFFLED]


# What records tell.


def test_idle_in_every_example_alone_counts() -> None:
    rows = [
        ("1", "a", ""), ("2", "a", "knockout"),
        ("1", "b", "knockout+shuffle"), ("2", "b", "knockout"),
        ("1", "c", None), ("2", "c", "shuffle"),
    ]  # fmt: skip
    trials = pd.DataFrame(rows, columns=["example", "cell", "idle"]).astype("category")
    assert idle_in_every_example(trials) == {"b": frozenset({"knockout"})}
    assert idle_in_every_example(trials.drop(columns="idle")) == {}


def test_the_same_in_every_example_alone_counts() -> None:
    rows = [
        ("1", "a", "a"), ("1", "b", "a"), ("1", "c", "a"), ("1", "d", "d"), ("1", "e", "d"),
        ("2", "a", "a"), ("2", "b", "a"), ("2", "c", "c"), ("2", "d", "a"), ("2", "e", "a"),
    ]  # fmt: skip
    trials = pd.DataFrame(rows, columns=["example", "cell", "same_as"]).astype("category")
    assert same_in_every_example(trials) == {"b": "a", "e": "d"}
    assert same_in_every_example(trials.drop(columns="same_as")) == {}
    unknown = trials.astype(object)
    unknown.loc[0, "same_as"] = None
    assert same_in_every_example(unknown) == {}


@pytest.mark.parametrize("end", [True, False])
def test_trials_are_alike_by_what_they_feed(tmp_path: Path, end: bool) -> None:
    corpus = read_corpus(str(write_corpus(tmp_path / "tiny.jsonl", 4)), n=4, seed=42)
    tokenizer = TrialTokenizer(tiny_models.tokenizer(end=end), 2, depths={"encoder": 3, "decoder": 5})
    levels = {
        "prefix": ("none", "oracle"),
        "shuffle": ("none", "prefix:words"),
        "hidden": ("none", "prefix+separator", "prefix+separator+eos"),
        "prefix_attention": ("none", "masked"),
        "knockout": ("none", "answer->eos@all", "answer->prefix@all"),
    }
    cells = [Cell(tuple(zip(levels, own, strict=True))) for own in itertools.product(*levels.values())]

    def acting(cell: Cell) -> tuple[object, ...]:
        """By hand: what is left of a cell's levels where there is no prefix, and where there is no EOS."""
        prefix, shuffle, hidden, attention, knockout = cell.factors.values()
        there = {"document"} | ({"prefix"} if prefix == "oracle" else set()) | ({"eos"} if end else set())
        seen = there - set(hidden.split("+"))
        return (
            prefix,
            shuffle if "prefix" in there else "none",
            frozenset(hidden.split("+")) & there,
            attention if "prefix" in there else "none",
            knockout if any(f"->{role}@" in knockout for role in seen) else "none",
        )

    expected = [next(n for n, one in enumerate(cells) if acting(one) == acting(cell)) for cell in cells]
    for index, example in enumerate(corpus.examples):
        context = context_of(corpus, index, tokenizer, 42)
        made = [feed(cell, example, context, tokenizer) for cell in cells]
        assert first_alike([trial for trial, _ in made]) == expected
        assert any(idle_factors(idle) for _, idle in made)


def test_states_are_alike_by_their_donors(tmp_path: Path) -> None:
    corpus = read_corpus(str(write_corpus(tmp_path / "tiny.jsonl", 2)), n=2, seed=42)
    tokenizer = TrialTokenizer(tiny_models.tokenizer(end=False), 2, depths={"encoder": 3, "decoder": 5})
    patches = (
        "none",
        "eos<-prefix=oracle@final",
        "document<-prefix=oracle@final",
        "document<-prefix=random@final",
    )
    cells = [Cell((("prefix", "none"), ("state_patching", level))) for level in (*patches, patches[2])]
    context = context_of(corpus, 0, tokenizer, 42)
    made = [feed(cell, corpus.examples[0], context, tokenizer)[0] for cell in cells]
    assert first_alike(made) == [0, 0, 2, 3, 2]


def test_a_run_tests_what_acts(tmp_path: Path, tiny_directory: Path) -> None:
    """The main effect of a factor that acts with a prefix alone is its effect there, and nothing is 0 by construction."""
    corpus = write_corpus(tmp_path / "tiny.jsonl", 6)
    factors = ("prefix=none,oracle", "shuffle=none,prefix:words", "hidden=none,prefix")
    given = [word for factor in factors for word in ("--factor", factor)]
    out = tmp_path / "run"
    place = ["--model", str(tiny_directory), "--corpus", str(corpus), "--device", "cpu", "--out", str(out)]
    assert main(["run", "custom", *given, *place, "--quiet"]) == 0
    run = Run.open(out)
    wide = run.outcomes.pivot(index="example", columns="cell", values="nll")
    effects = pd.read_csv(out / "tables" / "effects.csv").set_index("contrast")["mean_difference"]
    with_prefix = [f"prefix=oracle|shuffle={{}}|hidden={hidden}" for hidden in ("none", "prefix")]
    expected = sum(wide[cell.format("none")] - wide[cell.format("prefix:words")] for cell in with_prefix) / 2
    assert effects["shuffle none→prefix:words"] == pytest.approx(expected.mean())
    assert not [name for name in effects.index if "| prefix=none" in name or "prefix none→oracle ×" in name]
    assert len(effects) == 3 + 1 + 4 + 2 + 2
