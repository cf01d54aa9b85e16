"""Directions made from two cells: against states seen by torch's hooks, closed forms, and that none is tested on its own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

import budgetlens as bl
from budgetlens.corpora.corpus import Corpus
from budgetlens.corpora.splitting import split_by_document
from budgetlens.design.design import context_of
from budgetlens.model.direction_files import description_of, document_digest
from budgetlens.model.trials import ExampleError, StateError, Trial
from budgetlens.runs.manifest import RunError
from interventions.steering import Steering
from tests.conftest import corpus_rows
from tests.reference import hooks, tiny_models

CELLS = {"baseline": {"prefix": "none"}, "treatment": {"prefix": "oracle"}}


@pytest.fixture(scope="module")
def tiny() -> bl.Model:
    return bl.wrap(tiny_models.build("t5gemma2"), tiny_models.tokenizer())


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    """Eight examples of five documents: three documents have two queries each."""
    rows = corpus_rows(8)
    for place in (5, 6, 7):
        rows[place]["document"] = rows[place - 5]["document"]
    return bl.corpus(rows)


def test_a_direction_is_the_difference_of_mean_states(tiny: bl.Model, corpus: Corpus, tmp_path: Path) -> None:
    """States of each example by itself in a plain forward; means over positions, then over the examples of the split."""
    making, _ = split_by_document(corpus, 0.5)
    tokenizer = tiny.loaded.trial_tokenizer
    for layer, path in ((None, None), (1, "model.encoder.text_model.layers.1")):
        made = bl.direction(
            tiny, corpus, **CELLS, roles="document", layer=layer, out=tmp_path / f"{layer}.safetensors"
        )
        differences = []
        for example in making.examples:
            means = []
            for text in ("", example.query):
                trial = tokenizer(
                    Trial.bare(example)
                    if not text
                    else bl.Trial.bare(example).with_prefix(
                        (bl.Segment("prefix", text=text), bl.Segment("separator", text="\n"))
                    )
                )
                model = tiny.loaded.model
                states = (
                    hooks.encoder_states(model, trial.encoder_ids)
                    if path is None
                    else hooks.layer_states(model, trial.encoder_ids, path)
                )
                own = [number for number, role in enumerate(trial.encoder_roles) if role == "document"]
                means.append(states[own].double().numpy().mean(axis=0))
            differences.append(means[1] - means[0])
        expected = numpy.mean(differences, axis=0)
        assert numpy.abs(expected).max() > 0.01
        numpy.testing.assert_allclose(made.values, expected, atol=1e-5 * numpy.abs(expected).max() + 1e-6)
        assert made.examples == len(making.examples)


def test_two_equal_cells_have_no_direction_and_strength_0_does_nothing(
    tiny: bl.Model, corpus: Corpus, tmp_path: Path
) -> None:
    same = {"baseline": {"prefix": "oracle"}, "treatment": {"prefix": "oracle"}}
    made = bl.direction(tiny, corpus, **same, roles="document", out=tmp_path / "same.safetensors")
    assert (made.values == 0).all()
    other = bl.direction(
        tiny, corpus, **CELLS, roles="predicting", layer=2, out=tmp_path / "rows.safetensors"
    )
    frame = bl.measure(
        tiny, corpus, steering=["none", other.level(0), other.level(3), made.level(5)], probes=["likelihood"]
    )
    nll = frame.pivot(index="example", columns="steering", values="value")
    # Trials under different edits share no lane of a batch, which moves sums by roundings.
    for nothing in (other.level(0), made.level(5)):
        numpy.testing.assert_allclose(nll[nothing], nll["none"], rtol=1e-5)
    assert ((nll[other.level(3)] - nll["none"]).abs() > 1e-3).all()


def test_no_example_is_tested_whose_document_made_the_direction(
    tiny: bl.Model, corpus: Corpus, tmp_path: Path
) -> None:
    making, tested = split_by_document(corpus, 0.4)
    assert {own.document for own in making.examples}.isdisjoint(own.document for own in tested.examples)
    assert len(making.examples) + len(tested.examples) == len(corpus.examples)
    assert len({own.document for own in making.examples}) == 2
    made = bl.direction(tiny, corpus, **CELLS, roles="document", share=0.4, out=tmp_path / "d.safetensors")
    assert made.documents == 2
    run = bl.run(
        model=tiny,
        corpus=corpus,
        steering=["none", made.level(2)],
        out=tmp_path / "run",
        probes=["likelihood"],
    )
    assert set(run.outcomes["example"].astype(str)) == {own.identifier for own in tested.examples}
    left = run.manifest.left_out
    assert set(left) == {own.identifier for own in making.examples}
    assert all("the direction that steers was made from their document" in reason for reason in left.values())
    assert run.manifest.identity["files"] == [_sha256(made.path)]
    context = context_of(corpus, 0, tiny.loaded.trial_tokenizer, 42)
    for example in corpus.examples:
        level = Steering.parse(made.level(2))
        if example in making.examples:
            with pytest.raises(ExampleError, match="was made from its document"):
                level.apply(Trial.bare(example), context)
        else:
            assert len(level.apply(Trial.bare(example), context).states) == 1


def _sha256(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_same_call_gives_the_same_file_once(tiny: bl.Model, corpus: Corpus, tmp_path: Path) -> None:
    path = tmp_path / "d.safetensors"
    asked = dict(**CELLS, roles="document", out=path)
    first = bl.direction(tiny, corpus, **asked)
    written, changed = path.read_bytes(), path.stat().st_mtime_ns
    assert bl.direction(tiny, corpus, **asked) == first
    assert path.stat().st_mtime_ns == changed
    path.unlink()
    assert bl.direction(tiny, corpus, **asked) == first
    assert path.read_bytes() == written
    for other in ({"share": 0.2}, {"roles": "document+bos"}, {"layer": 1}):
        with pytest.raises(RunError, match="holds another direction"):
            bl.direction(tiny, corpus, **{**asked, **other})
    path.write_bytes(written[:40])
    with pytest.raises(RunError, match="could not be read"):
        bl.direction(tiny, corpus, **asked)


def test_a_file_tells_whose_documents_it_was_made_from(
    tiny: bl.Model, corpus: Corpus, tmp_path: Path
) -> None:
    made = bl.direction(tiny, corpus, **CELLS, roles="document", out=tmp_path / "d.safetensors")
    making, _ = split_by_document(corpus, 0.5)
    told = description_of(made.path)
    assert set(told["documents"]) == {document_digest(own.document) for own in making.examples}
    with safe_open(made.path, framework="numpy") as opened:
        assert list(opened.keys()) == ["direction"]
    bare = tmp_path / "bare.safetensors"
    save_file({"mine": numpy.zeros(tiny_models.HIDDEN, numpy.float32)}, bare)
    assert description_of(bare) == {}
    save_file(
        {"mine": numpy.zeros(3, numpy.float32)}, bare, {"budgetlens_direction": json.dumps({"documents": 3})}
    )
    with pytest.raises(StateError, match="does not tell from which documents"):
        description_of(bare)


def test_what_can_be_no_direction_says_why(tiny: bl.Model, corpus: Corpus, tmp_path: Path) -> None:
    out = tmp_path / "d.safetensors"
    for wrong, message in (
        ({"roles": "document+answer"}, "roles of one stack"),
        ({"roles": "answer"}, "give layer=…"),
        ({"layer": 3}, "has layers 0 to 2; got layer=3"),
        ({"share": 1.0}, "above 0 and below 1"),
        ({"out": tmp_path / "d.npy"}, "is to end with .safetensors"),
        ({"roles": "prefix"}, "has no position of prefix in the cell prefix=none"),
        ({"baseline": "prefix=none"}, "given as levels by factor"),
    ):
        with pytest.raises(ValueError, match=message):
            bl.direction(tiny, corpus, **{**CELLS, "roles": "document", "out": out, **wrong})
    assert not out.exists()
    with pytest.raises(ValueError, match="one document can't be divided"):
        bl.direction(tiny, bl.corpus(corpus_rows(1)), **CELLS, roles="document", out=out)
