"""Document padding: which passages, in which order, cut where; against selections made by hand and by numpy."""

from __future__ import annotations

import re
import zlib

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budgetlens.design.intervention import Context, LevelError
from budgetlens.model.tokenization import Limits, TrialTokenizer
from budgetlens.model.trials import Example, Segment, Trial
from interventions.padding import PadDocument
from interventions.prefix import Prefix
from tests.reference import tiny_models
from tests.word_level import BEGIN, END, LINE, TOKENIZER, context_of, trial_tokenizer, words


def passage(first: int, count: int) -> str:
    """``count`` words that no other passage begins with: the first one names it."""
    return words(first, *[350] * (count - 1))


DOCUMENT = words(*range(10, 22))

#: Row 0 is padded; the last row has its document as well.
ROWS = (
    Example("own", words(5, 6), DOCUMENT, "word9", (passage(30, 40),)),
    Example("one", words(5, 6), passage(101, 12), "word9", (passage(41, 21), passage(40, 19))),
    Example("two", words(5, 6), passage(102, 12), "word9"),
    Example("three", words(5, 6), passage(103, 12), "word9", (passage(42, 20), passage(43, 200))),
    Example("four", words(5, 6), DOCUMENT, "word9", (passage(30, 40),)),
)
#: What a corpus gives as passages for padding, those of rows outside the selection among them.
POOL = (passage(30, 40), passage(41, 21), passage(42, 20), passage(43, 200), passage(70, 33), passage(71, 25))


def passages_by_hand(seed: int) -> list[str]:
    """The pool in random order, by numpy alone, without the own row's passage; then the other documents."""
    generator = numpy.random.default_rng([seed, 0, zlib.crc32(b"padding")])
    pool, rows = generator.permutation(6), generator.permutation(5)
    return [POOL[place] for place in pool if place != 0] + [
        ROWS[row].document for row in rows if row not in (0, 4)
    ]


def padded(level: str, *, seed: int = 42, tokenizer: TrialTokenizer = TOKENIZER, draw: int = 0) -> Trial:
    context = context_of(0, seed, ROWS, tokenizer=tokenizer, draw=draw, pool=POOL)
    return PadDocument.parse(level).apply(Trial.bare(ROWS[0]), context)


def ids_of_words(text: str) -> list[int]:
    return [
        LINE if piece == "\n" else int(piece[4:]) for piece in text.replace("\n", " \n ").split(" ") if piece
    ]


@pytest.mark.parametrize("seed", range(6))
def test_passages_and_their_order_by_hand(seed: int) -> None:
    """Everything that there is, in its order: 2 special tokens, the document, then passages after blank lines."""
    expected = passages_by_hand(seed)
    text = "\n\n".join([DOCUMENT, *expected])
    whole = ids_of_words(text)
    trial = padded(str(len(whole) + 2), seed=seed)
    assert list(TOKENIZER(trial).encoder_ids) == [BEGIN, *whole, END]
    assert "".join(segment.text or "" for segment in trial.encoder) == text
    assert {segment.role for segment in trial.encoder} == {"document"}


def test_orders_differ_between_seeds_and_draws() -> None:
    assert len({padded("200", seed=seed) for seed in range(12)}) > 1
    draws = [padded("60", draw=draw).encoder[-1] for draw in range(8)]
    assert len(set(draws)) > 1
    assert draws[0] == padded("60").encoder[-1]


@pytest.mark.parametrize("tokens", [14, 15, 16, 17, 18, 40, 41, 42, 43, 150])
def test_cut_by_words_at_the_target(tokens: int) -> None:
    """One token a word, two a blank line: only a blank line with nothing behind it is left out."""
    text = "\n\n".join([DOCUMENT, *passages_by_hand(42)])
    expected = ids_of_words(text)[: tokens - 2]
    while expected[-1] == LINE:
        expected.pop()
    assert list(TOKENIZER(padded(str(tokens))).encoder_ids) == [BEGIN, *expected, END]


