"""Plain arguments of the face: numpy's numbers are numbers, and what is none is told in one sentence."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import budgetlens as bl
from budgetlens.model.loaded import LoadedModel
from tests.conftest import corpus_rows

ROW = {name: corpus_rows(1)[0][name] for name in ("document", "query", "answer")}


@dataclass(frozen=True)
class Things:
    """What a person has at hand."""

    model: bl.Model
    corpus: Any
    reading: bl.Reading
    cache: Any
    place: Path


@pytest.fixture
def things(loaded: Callable[[str], LoadedModel], tmp_path: Path) -> Things:
    model, corpus = bl.Model(loaded("t5")), bl.corpus(corpus_rows(1))
    reading = model.read(**ROW, probes=[])
    cache = bl.cache_activations(model, corpus, tmp_path / "cache", layers=0, what=["residual"])
    return Things(model, corpus, reading, cache, tmp_path)


PATH = " is a path, a text or a pathlib.Path without NUL characters; got "

#: A call, and the words that tell what is wrong with it.
WRONG: list[tuple[Callable[[Things], Any], str]] = [
    (lambda own: bl.measure(own.model, own.corpus, layers=1.5), "layers are whole numbers from 0"),
    (lambda own: bl.measure(own.model, own.corpus, layers=[1.0]), "or None for all; got [1.0]"),
    (lambda own: bl.measure(own.model, own.corpus, layers=[np.True_]), "layers are whole numbers from 0"),
    (lambda own: bl.cache_activations(own.model, own.corpus, own.place, layers=1.5), "layers are whole"),
    (lambda own: bl.cache_activations(own.model, [ROW], own.place), "a corpus is what bl.read_corpus(name)"),
    (lambda own: own.reading.save_activations(own.place / "a", layers=1.5), "layers are whole numbers"),
    (lambda own: own.reading.save_activations("a\0b"), f"path{PATH}'a\\x00b'"),
    (lambda own: own.reading.attention(layer=2.0, block="self"), "layer 2.0 was asked for; t5 has decoder"),
    (lambda own: own.reading.attention(layer=0, block="self").head(1.5), "head 1.5 was asked for"),
    (lambda own: own.reading.attention(layer=0, block="self").head("a"), "head 'a' was asked for"),
    (lambda own: own.reading.attention(layer=0, block="self").head(True), "head True was asked for"),
    (lambda own: own.reading.plot(layer=2.0), "layer is a whole number of at least 0; got 2.0"),
    (lambda own: own.reading.plot(head="a"), "head is a whole number of at least 0; got 'a'"),
    (lambda own: bl.open_activations("a\0b"), f"path{PATH}'a\\x00b'"),
    (lambda own: bl.open_activations(None), f"path{PATH}None"),
    (lambda own: bl.cache_activations(own.model, own.corpus, "a\0b"), f"out{PATH}'a\\x00b'"),
    (lambda own: bl.run("exp08", model=own.model, corpus=own.corpus, out="a\0b"), f"out{PATH}'a\\x00b'"),
    (lambda own: bl.run("exp08", model=own.model, corpus=own.corpus, out=5), f"out{PATH}5"),
    (lambda own: bl.run("exp08", seed="x", out=own.place / "r"), "seed is a whole number of at least 0"),
    (lambda own: bl.run("exp08", n=1.5, out=own.place / "r"), "n is a whole number of at least 1; got 1.5"),
    (lambda own: bl.run("exp08", tokens=1.0, out=own.place / "r"), "tokens is a number of first examples"),
    (lambda own: bl.run("exp06", source=5, out=own.place / "r"), f"source{PATH}5"),
    (lambda own: bl.open_run("a\0b"), f"path{PATH}'a\\x00b'"),
    (lambda own: bl.open_run(3), f"path{PATH}3"),
    (lambda own: bl.load_model(3), f"name{PATH}3"),
    (
        lambda own: bl.wrap(own.model.loaded.model, own.model.loaded.tokenizer, name=5),
        "name is a text without broken characters (lone surrogates); got 5",
    ),
]


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_what_an_argument_can_not_be_is_told(things: Things, number: int) -> None:
    call, words = WRONG[number]
    with pytest.raises(ValueError, match=re.escape(words)):
        call(things)


@pytest.mark.parametrize("key", [["x", "y"], "row-1", 3, ("row-1", "none"), (["row-1"], "bare")])
def test_a_key_that_no_cache_has_is_told(things: Things, key: Any) -> None:
    with pytest.raises(KeyError, match="holds no example and cell .* it has the cells"):
        things.cache[key]
    assert key not in things.cache


def test_numpys_whole_numbers_are_whole_numbers(things: Things) -> None:
    own, one = things, np.int64(1)
    frame = bl.measure(own.model, own.corpus, layers=one, probes="budgets", batch_tokens=np.int32(300))
    assert frame.equals(bl.measure(own.model, own.corpus, layers=1, probes="budgets", batch_tokens=300))
    assert frame.equals(
        bl.measure(own.model, own.corpus, layers=np.array([1]), probes="budgets", batch_tokens=300)
    )
    attention = own.reading.attention(layer=one, block="self")
    assert type(attention.layer) is int
    assert np.array_equal(attention.values, own.reading.attention(layer=1, block="self").values)
    assert attention.head(one).equals(attention.head(1))
    kept = own.reading.save_activations(own.place / "one", layers=[one], what=["residual"])
    assert kept.layers == (1,)
    cut = bl.wrap(own.model.loaded.model, own.model.loaded.tokenizer, max_encoder_tokens=np.int64(9))
    assert cut.loaded.trial_tokenizer.limits.encoder == 9
    assert type(cut.loaded.trial_tokenizer.limits.encoder) is int


def test_no_interventions_is_none_of_them(things: Things) -> None:
    reading = things.model.read(**ROW, interventions=None, probes=[])
    assert reading.fed == things.reading.fed
