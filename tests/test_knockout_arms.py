"""A knockout's arms: mean values, random keys of equal number or attention, and heads drawn by chance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import pandas as pd
import pytest
import torch

from budgetlens.command.main import main
from budgetlens.design.custom import custom_analysis
from budgetlens.design.intervention import LevelError
from budgetlens.design.random_heads import random_heads_of, with_draws, with_random_heads
from budgetlens.design.schema import DesignError
from budgetlens.model.attention import AttentionCall, Site, Tokens
from budgetlens.model.edits import EditError, HideKeys, MeanValues, RandomHeads
from budgetlens.model.random_keys import RandomKeys, random_numbers
from budgetlens.model.roles import ROLE_CODES
from budgetlens.runs.run import Run
from interventions.knockout import Knockout
from interventions.levels.edges import parse_edges
from interventions.random_keys import RandomKeysCut
from tests.cells import Models, captured, context_of, losses, places, plain_losses, tokenized
from tests.conftest import write_corpus
from tests.precision import Float32, beyond, within
from tests.reference import hooks

LONG = 3
ORACLE = {"prefix": "oracle", "prompt": "query"}
ROWS = ("start", "prompt", "answer", "answer")
KEYS = (*ROWS, "bos", *["document"] * 12, "eos")


def merged_call(seed: int = 0, keys: tuple[str, ...] = KEYS) -> AttentionCall:
    """One entry with two heads, four rows and a merged softmax; rows see no later row."""
    generator = torch.Generator().manual_seed(seed)
    rows = len(ROWS)
    mask = torch.zeros(1, 1, rows, len(keys))
    mask[..., :rows] = torch.full((rows, rows), torch.finfo(torch.float32).min).triu(1)
    codes = torch.tensor([[ROLE_CODES[role] for role in ROWS]])
    key_codes = torch.tensor([[ROLE_CODES[role] for role in keys]])
    positions = torch.tensor([[*range(rows), *range(len(keys) - rows)]])
    return AttentionCall(
        site=Site("decoder", "merged", 1),
        query=2 * torch.randn(1, 2, rows, 4, generator=generator),
        key=torch.randn(1, 1, len(keys), 4, generator=generator),
        value=torch.randn(1, 1, len(keys), 3, generator=generator),
        mask=mask,
        bias=None,
        scaling=0.7,
        softcap=None,
        causal=False,
        row_roles=codes,
        key_roles=key_codes,
        predicting=torch.tensor([[False, True, True, False]]),
        tokens=Tokens(codes, positions[:, :rows], key_codes, positions),
    )


def attention(call: AttentionCall) -> numpy.ndarray:
    """Head × row × key, by torch's softmax of the scores."""
    scores = (call.query * call.scaling) @ call.key.transpose(-1, -2) + call.mask
    return scores.softmax(dim=-1)[0].numpy()


def hidden(call: AttentionCall) -> numpy.ndarray:
    """Head × row × key: what the mask hides."""
    mask = call.additive_mask().expand(1, 2, len(ROWS), -1)
    return (mask <= call.hidden_score / 2)[0].numpy()


def test_random_numbers_are_those_of_splitmix64() -> None:
    """The published algorithm in whole numbers of any size."""
    wide = 2**64 - 1

    def published(seed: int, count: int) -> list[int]:
        state, found = seed & wide, []
        for _ in range(count):
            state = (state + 0x9E3779B97F4A7C15) & wide
            mixed = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & wide
            mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & wide
            found.append(mixed ^ (mixed >> 31))
        return found

    for seed in (0, 1, 2**61 + 12345):
        own = random_numbers(torch.arange(50)[None], seed)[0]
        assert [int(number) & wide for number in own] == published(seed, 50)


@pytest.mark.parametrize("keys", ["document", "bos", "prompt", "answer"])
def test_as_many_random_keys_fall_as_the_row_sees_of_the_named(keys: str) -> None:
    call = merged_call()
    edit = {"keys": frozenset({keys}), "rows": frozenset({"predicting"})}
    cut = hidden(HideKeys(**edit).apply(call)) & ~hidden(call)
    sets = set()
    for seed in range(40):
        found = hidden(RandomKeys(**edit, seed=seed).apply(call)) & ~hidden(call)
        assert (found.sum(axis=-1) == cut.sum(axis=-1)).all()
        assert (found[0] == found[1]).all()
        sets.add(found[0, 1].tobytes())
    # The first predicting row sees no answer's key, so that nothing is cut there.
    assert (len(sets) > 5) == bool(cut[0, 1].any())


