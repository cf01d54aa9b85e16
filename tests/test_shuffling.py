"""Shuffling: nothing added, nothing lost, white space in its place, every order as likely."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budgetlens.design.intervention import Context, LevelError
from budgetlens.model.tokenization import TokenizedTrial, TrialTokenizer
from budgetlens.model.trials import Example, Segment, Trial
from interventions.decoder_prompt import DecoderPrompt
from interventions.padding import PadDocument
from interventions.prefix import Prefix
from interventions.shuffling import Shuffle
from tests.reference import tiny_models
from tests.word_level import EXAMPLES, THE, TOKENIZER, context_of, words

ROLES = ("prefix", "document", "prompt", "answer")


def whole_trial(index: int = 2) -> Trial:
    """Example ``index`` with its query as prefix and as prompt."""
    context = context_of(index)
    return DecoderPrompt("query").apply(Prefix("oracle").apply(Trial.bare(EXAMPLES[index]), context), context)


def ids_of(fed: TokenizedTrial, role: str) -> list[int]:
    ids, roles = fed.encoder_ids + fed.decoder_ids, fed.encoder_roles + fed.decoder_roles
    return [token for token, own in zip(ids, roles, strict=True) if own == role]


@pytest.mark.parametrize("unit", ["words", "tokens"])
@pytest.mark.parametrize("role", ["prefix", "document", "prompt"])
def test_one_role_is_shuffled_and_the_others_stay(role: str, unit: str) -> None:
    before = TOKENIZER(whole_trial())
    after = TOKENIZER(Shuffle.parse(f"{role}:{unit}").apply(whole_trial(), context_of(2, seed=3)))
    assert (after.encoder_roles, after.decoder_roles) == (before.encoder_roles, before.decoder_roles)
    for other in (*ROLES, "separator", "bos", "eos", "start"):
        if other == role:
            assert Counter(ids_of(after, other)) == Counter(ids_of(before, other))
            assert ids_of(after, other) != ids_of(before, other)
        else:
            assert ids_of(after, other) == ids_of(before, other)


def test_several_roles_are_shuffled_each_in_itself() -> None:
    trial = whole_trial(4)
    together = Shuffle.parse("prompt+prefix:tokens").apply(trial, context_of(4))
    by_turns = Shuffle.parse("prompt:tokens").apply(
        Shuffle.parse("prefix:tokens").apply(trial, context_of(4)), context_of(4)
    )
    assert together == by_turns
    fed = TOKENIZER(together)
    assert sorted(ids_of(fed, "prefix")) == sorted(ids_of(fed, "prompt")) == list(range(14, 20))
    # The two roles hold the same words and are put in orders of their own.
    assert ids_of(fed, "prefix") != ids_of(fed, "prompt")


TEXTS = st.text(
    st.sampled_from([*"ab.-'", "ß", "é", "中", "ש", "🙂", " ", " ", "\n", "\t", " "]), max_size=60
)


@settings(deadline=None, max_examples=60, derandomize=True)
@given(text=TEXTS, seed=st.integers(0, 50))
def test_words_change_places_and_white_space_does_not(text: str, seed: int) -> None:
    example = Example("one", "who", text, "it")
    trial = Shuffle.parse("document:words").apply(Trial.bare(example), context_of(0, seed, (example,)))
    shuffled = trial.encoder[0].text
    assert shuffled is not None
    assert Counter(shuffled.split()) == Counter(text.split())
    assert re.findall(r"\s+", shuffled) == re.findall(r"\s+", text)
    assert len(shuffled) == len(text)
    assert (shuffled[:1].isspace(), shuffled[-1:].isspace()) == (text[:1].isspace(), text[-1:].isspace())


BYTE_PAIRS = TrialTokenizer(tiny_models.tokenizer(), 2)


@settings(deadline=None, max_examples=40, derandomize=True)
@given(
    text=st.text(st.sampled_from([*"towerkesh", " ", "\n", "🙂"]), min_size=1, max_size=40).filter(
        lambda text: text.strip()
    ),
    seed=st.integers(0, 50),
)
def test_tokens_are_those_that_the_trial_would_feed(text: str, seed: int) -> None:
    example = Example("one", "who built it", text, "Kesh")
    context = context_of(0, seed, (example,), tokenizer=BYTE_PAIRS)
    trial = Prefix("oracle").apply(Trial.bare(example), context)
    shuffled = Shuffle.parse("document:tokens").apply(trial, context)
    assert Counter(ids_of(BYTE_PAIRS(shuffled), "document")) == Counter(ids_of(BYTE_PAIRS(trial), "document"))
    assert ids_of(BYTE_PAIRS(shuffled), "prefix") == ids_of(BYTE_PAIRS(trial), "prefix")
    assert len(BYTE_PAIRS(shuffled).encoder_ids) == len(BYTE_PAIRS(trial).encoder_ids)


def test_every_order_is_as_likely() -> None:
    """Three words: chi-square over the six orders with 5 df, p = 1e-4 at 25.7."""
    example = Example("one", "word5", words(7, 8, 9), "word6")
    for unit in ("words", "tokens"):
        drawn = Counter(
            tuple(
                TOKENIZER(
                    Shuffle.parse(f"document:{unit}").apply(
                        Trial.bare(example), context_of(0, seed, (example,))
                    )
                ).encoder_ids
            )
            for seed in range(600)
        )
        assert len(drawn) == 6
        assert sum((count - 100) ** 2 / 100 for count in drawn.values()) < 25.7


def test_words_wander_between_the_segments_of_a_role() -> None:
    """A padded document is shuffled as a whole; the blank line between its parts stays."""
    padded = PadDocument.parse("30").apply(Trial.bare(EXAMPLES[0]), context_of(0))
    assert len(padded.encoder) == 2
    orders = set()
    for seed in range(5):
        shuffled = Shuffle.parse("document:words").apply(padded, context_of(0, seed))
        first, second = (segment.text or "" for segment in shuffled.encoder)
        assert first.count(" ") == 11
        assert second.startswith("\n\nword")
        orders.add(first)
        assert Counter((first + second).split()) == Counter(
            "".join(segment.text or "" for segment in padded.encoder).split()
        )
    assert any(set(first.split()) != set(EXAMPLES[0].document.split()) for first in orders)
    by_tokens = Shuffle.parse("document:tokens").apply(padded, context_of(0))
    assert Counter(ids_of(TOKENIZER(by_tokens), "document")) == Counter(ids_of(TOKENIZER(padded), "document"))


def test_seed_place_and_draw_decide() -> None:
    def of(index: int, **options: int) -> Trial:
        return Shuffle.parse("document:words").apply(
            Trial.bare(EXAMPLES[index]), context_of(index, **options)
        )

    assert of(1) == of(1)
    assert len({of(1), of(1, seed=7), of(1, draw=1), of(1, draw=2)}) == 4
    moved = replace(EXAMPLES[1], identifier="elsewhere")
    assert (
        Shuffle().apply(Trial.bare(moved), context_of(1, examples=(EXAMPLES[4], moved, EXAMPLES[0]))).encoder
        == of(1).encoder
    )


def test_nothing_to_shuffle_is_left_as_it_is() -> None:
    bare = Trial.bare(EXAMPLES[0])
    for level in ("none", "prefix:words", "prompt:tokens", "separator:words"):
        assert Shuffle.parse(level).apply(bare, context_of(0)) == bare
    assert Shuffle.parse("separator:words").apply(whole_trial(), context_of(2)) == whole_trial()


def test_token_ids_have_no_words() -> None:
    neutral = Prefix("neutral", count=3).apply(Trial.bare(EXAMPLES[0]), context_of(0))
    with pytest.raises(
        ValueError,
        match="'example 0': the prefix consists of token ids and has no words.*use shuffle=prefix:tokens",
    ):
        Shuffle.parse("prefix:words").apply(neutral, context_of(0))
    assert Shuffle.parse("prefix:tokens").apply(neutral, context_of(0)).encoder[0].token_ids == (THE,) * 3


def test_an_answer_can_be_shuffled() -> None:
    example = Example("one", "word5", words(7, 8), words(20, 21, 22, 23, 24))
    shuffled = Shuffle.parse("answer:words").apply(Trial.bare(example), context_of(0, examples=(example,)))
    assert sorted(TOKENIZER(shuffled).decoder_ids[1:]) == [20, 21, 22, 23, 24]
    assert shuffled.decoder[0] != Segment("answer", text=example.answer)


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("", Shuffle(frozenset({"document"}), "words")),
        ("none", Shuffle(frozenset(), "words")),
        ("prompt", Shuffle(frozenset({"prompt"}), "words")),
        ("prefix+document:tokens", Shuffle(frozenset({"prefix", "document"}), "tokens")),
    ],
)
def test_levels(level: str, expected: Shuffle) -> None:
    assert Shuffle.parse(level) == expected


@pytest.mark.parametrize(
    ("level", "message"),
    [
        ("documents:words", r"unknown role\(s\) \['documents'\].*Did you mean 'document'\? Known: prefix, "),
        # Special tokens come from the tokenization.
        ("bos:tokens", r"unknown role\(s\) \['bos'\]"),
        (
            "document:word",
            r"no unit of shuffling is called 'word'. Did you mean 'words'\? Known: words, tokens",
        ),
        ("document:", r"no unit of shuffling is called ''"),
        ("document:words:2", r"no unit of shuffling is called 'words:2'"),
        ("none:words", r"shuffle=none takes no unit; got 'none:words'"),
    ],
)
def test_ill_formed_levels(level: str, message: str) -> None:
    with pytest.raises(LevelError, match=message):
        Shuffle.parse(level)


def test_the_context_is_left_alone() -> None:
    context: Context = context_of(2)
    trial = whole_trial()
    for level in ("document:words", "document:tokens", "prefix+prompt:tokens"):
        Shuffle.parse(level).apply(trial, context)
    assert (trial, context) == (whole_trial(), context_of(2))
