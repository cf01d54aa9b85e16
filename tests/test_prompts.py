"""Decoder prompts: ids by hand and by numpy alone, exact lengths, and the laws of the random fills."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy
import pytest

from budgetlens.design.intervention import DRAW_STRIDE, Context, LevelError
from budgetlens.model.tokenization import Limits
from budgetlens.model.trials import Example, Segment, Trial
from interventions.decoder_prompt import FILLS, DecoderPrompt
from tests.word_level import EXAMPLES, THE, TOKENIZER, VOCABULARY, context_of, trial_tokenizer, words


def applied(level: str, index: int, **options: Any) -> Trial:
    examples = options.get("examples", EXAMPLES)
    return DecoderPrompt.parse(level).apply(Trial.bare(examples[index]), context_of(index, **options))


def prompt_ids(level: str, index: int, **options: Any) -> tuple[int, ...]:
    """The prompt's ids as they are fed."""
    fed = TOKENIZER(applied(level, index, **options))
    count = fed.decoder_roles.count("prompt")
    assert fed.decoder_roles == ("start", *("prompt",) * count, "answer")
    return fed.decoder_ids[1 : 1 + count]


# The query.


def test_the_query_prompt() -> None:
    trial = applied("query", 2)
    assert trial.decoder == (
        Segment("prompt", text="word12 word13 word14 word15"),
        Segment("answer", text="word52"),
    )
    assert trial.encoder == Trial.bare(EXAMPLES[2]).encoder
    assert prompt_ids("query", 2) == prompt_ids("", 2) == (12, 13, 14, 15)
    assert prompt_ids("query:3", 2) == (12, 13, 14)
    assert prompt_ids("query:4", 2) == (12, 13, 14, 15)
    assert applied("query:0", 2) == Trial.bare(EXAMPLES[2])


def test_a_query_is_cut_at_the_prompt_s_limit() -> None:
    short = trial_tokenizer(Limits(prompt=3))
    for level in ("query", "random", "random-text", "shuffled-query", "other-query", "neutral"):
        fed = short(applied(level, 4, tokenizer=short))
        assert fed.decoder_roles.count("prompt") == 3, level
    assert short(applied("query", 4, tokenizer=short)).decoder_ids[1:4] == (14, 15, 16)


# The published random prompt.


@pytest.mark.parametrize("index", range(5))
@pytest.mark.parametrize("seed", [42, 7])
def test_the_published_random_prompt(index: int, seed: int) -> None:
    """One call per token of numpy's legacy generator, seeded with seed + index + 10000."""
    legacy = numpy.random.RandomState(seed + index + 10_000)
    expected = tuple(int(legacy.randint(100, VOCABULARY - 100)) for _ in range(2 + index))
    trial = applied("random", index, seed=seed)
    assert trial.decoder[0] == Segment("prompt", token_ids=expected)
    assert all(100 <= token < 300 for token in expected)


def test_the_published_random_prompt_of_another_length_and_draw() -> None:
    legacy = numpy.random.RandomState(42 + 1 + 10_000)
    expected = tuple(int(legacy.randint(100, 300)) for _ in range(7))
    assert prompt_ids("random:7", 1) == expected
    again = numpy.random.RandomState(42 + 1 + 10_000 + 2 * DRAW_STRIDE)
    assert prompt_ids("random:3", 1, draw=2) == tuple(again.randint(100, 300, size=3))


def test_the_published_random_prompt_needs_a_large_vocabulary() -> None:
    small = Context(index=0, examples=EXAMPLES, tokenizer=TOKENIZER, vocabulary_size=200, seed=42)
    with pytest.raises(
        ValueError, match=r"draws ids from \[100, 100\), which is empty.*use prompt=random-text"
    ):
        DecoderPrompt("random").apply(Trial.bare(EXAMPLES[0]), small)


# Ordinary text.


def test_random_text_prompts_are_ordinary_words_as_many_as_the_query_has() -> None:
    for index in range(5):
        ids = prompt_ids("random-text", index)
        assert len(ids) == 2 + index
        # Every id from 5 on is a word; the others are special tokens and the line break.
        assert all(5 <= token < VOCABULARY for token in ids)


def test_random_text_prompts_cover_the_vocabulary_evenly() -> None:
    drawn = numpy.array([token for seed in range(600) for token in prompt_ids("random-text", 4, seed=seed)])
    # Uniform over 5..399: mean 202 with a standard error of 114 / sqrt(3600).
    assert abs(drawn.mean() - 202.0) < 4 * 114 / numpy.sqrt(drawn.size)
    assert drawn.min() < 10
    assert drawn.max() > 394


