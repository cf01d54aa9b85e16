"""Readings from Python: the command's own records, eager attention's own weights, and errors that say what to do."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import PreTrainedModel

import budgetlens as bl
from budgetlens.design.custom import custom_analysis
from budgetlens.face.model import Model
from budgetlens.model.loaded import LoadedModel
from budgetlens.runs.records import KEYS
from budgetlens.runs.request import RunRequest, execute
from budgetlens.runs.run import Run
from budgetlens.runs.running import RunOptions
from budgetlens.runs.tokens import read_token_attention, stored_examples
from budgetlens.tables.probes import probe_tables
from probes.entropies import Entropies
from tests.cells import KINDS
from tests.conftest import save_tiny
from tests.precision import Float32, weights_of, within
from tests.reference import tiny_models

Loaded = Callable[[str], LoadedModel]

DOCUMENT = "The mill number 3 was built by Orla Venn. In the year 1402 the people ate bread."
QUERY, ANSWER = "who built the mill", "Orla Venn built it"
TEXTS = {"document": DOCUMENT, "query": QUERY, "answer": ANSWER}
PREFIX = "A word: about mills"
KNOCKOUT = "predicting->document@50%-100%"
CONTRIBUTIONS = ("weighted", "norm", "projection", "logit")
PROBES = ("budgets", "entropies", "published_entropies", "renormalised", *CONTRIBUTIONS)
"""Every probe of attention that comes with the project."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Run, str]]:
    """A finished run of one model over one row, each trial in a batch of its own, and the model's name."""

    @cache
    def make(family: str) -> tuple[Run, str]:
        folder = tmp_path_factory.mktemp(family)
        name = "reference" if family == "reference" else str(save_tiny(family, folder / "model"))
        (folder / "rows.jsonl").write_text(json.dumps(TEXTS) + "\n")
        design = {
            "factors": {
                "prefix": ["none", f"literal:{PREFIX}"],
                "prompt": ["query", "none"],
                "hidden": ["none", "prefix+separator"],
                "knockout": ["none", KNOCKOUT],
            },
            "cells": list(dict.fromkeys(cell for _, cell in ASKED.values())),
            "allow_idle": True,
            "probes": list(PROBES),
        }
        request = RunRequest(
            analysis=custom_analysis(design),
            models=(name,),
            corpus=str(folder / "rows.jsonl"),
            n=1,
            out=folder / "run",
            options=RunOptions(batch_tokens=1, encoder_rows=True),
            tokens=1,
            quiet=True,
        )
        return execute(request), name

    return make


#: What is asked of `read`, and the cell of the run that feeds the same.
ASKED: dict[str, tuple[dict[str, Any], str]] = {
    "texts": ({}, "prefix=none|prompt=query|hidden=none|knockout=none"),
    "prefix": ({"prefix": PREFIX}, f"prefix=literal:{PREFIX}|prompt=query|hidden=none|knockout=none"),
    "levels": (
        {"prefix": PREFIX, "interventions": ["hidden=prefix+separator", f"knockout={KNOCKOUT}"]},
        f"prefix=literal:{PREFIX}|prompt=query|hidden=prefix+separator|knockout={KNOCKOUT}",
    ),
    "no prompt": ({"interventions": ["prompt=none"]}, "prefix=none|prompt=none|hidden=none|knockout=none"),
    "no query": ({"query": ""}, "prefix=none|prompt=none|hidden=none|knockout=none"),
}


def recorded(run: Run, probe: str, cell: str) -> pd.DataFrame:
    frame = run.records(probe)
    own = frame[frame["cell"].astype(str) == cell]
    return own.drop(columns=list(KEYS)).reset_index(drop=True)


@pytest.mark.parametrize("asked", list(ASKED))
@pytest.mark.parametrize("family", ["reference", *KINDS])
def test_a_reading_is_the_commands_records_to_the_last_bit(
    runs: Callable[[str], tuple[Run, str]], family: str, asked: str
) -> None:
    run, name = runs(family)
    given, cell = ASKED[asked]
    reading = load(name).read(**{**TEXTS, **given})
    for probe in PROBES:
        wanted, found = recorded(run, probe, cell), reading.records(probe)
        assert list(found.columns) == ["side" if own == "stack" else own for own in wanted.columns]
        assert len(found) == len(wanted) > 0
        for column in found.columns:
            expected = wanted["stack" if column == "side" else column]
            if found[column].dtype == np.float64:
                assert found[column].to_numpy().tobytes() == expected.to_numpy().tobytes(), (probe, column)
            else:
                assert list(found[column]) == list(expected.astype(found[column].dtype)), (probe, column)
    (likelihood,) = recorded(run, "likelihood", cell).to_dict("records")
    assert reading.nll == likelihood["nll"]
    assert reading.token_nll.to_numpy().sum() == likelihood["nll_sum"]
    assert len(reading.token_nll) == likelihood["answer_tokens"]
    assert reading.budgets.equals(reading.records("budgets"))
    assert list(reading.budgets.columns) == ["side", "block", "layer", "head", "role", "share"]


