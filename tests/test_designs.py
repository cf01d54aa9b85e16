"""Designs and the cells of analyses 07 and 08, against the protocol's lists written out by hand."""

from __future__ import annotations

import itertools

import numpy
import pandas as pd
import pytest

from budgetlens.design.catalogue import available_analyses, find_analysis
from budgetlens.design.design import Cell, Design, Factor, crossed
from budgetlens.design.intervention import Context, LevelError
from budgetlens.design.plan import PROTOCOLS, Plan
from budgetlens.model.tokenization import TrialTokenizer
from budgetlens.model.trials import FIRST_POSITIONS, Example, Segment
from budgetlens.registry.names import RegistryError
from budgetlens.statistics.contrasts import Contrast
from budgetlens.statistics.effects import decomposition
from budgetlens.statistics.inference import Inference
from interventions.decoder_prompt import DecoderPrompt
from interventions.prefix import Prefix
from interventions.truncation import Truncate
from tests.reference import tiny_models

#: Alias to (prefix, hidden, prompt): the published cells, from the protocol's table.
PUBLISHED_08 = {
    "bare_nq": ("none", "first-n", "none"),
    "bare_random_q": ("none", "first-n", "random"),
    "bare_q": ("none", "first-n", "query"),
    "oracle_trunc_nq": ("oracle", "first-n", "none"),
    "oracle_trunc_random_q": ("oracle", "first-n", "random"),
    "oracle_trunc_q": ("oracle", "first-n", "query"),
}
PUBLISHED_07 = {alias: levels for alias, levels in PUBLISHED_08.items() if "random" not in alias}
VISIBLE, HIDDEN = "prefix+separator", "bos+prefix+separator"
CORRECTED_08 = {
    "bare_nq": ("none", VISIBLE, "none"),
    "bare_random_q": ("none", VISIBLE, "random-text"),
    "bare_q": ("none", VISIBLE, "query"),
    "bare_nq_bos_hidden": ("none", HIDDEN, "none"),
    "bare_random_q_bos_hidden": ("none", HIDDEN, "random-text"),
    "bare_q_bos_hidden": ("none", HIDDEN, "query"),
    "oracle_trunc_nq": ("oracle", VISIBLE, "none"),
    "oracle_trunc_random_q": ("oracle", VISIBLE, "random-text"),
    "oracle_trunc_q": ("oracle", VISIBLE, "query"),
    "oracle_trunc_nq_bos_hidden": ("oracle", HIDDEN, "none"),
    "oracle_trunc_random_q_bos_hidden": ("oracle", HIDDEN, "random-text"),
    "oracle_trunc_q_bos_hidden": ("oracle", HIDDEN, "query"),
    "bare_shifted_nq": ("none", VISIBLE, "position"),
    "bare_shuffled_q": ("none", VISIBLE, "shuffled-query"),
    "bare_other_q": ("none", VISIBLE, "other-query"),
    "oracle_trunc_shuffled_q": ("oracle", VISIBLE, "shuffled-query"),
    "oracle_trunc_other_q": ("oracle", VISIBLE, "other-query"),
}
CORRECTED_07 = {
    alias: levels
    for alias, levels in CORRECTED_08.items()
    if not any(word in alias for word in ("random", "shuffled", "other"))
}
EXPECTED = {
    ("exp07", "published"): PUBLISHED_07,
    ("exp08", "published"): PUBLISHED_08,
    ("exp07", "corrected"): CORRECTED_07,
    ("exp08", "corrected"): CORRECTED_08,
}
PLANS = sorted(EXPECTED)


def plan_of(name: str, protocol: str) -> Plan:
    return find_analysis(name).plan(protocol)


@pytest.mark.parametrize(("name", "protocol"), PLANS)
def test_cells_names_and_aliases(name: str, protocol: str) -> None:
    expected = EXPECTED[name, protocol]
    assert (
        len(expected)
        == {"exp07": {"published": 4, "corrected": 9}, "exp08": {"published": 6, "corrected": 17}}[name][
            protocol
        ]
    )
    design = plan_of(name, protocol).design
    assert {cell.alias: cell.factors for cell in design.cells} == {
        alias: dict(zip(("prefix", "hidden", "prompt"), levels, strict=True))
        for alias, levels in expected.items()
    }
    assert {cell.alias: cell.name for cell in design.cells} == {
        alias: f"prefix={prefix}|hidden={hidden}|prompt={prompt}"
        for alias, (prefix, hidden, prompt) in expected.items()
    }
    assert len(design.cells) == len(expected)


