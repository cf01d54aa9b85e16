"""Measuring from Python: the very numbers that the command records, of the built-in model and of every family."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import budgetlens as bl
from budgetlens.command.main import main
from budgetlens.model.tokenization import TrialTokenizer
from budgetlens.model.trials import ExampleError
from budgetlens.runs import batches
from budgetlens.runs.run import Run
from interventions.prefix import Prefix
from probes.entropies import Entropies
from tests.conftest import corpus_rows, save_tiny, write_corpus

EXAMPLES = 5
#: So few positions that the examples are of several parts and batches.
BATCH_TOKENS = 300
FACTORS = {"prefix": ["none", "oracle"], "prompt": ["none", "query"]}


@pytest.fixture(scope="module")
def corpus_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus") / "tiny.jsonl", EXAMPLES)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> bl.Model:
    return bl.load_model(str(save_tiny("t5gemma2", tmp_path_factory.mktemp("tiny") / "model")), device="cpu")


@pytest.fixture(scope="module")
def corpus(corpus_file: Path) -> object:
    return bl.read_corpus(corpus_file, n=EXAMPLES)


def commanded(monkeypatch: pytest.MonkeyPatch, out: Path, model: str, corpus: str, *more: str) -> Run:
    """What the command records of these cells, without tables."""
    monkeypatch.setattr("budgetlens.command.finishing.finish", lambda run, **options: None)
    factors = [
        word for name, levels in FACTORS.items() for word in ("--factor", f"{name}={','.join(levels)}")
    ]
    given = ["run", "custom", *factors, "--model", model, "--corpus", corpus, "--n", str(EXAMPLES)]
    assert main([*given, "--out", str(out), "--device", "cpu", "--quiet", *more]) == 0
    return Run.open(out)


def as_recorded(frame: pd.DataFrame, probe: str) -> pd.DataFrame:
    """Rows of a measurement in the form of a probe's records: a column per quantity."""
    own = frame[frame["probe"] == probe].rename(columns={"side": "stack"})
    keys = [
        name
        for name in own.columns
        if name not in ("probe", "quantity", "value", *FACTORS) and own[name].notna().all()
    ]
    wide = own.pivot(index=keys, columns="quantity", values="value").reset_index()
    return wide.rename_axis(columns=None)


def assert_equal_to_records(frame: pd.DataFrame, run: Run) -> None:
    for probe in frame["probe"].unique():
        measured = as_recorded(frame, probe)
        names = list(measured.columns)
        recorded = run.records(probe)[names]
        keys = [name for name in names if measured[name].dtype != np.float64]
        both = [
            each.astype(dict.fromkeys(keys, str)).sort_values(keys).reset_index(drop=True)
            for each in (measured, recorded)
        ]
        assert len(both[0]) == len(both[1])
        # Bit by bit: NaN is NaN in the same places.
        pd.testing.assert_frame_equal(*both, check_exact=True)