@pytest.mark.parametrize("family", ["reference", *KINDS])
def test_attention_is_the_runs_token_level_records(
    runs: Callable[[str], tuple[Run, str]], family: str
) -> None:
    run, name = runs(family)
    given, cell = ASKED["levels"]
    reading = load(name).read(**{**TEXTS, **given})
    (stored,) = stored_examples(run.directory).values()
    for block in dict.fromkeys(reading.budgets.query("side == 'decoder'")["block"]):
        tokens = read_token_attention(stored, cells=[cell], layer=1)
        tokens = tokens[tokens["block"] == block]
        found = reading.attention(layer=1, block=block)
        assert np.array_equal(found.values.ravel(), tokens["share"].to_numpy(np.float32))
        first = tokens[(tokens["head"] == 0) & (tokens["row"] == 0)]
        assert list(found.keys) == list(first["key_token"])
        assert list(found.key_roles) == list(first["role"])
        assert list(found.hidden) == list(first["hidden"])
        rows = tokens[(tokens["head"] == 0)].drop_duplicates("row")
        assert list(found.rows) == list(rows["row_token"])


@cache
def load(name: str) -> Model:
    return bl.load_model(name)


@pytest.mark.parametrize("family", KINDS)
def test_attention_is_eager_attention(
    loaded: Loaded,
    truth: Callable[[str], PreTrainedModel],
    float32: Callable[[str], Float32],
    family: str,
) -> None:
    reading = Model(loaded(family)).read(**TEXTS, prefix=PREFIX, interventions=["hidden=prefix+separator"])
    trial = reading.trial
    weights = weights_of(truth(family), trial)
    rows = list(trial.answer_rows("predicting"))
    for layer, (own, cross) in enumerate(zip(weights.own, weights.cross, strict=True)):
        wanted = {"self": own[:, rows], "cross": cross[:, rows]}
        if weights.merged:
            wanted = {"merged": np.concatenate([cross[:, rows], own[:, rows]], axis=2)}
        for block, expected in wanted.items():
            found = reading.attention(layer=layer, block=block)
            assert found.values.dtype == np.float32
            within(
                found.values, expected, of=float32(family).of("weight", "decoder", layer), what=(block, layer)
            )
            assert np.asarray(found).shape == found.shape == expected.shape
    for layer, expected in enumerate(weights.encoder):
        found = reading.attention(layer=layer, side="encoder")
        within(
            found.values, expected, of=float32(family).of("weight", "encoder", layer), what=("encoder", layer)
        )
        assert found.rows == found.keys
        assert found.row_roles == found.key_roles == trial.encoder_roles


@pytest.mark.parametrize("rows", ["predicting", "holding"])
@pytest.mark.parametrize("family", ["t5gemma2", "t5"])
def test_budgets_are_sums_of_attention(
    loaded: Loaded, float32: Callable[[str], Float32], family: str, rows: Any
) -> None:
    reading = Model(loaded(family)).read(**TEXTS, rows=rows)
    for side, block in {(own.side, own.block) for own in reading.budgets.itertuples()}:
        own = reading.budgets.query("side == @side and block == @block and layer == 2 and head == 1")
        found = reading.attention(layer=2, side=side, block=block)
        chosen = [
            place for place, role in enumerate(found.row_roles) if side == "decoder" or role == "document"
        ]
        roles = np.array(found.key_roles)
        sums = [
            found.values[1, chosen].astype(float)[:, roles == role].sum(axis=1).mean() for role in own["role"]
        ]
        within(sums, own["share"], of=float32(family).of("mass"))
    assert [
        *reading.attention(layer=0, block=None if reading.loaded.family.merged else "self").row_roles
    ] == [
        "prompt" if rows == "predicting" else "answer",
        *["answer"] * (reading.trial.answer_tokens - 1),
    ]


