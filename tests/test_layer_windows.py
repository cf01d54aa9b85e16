"""Windows of layers, against hand-counted ones and the property that quarters partition a depth."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from budgetlens.design.intervention import Context, LevelError
from budgetlens.model.families import family_of
from budgetlens.model.loaded import at_path
from budgetlens.model.loading import declared_depths
from budgetlens.model.tokenization import TrialTokenizer
from interventions.levels.edges import parse_edges
from interventions.levels.layer_windows import LayerWindow, parse_window, window_layers
from tests.reference import tiny_models


@pytest.mark.parametrize(
    ("text", "depth", "expected"),
    [
        ("all", 3, [0, 1, 2]),
        ("5", 34, [5]),
        ("20-33", 34, list(range(20, 34))),
        ("0-0", 1, [0]),
        ("0%-25%", 12, [0, 1, 2]),
        ("75%-100%", 12, [9, 10, 11]),
        # 8.5 and 25.5 round to 8 and 26; 17 is exact.
        ("25%-50%", 34, list(range(8, 17))),
        ("50%-75%", 34, list(range(17, 26))),
        # Less than half a layer: one layer all the same, and never one beyond the last.
        ("0%-1%", 5, [0]),
        ("99%-100%", 5, [4]),
        ("12.5%-50%", 8, [1, 2, 3]),
        ("0+3-4", 5, [0, 3, 4]),
    ],
)
def test_windows_by_hand(text: str, depth: int, expected: list[int]) -> None:
    assert parse_window(text).layers(depth) == frozenset(expected)
    assert parse_window(text).text == text


@pytest.mark.parametrize("depth", range(4, 40))
def test_quarters_partition_every_depth(depth: int) -> None:
    quarters = [parse_window(text).layers(depth) for text in ("0%-25%", "25%-50%", "50%-75%", "75%-100%")]
    assert all(quarters)
    assert sorted(layer for quarter in quarters for layer in quarter) == list(range(depth))
    assert LayerWindow.all().layers(depth) == frozenset(range(depth))


@pytest.mark.parametrize(
    "text", ["", "last", "5-", "33-20", "-1", "25%", "50%-25%", "0%-101%", "1,2", "1++2"]
)
def test_what_is_no_window_is_refused(text: str) -> None:
    with pytest.raises(LevelError, match=r"is no window of layers; give 'all', a layer as '5'"):
        parse_window(text)


def test_layers_beyond_the_stack_are_refused() -> None:
    with pytest.raises(LevelError, match=r"'20-33' go beyond the stack, which has layers 0 to 11"):
        parse_window("20-33").layers(12)
    with pytest.raises(LevelError, match="a depth of 0"):
        parse_window("all").layers(0)


@contextmanager
def little_memory() -> Iterator[None]:
    """What stands in the block takes less than a megabyte."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("text", ["0-9999999", "9999999", "3-99999999999", "99999999999"])
def test_a_huge_window_is_refused_before_it_is_built(text: str) -> None:
    with little_memory(), pytest.raises(LevelError, match=rf"'{text}' go beyond the stack"):
        parse_window(text).layers(12)


@pytest.mark.parametrize("heads", ["h0-9999999", "h1000", "h0+3-99999999999"])
def test_a_huge_range_of_heads_is_refused_before_it_is_built(heads: str) -> None:
    with little_memory(), pytest.raises(LevelError, match="no model has more than 1,000 in a layer"):
        parse_edges(f"predicting->bos@all/{heads}")
    assert parse_edges("predicting->bos@all/h0-999").heads[0].heads == frozenset(range(1000))


@pytest.mark.parametrize("text", ["predicting->bos@0-{}", "predicting->bos@{}", "predicting->bos@all/h0-{}"])
def test_a_number_of_thousands_of_digits_is_refused_in_a_short_sentence(text: str) -> None:
    with pytest.raises(LevelError, match="holds a number of 5,000 digits; give a shorter one") as refused:
        parse_edges(text.format("9" * 5000))
    assert len(str(refused.value)) < 200


def context(depths: dict[str, int] | None) -> Context:
    tokenizer = TrialTokenizer(tiny_models.tokenizer(), 2, depths=depths)
    return Context(index=0, examples=(), tokenizer=tokenizer, vocabulary_size=199, seed=0)


def test_windows_of_a_stack_take_its_own_depth() -> None:
    half = parse_window("50%-100%")
    both = context({"encoder": 4, "decoder": 10})
    assert window_layers(half, "encoder", both) == {2, 3}
    assert window_layers(half, "decoder", both) == {5, 6, 7, 8, 9}
    with pytest.raises(LevelError, match=r"encoder: the layers '4' go beyond the stack"):
        window_layers(parse_window("4"), "encoder", both)
    with pytest.raises(LevelError, match="this tokenizer knows none; take it from load_model"):
        window_layers(half, "encoder", context(None))


@pytest.mark.parametrize("family", tiny_models.FAMILIES)
def test_depths_are_those_of_the_modules(family: str) -> None:
    model: Any = tiny_models.build(family)
    declared = family_of(model.config.model_type)
    assert declared_depths(model.config) == {
        "encoder": len(at_path(model, declared.encoder_layers)),
        "decoder": len(at_path(model, declared.decoder_layers)),
    }
    assert declared_depths(model.config) == {
        "encoder": tiny_models.ENCODER_LAYERS,
        "decoder": tiny_models.DECODER_LAYERS,
    }
