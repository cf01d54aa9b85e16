"""Where enrichment lives and what the answer needs: runs against plain torch hooks, tables against hand arithmetic."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from analyses.studies import enrichment, enrichment_plans, knockout_plans, knockouts
from budgetlens.command.main import main
from budgetlens.corpora.corpus import read_corpus
from budgetlens.design.catalogue import find_analysis
from budgetlens.design.design import Cell
from budgetlens.model.loading import load_model
from budgetlens.model.tokenization import TokenizedTrial
from budgetlens.runs.run import Run
from budgetlens.runs.running import tokenized_units
from budgetlens.statistics.budget_arrays import empty_budget
from budgetlens.statistics.contrasts import parse_cell
from budgetlens.statistics.effects import effects_table
from budgetlens.statistics.inference import Inference
from tests.cautions import tables_without_caution
from tests.conftest import write_corpus
from tests.factorial import factor_contrast
from tests.precision import Float32, beyond, least_unit, within
from tests.reference import tiny_models
from tests.reference.eager import own_precision

EXAMPLES = 6


Runs = Callable[[str, str], Path]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, tiny_directory: Path) -> Runs:
    """Finished runs on a tiny T5Gemma 2 by analysis and protocol, each made once."""

    @cache
    def make(analysis: str, protocol: str) -> Path:
        folder = tmp_path_factory.mktemp(f"{analysis}-{protocol}")
        corpus = write_corpus(folder / "tiny.jsonl", EXAMPLES)
        given = ["run", analysis, "--model", str(tiny_directory), "--corpus", str(corpus), "--device", "cpu"]
        assert main([*given, "--quiet", "--protocol", protocol, "--out", str(folder / "run")]) == 0
        return folder / "run"

    return make


@pytest.fixture(params=["corrected", pytest.param("published", marks=pytest.mark.slow)])
def needs(request: pytest.FixtureRequest, runs: Runs) -> Path:
    return runs("exp12", request.param)


@pytest.fixture(params=["corrected", pytest.param("published", marks=pytest.mark.slow)])
def lives(request: pytest.FixtureRequest, runs: Runs) -> Path:
    return runs("exp11", request.param)


@pytest.fixture
def corrected_needs(runs: Runs) -> Path:
    return runs("exp12", "corrected")


@pytest.fixture
def corrected_lives(runs: Runs) -> Path:
    return runs("exp11", "corrected")


def nll(out: Path) -> pd.DataFrame:
    records = Run.open(out).outcomes.astype({"example": str, "cell": str})
    return records.pivot(index="example", columns="cell", values="nll")


def trial_of(out: Path, cell: Cell, model: Path) -> TokenizedTrial:
    """What the first example of a run was fed in a cell."""
    corpus = read_corpus(str(out.parent / "tiny.jsonl"), n=EXAMPLES, seed=42)
    loaded = load_model(str(model), device="cpu")
    return tokenized_units([cell], loaded, corpus, 42)[0].fed[0].trial


# Plain torch: one example, eager attention, hooks on the modules; nothing of the project.


@contextmanager
def hooks(handles: list[Any]) -> Iterator[None]:
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def row(values: Any) -> torch.Tensor:
    return torch.tensor([list(values)])


def encoded(model: PreTrainedModel, trial: TokenizedTrial) -> torch.Tensor:
    with torch.no_grad(), own_precision(model):
        return model.get_encoder()(
            input_ids=row(trial.encoder_ids),
            attention_mask=torch.ones(1, len(trial.encoder_ids), dtype=torch.long),
        ).last_hidden_state


def decoded(model: PreTrainedModel, trial: TokenizedTrial, states: torch.Tensor) -> float:
    """Mean NLL of the answer, given the encoder's states."""
    with torch.no_grad(), own_precision(model):
        logits = model(
            encoder_outputs=BaseModelOutput(last_hidden_state=states),
            attention_mask=row(int(seen) for seen in trial.visible),
            decoder_input_ids=row(trial.decoder_ids),
            decoder_attention_mask=torch.ones(1, len(trial.decoder_ids), dtype=torch.long),
            use_cache=False,
        ).logits[0]
    first = len(trial.decoder_ids) - trial.answer_tokens
    losses = torch.nn.functional.cross_entropy(
        logits[first - 1 : -1], torch.tensor(trial.decoder_ids[first:]), reduction="none"
    )
    return float(losses.mean())