def test_the_places() -> None:
    first, second = passages_by_hand(42)[:2]
    # 2 special, 12 words, 2 for the blank line and 6 words.
    assert padded("22").encoder == (
        Segment("document", text=DOCUMENT),
        Segment("document", text="\n\n" + " ".join(first.split()[:6])),
    )
    assert padded("22:before").encoder == (
        Segment("document", text=" ".join(first.split()[:6]) + "\n\n"),
        Segment("document", text=DOCUMENT),
    )
    # A second blank line leaves room for four.
    assert padded("22:both").encoder == (
        Segment("document", text=" ".join(first.split()[:2]) + "\n\n"),
        Segment("document", text=DOCUMENT),
        Segment("document", text="\n\n" + " ".join(first.split()[2:4])),
    )
    assert padded("22:after") == padded("22")
    long = "".join(segment.text or "" for segment in padded("250:before").encoder)
    assert long.startswith(first + "\n\n" + second.split()[0])
    assert long.endswith("\n\n" + DOCUMENT)
    for place in ("after", "before", "both"):
        assert len(TOKENIZER(padded(f"250:{place}")).encoder_ids) == 250


def test_a_document_that_is_as_long_stays() -> None:
    bare = Trial.bare(ROWS[0])
    assert padded("none") == padded("") == padded("1") == padded("13") == padded("14") == bare
    # A blank line and a word need three more.
    assert padded("16") == bare
    assert padded("17") != bare


def test_a_prefix_changes_nothing_in_the_document() -> None:
    context = context_of(0, examples=ROWS, pool=POOL)
    prefixed = Prefix("oracle").apply(padded("60"), context)
    other_way = PadDocument.parse("60").apply(Prefix("oracle").apply(Trial.bare(ROWS[0]), context), context)
    assert prefixed == other_way
    fed = TOKENIZER(prefixed)
    assert fed.encoder_roles.count("document") == 58
    assert fed.document_intact
    assert len(TOKENIZER(padded("60")).encoder_ids) == 60


def test_a_shorter_padding_begins_a_longer_one() -> None:
    longest = list(TOKENIZER(padded("200")).encoder_ids)
    for tokens in (20, 30, 64, 65, 128):
        ids = list(TOKENIZER(padded(str(tokens))).encoder_ids)[:-1]
        assert longest[: len(ids)] == ids


# Other tokenizers.

TINY = {
    (begin, end, newline): TrialTokenizer(
        tiny_models.tokenizer(begin=begin, end=end, newline=newline), 2, Limits(encoder=4096)
    )
    for begin, end, newline in ((True, True, "kept"), (False, True, "folded"), (True, False, "merged"))
}
LETTERS = st.sampled_from([*"towerkesh", "The", "river", " ", " ", "\n", ".", "🙂", "ש"])
SENTENCES = st.lists(LETTERS, min_size=1, max_size=30).map("".join).filter(lambda text: text.strip())


def attempted(tokens: int, place: str, context: Context) -> Trial | str:
    """The padded trial, or what the error says."""
    try:
        return PadDocument(tokens, place).apply(Trial.bare(context.examples[0]), context)
    except ValueError as error:
        return str(error)