@pytest.mark.parametrize("family", ["t5gemma2", "t5"])
def test_contributions_are_the_records_of_all_measures(loaded: Loaded, family: str) -> None:
    reading = Model(loaded(family)).read(**TEXTS)
    found = reading.contributions
    assert list(found.columns) == ["side", "block", "layer", "head", "role", "measure", "value"]
    assert set(CONTRIBUTIONS) <= set(found["measure"])
    for name in CONTRIBUTIONS:
        own = found[found["measure"] == name]
        assert own["value"].tolist() == reading.records(name)[name].tolist()
    place = ["side", "block", "layer", "head"]
    for name in ("weighted", "norm", "projection"):
        sums = found[found["measure"] == name].groupby(place)["value"].sum()
        assert np.allclose(sums, 1, atol=1e-4)
    assert set(found.loc[found["measure"] == "weighted", "head"]) > {0, 1}
    joint = found[found["block"] == "joint"]
    both = {"norm", "projection", "alti", "alti_in_layer"}
    assert set(joint["measure"]) == (set() if family == "t5gemma2" else both)


def test_a_logit_over_heads_is_their_sum(runs: Callable[[str], tuple[Run, str]]) -> None:
    run, _ = runs("t5")
    records = run.records("logit")
    place = ["cell", "stack", "block", "layer", "role"]
    sums = records.groupby(place, observed=True)["logit"].sum()
    table = probe_tables(run)["logit"].set_index(place)["logit"]
    assert len(table) > 0
    assert np.allclose(table, sums.loc[table.index], rtol=1e-5, atol=1e-6)
    # What is left out is exactly 0 in every cell and layer: a part that the model never has.
    assert (sums.drop(table.index) == 0).all()
    assert records["head"].max() > 0
    # The mean over heads of what is a share of each.
    shares = run.records("weighted").groupby(place, observed=True)["weighted"].mean()
    table = probe_tables(run)["weighted"].set_index(place)["mean"]
    assert np.allclose(table, shares.loc[table.index], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("family", KINDS)
def test_logits_are_the_models_most_probable_tokens(loaded: Loaded, family: str) -> None:
    model = loaded(family)
    reading = Model(model).read(**TEXTS)
    trial, table = reading.trial, reading.logits
    with torch.no_grad():
        logits = (
            model.model(
                input_ids=torch.tensor([trial.encoder_ids]),
                decoder_input_ids=torch.tensor([trial.decoder_ids]),
            )
            .logits[0]
            .double()
        )
    assert len(table) == 10 * trial.answer_tokens
    for row, position in enumerate(trial.answer_rows("predicting")):
        own, answer = table[table["row"] == row], trial.decoder_ids[position + 1]
        probabilities = logits[position].softmax(dim=-1)
        assert list(own["token_id"]) == logits[position].topk(10).indices.tolist()
        assert np.allclose(own["probability"], probabilities[own["token_id"].tolist()], rtol=1e-4)
        assert np.allclose(own["logit"], logits[position][own["token_id"].tolist()], rtol=1e-4, atol=1e-5)
        assert list(own["rank"]) == list(range(1, 11))
        assert list(own["is_answer"]) == [token == answer for token in own["token_id"]]
        assert np.isclose(-probabilities[answer].log(), reading.token_nll.iloc[row], rtol=1e-4)
    assert list(table["answer_token"].iloc[::10]) == list(reading.token_nll.index.get_level_values("token"))


def test_two_readings_of_one_answer_can_be_subtracted(loaded: Loaded) -> None:
    model = Model(loaded("t5gemma2"))
    bare, cut = model.read(**TEXTS), model.read(**TEXTS, interventions=["knockout=predicting->document"])
    change = cut.token_nll - bare.token_nll
    assert change.index.equals(bare.token_nll.index)
    assert np.isclose(change.mean(), cut.nll - bare.nll)
    assert abs(change).max() > 0


@bl.intervention("echo")
@dataclass(frozen=True)
class Echo(bl.Intervention):
    """Repeat the document, so many times."""

    words: tuple[str, ...] = ("again",)

    def apply(self, trial: bl.Trial, context: bl.Context) -> bl.Trial:
        """The trial with the words behind its document."""
        return replace(trial, encoder=(*trial.encoder, bl.Segment("document", text=" ".join(self.words))))


@bl.probe("farthest")
@dataclass(frozen=True)
class Farthest:
    """Share of the first key."""

    place: int = 0
    declares: ClassVar[bl.Declaration] = bl.Declaration(
        title="First key",
        quantities=(bl.Quantity("share", "share", "fraction of attention", part_of_whole=True),),
        axis="key",
    )

    def categories(self, site: Any) -> tuple[str, ...]:
        return ("first",) if site.stack == "decoder" else ()

    def observe(self, attention: Any) -> dict[str, Any]:
        return {"share": attention.probabilities[..., self.place : self.place + 1]}


def test_instances_of_classes_of_ones_own(loaded: Loaded) -> None:
    """Neither has a text that names it, and nothing but the instance is needed."""
    model = Model(loaded("t5"))
    echo = Echo(("a", "b"))
    reading = model.read(**TEXTS, interventions=[echo], probes=[Farthest(2)])
    plain = model.read(**{**TEXTS, "document": f"{DOCUMENT}a b"}, probes=[])
    counts = reading.trial.role_counts()
    assert counts["document"] > model.read(**TEXTS, probes=[]).trial.role_counts()["document"]
    assert set(counts) == set(plain.trial.role_counts())
    records = reading.records(Farthest(2))
    assert records.equals(reading.records("farthest"))
    for block in ("self", "cross"):
        own = records.query("block == @block and layer == 1")["share"].to_numpy()
        means = reading.attention(layer=1, block=block).values[:, :, 2].astype(float).mean(axis=1)
        assert np.allclose(own, means, rtol=1e-6)
    assert not records.equals(reading.records(Farthest(0)))
    assert "echo=Echo(words=('a', 'b'))" in reading.fed.cell


def test_a_class_of_the_notebook_is_a_level_and_a_name(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    for own in (Echo, Farthest):
        monkeypatch.setattr(sys.modules["__main__"], own.__name__, own, raising=False)
    reading = Model(loaded("t5")).read(**TEXTS, interventions=[Echo()], probes=["farthest:place=1"])
    assert reading.records("farthest").equals(reading.records("farthest:1"))
    assert not reading.records("farthest").equals(reading.records("farthest:0"))


def test_what_was_not_asked_for_is_measured_once(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    import budgetlens.face.reading as module

    passes = []
    original = module.capture_fed

    def counted(model: Any, fed: Any, wanted: Any, rows: Any) -> Any:
        passes.append([type(probe).__name__ for probe in wanted.probes])
        return original(model, fed, wanted, rows)

    monkeypatch.setattr(module, "capture_fed", counted)
    reading = Model(loaded("t5")).read(**TEXTS, probes=["budgets"])
    assert passes == [["Likelihood", "Budgets", "TopTokens"]]
    _ = reading.nll, reading.token_nll, reading.logits, reading.budgets
    assert len(passes) == 1
    first = reading.records("entropies")
    assert passes[1:] == [["Entropies"]]
    assert list(first.columns) == ["side", "block", "layer", "head", "part", "mass", "entropy"]
    first["entropy"] = 0.0
    assert (reading.records(Entropies())["entropy"] > 0).any()
    assert len(passes) == 2


def test_a_text_is_a_text(loaded: Loaded) -> None:
    """A prefix that reads like a level with a draw, or like a control token, is fed as it is written."""
    model = Model(loaded("t5gemma2"))
    for prefix in ("mill #2", "literal:mill", "a|b", "<eos>", "oracle"):
        trial = model.read(**TEXTS, prefix=prefix, probes=[]).trial
        (segment, separator, document) = trial.trial.encoder
        assert (segment.role, segment.text, separator.role, document.text) == (
            "prefix",
            prefix,
            "separator",
            DOCUMENT,
        )
    oracle = model.read(**TEXTS, interventions=["prefix=oracle"], probes=[])
    assert oracle.trial.encoder_ids == model.read(**TEXTS, prefix=QUERY, probes=[]).trial.encoder_ids


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"document": ""}, r"the document is empty; give the text .* \(document='…'\)"),
        ({"answer": ""}, "the answer is empty"),
        ({"interventions": ["hiden=prefix"]}, "no intervention is called 'hiden'. Did you mean 'hidden'"),
        ({"interventions": ["hidden"]}, "names no level; an intervention is written 'factor=level'"),
        ({"interventions": ["hidden=prefix", "hidden=bos"]}, "'hidden' is given twice"),
        ({"interventions": ["prefix=oracle"], "prefix": "a"}, "a prefix is given as a text and as a level"),
        (
            {"interventions": ["knockout=predicting->prefix"]},
            "knockout=predicting->prefix changes nothing here: .*prefix",
        ),
        (
            {"interventions": ["hidden=prefix"]},
            "hidden=prefix changes nothing here: the encoder has no prefix",
        ),
        (
            {"interventions": ["hidden=prefix+separator"], "query": ""},
            "hidden=prefix[+]separator changes nothing here",
        ),
        (
            {"document": "a\ud800"},
            r"the document holds a broken character \(a lone surrogate\).*: 'a\\ud800'",
        ),
        ({"answer": "a\udfff"}, "the answer holds a broken character"),
        ({"query": "a\ud800"}, "the query holds a broken character"),
        ({"prefix": "a\ud800"}, "the prefix holds a broken character"),
        ({"interventions": ["prefix=literal:\ud800"]}, r"prefix='literal:\\ud800' holds a broken character"),
        ({"interventions": ["knockout=predicting->document@9"]}, "layer"),
        ({"interventions": ["hidden=bos+document+eos"]}, "the decoder would see nothing of the encoder"),
        ({"interventions": [str]}, "the class str"),
        ({"interventions": ["prefix=random"]}, "taken from another example"),
        ({"probes": ["budget"]}, "no probe is called 'budget'. Did you mean 'budgets'"),
        ({"probes": ["budgets", "budgets"]}, "named twice"),
        ({"probes": ["entropies", Entropies()]}, "'entropies' is given twice"),
        ({"probes": ["entropies", Entropies]}, "'entropies' is given twice"),
        ({"rows": "all"}, "rows are one of predicting, holding, generated, not 'all'"),
    ],
)
def test_what_can_not_be_read_is_told(loaded: Loaded, given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Model(loaded("t5gemma2")).read(**{**TEXTS, **given})


def test_what_is_no_text_is_told(loaded: Loaded) -> None:
    with pytest.raises(TypeError, match="the document is a text; got 3"):
        Model(loaded("t5")).read(document=3, answer="a")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("family", "asked", "words"),
    [
        ("t5", {"layer": 5, "block": "self"}, "layer 5 was asked for; t5 has decoder layers 0 to 4"),
        ("t5", {"layer": 3, "side": "encoder"}, "t5 has encoder layers 0 to 2"),
        ("t5", {"layer": -1, "block": "self"}, "layer -1"),
        ("t5", {"layer": True, "block": "self"}, "layer True"),
        ("t5", {"layer": 0}, "a softmax each for self and cross .* block='self' or block='cross'"),
        ("t5", {"layer": 0, "block": "merged"}, "has no block 'merged'; it has 'self' and 'cross'"),
        ("t5gemma2", {"layer": 0, "block": "cross"}, "has no block 'cross'; it has 'merged'"),
        ("t5", {"layer": 0, "side": "both"}, "a side is encoder or decoder; got 'both'"),
    ],
)
def test_attention_that_is_not_there_is_told(
    loaded: Loaded, family: str, asked: dict[str, Any], words: str
) -> None:
    reading = Model(loaded(family)).read(**TEXTS, probes=[])
    with pytest.raises(ValueError, match=words):
        reading.attention(**asked)
    with pytest.raises(
        ValueError, match="head 6 was asked for; layer 0 of the decoder has heads 0 to 5|heads 0 to"
    ):
        reading.attention(layer=0, block="self" if family == "t5" else None).head(64)