def cut_layers(model: PreTrainedModel, layers: list[int], rows: list[int], keys: list[int]) -> list[Any]:
    """Hooks that set the merged mask of some decoder layers to its lowest number at rows × keys."""

    def edit(module: Any, arguments: Any, keywords: dict[str, Any]) -> Any:
        mask = keywords["merged_attention_mask"].clone()
        mask[..., torch.tensor(rows)[:, None], torch.tensor(keys)] = torch.finfo(mask.dtype).min
        return arguments, {**keywords, "merged_attention_mask": mask}

    decoder = model.get_decoder()
    return [
        decoder.layers[layer].self_attn.register_forward_pre_hook(edit, with_kwargs=True) for layer in layers
    ]


@pytest.mark.parametrize(
    ("rows", "keys", "window", "layers"),
    [
        ("predicting", "document", "25%-50%", [1]),
        ("predicting", "prompt", "all", [0, 1, 2, 3, 4]),
        ("answer", "bos", "all", [0, 1, 2, 3, 4]),
        ("prompt+answer", "answer", "all", [0, 1, 2, 3, 4]),
        ("predicting", "answer", "75%-100%", [4]),
    ],
)
@pytest.mark.parametrize("base", [0, 1])
def test_a_knockout_is_what_a_plain_edit_of_the_mask_gives(
    rows: str,
    keys: str,
    window: str,
    layers: list[int],
    base: int,
    corrected_needs: Path,
    tiny_directory: Path,
    truth: Callable[[str], PreTrainedModel],
    float32: Callable[[str], Float32],
) -> None:
    from analyses import exp12_what_the_answer_needs as exp12

    knocked = knockout_plans.Knocked(exp12._BASES["corrected"][base], rows, keys, window)
    trial = trial_of(corrected_needs, knocked.cell, tiny_directory)
    decoder, encoder = list(trial.decoder_roles), list(trial.encoder_roles)
    first = len(decoder) - trial.answer_tokens
    chosen = {
        "predicting": list(range(first - 1, len(decoder) - 1)),
        "answer": list(range(first, len(decoder))),
        "prompt+answer": list(range(1, len(decoder))),
    }[rows]
    # A merged softmax has the decoder's keys first.
    cut = [place for place, role in enumerate(decoder + encoder) if role == keys]
    model, own = truth("t5gemma2"), float32("t5gemma2").losses
    states = encoded(model, trial)
    whole = decoded(model, trial, states)
    with hooks(cut_layers(model, layers, chosen, cut)):
        expected = decoded(model, trial, states)
    found = nll(corrected_needs).loc[trial.trial.example.identifier]
    within(found[knocked.cell.name], expected, of=own)
    within(found[knocked.base.cell().name], whole, of=own)
    if trial.answer_tokens > 1:
        beyond(expected, whole, of=own)


@pytest.mark.parametrize(
    ("direction", "roles"), itertools.product(enrichment_plans.DIRECTIONS, ("document", "bos"))
)
def test_a_patch_is_what_plain_hooks_on_an_encoder_layer_give(
    direction: str,
    roles: str,
    corrected_lives: Path,
    tiny_directory: Path,
    truth: Callable[[str], PreTrainedModel],
    float32: Callable[[str], Float32],
) -> None:
    patch = enrichment_plans.Patch(direction, roles, "50%-51%", "none", "prefix+separator")
    trial = trial_of(corrected_lives, patch.cell, tiny_directory)
    donor = trial_of(
        corrected_lives,
        enrichment_plans.patch_cell(enrichment_plans.DIRECTIONS[direction][1], "prefix+separator", "none"),
        tiny_directory,
    )
    model, own = truth("t5gemma2"), float32("t5gemma2").losses
    layer = model.get_encoder().text_model.layers[round(0.5 * tiny_models.ENCODER_LAYERS)]
    seen: list[torch.Tensor] = []

    def keep(module: Any, arguments: Any, output: Any) -> None:
        seen.append((output[0] if isinstance(output, tuple) else output).clone())

    def places(trial: TokenizedTrial) -> list[int]:
        return [place for place, role in enumerate(trial.encoder_roles) if role == roles]

    def write(module: Any, arguments: Any, output: Any) -> Any:
        states = (output[0] if isinstance(output, tuple) else output).clone()
        states[:, places(trial)] = seen[0][:, places(donor)]
        return (states, *output[1:]) if isinstance(output, tuple) else states

    with hooks([layer.register_forward_hook(keep)]):
        encoded(model, donor)
    with hooks([layer.register_forward_hook(write)]):
        states = encoded(model, trial)
    plain = decoded(model, trial, encoded(model, trial))
    expected = decoded(model, trial, states)
    found = nll(corrected_lives).loc[trial.trial.example.identifier, patch.cell.name]
    within(found, expected, of=own)
    beyond(expected, plain, of=own)


