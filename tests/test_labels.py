"""Labels: what readers see of levels, cells and effects."""

from __future__ import annotations

import pytest

from budgetlens.design.catalogue import find_analysis
from budgetlens.design.effects import effect, place
from budgetlens.design.intervention import LevelError, available_interventions
from budgetlens.design.labels import Labels, level_label
from budgetlens.design.plan import Plan
from budgetlens.model.declaration import Declaration
from budgetlens.model.observation import available_probes
from budgetlens.registry.labels import Label
from budgetlens.statistics.contrasts import Contrast

#: Factors whose levels people of this project's analyses meet: their words hold no id.
TOLD = ("prefix", "prompt", "hidden", "prefix_attention", "padding")


def labels_of(plan: Plan) -> Labels:
    return Labels({cell.name: cell.factors for cell in plan.design.cells})


@pytest.mark.parametrize("factor", sorted(available_interventions()))
def test_every_known_level_has_words(factor: str) -> None:
    own = available_interventions()[factor]
    labels = {level: level_label(factor, level) for level in own.known_levels()}
    for level, label in labels.items():
        assert label.long
        assert label.sentence
        assert "_" not in label.long
        if factor in TOLD:
            assert "=" not in label.long
            assert ":" not in label.long
        # A factor at rest is told by itself nowhere.
        assert label.rest == (level in own.identity_levels)
    # Which other example a prefix is taken from is a draw, and levels at rest do the same.
    told = {level.replace("@1", "") for level, label in labels.items() if not label.rest}
    assert len({label for label in labels.values() if not label.rest}) == len(told)


def test_a_level_that_can_t_be_parsed_has_no_words_and_a_stranger_s_is_told_as_it_is() -> None:
    with pytest.raises(LevelError):
        available_interventions()["prefix"].label("orcale")
    assert level_label("prefix", "orcale") == Label("prefix=orcale")
    assert level_label("of_a_stranger", "x") == Label("of_a_stranger=x")
    # Draws of one level are one to a reader.
    assert level_label("prefix", "pool#3") == level_label("prefix", "pool")
    with pytest.raises(ValueError, match="a label needs words"):
        Label("")


def test_cells_are_told_by_the_levels_that_vary() -> None:
    plan = find_analysis("exp01").plan("corrected")
    labels = labels_of(plan)
    by_alias = {cell.alias: labels.cell(cell.name) for cell in plan.design.cells}
    assert by_alias["bare"].short == "no prefix · prompt: the query"
    assert by_alias["oracle_trunc_nq_masked"].sentence == (
        "the query as prefix and prefix hidden and no prompt and a prefix that only moves the document"
    )
    fixed = labels_of(find_analysis("exp12").plan("corrected"))
    assert all("query" not in fixed.cell(name).short for name in fixed.cells), (
        "prefix and prompt are the same everywhere"
    )


def test_effects_are_told_by_what_changes_and_what_is_held() -> None:
    plan = find_analysis("exp08").plan("corrected")
    labels, cells = labels_of(plan), plan.design.cells
    hidden = "prefix+separator"
    prefix = effect(prefix=("none", "oracle"), prompt="query", hidden=hidden).contrast(cells)
    assert labels.effect(prefix) == Label(
        "prefix: the query · prefix hidden · prompt: the query",
        "the query as prefix · prefix hidden · the query in the prompt",
        "the query as prefix, with prefix hidden and the query in the prompt",
    )
    steps = effect(prompt=("random-text", "query"), prefix="none", hidden=hidden).contrast(cells)
    assert labels.effect(steps).sentence == (
        "the query in the prompt instead of random text in the prompt, with no prefix"
    )
    assert labels.effect(steps).short == "prompt: the query instead of random text · no prefix"
    # What is hidden besides a prefix is told where there is no prefix.
    bos = effect(hidden=(hidden, "bos+prefix+separator"), prefix="none", prompt="query").contrast(cells)
    assert labels.effect(bos).short == "BOS hidden · no prefix · prompt: the query"
    both = effect(hidden=(hidden, "bos+prefix+separator"), prefix="oracle", prompt="query").contrast(cells)
    assert labels.effect(both).short == (
        "BOS and prefix hidden instead of prefix hidden · prefix: the query · prompt: the query"
    )
    both = effect(prefix=("none", "oracle"), prompt=("none", "query"), hidden=hidden).contrast(cells)
    assert labels.effect(both).short == "prefix: the query × prompt: the query · prefix hidden"
    # What is averaged over is told as that, and what changes in two factors at once is told by its cells.
    main = effect(prefix=("none", "oracle"), hidden=hidden, prompt=["none", "query"]).contrast(cells)
    assert labels.effect(main).short == "prefix: the query · prefix hidden · averaged over 2 levels of prompt"
    jump = (place(prefix="none", prompt="none") - place(prefix="oracle", prompt="query")).at(hidden=hidden)
    assert labels.effect(jump.contrast(cells)).sentence == (
        "the query as prefix and the query in the prompt instead of no prefix and no prompt, with prefix hidden"
    )


def test_draws_are_told_once_and_what_can_t_be_told_is_named() -> None:
    plan = find_analysis("exp01").plan("corrected")
    labels = labels_of(plan)
    by_name = {contrast.name: contrast for contrast in plan.contrasts}
    assert labels.effect(by_name["random prefix | prompt=query"]).sentence == (
        "another document's words as prefix, with prefix hidden and the query in the prompt"
    )
    assert labels.effect(Contrast("of other cells", "f", {"a": 1, "b": -1})) == Label("of other cells")


@pytest.mark.parametrize("name", sorted(available_probes()))
def test_every_probe_has_words_of_three_lengths_without_an_id(name: str) -> None:
    label = available_probes()[name].declares.label
    for words in (label.short, label.long, label.sentence):
        assert words.strip()
        assert not set(words) & set("_#|=")
    assert label.short[0].isupper()
    assert label.long[0].isupper()


def test_a_probe_that_gives_its_title_alone_is_told_by_it() -> None:
    declared = Declaration(title="Strongest keys", quantities=(), axis="keys")
    assert declared.label == Label("Strongest keys", "Strongest keys", "strongest keys")
    given = Declaration(
        title="Mean distance", heading="Distance", plural="distances", quantities=(), axis="keys"
    )
    assert given.label == Label("Distance", "Mean distance", "distances")