# Tokens of the corpus.

UNEQUAL = (
    Example("own", words(5, 6, 7, 8), words(*range(20, 40)), "word9"),
    Example("one word", "word10", "word100", "word9"),
    Example("four words", "word11", words(200, 201, 202, 202), "word9"),
)


def test_corpus_unigrams_weigh_every_other_document_the_same() -> None:
    """P(100) = 1/2, P(200) = P(201) = 1/8, P(202) = 1/4; nothing of the own document."""
    drawn = Counter(
        token for seed in range(600) for token in prompt_ids("corpus-unigram", 0, seed=seed, examples=UNEQUAL)
    )
    expected = {100: 0.5, 200: 0.125, 201: 0.125, 202: 0.25}
    assert drawn.keys() == expected.keys()
    total = drawn.total()
    assert total == 2400
    for token, probability in expected.items():
        error = (probability * (1 - probability) / total) ** 0.5
        assert abs(drawn[token] / total - probability) < 4 * error, token


# The query's tokens in another order, and other queries.


def test_shuffled_queries_keep_their_tokens_and_every_order_is_as_likely() -> None:
    """Three tokens: chi-square over the six orders with 5 df, p = 1e-4 at 25.7."""
    drawn = Counter(prompt_ids("shuffled-query", 1, seed=seed) for seed in range(600))
    assert {frozenset(Counter(ids).items()) for ids in drawn} == {frozenset({(11, 1), (12, 1), (13, 1)})}
    assert len(drawn) == 6
    assert sum((count - 100) ** 2 / 100 for count in drawn.values()) < 25.7
    assert len(prompt_ids("shuffled-query:2", 1)) == 2


@pytest.mark.parametrize(
    ("level", "index", "expected"),
    [
        # Half of five on is two on; the own query has two tokens, then three.
        ("other-query", 0, (12, 13)),
        ("other-query", 1, (13, 14, 15)),
        # Example 0 has two tokens, example 1 goes on.
        ("other-query", 3, (10, 11, 11, 12, 13)),
        ("other-query:10", 0, (12, 13, 14, 15, 13, 14, 15, 16, 17, 14)),
        # Round the end and past the own query.
        ("other-query:20", 1, (*range(13, 18), *range(14, 20), 10, 11, *range(12, 16), *range(13, 16))),
        ("other-query:3", 4, (11, 12, 13)),
    ],
)
def test_other_queries_by_hand(level: str, index: int, expected: tuple[int, ...]) -> None:
    assert prompt_ids(level, index) == expected


def test_neutral_prompts() -> None:
    assert prompt_ids("neutral", 2) == (THE,) * 4
    assert prompt_ids("neutral:7", 2) == (THE,) * 7


# Lengths.

OF_ANY_LENGTH = sorted(set(FILLS) - {"query", "shuffled-query"})


@pytest.mark.parametrize("fill", OF_ANY_LENGTH)
@pytest.mark.parametrize("length", [0, 1, 2, 4, 64, 512])
def test_lengths_are_exact(fill: str, length: int) -> None:
    assert len(prompt_ids(f"{fill}:{length}", 1)) == length
    assert len(prompt_ids(fill, 1)) == 3


@pytest.mark.parametrize("fill", sorted(FILLS))
def test_a_shorter_prompt_is_the_beginning_of_a_longer_one(fill: str) -> None:
    lengths = range(7) if fill in ("query", "shuffled-query") else range(40)
    longest = prompt_ids(f"{fill}:{lengths[-1]}", 4)
    for length in lengths:
        assert prompt_ids(f"{fill}:{length}", 4) == longest[:length]


@pytest.mark.parametrize("fill", ["query", "shuffled-query"])
def test_a_query_has_no_more_tokens_than_it_has(fill: str) -> None:
    with pytest.raises(
        ValueError,
        match=r"example 'example 1': 4 tokens of the query were asked for, it has 3; the shortest query of the "
        r"corpus has 2. Take a smaller length",
    ):
        applied(f"{fill}:4", 1)


def test_a_prompt_is_no_longer_than_its_limit() -> None:
    with pytest.raises(
        ValueError, match="prompt=neutral:513 is longer than the decoder prompt's limit of 512"
    ):
        applied("neutral:513", 0)
    with pytest.raises(ValueError, match="prompt=position:513 is longer"):
        applied("position:513", 0)