def test_what_is_all_of_it_by_construction_is_neither_tested_nor_listed(lives: Path) -> None:
    """With prefix and separator hidden, BOS, document and EOS are everything that the decoder sees; the published
    truncation leaves the separator visible, so that there it is a finding."""
    protocol = Run.open(lives).manifest.protocol
    table = pd.read_csv(lives / "tables" / "restoration.csv")
    every = table[table["roles"] == "bos+document+eos"]
    effects = pd.read_csv(lives / "tables" / "effects.csv")["contrast"]
    whole = effects[effects.str.contains("bos+document+eos", regex=False)]
    corrected = protocol == "corrected"
    assert ("final" in set(every["depth"])) != corrected
    assert whole.str.contains("final").any() != corrected
    assert len(every) == 2 * 2 * (len(enrichment_plans.DEPTHS) - corrected)


@pytest.mark.parametrize("donor", ["generic sentence", "positions alone"])
def test_other_donors_are_what_the_prefix_itself_gives(
    donor: str,
    corrected_lives: Path,
    tiny_directory: Path,
    truth: Callable[[str], PreTrainedModel],
    float32: Callable[[str], Float32],
) -> None:
    """Document states of a donor encoded by hand, written behind the last norm; the rest is the bare pass."""
    patch = enrichment_plans.Patch(
        enrichment_plans.RESTORED, "document", "final", "none", "prefix+separator", donor
    )
    trial = trial_of(corrected_lives, patch.cell, tiny_directory)
    levels = {
        "generic sentence": (("prefix", "generic"),),
        "positions alone": (("prefix", "oracle"), ("prefix_attention", "masked")),
    }[donor]
    other = trial_of(corrected_lives, Cell(levels), tiny_directory)
    model, own = truth("t5gemma2"), float32("t5gemma2").losses
    states = encoded(model, trial)
    if donor == "generic sentence":
        taken = encoded(model, other)
    else:
        # Nobody sees the prefix, which stands where it stood: a mask over its positions.
        shown = [int(role not in ("prefix", "separator")) for role in other.encoder_roles]
        with torch.no_grad(), own_precision(model):
            taken = (
                model.get_encoder()(input_ids=row(other.encoder_ids), attention_mask=row(shown))
            ).last_hidden_state
    first, second = (
        [place for place, role in enumerate(each.encoder_roles) if role == "document"]
        for each in (trial, other)
    )
    written = states.clone()
    written[:, first] = taken[:, second]
    found = nll(corrected_lives).loc[trial.trial.example.identifier, patch.cell.name]
    within(found, decoded(model, trial, written), of=own)
    beyond(found, decoded(model, trial, states), of=own)


# What the runs leave.


def test_a_run_of_what_the_answer_needs(needs: Path) -> None:
    assert tables_without_caution(needs / "tables") == []
    table = pd.read_csv(needs / "tables" / "knockouts.csv")
    effects = pd.read_csv(needs / "tables" / "effects.csv")
    cut = effects["family"].str.contains("rows")
    assert table["caution"].fillna("").str.len().gt(0).sum() == effects.loc[cut, "caution"].notna().sum() > 0
    found = nll(needs)
    protocol = Run.open(needs).manifest.protocol
    plan = find_analysis("exp12").plan(protocol)
    cuts = [contrast for contrast in plan.contrasts if "rows" in contrast.family]
    assert len(table) == len(cuts)
    assert (len(cuts) == len(plan.contrasts)) == (protocol == "published")
    for contrast, mean in zip(cuts, table["mean"], strict=True):
        (base,) = [cell for cell, weight in contrast.weights.items() if weight > 0]
        (knocked,) = [cell for cell, weight in contrast.weights.items() if weight < 0]
        assert parse_cell(base)["knockout"] == "none"
        assert mean == pytest.approx((found[knocked] - found[base]).mean(), abs=1e-12)
    figures = {path.stem for path in (needs / "figures").glob("*.html")}
    assert figures >= {"effects", "knockout_windows", "knockout_attention"}
    assert set(table.loc[table["window"] != "all", "window"]) == set(knockout_plans.QUARTERS)