def test_texts_that_are_cut_are_warned_of(loaded: Loaded) -> None:
    model = replace(loaded("t5"), trial_tokenizer=limited(loaded("t5"), encoder=12))
    with pytest.warns(
        UserWarning, match=r"\d+ encoder tokens are cut at the limit \(encoder 12, .* max_encoder_tokens"
    ):
        reading = Model(model).read(**TEXTS, probes=[])
    assert len(reading.trial.encoder_ids) == 12
    assert reading.notes[-1].endswith("encoder tokens are cut at the limit")


def limited(model: LoadedModel, *, encoder: int) -> Any:
    from budgetlens.model.tokenization import Limits, TrialTokenizer

    own = model.trial_tokenizer
    return TrialTokenizer(own.tokenizer, own.start_token, Limits(encoder=encoder), depths=own.depths)


def test_memory_that_is_used_up_is_told(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*given: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("budgetlens.face.reading.capture_fed", full)
    with pytest.raises(MemoryError, match=r"do not fit into memory \(\d+ encoder and \d+ decoder tokens\)"):
        Model(loaded("t5")).read(**TEXTS)


@pytest.mark.parametrize("family", ["t5gemma2", "bart"])
def test_pictures(loaded: Loaded, family: str) -> None:
    reading = Model(loaded(family)).read(**TEXTS, probes=[])
    tokens = reading.plot(layer=2, head=1, row=0)
    assert "layer 2, head 1" in str(tokens.layout.title.text)
    assert f"layer {tiny_models.DECODER_LAYERS - 1}, mean over heads" in str(reading.plot().layout.title.text)
    bars = reading.plot("budgets").data
    own = reading.budgets.query("side == 'decoder' and role == 'document'")
    block = "merged" if family == "t5gemma2" else "cross"
    drawn = next(bar for bar in bars if bar.meta["role"] == "document" and bar.meta["block"] == block)
    means = own[own["block"] == block].groupby("layer")["share"].mean()
    assert np.allclose(drawn.y, means)
    assert reading.plot("entropies").data
    signed = reading.plot(layer=2, head=1, measure="projection")
    assert signed.layout.coloraxis.cmin < 0
    assert "Projections of contributions, layer 2, head 1" in signed.layout.title.text
    assert "ALTI+" in reading.plot(measure="alti").layout.title.text
    with pytest.raises(
        ValueError, match=r"'entropies' is no measure of what rows take from keys; those are alti, "
    ):
        reading.plot(measure="entropies")
    with pytest.raises(ValueError, match=r"plot\('budgets'\) shows all"):
        reading.plot("budgets", layer=1)
    with pytest.raises(ValueError, match="no probe is called 'budget'"):
        reading.plot("budget")
    with pytest.raises(ValueError, match="has no layers to draw"):
        reading.plot("likelihood")
    with pytest.raises(ValueError, match="decoder layers 0 to 4"):
        reading.plot(layer=5)


def test_what_a_notebook_shows(loaded: Loaded) -> None:
    model = Model(loaded("t5gemma2"))
    reading = model.read(
        document="<script>alert(1)</script> a mill",
        query=QUERY,
        answer=ANSWER,
        prefix=PREFIX,
        interventions=["hidden=prefix"],
    )
    shown = reading._repr_html_()
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown
    assert f"{reading.nll:.4f} nats per answer token" in shown
    struck = [part for part in shown.split("<span ") if "line-through" in part]
    assert ["hidden from the decoder" in part and PREFIX in part for part in struck] == [True]
    for value in reading.token_nll:
        assert f"<td>{value:.2f}</td>" in shown
    own = reading.budgets.query("side == 'decoder' and role == 'document'")["share"].mean()
    assert f"{100 * own:.1f} %" in shown
    assert repr(reading).startswith("Reading of t5gemma2, ")
    assert "3 encoder and 5 decoder layers, one softmax" in repr(model)
    assert "3 encoder and 5 decoder layers" in model._repr_html_()
    table = reading.attention(layer=1)._repr_html_()
    assert all(f"<th>{role}</th>" in table for role in ("bos", "prefix", "document", "prompt"))
    assert reading.attention(layer=1).head(2).loc[:, "prefix"].to_numpy().max() == 0.0


def test_one_thing_stands_for_a_list_and_a_class_for_its_defaults(loaded: Loaded) -> None:
    model = Model(loaded("t5gemma2"))
    several = model.read(**TEXTS, interventions=["hidden=bos"], probes=["entropies"])
    single = model.read(**TEXTS, interventions="hidden=bos", probes=Entropies)
    assert single.nll == several.nll
    pd.testing.assert_frame_equal(single.records("entropies"), several.records(Entropies))


def test_a_probe_whose_numbers_have_another_shape_is_told(loaded: Loaded) -> None:
    @bl.probe("whole_logits")
    @dataclass(frozen=True)
    class WholeLogits:
        declares = bl.Declaration(title="Logits", quantities=(bl.Quantity("logit", "logit", "logits"),))

        def observe_answer(self, answer):
            return {"logit": answer.logits}

    with pytest.raises(
        ValueError, match=r"'whole_logits' gave 'logit' of shape .* expected one value per row"
    ):
        Model(loaded("t5gemma2")).read(**TEXTS, probes=[WholeLogits()])