def test_every_key_falls_as_often_as_another() -> None:
    call = merged_call()
    edit = {"keys": frozenset({"bos"}), "rows": frozenset({"predicting"})}
    falls = numpy.zeros(len(KEYS))
    for seed in range(1_000):
        falls += (hidden(RandomKeys(**edit, seed=seed * 7919).apply(call)) & ~hidden(call))[0, 2]
    seen = ~hidden(call)[0, 2]
    assert falls.sum() == 1_000
    assert not falls[~seen].any()
    expected = 1_000 / seen.sum()
    # Chi-squared of 16 degrees of freedom: beyond 39 once in a thousand.
    assert ((falls[seen] - expected) ** 2 / expected).sum() < 39


@pytest.mark.parametrize("keys", ["document", "bos", "prompt"])
def test_random_keys_of_the_same_attention_fill_it_as_far_as_keys_fit(keys: str) -> None:
    call = merged_call()
    before = attention(call)
    edit = {"keys": frozenset({keys}), "rows": frozenset({"predicting"})}
    named = call.keys_with(frozenset({keys}))[0].numpy()
    for seed in range(20):
        changed = RandomKeys(**edit, alike="mass", seed=seed).apply(call)
        taken = hidden(changed) & ~hidden(call)
        for head, row in ((head, row) for head in range(2) for row in (1, 2)):
            own = before[head, row]
            aim, got = own[named].sum(), own[taken[head, row]].sum()
            assert got <= aim + 1e-6
            left = ~taken[head, row] & ~hidden(call)[head, row]
            assert left.any()
            # No key that is left would have fitted.
            assert own[left].min() > aim - got - 1e-6
        assert not taken[:, [0, 3]].any()


def test_one_key_is_always_left() -> None:
    """All attention on the named keys, as far as float32 tells: they would be all that fits, and the rest as well."""
    call = merged_call()
    key = torch.zeros_like(call.key)
    named = call.keys_with(frozenset({"document"}))[0]
    key[0, 0, named] = 30.0
    call = replace(call, key=key, query=torch.ones_like(call.query))
    edit = RandomKeys(keys=frozenset({"document"}), rows=frozenset({"predicting"}), alike="mass", seed=3)
    taken = hidden(edit.apply(call)) & ~hidden(call)
    assert ((~hidden(call) & ~taken).sum(axis=-1) >= 1).all()
    assert taken[:, 1:3].any()


def test_random_keys_are_like_the_named_in_number_or_mass() -> None:
    with pytest.raises(ValueError, match="number or mass; got 'size'"):
        RandomKeys(keys=frozenset({"bos"}), alike="size")
    with pytest.raises(LevelError, match="number or mass, a colon"):
        RandomKeysCut.parse("predicting->bos@all")
    with pytest.raises(EditError, match="random keys go by positions"):
        RandomKeys(keys=frozenset({"bos"})).apply(replace(merged_call(), tokens=None))


def test_examples_and_draws_have_keys_of_their_own(loaded: Models) -> None:
    model = loaded("t5gemma2")
    level = "number:predicting->document@all"
    seeds = {
        (index, draw): RandomKeysCut.parse(level)
        .apply(tokenized(model, index, ORACLE).trial, replace(context_of(model, index), draw=draw))
        .edits[-1]
        .seed
        for index in range(3)
        for draw in range(3)
    }
    assert len(set(seeds.values())) == 9


def test_the_mean_is_of_what_the_first_chosen_row_sees() -> None:
    """By hand: the row before the answer sees the start, the prompt and the encoder, and no token of the answer."""
    call = merged_call()
    edit = MeanValues(keys=frozenset({"bos", "prompt"}), rows=frozenset({"predicting"}))
    changed = edit.apply(call)
    values = call.value[0, 0].numpy()
    mean = values[[0, 1, *range(4, len(KEYS))]].mean(axis=0)
    replaced = values.copy()
    replaced[[1, 4]] = mean
    plain = attention(call)
    scores = (changed.query * changed.scaling) @ changed.key.transpose(-1, -2) + changed.mask
    found = (scores.softmax(dim=-1) @ changed.value)[0].numpy()
    for row in range(len(ROWS)):
        expected = plain[:, row] @ (replaced if row in (1, 2) else values)
        numpy.testing.assert_allclose(found[:, row], expected, atol=1e-6)