def test_the_arms_of_a_run_are_their_cells(corrected_needs: Path) -> None:
    """Each row by the names of its cells, written out here; the excess against the knockout's own cell."""
    table = pd.read_csv(corrected_needs / "tables" / "knockout_arms.csv")
    found = nll(corrected_needs)
    factors = {
        "unseen": ("knockout", ""),
        "without values": ("value_zeroing", ""),
        "with mean values": ("value_mean", ""),
        "spared, as many random keys unseen": ("random_keys", "number:"),
        "spared, random keys of their attention unseen": ("random_keys", "mass:"),
    }
    hidden = {"prefix visible": "none", "prefix hidden": "prefix+separator"}
    assert len(table) == len(factors) * (2 + 6)
    assert set(table.loc[table["base"] == "prefix visible", "keys"]) == {"prefix", "separator"}

    def mean(base: str, factor: str, level: str) -> pd.Series:
        levels = dict.fromkeys(("knockout", "value_zeroing", "value_mean", "random_keys"), "none")
        edits = "|".join(f"{name}={own}" for name, own in (levels | {factor: level}).items())
        return found[f"prefix=oracle|hidden={hidden[base]}|prompt=query|{edits}"]

    for own in table.itertuples():
        factor, start = factors[own.done]
        level = f"{start}predicting->{own.keys}@all"
        rise = mean(own.base, factor, level) - mean(own.base, "knockout", "none")
        excess = mean(own.base, "knockout", f"predicting->{own.keys}@all") - mean(own.base, factor, level)
        if own.kind == own.kind and own.kind:
            assert own.mean == pytest.approx(rise.mean(), abs=1e-12)
        if own.excess == own.excess:
            assert start
            assert own.excess == pytest.approx(excess.mean(), abs=1e-12)
    assert table["excess"].notna().sum() >= 12
    assert (corrected_needs / "figures" / "knockout_arms.html").is_file()


def test_a_run_of_where_enrichment_lives(lives: Path) -> None:
    assert tables_without_caution(lives / "tables") == []
    table = pd.read_csv(lives / "tables" / "restoration.csv")
    # Of the corrected protocol, without what is all of it by construction, and with two further donors.
    further = {"corrected": -4 + 2 * 2 * 5, "published": 0}[Run.open(lives).manifest.protocol]
    assert len(table) == 2 * 2 * len(enrichment_plans.ROLE_SETS) * len(enrichment_plans.DEPTHS) + further
    shares = pd.read_csv(lives / "tables" / "restored_shares.csv")
    assert set(shares["role"]) >= {"document", "cross total", "self total"}
    figures = {path.stem for path in (lives / "figures").glob("*.html")}
    assert figures >= {"restoration", "restoration_map", "restored_shares_map"}
    run = Run.open(lives)
    budgets = run.records("budgets").astype({"cell": str, "role": str})
    means = (
        budgets[(budgets["stack"] == "decoder") & (budgets["role"] == "document")]
        .groupby("cell")["share"]
        .mean()
    )
    hidden = {"corrected": "prefix+separator", "published": "first-n"}
    patch = enrichment_plans.Patch(
        enrichment_plans.LOST, "document", "25%-26%", "query", hidden[run.manifest.protocol]
    )
    own = shares[
        (shares["direction"] == patch.direction)
        & (shares["prompt"] == "query")
        & (shares["roles"] == "document")
        & (shares["depth"] == "25 %")
        & (shares["role"] == "document")
    ].iloc[0]
    bare, enriched = (
        enrichment_plans.patch_cell(prefix, patch.hidden, "query").name for prefix in ("none", "oracle")
    )
    # The same records, averaged in another order.
    within(own["mean_difference"], means[patch.cell.name] - means[enriched], of=least_unit(1.0))
    within(own["enrichment"], means[bare] - means[enriched], of=least_unit(1.0))


# Tables, by hand.


def test_restored_and_lost_shares_by_hand() -> None:
    """Bare 3, enriched 1; a quarter of the effect is restored, three quarters are lost, example by example."""
    every = [
        enrichment_plans.Patch(direction, "document", "final", "none", "prefix+separator")
        for direction in enrichment_plans.DIRECTIONS
    ]
    bare, enriched = (
        enrichment_plans.patch_cell(prefix, "prefix+separator", "none").name for prefix in ("none", "oracle")
    )
    generator = np.random.default_rng(2)
    rows = []
    for example in range(30):
        effect = generator.uniform(1.5, 2.5)
        values = {bare: 3.0, enriched: 3.0 - effect}
        values[every[0].cell.name] = 3.0 - effect / 4
        values[every[1].cell.name] = 3.0 - effect + 0.75 * effect
        rows += [{"example": str(example), "cell": cell, "nll": value} for cell, value in values.items()]
    table = enrichment.restoration_table(pd.DataFrame(rows), every, Inference(seed=1))
    assert table["direction"].tolist() == list(enrichment_plans.DIRECTIONS)
    np.testing.assert_allclose(table["share"], [0.25, 0.75])
    np.testing.assert_allclose(table["enrichment"], table["mean_difference"] / [0.25, 0.75])