@pytest.mark.parametrize(("name", "protocol"), PLANS)
def test_protocols_differ_in_rows_entropies_and_correction(name: str, protocol: str) -> None:
    plan = plan_of(name, protocol)
    if protocol == "published":
        assert (plan.rows, plan.correction) == ("holding", "bonferroni")
        assert plan.probes == ("budgets", "published_entropies", "norm")
    else:
        assert (plan.rows, plan.correction) == ("predicting", "holm")
        assert plan.probes == ("budgets", "entropies", "norm")
    assert PROTOCOLS == ("corrected", "published")


@pytest.mark.parametrize(("name", "protocol"), PLANS)
def test_contrasts_are_over_the_design_s_cells_and_named_apart(name: str, protocol: str) -> None:
    plan = plan_of(name, protocol)
    cells = {cell.name for cell in plan.design.cells}
    for contrast in (*plan.contrasts, *plan.share_contrasts):
        assert contrast.weights.keys() <= cells, contrast.name
    for contrasts in (plan.contrasts, plan.share_contrasts):
        names = [contrast.name for contrast in contrasts]
        assert len(set(names)) == len(names)
    used = {cell for contrast in plan.contrasts for cell in contrast.weights}
    assert used == cells


@pytest.mark.parametrize("name", sorted(available_analyses()))
def test_no_plan_holds_a_contrast_twice(name: str) -> None:
    """No two contrasts of a plan are multiples of each other: their vectors' cosine is never 1 or -1."""
    for plan in available_analyses()[name]().plans.values():
        place = {cell.name: number for number, cell in enumerate(plan.design.cells)}
        for contrasts in (plan.contrasts, plan.share_contrasts):
            vectors = numpy.zeros((len(contrasts), len(place)))
            for row, contrast in enumerate(contrasts):
                for cell, weight in contrast.weights.items():
                    vectors[row, place[cell]] = weight
            vectors /= numpy.linalg.norm(vectors, axis=1, keepdims=True)
            parallel = numpy.argwhere(numpy.triu(numpy.abs(vectors @ vectors.T), 1) > 1 - 1e-9)
            assert [(contrasts[one].name, contrasts[other].name) for one, other in parallel] == []


def weights(**cells: float) -> dict[str, float]:
    """Weights by alias of the published cells of 08."""
    return {
        "prefix={}|hidden={}|prompt={}".format(*PUBLISHED_08[alias]): weight
        for alias, weight in cells.items()
    }


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("oracle prefix | prompt=none", weights(bare_nq=1, oracle_trunc_nq=-1)),
        ("oracle prefix | prompt=random", weights(bare_random_q=1, oracle_trunc_random_q=-1)),
        ("oracle prefix | prompt=query", weights(bare_q=1, oracle_trunc_q=-1)),
        ("query prompt | bare", weights(bare_nq=1, bare_q=-1)),
        ("query prompt | oracle_trunc", weights(oracle_trunc_nq=1, oracle_trunc_q=-1)),
        ("length (none→random) | bare", weights(bare_nq=1, bare_random_q=-1)),
        ("semantic (random→query) | bare", weights(bare_random_q=1, bare_q=-1)),
        ("length (none→random) | oracle_trunc", weights(oracle_trunc_nq=1, oracle_trunc_random_q=-1)),
        ("semantic (random→query) | oracle_trunc", weights(oracle_trunc_random_q=1, oracle_trunc_q=-1)),
        ("oracle prefix × query prompt", weights(bare_nq=1, oracle_trunc_nq=-1, bare_q=-1, oracle_trunc_q=1)),
        (
            "length (none→random) × oracle prefix",
            weights(bare_nq=1, oracle_trunc_nq=-1, bare_random_q=-1, oracle_trunc_random_q=1),
        ),
        (
            "semantic (random→query) × oracle prefix",
            weights(bare_random_q=1, oracle_trunc_random_q=-1, bare_q=-1, oracle_trunc_q=1),
        ),
    ],
)
def test_published_contrasts_of_08_by_hand(name: str, expected: dict[str, float]) -> None:
    contrasts = {contrast.name: contrast for contrast in plan_of("exp08", "published").contrasts}
    assert len(contrasts) == 12
    assert dict(contrasts[name].weights) == expected