def mean_values(trial: Any) -> hooks.Change:
    """A hook on a cross-attention's value projection: the mean of what is visible at the document's positions."""
    document = places(trial.encoder_roles, "document")
    visible = [place for place, shown in enumerate(trial.visible) if shown]

    def change(output: torch.Tensor) -> torch.Tensor:
        output = output.clone()
        output[:, document] = output[:, visible].mean(dim=1, keepdim=True)
        return output

    return change


@pytest.mark.parametrize("family", ["t5gemma", "t5", "bart"])
@pytest.mark.parametrize("pack", [False, True])
def test_mean_values_against_hooks(
    family: str,
    pack: bool,
    loaded: Models,
    truth: Callable[[str], Any],
    float32: Callable[[str], Float32],
) -> None:
    model, plain = loaded(family), truth(family)
    paths = hooks.PATHS[family]
    cell = {**ORACLE, "hidden": "prefix+separator"}
    trial = tokenized(model, LONG, {**cell, "value_mean": "decoder->document@1-2"})
    changes = {
        f"{paths.decoder}.{layer}.{paths.cross_attention}.{paths.value}": mean_values(trial)
        for layer in (1, 2)
    }
    found = losses(captured(model, [trial], pack=pack))
    within(found, plain_losses(plain, trial, decoder=changes), of=float32(family).losses)
    beyond(found, losses(captured(model, [tokenized(model, LONG, cell)])), of=float32(family).losses)


def test_a_mean_is_of_one_trial_where_lanes_are_shared(
    loaded: Models, float32: Callable[[str], Float32]
) -> None:
    """Cells of one pass under the same edit: what one of them hides, or prompts, is not in the other's mean."""
    model = loaded("t5gemma2")
    cells = [
        {
            "prefix": "oracle",
            "hidden": hidden_roles,
            "prompt": prompt,
            "value_mean": "predicting->document@all",
        }
        for hidden_roles in ("none", "prefix+separator")
        for prompt in ("none", "query")
    ]
    trials = [tokenized(model, LONG, cell) for cell in cells]
    together = captured(model, trials, pack=True)
    for place, trial in enumerate(trials):
        within(losses(together, place), losses(captured(model, [trial])), of=float32("t5gemma2").losses)


# Heads drawn by chance.


def test_random_heads_are_the_same_in_every_example_and_others_in_layers_and_draws() -> None:
    sets = {(draw, layer): RandomHeads(2, 42, draw).at(layer, 8) for draw in range(20) for layer in range(3)}
    assert all(len(heads) == 2 and heads <= set(range(8)) for heads in sets.values())
    assert len(set(sets.values())) > 15
    assert sets[4, 1] == RandomHeads(2, 42, 4).at(1, 8)
    with pytest.raises(EditError, match="9 random heads were asked for, and layer 1 has 8"):
        RandomHeads(9, 42, 0).at(1, 8)


def test_levels_of_random_heads(loaded: Models) -> None:
    model = loaded("t5gemma2")
    trial = tokenized(model, 0, ORACLE).trial
    level = Knockout.parse("predicting->document@1-2/random:2")
    edits = [level.apply(trial, replace(context_of(model, index), draw=7)).edits for index in range(2)]
    assert (
        edits[0]
        == edits[1]
        == (
            HideKeys(
                frozenset({"document"}),
                frozenset({"predicting"}),
                "decoder",
                frozenset({1, 2}),
                RandomHeads(2, 5, 7),
            ),
        )
    )
    assert Knockout.label("predicting->document@1-2/random:2").short.endswith(
        "layers 1-2, 2 random heads of each"
    )
    with pytest.raises(LevelError, match="the number of random heads is a whole number of at least 1; got 0"):
        parse_edges("predicting->document@1/random:0")
    with pytest.raises(LevelError, match="layer 2 is named twice, once with random heads"):
        Knockout.parse("predicting->document@2/random:1@2/h3").apply(trial, context_of(model, 0))