def test_restored_budget_shares_by_hand() -> None:
    patch = enrichment_plans.Patch(enrichment_plans.RESTORED, "document", "final", "none", "prefix+separator")
    bare, enriched = (
        enrichment_plans.patch_cell(prefix, "prefix+separator", "none").name for prefix in ("none", "oracle")
    )
    cells = [bare, enriched, patch.cell.name]
    budget = empty_budget(
        "decoder",
        "merged",
        cells=cells,
        examples=range(20),
        layers=[0, 1],
        heads=[0],
        roles=["document", "answer"],
    )
    document = np.random.default_rng(3).uniform(0.3, 0.4, (20, 2, 1))
    for place, shift in enumerate((0.0, 0.2, 0.15)):
        budget.values[place, ..., 0] = document - shift
        budget.values[place, ..., 1] = 1 - document + shift
    table = enrichment.budget_restoration_table([budget], [patch], Inference(seed=1)).set_index("role")
    assert table.loc["document", "mean_difference"] == pytest.approx(0.15, abs=1e-6)
    assert table.loc["document", "enrichment"] == pytest.approx(0.2, abs=1e-6)
    assert table.loc["answer", "mean_difference"] == pytest.approx(-0.15, abs=1e-6)
    lost = replace(patch, direction=enrichment_plans.LOST)
    renamed = replace(budget, cells=(bare, enriched, lost.cell.name))
    table = enrichment.budget_restoration_table([renamed], [lost], Inference(seed=1)).set_index("role")
    assert table.loc["document", "mean_difference"] == pytest.approx(0.05, abs=1e-6)


def test_the_table_of_knockouts_by_hand() -> None:
    base = knockout_plans.BaseCell("none", "visible", ("document", "eos"))
    every = knockout_plans.knockouts([base], {"predicting": ("0%-50%",)})
    generator = np.random.default_rng(4)
    rises = generator.uniform(0.5, 1.5, 30)
    name = base.cell().name
    rows = [
        {"example": example, "cell": cell, "nll": 1.0 + rise}
        for example in range(30)
        for cell, rise in ((name, 0.0), (every[0].cell.name, rises[example]), (every[1].cell.name, 0.0))
    ]
    budget = empty_budget(
        "decoder",
        "cross",
        cells=[name],
        examples=range(30),
        layers=range(4),
        heads=[0],
        roles=["document", "eos"],
    )
    budget.values[..., 0] = np.array([0.1, 0.3, 0.9, 0.9])[None, None, :, None]
    budget.values[..., 1] = 0.0
    effects = effects_table(pd.DataFrame(rows), [each.contrast for each in every], Inference(seed=1))
    table = knockouts.knockout_table(effects, [budget], every, {"document": 7, "eos": 0}).set_index("keys")
    assert table.loc["document", "mean"] == pytest.approx(rises.mean())
    assert table.loc["document", "low"] < rises.mean() < table.loc["document", "high"]
    assert table.loc["document", "verdict"] == "hurts"
    # The window is the first half of four layers.
    assert table.loc["document", "share"] == pytest.approx(0.2)
    assert (table.loc["eos", "kind"], table.loc["eos", "verdict"]) == ("", "not there")
    assert table.loc["eos", "reason"] == "no trial has a position of this role"


@pytest.mark.parametrize("name", ["exp11", "exp12"])
@pytest.mark.parametrize("protocol", ["corrected", "published"])
def test_plans_compare_cells_that_they_have(name: str, protocol: str) -> None:
    plan = find_analysis(name).plan(protocol)
    cells = {cell.name: cell.factors for cell in plan.design.cells}
    assert all(set(contrast.weights) <= set(cells) for contrast in plan.contrasts)
    assert len({cell.alias for cell in plan.design.cells}) == len(cells)
    for contrast in plan.contrasts:
        first, second = (cells[cell] for cell in contrast.weights)
        differing = {factor for factor in first if first[factor] != second[factor]}
        assert len(differing) == (2 if contrast.family.startswith("against random keys") else 1)
    if name == "exp11":
        own = {cell: factors for cell, factors in cells.items() if factors["state_patching"] == "none"}
        expected = factor_contrast(own, {"prefix": ("none", "oracle")}, family="x", at={"prompt": "query"})
        assert dict(plan.contrasts[1].weights) == dict(expected.weights)