# No prompt.


def test_no_prompt_and_the_position_control() -> None:
    assert applied("none", 3) == applied("position:0", 3) == Trial.bare(EXAMPLES[3])
    moved = applied("position", 3)
    assert moved.decoder == Trial.bare(EXAMPLES[3]).decoder
    tokenized = TOKENIZER(moved)
    assert tokenized.decoder_shift == 5
    assert tokenized.decoder_ids == TOKENIZER(Trial.bare(EXAMPLES[3])).decoder_ids
    # As far as the query itself moves the answer.
    queried = TOKENIZER(applied("query", 3))
    assert queried.decoder_roles.index("answer") == tokenized.decoder_roles.index("answer") + 5
    assert TOKENIZER(applied("position:17", 3)).decoder_shift == 17


def test_a_prompt_in_place_of_another() -> None:
    context = context_of(3)
    queried = DecoderPrompt("query").apply(Trial.bare(EXAMPLES[3]), context)
    assert DecoderPrompt("none").apply(queried, context) == Trial.bare(EXAMPLES[3])
    assert DecoderPrompt("neutral", 1).apply(queried, context).decoder == (
        Segment("prompt", token_ids=(THE,)),
        Segment("answer", text="word53"),
    )


# Randomness.

RANDOM = ("random", "random-text", "corpus-unigram", "shuffled-query")


@pytest.mark.parametrize("fill", RANDOM)
def test_draws_depend_on_seed_place_and_draw_alone(fill: str) -> None:
    first = prompt_ids(fill, 4)
    assert first == prompt_ids(fill, 4)
    others = [prompt_ids(fill, 4, seed=43), prompt_ids(fill, 4, draw=1), prompt_ids(fill, 4, draw=2)]
    assert len({first, *others}) == 4
    # What is drawn in between, for whatever example, plays no part.
    prompt_ids(fill, 2)
    assert prompt_ids(fill, 4, draw=1) == others[1]


def test_draws_of_two_examples_differ() -> None:
    same_query = [Example(f"{index}", EXAMPLES[4].query, "word9", "word8") for index in range(3)]
    for fill in ("random", "random-text", "shuffled-query"):
        assert len({prompt_ids(fill, index, examples=same_query) for index in range(3)}) == 3, fill
    # What stands elsewhere in the corpus, and in which order, plays no part.
    shuffled = (EXAMPLES[3], EXAMPLES[2], EXAMPLES[0], EXAMPLES[1], EXAMPLES[4])
    for fill in ("random", "random-text", "shuffled-query"):
        assert prompt_ids(fill, 4, examples=shuffled) == prompt_ids(fill, 4)
        assert prompt_ids(fill, 4, examples=(*EXAMPLES, *EXAMPLES)) == prompt_ids(fill, 4)


# Levels.


@pytest.mark.parametrize(
    ("level", "message"),
    [
        ("randomtext", r"no prompt fill is called 'randomtext'. Did you mean 'random-text'\?"),
        ("unigram", r"no prompt fill is called 'unigram'.*Known: none, position, query, random, "),
        ("none:3", r"prompt=none has no length of one's own; got 3"),
        ("query:", r"the length in prompt=query: is a whole number of at least 0; got ''"),
        ("random:-1", r"at least 0; got -1"),
        ("random:ten", r"at least 0; got 'ten'"),
        ("random-text:4:5", r"at least 0; got '4:5'"),
        ("position:1.5", r"at least 0; got '1.5'"),
    ],
)
def test_ill_formed_levels(level: str, message: str) -> None:
    with pytest.raises(LevelError, match=message):
        DecoderPrompt.parse(level)


def test_ill_typed_lengths() -> None:
    for length in ("3", True, 2.0):
        with pytest.raises(
            LevelError, match="prompt=query: the length in tokens is a whole number of at least 0"
        ):
            DecoderPrompt("query", length)  # type: ignore[arg-type]


def test_other_examples_must_be_there() -> None:
    for fill in ("corpus-unigram", "other-query"):
        with pytest.raises(
            ValueError, match=f"prompt={fill} is made of other examples, but the corpus has one"
        ):
            applied(fill, 0, examples=EXAMPLES[:1])
    mute = (EXAMPLES[0], Example("mute", " ", "word9", "word8"))
    with pytest.raises(ValueError, match="no other example's query has a token"):
        applied("other-query", 0, examples=mute)