def test_the_sink_and_position_controls_are_contrasts_of_their_own() -> None:
    plan = plan_of("exp08", "corrected")
    families: dict[str, list[Contrast]] = {}
    for contrast in plan.contrasts:
        families.setdefault(contrast.family, []).append(contrast)
    assert len(families["sink"]) == 6
    by_name = {cell.name: cell for cell in plan.design.cells}
    for contrast in families["sink"]:
        (baseline,) = (by_name[cell] for cell, weight in contrast.weights.items() if weight == 1)
        (treatment,) = (by_name[cell] for cell, weight in contrast.weights.items() if weight == -1)
        assert baseline.factors["hidden"] == VISIBLE
        assert treatment.factors == {**baseline.factors, "hidden": HIDDEN}
    split = plan.splits[-1]
    assert split.total.name == "query prompt | bare, by position and content"
    steps = [(contrast.baseline, contrast.treatment) for contrast in split.parts]
    # The last step, over random text, is a prompt step already, and so is tested there alone.
    assert families["position"] == list(split.parts[:2])
    assert split.parts[2].weights in [contrast.weights for contrast in families["prompt steps, BOS visible"]]
    chain = ["none", "position", "random-text", "query"]
    assert steps == [
        tuple(f"prefix=none|hidden={VISIBLE}|prompt={prompt}" for prompt in pair)
        for pair in itertools.pairwise(chain)
    ]


@pytest.mark.parametrize("prompt", ["shuffled-query", "other-query"])
def test_prompts_beside_random_text_are_steps_of_their_own(prompt: str) -> None:
    """By hand: from no prompt to the other one, from there to the query, and how both change with the prefix."""
    contrasts = {contrast.name: contrast for contrast in plan_of("exp08", "corrected").contrasts}
    to, beyond = {
        "shuffled-query": ("the query's words in any order", "their order"),
        "other-query": ("any question", "this question"),
    }[prompt]

    def cell(prefix: str, own: str) -> str:
        return f"prefix={prefix}|hidden={VISIBLE}|prompt={own}"

    for words, first, second in ((to, "none", prompt), (beyond, prompt, "query")):
        name = f"{words} ({first}→{second})"
        for prefix, short in (("none", "bare"), ("oracle", "oracle_trunc")):
            own = contrasts[f"{name} | {short}, BOS visible"]
            assert dict(own.weights) == {cell(prefix, first): 1.0, cell(prefix, second): -1.0}
            assert own.family == "other prompts, BOS visible"
        assert dict(contrasts[f"{name} × oracle prefix, BOS visible"].weights) == {
            cell("none", first): 1.0,
            cell("none", second): -1.0,
            cell("oracle", first): -1.0,
            cell("oracle", second): 1.0,
        }
    names = {name.partition(" ")[0] for name in contrasts}
    assert "length" not in names
    assert "random text (none→random-text) | bare, BOS visible" in contrasts


@pytest.mark.parametrize(("name", "protocol"), PLANS)
def test_splits_add_up(name: str, protocol: str) -> None:
    """The parts' weights sum to the total's, so that on means they add up whatever the data."""
    plan = plan_of(name, protocol)
    # 08: the prompt effect bare and with oracle, and the interaction; corrected twice, then at each of two further
    # prompts, and the position's.
    assert (
        len(plan.splits)
        == {
            ("exp07", "published"): 0,
            ("exp07", "corrected"): 1,
            ("exp08", "published"): 3,
            ("exp08", "corrected"): 13,
        }[name, protocol]
    )
    for split in plan.splits:
        total: dict[str, float] = {}
        for part in split.parts:
            for cell, weight in part.weights.items():
                total[cell] = total.get(cell, 0.0) + weight
        assert {cell: weight for cell, weight in total.items() if weight} == dict(split.total.weights), (
            split.total.name
        )
        assert len(split.parts) >= 2


