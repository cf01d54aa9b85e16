"""Tokenization: a role for every position, checked by hand on word-level and byte-pair tokenizers."""

from __future__ import annotations

import logging
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import tokenizers
from tokenizers import models, pre_tokenizers, processors
from transformers import ByT5Tokenizer, PreTrainedTokenizerFast

from budgetlens.model.offsets import label_by_offsets, special_frame
from budgetlens.model.roles import DECODER_ROLES, ENCODER_ROLES, parse_roles, roles_of
from budgetlens.model.tokenization import Limits, TokenizedTrial, TrialTokenizer
from budgetlens.model.trials import FIRST_POSITIONS, Example, Segment, Trial
from tests.reference import tiny_models

WORDS = ("who", "built", "it", "The", "wall", "is", "long", "Orla", "Venn")
ID = {word: position for position, word in enumerate(("<pad>", "</s>", "<s>", "<unk>", "\n", *WORDS))}
START = 0


def word_tokenizer(*, begin: bool, end: bool) -> PreTrainedTokenizerFast:
    """One token per word and one per line break, so that every id can be written down."""
    core = tokenizers.Tokenizer(models.WordLevel(ID, unk_token="<unk>"))
    lines = pre_tokenizers.Split("\n", behavior="isolated")
    core.pre_tokenizer = pre_tokenizers.Sequence([lines, pre_tokenizers.Split(" ", behavior="removed")])
    core.post_processor = processors.TemplateProcessing(
        single=["<s>"] * begin + ["$A"] + ["</s>"] * end, special_tokens=[("<s>", 2), ("</s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", eos_token="</s>", bos_token="<s>", unk_token="<unk>"
    )


EXAMPLE = Example("one", query="who built it", document="The wall is long", answer="Orla Venn")
PREFIX = (Segment("prefix", text="who built it"), Segment("separator", text="\n"))
BARE = Trial.bare(EXAMPLE)
PREFIXED = BARE.with_prefix(PREFIX)
FRAMES = [(True, True), (False, True), (True, False), (False, False)]


def ids(text: str) -> tuple[int, ...]:
    return tuple(ID[word] for word in text.split(" "))


@pytest.mark.parametrize(("begin", "end"), FRAMES)
def test_positions_by_hand(begin: bool, end: bool) -> None:
    tokenize = TrialTokenizer(word_tokenizer(begin=begin, end=end), START)
    trial = tokenize(PREFIXED)
    assert trial.encoder_ids == ((2,) * begin + ids("who built it \n The wall is long") + (1,) * end)
    assert trial.encoder_roles == (
        ("bos",) * begin
        + ("prefix", "prefix", "prefix", "separator", "document", "document", "document", "document")
        + ("eos",) * end
    )
    assert trial.decoder_ids == (START, *ids("Orla Venn"))
    assert trial.decoder_roles == ("start", "answer", "answer")
    assert all(trial.visible)
    assert trial.document_intact
    assert trial.truncated == 0
    assert trial.answer_tokens == 2
    counts = {"prefix": 3, "separator": 1, "document": 4, "start": 1, "answer": 2}
    assert trial.role_counts() == counts | ({"bos": 1} if begin else {}) | ({"eos": 1} if end else {})
    bare = tokenize(BARE)
    assert bare.encoder_ids == (2,) * begin + ids("The wall is long") + (1,) * end
    assert bare.published_hidden == 0


@pytest.mark.parametrize(("begin", "end"), FRAMES)
def test_the_published_count_by_hand(begin: bool, end: bool) -> None:
    """``len(ids(prefix + separator + document)) - len(ids(document))`` is 4, wherever it is counted from.

    With a BOS those four are the BOS and the prefix, and the separator stays in sight; without one they are
    the prefix and the separator.
    """
    tokenizer = word_tokenizer(begin=begin, end=end)
    tokenize = TrialTokenizer(tokenizer, START)
    assert (
        len(tokenizer("who built it\nThe wall is long")["input_ids"])
        - len(tokenizer("The wall is long")["input_ids"])
        == 4
    )
    trial = tokenize(PREFIXED.hiding({FIRST_POSITIONS}))
    assert trial.published_hidden == 4
    assert trial.visible == (False,) * 4 + (True,) * (len(trial.encoder_ids) - 4)
    hidden = {role for role, seen in zip(trial.encoder_roles, trial.visible, strict=True) if not seen}
    assert hidden == ({"bos", "prefix"} if begin else {"prefix", "separator"})
    # Nothing is counted, and nothing hidden, where there is no prefix.
    assert all(tokenize(BARE.hiding({FIRST_POSITIONS})).visible)


@pytest.mark.parametrize(
    "hidden",
    [(), ("prefix",), ("bos",), ("prefix", "separator"), ("bos", "prefix", "separator"), ("eos", "document")],
)
def test_hidden_roles_are_hidden_exactly(hidden: tuple[str, ...]) -> None:
    trial = TrialTokenizer(word_tokenizer(begin=True, end=True), START)(PREFIXED.hiding(hidden))
    assert [role for role, seen in zip(trial.encoder_roles, trial.visible, strict=True) if not seen] == [
        role for role in trial.encoder_roles if role in hidden
    ]


def test_hiding_roles_and_first_positions_is_a_union() -> None:
    trial = TrialTokenizer(word_tokenizer(begin=True, end=True), START)(
        PREFIXED.hiding({FIRST_POSITIONS, "separator"})
    )
    assert trial.visible == (False,) * 5 + (True,) * 5


@pytest.mark.parametrize("newline", ["kept", "folded"])
@pytest.mark.parametrize(("begin", "end"), FRAMES)
def test_a_byte_pair_document_keeps_its_ids(newline: str, begin: bool, end: bool) -> None:
    """Against the tokenizer's own output for the whole text and for each part."""
    tokenizer = tiny_models.tokenizer(begin=begin, end=end, newline=newline)
    document = "The tower of Kesh was finished in the year 1412."
    example = replace(EXAMPLE, document=document, query="when was the tower of Kesh finished")
    prefix = (Segment("prefix", text=example.query), Segment("separator", text="\n"))
    trial = TrialTokenizer(tokenizer, START)(Trial.bare(example).with_prefix(prefix))
    assert list(trial.encoder_ids) == tokenizer(f"{example.query}\n{document}")["input_ids"]
    parts = {
        role: [
            token for token, own in zip(trial.encoder_ids, trial.encoder_roles, strict=True) if own == role
        ]
        for role in ("prefix", "separator", "document")
    }
    assert parts["prefix"] == tokenizer(example.query, add_special_tokens=False)["input_ids"]
    assert parts["document"] == tokenizer(document, add_special_tokens=False)["input_ids"]
    assert trial.document_intact
    # A line break that is a token is the separator; one that is folded into a space goes with the next word.
    decoded = tokenizer.convert_ids_to_tokens(parts["separator"])
    assert [piece.strip("▁") for piece in decoded] == (["\n"] if newline == "kept" else [])
    # Roles stand in the order of the input.
    assert list(trial.encoder_roles) == sorted(trial.encoder_roles, key=ENCODER_ROLES.index)
    expected = len(tokenizer(f"{example.query}\n{document}")["input_ids"]) - len(
        tokenizer(document)["input_ids"]
    )
    assert trial.published_hidden == expected == len(parts["prefix"]) + len(parts["separator"])


def test_a_token_across_the_boundary_belongs_to_the_document_and_is_reported() -> None:
    """The piece ``"\\nT"`` covers the separator and the document's first letter."""
    tokenizer = tiny_models.tokenizer(newline="merged")
    trial = TrialTokenizer(tokenizer, START)(PREFIXED)
    pieces = tokenizer.convert_ids_to_tokens(list(trial.encoder_ids))
    assert trial.encoder_roles[pieces.index("\nT")] == "document"
    assert "separator" not in trial.encoder_roles
    assert not trial.document_intact
    assert TrialTokenizer(tokenizer, START)(BARE).document_intact


def test_owners_of_tokens_by_offsets() -> None:
    """A token with letters of two segments goes to the last; white space alone to the first it covers."""

    def tokenizer(text: str, **options: Any) -> dict[str, Any]:
        assert text == "ab \n cd"
        assert options == {"add_special_tokens": False, "return_offsets_mapping": True}
        offsets = [(0, 1), (1, 2), (2, 5), (3, 4), (4, 6), (1, 6), (6, 7), (7, 7)]
        return {"input_ids": list(range(8)), "offset_mapping": offsets}

    segments = [
        Segment("prefix", text="ab "),
        Segment("separator", text="\n"),
        Segment("document", text=" cd"),
    ]
    found, roles = label_by_offsets(tokenizer, segments)  # type: ignore[arg-type]
    assert found == list(range(8))
    assert roles == [
        "prefix",
        "prefix",
        "prefix",
        "separator",
        "document",
        "document",
        "document",
        "document",
    ]
    assert label_by_offsets(tokenizer, []) == ([], [])  # type: ignore[arg-type]


def test_segments_of_ids_stand_between_texts() -> None:
    tokenize = TrialTokenizer(word_tokenizer(begin=True, end=True), START)
    trial = tokenize(
        BARE.with_prefix((Segment("prefix", token_ids=(7, 8, 9)), Segment("separator", text="\n")))
    )
    assert trial.encoder_ids == (2, 7, 8, 9, *ids("\n The wall is long"), 1)
    assert trial.encoder_roles == ("bos", *("prefix",) * 3, "separator", *("document",) * 4, "eos")
    assert trial.published_hidden == 4


@pytest.mark.parametrize("limit", [7, 8, 9, 10])
@pytest.mark.parametrize(("begin", "end"), FRAMES)
def test_the_encoder_is_cut_as_the_tokenizer_cuts(limit: int, begin: bool, end: bool) -> None:
    """Right-truncated with the special tokens kept, as ``truncation=True, max_length=limit`` does."""
    tokenizer = word_tokenizer(begin=begin, end=end)
    trial = TrialTokenizer(tokenizer, START, Limits(encoder=limit))(PREFIXED.hiding({FIRST_POSITIONS}))
    whole = tokenizer("who built it\nThe wall is long")["input_ids"]
    expected = tokenizer("who built it\nThe wall is long", truncation=True, max_length=limit)["input_ids"]
    assert list(trial.encoder_ids) == expected
    assert trial.truncated == max(0, len(whole) - limit)
    assert len(trial.encoder_ids) == len(trial.encoder_roles) == len(trial.visible)
    # The published count comes from the whole texts; a document that is cut is not a changed one.
    assert trial.published_hidden == 4
    assert trial.document_intact


def test_a_long_text_is_cut_without_the_tokenizer_s_own_warning(caplog: pytest.LogCaptureFixture) -> None:
    """transformers warns of inputs beyond a length that is not the limit of this class."""
    raw = tiny_models.tokenizer(begin=True, end=True)
    raw.model_max_length = 5
    logger = logging.getLogger("transformers")
    logger.addHandler(caplog.handler)
    try:
        raw("the tower " * 9)
        assert "Token indices sequence length is longer" in caplog.text
        raw.deprecation_warnings.clear()
        caplog.clear()
        fed = TrialTokenizer(raw, 2, Limits(encoder=8))(
            Trial.bare(Example("a", "the", "the tower " * 9, "the"))
        )
    finally:
        logger.removeHandler(caplog.handler)
    assert fed.truncated
    assert not caplog.text


def test_prompt_and_answer_are_cut_at_their_limits() -> None:
    tokenize = TrialTokenizer(word_tokenizer(begin=True, end=True), START, Limits(prompt=2, answer=1))
    trial = tokenize(BARE.with_prompt((Segment("prompt", text="who built it"),)))
    assert trial.decoder_ids == (START, *ids("who built Orla"))
    assert trial.decoder_roles == ("start", "prompt", "prompt", "answer")
    assert tokenize.query_ids("who built it") == ids("who built")


def test_published_limits() -> None:
    """Encoder 2,048, query 512, answer 256 (protocol, section 1)."""
    assert Limits() == Limits(encoder=2048, prompt=512, answer=256)


def test_answer_rows_by_hand() -> None:
    """start q1 q2 q3 a1 a2: row 3 predicts a1, row 4 predicts a2; rows 4 and 5 hold them."""
    tokenize = TrialTokenizer(word_tokenizer(begin=True, end=True), START)
    trial = tokenize(BARE.with_prompt((Segment("prompt", text="who built it"),)))
    assert list(trial.answer_rows("predicting")) == [3, 4]
    assert list(trial.answer_rows("holding")) == [4, 5]
    assert list(tokenize(BARE).answer_rows("predicting")) == [0, 1]
    with pytest.raises(ValueError, match="rows are 'predicting' or 'holding', not 'all'"):
        trial.answer_rows("all")


def test_a_one_token_answer_has_disjoint_rows() -> None:
    tokenize = TrialTokenizer(word_tokenizer(begin=True, end=True), START)
    trial = tokenize(Trial.bare(replace(EXAMPLE, answer="Venn")))
    assert list(trial.answer_rows("predicting")) == [0]
    assert list(trial.answer_rows("holding")) == [1]


def test_the_decoder_s_shift() -> None:
    tokenize = TrialTokenizer(word_tokenizer(begin=True, end=True), START, Limits(prompt=2))
    assert tokenize(BARE).decoder_shift == 0
    assert tokenize(replace(BARE, decoder_shift=5)).decoder_shift == 5
    # By the length of the query as it would stand in the prompt: cut at the prompt's limit.
    assert tokenize(replace(BARE, decoder_shift="query")).decoder_shift == 2


def test_an_answer_has_the_same_ids_under_every_prompt() -> None:
    """Byte pairs would merge otherwise over the joint of prompt and answer."""
    tokenizer = tiny_models.tokenizer()
    tokenize = TrialTokenizer(tokenizer, START)
    answer = tuple(tokenizer("Orla Venn", add_special_tokens=False)["input_ids"])
    for prompt in ((), (Segment("prompt", text="who built the"),), (Segment("prompt", token_ids=(9, 8)),)):
        assert tokenize(BARE.with_prompt(prompt)).decoder_ids[-len(answer) :] == answer


# Errors.


def test_what_cannot_be_tokenized_is_refused() -> None:
    tokenize = TrialTokenizer(word_tokenizer(begin=True, end=True), START)
    with pytest.raises(ValueError, match=r"example 'one': the answer '' has no token"):
        tokenize(Trial.bare(replace(EXAMPLE, answer="")))
    with pytest.raises(
        ValueError, match=r"example 'one': no document token is left in the encoder \(limit 2048"
    ):
        tokenize(Trial.bare(replace(EXAMPLE, document="")))
    short = TrialTokenizer(word_tokenizer(begin=True, end=True), START, Limits(encoder=6))
    with pytest.raises(
        ValueError, match=r"no document token is left in the encoder \(limit 6 tokens\); shorten"
    ):
        short(BARE.with_prefix((Segment("prefix", text="who built it"), Segment("separator", text="\n"))))
    backwards = replace(BARE, decoder=(*BARE.decoder, Segment("prompt", text="who")))
    with pytest.raises(
        ValueError, match=r"the answer must stand last in the decoder; got \['start', 'answer'"
    ):
        tokenize(backwards)


def test_a_tokenizer_without_offsets_is_refused() -> None:
    with pytest.raises(ValueError, match=r"ByT5Tokenizer gives no character offsets.*fast tokenizer"):
        TrialTokenizer(ByT5Tokenizer(), START)


@pytest.mark.parametrize(("begin", "end"), FRAMES)
def test_special_frames(begin: bool, end: bool) -> None:
    assert special_frame(word_tokenizer(begin=begin, end=end)) == ((2,) * begin, (1,) * end)


def test_special_tokens_within_the_text_are_refused() -> None:
    def tokenizer(text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
        return {"input_ids": [5, 2, 6] if add_special_tokens else [5, 6]}

    with pytest.raises(ValueError, match=r"do not frame the text: 'a b' gives \[5, 2, 6\] with and \[5, 6\]"):
        special_frame(tokenizer)  # type: ignore[arg-type]


def test_segments_hold_one_thing_and_have_a_known_role() -> None:
    for options in ({}, {"text": "a", "token_ids": (1,)}):
        with pytest.raises(ValueError, match="holds either text or token_ids"):
            Segment("prefix", **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unknown role 'query'; encoder roles are"):
        Segment("query", text="a")


def test_roles_of_attention_blocks() -> None:
    assert roles_of("encoder", "self") == roles_of("decoder", "cross") == ENCODER_ROLES
    assert roles_of("decoder", "self") == DECODER_ROLES
    assert roles_of("decoder", "merged") == DECODER_ROLES + ENCODER_ROLES
    with pytest.raises(ValueError, match="no attention block 'other'"):
        roles_of("decoder", "other")
    assert parse_roles("bos+prefix") == {"bos", "prefix"}
    assert parse_roles("none") == parse_roles("") == frozenset()
    with pytest.raises(ValueError, match=r"unknown role\(s\) \['query'\] in 'bos\+query'"):
        parse_roles("bos+query")


# Ordinary text tokens.


def test_ordinary_text_tokens_by_hand() -> None:
    """The words: no special token, and not the line break, which is no visible text."""
    tokenize = TrialTokenizer(word_tokenizer(begin=True, end=True), START)
    assert tokenize.text_tokens == tuple(range(5, 5 + len(WORDS)))


def test_control_byte_and_added_tokens_are_no_ordinary_text() -> None:
    pieces = ["<pad>", "</s>", "<s>", "<unk>", "<0x41>", "<unused0>", "tower", "▁", "��", "▁of"]
    texts = {6: "tower", 7: " ", 8: "��", 9: " of"}
    fake = SimpleNamespace(
        is_fast=True,
        vocab_size=len(pieces),
        all_special_ids=[0, 1, 2, 3],
        added_tokens_decoder={5: "<unused0>"},
        convert_ids_to_tokens=lambda tokens: [pieces[token] for token in tokens],
        decode=lambda tokens: texts[tokens[0]],
    )
    tokenize = TrialTokenizer.__new__(TrialTokenizer)
    tokenize.tokenizer = fake  # type: ignore[assignment]
    assert tokenize.text_tokens == (6, 9)


def test_tokenized_trials_are_values() -> None:
    """The same trial gives an equal result, whatever was tokenized in between."""
    tokenize = TrialTokenizer(word_tokenizer(begin=True, end=True), START)
    first = tokenize(PREFIXED)
    tokenize(BARE)
    assert isinstance(first, TokenizedTrial)
    assert tokenize(PREFIXED) == first