def test_a_knockout_of_random_heads_is_one_of_those_heads(loaded: Models) -> None:
    model = loaded("t5")
    random = tokenized(model, LONG, {**ORACLE, "knockout": "predicting->document@2/random:2#3"})
    heads = "+".join(map(str, sorted(RandomHeads(2, 5, 3).at(2, 6))))
    named = tokenized(model, LONG, {**ORACLE, "knockout": f"predicting->document@2/h{heads}"})
    numpy.testing.assert_array_equal(losses(captured(model, [random])), losses(captured(model, [named])))


def test_levels_that_stand_for_draws() -> None:
    assert with_draws(["none", "a#1…#3", "b#9...#10", "c#2"]) == (
        "none",
        "a#1",
        "a#2",
        "a#3",
        "b#9",
        "b#10",
        "c#2",
    )
    with pytest.raises(DesignError, match="the draws from 3 to 1; give 1 to 1,000, the first one first"):
        with_draws(["a#3…#1"])
    with pytest.raises(DesignError, match="from 1 to 1001"):
        with_draws(["a#1…#1001"])
    assert random_heads_of("predicting->bos@2/h1+5-7@4/h0") == "predicting->bos@2/random:4@4/random:1"
    assert random_heads_of("predicting->bos@2") is None
    assert random_heads_of("predicting->bos@2/random:1#3") is None


def test_a_named_head_gets_twenty_draws_of_random_ones_unless_they_are_given() -> None:
    null = "predicting->bos@2/random:1"
    named = ["none", "predicting->bos@2/h3", "predicting->bos@2/h4"]
    assert with_random_heads(named) == (*named, *(f"{null}#{draw}" for draw in range(1, 21)))
    given = [*named, f"{null}#1…#2"]
    assert with_random_heads(given) == (*named, f"{null}#1", f"{null}#2")
    assert with_random_heads(["none", "predicting->bos@2"]) == ("none", "predicting->bos@2")


def test_a_named_head_is_compared_with_the_random_ones_under_every_prompt() -> None:
    """Weights by hand: each draw and each prompt alike; a crossing that lacks the random heads is left out."""
    level, null = "predicting->bos@2/h3", "predicting->bos@2/random:1"
    factors = {"prompt": ["none", "query"], "knockout": ["none", level, f"{null}#1…#4"]}
    left_out = [{"prompt": "none", "knockout": f"{null}#{draw}"} for draw in range(1, 5)]
    for exclude, prompts in (([], ("none", "query")), (left_out, ("query",))):
        plan = custom_analysis({"factors": factors, "exclude": exclude}).plan("corrected")
        (own,) = [contrast for contrast in plan.contrasts if contrast.family == "against random heads"]
        assert own.name == f"knockout {level} against random heads"
        share = 1 / len(prompts)
        expected = {f"prompt={prompt}|knockout={level}": -share for prompt in prompts}
        for prompt in prompts:
            expected |= {f"prompt={prompt}|knockout={null}#{draw}": share / 4 for draw in range(1, 5)}
        assert dict(own.weights) == pytest.approx(expected)
        assert own.effect_order == 1


def test_a_run_tells_how_many_draws_a_head_stands_out_from(tiny_directory: Path, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "tiny.jsonl", 6)
    given = ["run", "custom", "--knockout", "predicting->document@1/h3", "--model", str(tiny_directory)]
    options = [
        "--corpus",
        str(corpus),
        "--device",
        "cpu",
        "--quiet",
        "--no-report",
        "--out",
        str(tmp_path / "run"),
    ]
    assert main([*given, *options]) == 0
    records = Run.open(tmp_path / "run").outcomes.astype({"example": str, "cell": str})
    wide = records.pivot(index="example", columns="cell", values="nll")
    draws = [f"knockout=predicting->document@1/random:1#{draw}" for draw in range(1, 21)]
    differences = wide[draws].sub(wide["knockout=predicting->document@1/h3"], axis=0)
    seeds = pd.read_csv(tmp_path / "run" / "tables" / "seeds.csv").set_index("contrast")
    own = seeds.loc["knockout predicting->document@1/h3 against random heads"]
    means = differences.mean()
    assert own["seeds"] == 20
    assert own["mean_difference"] == pytest.approx(means.mean(), abs=1e-9)
    same = (numpy.sign(means) == numpy.sign(means.mean())).sum()
    assert own["seeds_same_sign"] == same
    assert 0 < same <= 20