def test_a_split_of_means_on_data() -> None:
    plan = plan_of("exp08", "published")
    generator = numpy.random.default_rng(5)
    means = {cell.name: generator.normal(size=12) for cell in plan.design.cells}
    records = pd.DataFrame(
        [
            {"example": str(example), "cell": cell, "nll": value, "answer_tokens": 3}
            for cell, values in means.items()
            for example, value in enumerate(values)
        ]
    )
    split = plan.splits[2]
    table = decomposition(records, split.total, split.parts, Inference(seed=1)).set_index("part")
    bare, oracle = (
        [
            means["prefix={}|hidden={}|prompt={}".format(*PUBLISHED_08[f"{short}_{prompt}"])].mean()
            for prompt in ("nq", "random_q", "q")
        ]
        for short in ("bare", "oracle_trunc")
    )
    effect = [first - second for first, second in zip(bare, oracle, strict=True)]
    assert table.loc["total", "mean_difference"] == pytest.approx(effect[0] - effect[2])
    found = sorted(table.drop("total")["mean_difference"])
    assert found == pytest.approx(sorted([effect[0] - effect[1], effect[1] - effect[2]]))


# What the cells feed.


def test_a_cell_applies_its_interventions_in_order() -> None:
    cell = plan_of("exp08", "corrected").design.cell(prefix="oracle", hidden=HIDDEN, prompt="query")
    assert cell.interventions == (
        Prefix("oracle"),
        Truncate(frozenset({"bos", "prefix", "separator"})),
        DecoderPrompt("query"),
    )
    tokenizer = TrialTokenizer(tiny_models.tokenizer(), 2)
    example = Example("one", "who built it", "The wall", "Orla Venn")
    trial = cell.trial(example, Context(0, (example,), tokenizer, 199, 42))
    assert trial.encoder == (
        Segment("prefix", text="who built it"),
        Segment("separator", text="\n"),
        Segment("document", text="The wall"),
    )
    assert trial.hidden == {"bos", "prefix", "separator"}
    assert [segment.role for segment in trial.decoder] == ["prompt", "answer"]
    published = plan_of("exp08", "published").design.cell(prefix="none", hidden="first-n", prompt="none")
    assert published.trial(example, Context(0, (example,), tokenizer, 199, 42)).hidden == {FIRST_POSITIONS}


def test_crossing_by_hand() -> None:
    factors = (Factor("prefix", ("none", "oracle")), Factor("prompt", ("none", "query")))
    design = crossed(factors, aliases={("none", "query"): "q"}, extra=[("oracle", "position")])
    assert [cell.name for cell in design.cells] == [
        "prefix=none|prompt=none",
        "prefix=none|prompt=query",
        "prefix=oracle|prompt=none",
        "prefix=oracle|prompt=query",
        "prefix=oracle|prompt=position",
    ]
    assert [cell.alias for cell in design.cells] == ["", "q", "", "", ""]
    assert design.cell(prefix="none", prompt="query") is design.cells[1]


def test_design_errors() -> None:
    factors = (Factor("prefix", ("none", "oracle")),)
    with pytest.raises(
        ValueError, match=r"aliases name cells that the design does not have: \[\('query',\)\]"
    ):
        crossed(factors, aliases={("query",): "q"})
    with pytest.raises(ValueError, match="a design's cells must differ"):
        crossed(factors, extra=[("none",)])
    with pytest.raises(ValueError, match="factor 'prefix' needs one or more distinct levels; got "):
        Factor("prefix", ("none", "none"))
    with pytest.raises(ValueError, match="needs one or more distinct levels"):
        Factor("prefix", ())
    with pytest.raises(KeyError, match="no cell has the levels"):
        Design(factors, (Cell((("prefix", "none"),)),)).cell(prefix="oracle")
    with pytest.raises(RegistryError, match=r"no intervention is called 'prefx'. Did you mean 'prefix'\?"):
        _ = Cell((("prefx", "none"),)).interventions
    with pytest.raises(LevelError, match="no prefix source is called 'orakle'. Did you mean 'oracle'"):
        _ = Cell((("prefix", "orakle"),)).interventions


# Finding analyses.


def test_analyses_are_found_by_name_module_and_number() -> None:
    assert {"exp07", "exp08"} <= available_analyses().keys()
    for name in ("exp08", "08", "exp08_decoder_length_control"):
        assert find_analysis(name).name == "exp08"
    assert find_analysis("exp07_decoder_attention").name == "exp07"
    with pytest.raises(RegistryError, match=r"no analysis is called 'exp80'. Did you mean 'exp08'\?"):
        find_analysis("exp80")
    with pytest.raises(ValueError, match="exp08 has no protocol 'other'; it has corrected, published"):
        find_analysis("exp08").plan("other")


@pytest.mark.parametrize("name", ["exp07", "exp08"])
def test_published_defaults(name: str) -> None:
    """500 examples (protocol, section 2)."""
    assert find_analysis(name).n == 500