@settings(deadline=None, max_examples=40, derandomize=True)
@given(
    documents=st.lists(SENTENCES, min_size=2, max_size=4, unique=True),
    passages=st.lists(st.lists(SENTENCES, min_size=20, max_size=40).map(" ".join), max_size=3),
    tokens=st.integers(1, 150),
    place=st.sampled_from(["after", "before", "both"]),
    tiny=st.sampled_from(sorted(TINY)),
)
def test_as_close_as_whole_words_allow(
    documents: list[str], passages: list[str], tokens: int, place: str, tiny: tuple[bool, bool, str]
) -> None:
    """Never too long, no word cut, and the next word would not have fitted; counted by the raw tokenizer."""
    tokenizer = TINY[tiny]
    examples = [Example(f"{index}", "who", text, "it") for index, text in enumerate(documents)]
    context = context_of(0, 42, examples, tokenizer=tokenizer, pool=passages)
    bare = len(tokenizer.tokenizer(documents[0])["input_ids"])
    trial = attempted(tokens, place, context)
    if isinstance(trial, str):
        reached = int(re.findall(r"reaches only (\d+) tokens", trial)[0])
        assert reached < tokens
        everything = attempted(reached, place, context)
        assert isinstance(everything, Trial)
        assert len(tokenizer(everything).encoder_ids) == reached
        return
    text = "".join(segment.text or "" for segment in trial.encoder)
    length = len(tokenizer.tokenizer(text)["input_ids"])
    assert length == len(tokenizer(trial).encoder_ids)
    assert documents[0] in text
    if bare >= tokens:
        assert text == documents[0]
        return
    assert bare <= length <= tokens
    words_used = {word for source in (*passages, *documents[1:]) for word in source.split()}
    own = {"after": 0, "before": len(trial.encoder) - 1, "both": len(trial.encoder) - 2}[place]
    assert trial.encoder[max(own, 0)] == Segment("document", text=documents[0])
    padding = " ".join(segment.text or "" for at, segment in enumerate(trial.encoder) if at != max(own, 0))
    assert set(padding.split()) <= words_used
    if length < tokens:
        # One more word, by asking for more, is too long.
        taken = len(padding.split())
        for more in range(tokens + 1, tokens + 30):
            longer = attempted(more, place, context)
            if isinstance(longer, str):
                break
            joined = "".join(segment.text or "" for segment in longer.encoder)
            if len(joined.split()) > len(documents[0].split()) + taken:
                assert len(tokenizer.tokenizer(joined)["input_ids"]) > tokens
                break


# Errors.


def test_a_corpus_that_is_too_small() -> None:
    everything = ids_of_words("\n\n".join([DOCUMENT, *passages_by_hand(42)]))
    reached = len(everything) + 2
    with pytest.raises(
        ValueError,
        match=rf"padding={reached + 1}: example 'own' reaches only {reached} tokens with the corpus's 6 passages "
        r"for padding and the documents of the other 4 examples; run more examples or pad to fewer tokens",
    ):
        padded(str(reached + 1))
    with pytest.raises(ValueError, match=r"reaches only 14 tokens .* the other 0 examples"):
        PadDocument(20).apply(Trial.bare(ROWS[0]), context_of(0, examples=ROWS[:1]))


def test_a_length_beyond_the_encoder_s_limit() -> None:
    short = trial_tokenizer(Limits(encoder=40))
    with pytest.raises(ValueError, match="padding=41 is longer than the encoder's limit of 40 tokens"):
        padded("41", tokenizer=short)
    assert len(short(padded("40", tokenizer=short)).encoder_ids) == 40


def test_the_caller_s_objects_are_left_alone() -> None:
    trial, context = Trial.bare(ROWS[0]), context_of(0, examples=ROWS, pool=POOL)
    PadDocument(100).apply(trial, context)
    assert (trial, context) == (Trial.bare(ROWS[0]), context_of(0, examples=ROWS, pool=POOL))
    assert padded("100") == padded("100")


@pytest.mark.parametrize(
    ("level", "message"),
    [
        (
            "512:befor",
            r"no place of padding is called 'befor'. Did you mean 'before'\? Known: after, before, both",
        ),
        ("512:", r"no place of padding is called ''"),
        ("0", r"the padded length in tokens in padding=0 is a whole number of at least 1; got 0"),
        ("-5", r"at least 1; got -5"),
        ("ten", r"at least 1; got 'ten'"),
        ("1e3", r"at least 1; got '1e3'"),
        ("none:before", r"at least 1; got 'none'"),
        ("512:both:2", r"no place of padding is called 'both:2'"),
    ],
)
def test_ill_formed_levels(level: str, message: str) -> None:
    with pytest.raises(LevelError, match=message):
        PadDocument.parse(level)
    with pytest.raises(LevelError, match="at least 1; got '512'"):
        PadDocument("512")  # type: ignore[arg-type]
