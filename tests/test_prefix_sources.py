"""Prefix sources on hand-made rows: every text written out by hand, every published seed by numpy alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy
import pytest

from budgetlens.design.intervention import Context, LevelError
from budgetlens.model.tokenization import TrialTokenizer
from budgetlens.model.trials import Example, ExampleError, Segment, Trial
from interventions.decoder_prompt import DecoderPrompt
from interventions.prefix import Prefix
from interventions.texts.common_words import COMMON_WORDS
from interventions.texts.keywords import content_words
from interventions.texts.prefix_sources import GENERIC_SENTENCE, SOURCES
from interventions.texts.sentences import first_sentence
from interventions.texts.stop_words import STOP_WORDS
from tests.reference import tiny_models
from tests.word_level import EXAMPLES, THE, context_of

LIGHTHOUSE, EMPTY, MILL, LOAVES, FOREIGN = range(5)

ROWS = (
    Example(
        "lighthouse",
        "who built the old lighthouse",
        "The lighthouse, built of grey stone, was finished by Dr. Orla Venn. Stone lasts; a lighthouse built well "
        "lasts longer. It's well-known: the Lighthouse's lamp burns oil.",
        "Orla Venn",
    ),
    # Nothing but stop words and words of two letters.
    Example("empty", "why", "It is so. He is up, and I am ok on it!", "it"),
    Example(
        "mill",
        "what feeds the mill",
        "Rivers feed the mill. The mill grinds rye, and rye feeds Lund. Mill, mill!",
        "rivers",
    ),
    # No sentence end; white space of several kinds; numbers of two and four digits.
    Example("loaves", "how many loaves", "  Bread  and\nfish: 40 loaves a day in 1412", "40"),
    Example("foreign", "wo", "Ähre ähre… «ÄHRE» — naïve 中文字 fluß £300", "hier"),
)


def row_context(index: int, **options: Any) -> Context:
    return context_of(index, examples=ROWS, **options)


def text_of(level: str, index: int, **options: Any) -> str:
    trial = Prefix.parse(level).apply(Trial.bare(ROWS[index]), row_context(index, **options))
    prefix, separator, document = trial.encoder
    assert separator == Segment("separator", text="\n")
    assert document == Segment("document", text=ROWS[index].document)
    assert prefix.role == "prefix"
    assert prefix.text is not None
    return prefix.text


KEYWORDS_OF_THE_LIGHTHOUSE = (
    "lighthouse built stone lasts grey finished orla venn well longer wellknown lighthouses lamp burns oil"
)


@pytest.mark.parametrize(
    ("level", "index", "expected"),
    [
        ("oracle", LIGHTHOUSE, "who built the old lighthouse"),
        ("", LIGHTHOUSE, "who built the old lighthouse"),
        # Two each of four words, in the order in which they first appear, then the first single one.
        ("keywords:5", LIGHTHOUSE, "lighthouse built stone lasts grey"),
        ("keywords", LIGHTHOUSE, "lighthouse built stone lasts grey"),
        ("keywords:1", LIGHTHOUSE, "lighthouse"),
        # There are fifteen.
        ("keywords:15", LIGHTHOUSE, KEYWORDS_OF_THE_LIGHTHOUSE),
        ("keywords:99", LIGHTHOUSE, KEYWORDS_OF_THE_LIGHTHOUSE),
        ("keywords:5", EMPTY, "information"),
        ("keywords:3", MILL, "mill rye rivers"),
        ("keywords:10", LOAVES, "bread fish loaves day 1412"),
        ("keywords:10", FOREIGN, "ähre naïve 中文字 fluß 300"),
        ("template", LIGHTHOUSE, "What is lighthouse?"),
        ("template", EMPTY, "What is information?"),
        ("template", MILL, "What is mill?"),
        ("first_sentence", LIGHTHOUSE, "The lighthouse, built of grey stone, was finished by Dr. Orla Venn."),
        ("first_sentence", EMPTY, "It is so."),
        ("first_sentence", LOAVES, "Bread  and\nfish: 40 loaves a day in 1412"),
        # As many words as the own query has, of the document two on, round the end.
        ("random", LIGHTHOUSE, "Rivers feed the mill. The"),
        ("random", EMPTY, "Bread"),
        ("random", MILL, "Ähre ähre… «ÄHRE» —"),
        ("random", LOAVES, "The lighthouse, built"),
        ("random", FOREIGN, "It"),
        ("random:2", LIGHTHOUSE, "Rivers feed"),
        ("random@1", MILL, "Bread and fish: 40"),
        ("random@-1:3", LIGHTHOUSE, "Ähre ähre… «ÄHRE»"),
        # Wrong ones: half a corpus on unless a distance is given.
        ("wrong_oracle", LIGHTHOUSE, "what feeds the mill"),
        ("wrong_oracle", LOAVES, "who built the old lighthouse"),
        ("wrong_oracle@1", LOAVES, "wo"),
        ("wrong_oracle@6", LOAVES, "wo"),
        ("wrong_keywords:3", LIGHTHOUSE, "mill rye rivers"),
        ("wrong_keywords@1:5", LIGHTHOUSE, "information"),
        ("wrong_keywords@1", FOREIGN, "lighthouse built stone lasts grey"),
        ("wrong_template", LIGHTHOUSE, "What is mill?"),
        ("wrong_first_sentence", LIGHTHOUSE, "Rivers feed the mill."),
        ("wrong_first_sentence@1", LOAVES, "Ähre ähre… «ÄHRE» — naïve 中文字 fluß £300"),
        ("generic", EMPTY, GENERIC_SENTENCE),
        ("literal:as it *is*: @1, yes", EMPTY, "as it *is*: @1, yes"),
        ("literal: \tx\n", EMPTY, " \tx\n"),
        # Repetition, with spaces between.
        ("oracle*1", MILL, "what feeds the mill"),
        ("oracle*3", MILL, "what feeds the mill what feeds the mill what feeds the mill"),
        ("keywords*2:2", MILL, "mill rye mill rye"),
        ("literal*2:a:b", MILL, "a:b a:b"),
        ("wrong_oracle@1*2", LOAVES, "wo wo"),
    ],
)
def test_the_text_of_a_prefix(level: str, index: int, expected: str) -> None:
    assert text_of(level, index) == expected


def test_what_stands_before_the_document() -> None:
    trial = Prefix("oracle").apply(Trial.bare(EXAMPLES[1]), context_of(1))
    assert trial.encoder == (
        Segment("prefix", text="word11 word12 word13"),
        Segment("separator", text="\n"),
        Segment("document", text=EXAMPLES[1].document),
    )
    assert context_of(1).tokenizer(trial).encoder_ids == (2, 11, 12, 13, 4, *range(120, 132), 1)
    assert trial.decoder == (Segment("answer", text="word51"),)


def test_no_prefix_and_a_prefix_in_place_of_another() -> None:
    context = context_of(0)
    once = Prefix("oracle").apply(Trial.bare(EXAMPLES[0]), context)
    assert Prefix("none").apply(once, context) == Trial.bare(EXAMPLES[0])
    twice = Prefix("random").apply(once, context)
    assert [segment.role for segment in twice.encoder] == ["prefix", "separator", "document"]
    assert once == Prefix("oracle").apply(Trial.bare(EXAMPLES[0]), context)


def test_a_prefix_reads_the_corpus_and_not_the_trial() -> None:
    """Padding or shuffling the document, before or after, does not change its keywords."""
    changed = Trial(
        ROWS[MILL], (Segment("document", text="other text"),), (Segment("answer", text="rivers"),)
    )
    made = Prefix.parse("keywords:2").apply(changed, row_context(MILL))
    assert made.encoder[0] == Segment("prefix", text="mill rye")
    assert made.encoder[2] == Segment("document", text="other text")


# The published pool.


def test_the_pool_is_a_hundred_common_words_of_eight_letters() -> None:
    assert len(COMMON_WORDS) == len(set(COMMON_WORDS)) == 100
    assert all(
        len(word) == 8 and word.isascii() and word.isalpha() and word.islower() for word in COMMON_WORDS
    )


@pytest.mark.parametrize("seed", [42, 7])
@pytest.mark.parametrize("index", range(5))
def test_pool_words_by_the_published_seed(index: int, seed: int) -> None:
    """Without replacement: the first eight of the legacy permutation under seed + index + 20000."""
    places = numpy.random.RandomState(seed + index + 20_000).permutation(100)
    assert text_of("pool", index, seed=seed).split(" ") == [COMMON_WORDS[place] for place in places[:8]]
    assert text_of("pool:3", index, seed=seed).split(" ") == [COMMON_WORDS[place] for place in places[:3]]
    every = text_of("pool:100", index, seed=seed).split(" ")
    assert sorted(every) == sorted(COMMON_WORDS)


def test_pool_words_of_another_draw() -> None:
    first, second = text_of("pool", 0), text_of("pool", 0, draw=2)
    assert first != second
    assert len(set(second.split())) == 8
    assert second == text_of("pool", 0, draw=2)
    assert text_of("pool", 0, draw=0) == first


# The shuffled sentence.

SENTENCE = [
    "The",
    "lighthouse,",
    "built",
    "of",
    "grey",
    "stone,",
    "was",
    "finished",
    "by",
    "Dr.",
    "Orla",
    "Venn.",
]


def test_a_shuffled_sentence_keeps_its_words() -> None:
    texts = {text_of("shuffled_sentence", LIGHTHOUSE, seed=seed) for seed in range(20)}
    assert all(Counter(text.split(" ")) == Counter(SENTENCE) for text in texts)
    # Twelve words have half a milliard orders.
    assert len(texts) == 20


def test_a_shuffled_sentence_depends_on_seed_place_and_draw_alone() -> None:
    text = text_of("shuffled_sentence", LIGHTHOUSE)
    assert text == text_of("shuffled_sentence", LIGHTHOUSE)
    assert text != text_of("shuffled_sentence", LIGHTHOUSE, draw=1)
    moved = Prefix("shuffled_sentence").apply(
        Trial.bare(ROWS[LIGHTHOUSE]), context_of(0, examples=(ROWS[LIGHTHOUSE], *ROWS[2:]))
    )
    assert moved.encoder[0].text == text
    # The other document's words, in an order of the own example.
    wrong = text_of("wrong_shuffled_sentence", LOAVES)
    assert Counter(wrong.split(" ")) == Counter(SENTENCE)


def test_each_place_of_a_shuffled_sentence_is_as_likely() -> None:
    """Three words: each of the six orders in a sixth of 600 seeds; chi-square with 5 df, p = 1e-4 at 25.7."""
    row = (Example("one", "q", "Alpha beta gamma.", "a"), ROWS[0])
    drawn = Counter(
        Prefix("shuffled_sentence").apply(Trial.bare(row[0]), context_of(0, seed, row)).encoder[0].text
        for seed in range(600)
    )
    assert len(drawn) == 6
    assert sum((count - 100) ** 2 / 100 for count in drawn.values()) < 25.7


# Neutral tokens.


@pytest.mark.parametrize(
    ("level", "count"), [("neutral", 5), ("neutral:1", 1), ("neutral:20", 20), ("neutral*3:4", 12)]
)
def test_neutral_tokens_are_ids_and_as_many_as_asked_for(level: str, count: int) -> None:
    """Example 3 has a query of five words."""
    trial = Prefix.parse(level).apply(Trial.bare(EXAMPLES[3]), context_of(3))
    assert trial.encoder[0] == Segment("prefix", token_ids=(THE,) * count)
    fed = context_of(3).tokenizer(trial)
    assert fed.encoder_roles.count("prefix") == count
    assert fed.encoder_ids == (2, *(THE,) * count, 4, *range(160, 172), 1)
    assert fed.document_intact


def test_the_neutral_token_is_no_special_token() -> None:
    """A tokenizer that does not know the neutral words says so; the byte-pair one has "the" in one piece."""
    tokenizer = tiny_models.tokenizer()
    tiny = TrialTokenizer(tokenizer, 2)
    made = Prefix.parse("neutral:2").apply(Trial.bare(ROWS[0]), row_context(0, tokenizer=tiny))
    assert made.encoder[0].token_ids is not None
    assert tokenizer.convert_ids_to_tokens(list(made.encoder[0].token_ids)) == ["▁the", "▁the"]
    blind = TrialTokenizer(tiny_models.tokenizer(), 2)
    blind.decoder_segment = lambda text, limit: (3,)  # type: ignore[method-assign]
    with pytest.raises(
        ValueError, match=r"none of the neutral words 'the', .* is one token of this tokenizer"
    ):
        Prefix.parse("neutral:2").apply(Trial.bare(ROWS[0]), row_context(0, tokenizer=blind))


# Words and sentences.


def test_stop_words_are_written_as_they_are_looked_up() -> None:
    assert all(word.isascii() and word.isalpha() and word.islower() for word in STOP_WORDS)
    assert {"the", "and", "with", "which", "dont", "its"} <= STOP_WORDS
    # Words that stay content, though a contraction without its apostrophe looks the same.
    assert not {"shell", "shed", "wed", "ill", "hell", "well"} & STOP_WORDS


def test_content_words_by_hand() -> None:
    assert content_words("Don't stop! The U.S. e-mail_list; 3.5 % of $100 (approx.)") == [
        "stop",
        "emaillist",
        "100",
        "approx",
    ]
    assert content_words(" \n\t") == content_words("... !!! --") == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The U.S. economy grew 3.5 percent. It fell.", "The U.S. economy grew 3.5 percent."),
        ("Is it so? Yes.", "Is it so?"),
        ("\n\n  One. Two.", "One."),
        ("no end here", "no end here"),
        ("你好。再见。", "你好。"),
        ("   ", ""),
        ("", ""),
    ],
)
def test_first_sentences(text: str, expected: str) -> None:
    assert first_sentence(text) == expected


# Levels.


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("none", Prefix("none")),
        ("keywords:10", Prefix("keywords", count=10)),
        ("wrong_keywords@1:5", Prefix("wrong_keywords", count=5, distance=1)),
        ("random@-2*3:4", Prefix("random", count=4, distance=-2, times=3)),
        ("literal:a:b", Prefix("literal", literal="a:b")),
        ("neutral", Prefix("neutral")),
    ],
)
def test_levels(level: str, expected: Prefix) -> None:
    assert Prefix.parse(level) == expected


@pytest.mark.parametrize(
    ("level", "message"),
    [
        ("orcale", r"no prefix source is called 'orcale'. Did you mean 'oracle'\? Known: none, oracle, "),
        ("keyword:3", r"Did you mean 'keywords'\?"),
        ("wrong_random", r"no prefix source is called 'wrong_random'"),
        ("keywords:0", r"the number in prefix=keywords:0 is a whole number of at least 1; got 0"),
        ("keywords:-1", r"at least 1; got -1"),
        ("keywords:ten", r"at least 1; got 'ten'"),
        ("keywords:", r"at least 1; got ''"),
        ("keywords:5:6", r"at least 1; got '5:6'"),
        ("keywords:5.0", r"at least 1; got '5.0'"),
        ("pool:101", r"prefix=pool has 100 words; got 101"),
        (
            "oracle:3",
            r"prefix=oracle takes no number, got 3; keywords, wrong_keywords, random, pool, neutral do",
        ),
        ("none:3", r"prefix=none takes no number"),
        ("none*2", r"prefix=none can't be repeated"),
        (
            "literal",
            r"prefix=literal:TEXT and prefix=column:NAME and prefix=matched:LEVEL, and no other source, take a text; "
            r"got prefix=literal with ''",
        ),
        ("literal:", r"take a text"),
        ("oracle@1", r"prefix=oracle is taken from none; wrong_oracle, .*random are"),
        ("none@1", r"prefix=none is taken from none"),
        ("random@0", r"'@0' is the example itself"),
        ("random@half", r"the distance after '@' is a whole number, so many examples on; got 'half'"),
        ("random@", r"the distance after '@'"),
        ("oracle*0", r"the number of repetitions after '\*' is a whole number of at least 1; got 0"),
        ("oracle*x", r"at least 1; got 'x'"),
        ("oracle*", r"at least 1; got ''"),
        ("random*2@1", r"'random\*2@1' in prefix='random\*2@1' is no SOURCE, SOURCE@DISTANCE"),
    ],
)
def test_ill_formed_levels(level: str, message: str) -> None:
    with pytest.raises(LevelError, match=message):
        Prefix.parse(level)


@pytest.mark.parametrize(
    ("level", "tokens"), [("oracle*99999999999", 99999999999), ("neutral*2:99999999999", 199999999998)]
)
def test_endless_prefixes_are_refused_before_they_are_made(level: str, tokens: int) -> None:
    with pytest.raises(
        ValueError, match=f"of at least {tokens} tokens is longer than the encoder's limit of"
    ):
        Prefix.parse(level).apply(Trial.bare(ROWS[0]), row_context(0))


def test_ill_typed_parameters() -> None:
    for options in ({"count": "5"}, {"count": True}, {"count": 2.0}):
        with pytest.raises(LevelError, match="the number of keywords is a whole number of at least 1"):
            Prefix("keywords", **options)  # type: ignore[arg-type]
    with pytest.raises(LevelError, match="take a text; got prefix=oracle with 'x'"):
        Prefix("oracle", literal="x")


def test_another_example_must_be_another() -> None:
    """A corpus of one example, and a distance of once round the corpus."""
    with pytest.raises(
        ValueError, match="prefix=random is taken from another example, but 0 on in a corpus of 1"
    ):
        Prefix("random").apply(Trial.bare(ROWS[0]), context_of(0, examples=ROWS[:1]))
    with pytest.raises(ValueError, match="but 5 on in a corpus of 5 is the example itself"):
        Prefix.parse("wrong_oracle@5").apply(Trial.bare(ROWS[0]), row_context(0))
    assert Prefix("oracle").apply(Trial.bare(ROWS[0]), context_of(0, examples=ROWS[:1])).encoder[0].text


def test_every_source_names_its_parameter() -> None:
    """Each source makes a prefix for every row, under its own name."""
    for name in SOURCES:
        level = f"{name}:{'oracle' if name == 'matched' else 'x'}" if SOURCES[name].text else name
        for index, row in enumerate(ROWS):
            told = replace(row, columns=(("x", "a text"),), other_queries=("who else",))
            trial = Prefix.parse(level).apply(Trial.bare(told), row_context(index))
            assert [segment.role for segment in trial.encoder] == ["prefix", "separator", "document"]
            assert trial.encoder[0].text or trial.encoder[0].token_ids, (name, index)


def test_a_column_is_a_prefix_and_a_prompt() -> None:
    """Its text, whole; an example without one is left out with a reason that all such examples share."""
    told = replace(ROWS[0], columns=(("surrogate", "who built it"), ("facts", 2)))
    prefixed = Prefix.parse("column*2:surrogate").apply(Trial.bare(told), row_context(0))
    assert prefixed.encoder[0] == Segment("prefix", text="who built it who built it")
    prompted = DecoderPrompt.parse("column:surrogate").apply(Trial.bare(told), row_context(0))
    assert prompted.decoder[0] == Segment("prompt", text="who built it")
    assert Prefix.label("column:surrogate").short == "prefix: the column surrogate"
    for level in ("column:topic", "column:facts"):
        for cls in (Prefix, DecoderPrompt):
            with pytest.raises(ExampleError, match="its columns of texts are surrogate") as caught:
                cls.parse(level).apply(Trial.bare(told), row_context(0))
            assert caught.value.reason == f"they have no text in the column {level[7:]!r}"
    with pytest.raises(LevelError, match="prefix=literal:TEXT and prefix=column:NAME and"):
        Prefix.parse("column")
    with pytest.raises(LevelError, match="prompt=column:NAME"):
        DecoderPrompt.parse("column")