@pytest.mark.parametrize("family", ["t5gemma2", "t5gemma", "t5", "bart"])
def test_the_numbers_are_the_commands_records(
    family: str, tmp_path: Path, corpus_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = str(save_tiny(family, tmp_path / family))
    probes = ["likelihood", "budgets", "entropies"]
    run = commanded(
        monkeypatch,
        tmp_path / "run",
        place,
        str(corpus_file),
        "--probes",
        ",".join(probes),
        "--encoder-rows",
        "--batch-tokens",
        str(BATCH_TOKENS),
    )
    frame = bl.measure(
        bl.load_model(place, device="cpu"),
        bl.read_corpus(corpus_file, n=EXAMPLES),
        **FACTORS,
        probes=probes,
        encoder_rows=True,
        batch_tokens=BATCH_TOKENS,
    )
    assert set(frame["probe"]) == set(probes)
    assert "encoder" in set(frame["side"])
    assert_equal_to_records(frame, run)


def test_the_built_in_model_and_its_corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = commanded(
        monkeypatch, tmp_path / "run", "reference", "reference", "--rows", "holding", "--layers", "1,3"
    )
    frame = bl.measure(
        bl.load_model("reference", device="cpu"),
        bl.read_corpus("reference", n=EXAMPLES),
        **FACTORS,
        probes=["likelihood", "budgets"],
        rows="holding",
        layers=[3, 1],
    )
    assert set(frame["layer"].dropna()) == {1, 3}
    assert_equal_to_records(frame, run)


def test_the_frame_has_a_row_per_observation_in_order(tiny: bl.Model, corpus: object) -> None:
    frame = bl.measure(tiny, corpus, **FACTORS, probes=["likelihood", "entropies"])
    assert list(frame.columns) == [
        *("example", "cell", "prefix", "prompt", "probe", "side", "block", "layer", "head", "part"),
        *("quantity", "value"),
    ]
    examples = [example.identifier for example in corpus.examples]
    assert list(frame["example"].unique()) == examples
    cells = [
        f"prefix={prefix}|prompt={prompt}" for prefix in ("none", "oracle") for prompt in ("none", "query")
    ]
    assert list(frame.loc[frame["example"] == examples[0], "cell"].unique()) == cells
    assert (frame["cell"] == "prefix=" + frame["prefix"] + "|prompt=" + frame["prompt"]).all()
    likelihood = frame[frame["probe"] == "likelihood"]
    assert len(likelihood) == EXAMPLES * 4
    assert likelihood[["side", "block", "layer", "head", "part"]].isna().all(axis=None)
    assert set(frame.loc[frame["probe"] == "entropies", "quantity"]) == {"mass", "entropy"}
    assert frame.attrs["left_out"] == {}


def test_levels_and_probes_as_texts_instances_classes_and_alone(tiny: bl.Model, corpus: object) -> None:
    texts = bl.measure(tiny, corpus, prefix=["none", "oracle"], prompt="query", probes="entropies")
    given = bl.measure(
        tiny,
        corpus,
        prefix=[Prefix.parse("none"), Prefix.parse("oracle")],
        prompt="query",
        probes=[Entropies],
    )
    pd.testing.assert_frame_equal(texts, given, check_exact=True)
    pd.testing.assert_frame_equal(
        texts, bl.measure(tiny, corpus, prefix=("none", "oracle"), prompt=("query",), probes=Entropies())
    )


def test_without_factors_the_bare_document_is_read(tiny: bl.Model, corpus: object) -> None:
    bare = bl.measure(tiny, corpus, probes="budgets")
    assert set(bare["cell"]) == {"bare"}
    none = bl.measure(tiny, corpus, prefix="none", probes="budgets")
    assert list(bare["value"]) == list(none["value"])


def test_a_notebooks_intervention_and_probe(
    tiny: bl.Model, corpus: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What they do is told independently: by the prompt that says the same, and by attention's own rows."""

    @bl.intervention("say")
    @dataclass(frozen=True)
    class Say(bl.Intervention):
        text: str = ""

        def apply(self, trial: bl.Trial, context: bl.Context) -> bl.Trial:
            words = trial.example[self.text] if self.text else trial.example.query
            return trial.with_prompt([bl.Segment("prompt", text=words)])

    @bl.probe("total")
    @dataclass(frozen=True)
    class Total:
        declares = bl.Declaration(
            title="Total", quantities=(bl.Quantity("total", "total", "fraction"),), axis="keys"
        )

        def categories(self, site: object) -> tuple[str, ...]:
            return ("all",) if site.stack == "decoder" else ()  # type: ignore[attr-defined]

        def observe(self, attention: object) -> dict[str, torch.Tensor]:
            return {"total": attention.probabilities.sum(dim=-1, keepdim=True)}  # type: ignore[attr-defined]

    for cls in (Say, Total):
        monkeypatch.setattr(sys.modules["__main__"], cls.__name__, cls, raising=False)
    said = bl.measure(tiny, corpus, say=[Say()], probes=["likelihood", Total])
    assert said.loc[said["probe"] == "total", "value"].to_numpy() == pytest.approx(1.0, abs=1e-5)
    rows = bl.corpus([{**row, "hint": f"look at {number}"} for number, row in enumerate(corpus_rows(3))])
    hinted = bl.measure(tiny, rows, say=[Say("hint")], probes="likelihood")
    asking = bl.corpus([{**row, "query": f"look at {number}"} for number, row in enumerate(corpus_rows(3))])
    assert (
        hinted["value"].tolist()
        == bl.measure(tiny, asking, say=[Say()], probes="likelihood")["value"].tolist()
    )


def test_a_factor_that_is_called_as_a_column_and_a_probe_that_sees_nothing_are_told(
    tiny: bl.Model, corpus: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    @bl.intervention("layer")
    @dataclass(frozen=True)
    class Layer(bl.Intervention):
        def apply(self, trial: bl.Trial, context: bl.Context) -> bl.Trial:
            return trial.with_prompt([bl.Segment("prompt", text="look")])

    @bl.probe("blind")
    @dataclass(frozen=True)
    class Blind:
        declares = bl.Declaration(
            title="Blind", quantities=(bl.Quantity("none", "none", "none"),), axis="keys"
        )

        def categories(self, site: object) -> tuple[str, ...]:
            return ()

        def observe(self, attention: object) -> dict[str, torch.Tensor]:
            return {}

    for cls in (Layer, Blind):
        monkeypatch.setattr(sys.modules["__main__"], cls.__name__, cls, raising=False)
    with pytest.raises(ValueError, match="the factor 'layer' is called as a column that the frame has"):
        bl.measure(tiny, corpus, layer="")
    with pytest.raises(ValueError, match="the probe 'blind' observed nothing"):
        bl.measure(tiny, corpus, probes=["likelihood", Blind])


def test_a_batch_without_room_is_halved(
    tiny: bl.Model, corpus: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = bl.measure(tiny, corpus, **FACTORS, probes="likelihood")
    real, sizes = batches.make_batch, []

    def small(trials: list[object], **options: object) -> object:
        sizes.append(len(trials))
        if len(trials) > 8:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return real(trials, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(batches, "make_batch", small)
    halved = bl.measure(tiny, corpus, **FACTORS, probes="likelihood")
    assert max(sizes) > 8
    assert "out of memory: a batch of" in capsys.readouterr().err
    assert halved["value"].to_numpy() == pytest.approx(whole["value"].to_numpy(), rel=1e-4)
    assert halved.drop(columns="value").equals(whole.drop(columns="value"))


def test_an_example_that_can_not_be_fed_is_named_and_left_out_of_all(
    tiny: bl.Model, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def require_text(tokenizer: TrialTokenizer, example: bl.Example) -> None:
        if example.identifier == "e2":
            raise ExampleError("its answer has no token", "their answer has no token")

    monkeypatch.setattr(TrialTokenizer, "require_text", require_text)
    corpus = bl.corpus([{"id": f"e{number}", **row} for number, row in enumerate(corpus_rows(4))])
    frame = bl.measure(tiny, corpus, **FACTORS, probes="likelihood")
    assert list(frame["example"].unique()) == ["e0", "e1", "e3"]
    assert list(frame.attrs["left_out"]) == ["e2"]
    assert "1 of 4 examples are left out of every cell" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"prefixes": ["none"]},
            "'prefixes' is neither an option nor an intervention. Did you mean 'prefix'?",
        ),
        ({"prefix": ["none", "orakel"]}, "orakel"),
        ({"prefix": ["none", "none"]}, "needs one or more distinct levels"),
        ({"prefix": []}, "needs one or more distinct levels"),
        ({"prompt": [Prefix.parse("none")]}, "is a level of 'prefix' and was given as one of 'prompt'"),
        ({"prefix": [3]}, "got 3"),
        ({"prefix": ["none", "literal:\ud800"]}, "holds a broken character .a lone surrogate."),
        ({"probes": ["budget"]}, "Did you mean 'budgets'?"),
        ({"probes": []}, "no probe is named"),
        ({"probes": ["budgets", "budgets"]}, "named twice"),
        ({"rows": "all"}, "rows is 'all'; expected one of predicting, holding"),
        ({"layers": [99]}, "has decoder layers 0 to"),
        ({"layers": "all"}, "layers are whole numbers from 0"),
        ({"layers": []}, "layers are whole numbers from 0"),
        ({"batch_tokens": 0}, "batch_tokens is a whole number of at least 1; got 0"),
        ({"prefix": "none", "hidden": "prefix"}, "changes nothing in any of the 5 examples"),
    ],
)
def test_what_can_not_be_measured_is_told(
    tiny: bl.Model, corpus: object, options: dict[str, object], words: str
) -> None:
    with pytest.raises(ValueError, match=words.replace("?", "[?]")):
        bl.measure(tiny, corpus, **options)


def test_a_model_and_a_corpus_are_what_the_face_gives(tiny: bl.Model, corpus: object) -> None:
    with pytest.raises(ValueError, match="a model is what bl.load_model"):
        bl.measure("reference", corpus)
    with pytest.raises(ValueError, match="a corpus is what bl.read_corpus"):
        bl.measure(tiny, corpus_rows(3))
