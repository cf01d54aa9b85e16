"""Control tokens that a text spells are text, in tokenizers that merge pieces and in those that choose them."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Mapping
from functools import cache

import pytest
import tokenizers
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, models, normalizers, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from budgetlens.model.tokenization import TrialTokenizer
from budgetlens.model.trials import Example, Segment, Trial
from budgetlens.runs.known_models import REFERENCE_MODEL
from tests.conftest import corpus_rows
from tests.reference import tiny_models

CONTROL = {"<pad>", "</s>", "<s>", "<unk>"}


def unigram() -> PreTrainedTokenizerFast:
    """A vocabulary that lists its control tokens with the best score, as T5's does."""
    pieces = [*((name, 0.0) for name in ("<pad>", "</s>", "<s>", "<unk>")), ("▁wall", -4.0), ("▁", -5.0)]
    pieces += [(chr(code), -9.0) for code in range(33, 127)]
    core = tokenizers.Tokenizer(models.Unigram(pieces, unk_id=3))
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=True)
    core.post_processor = processors.TemplateProcessing(
        single=["<s>", "$A", "</s>"], special_tokens=[("<s>", 2), ("</s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", eos_token="</s>", bos_token="<s>", unk_token="<unk>"
    )


def trial(document: str, prefix: str = "", answer: str = "wall") -> Trial:
    bare = Trial.bare(Example("one", "who", document, answer))
    return (
        bare.with_prefix((Segment("prefix", text=prefix), Segment("separator", text="\n")))
        if prefix
        else bare
    )


@pytest.mark.parametrize(
    "tokenizer", [tiny_models.tokenizer(), unigram()], ids=["pieces merged", "pieces chosen"]
)
def test_a_text_that_spells_control_tokens_gets_none(tokenizer: PreTrainedTokenizerFast) -> None:
    document = "the <s> wall </s><pad> wall<s>"
    tokenize = TrialTokenizer(tokenizer, 2)
    plain = tokenizer(document, add_special_tokens=False)["input_ids"]
    assert {0, 1, 2} <= set(plain)
    found = tokenize(trial(document, prefix="<s> who", answer="</s> wall"))
    own = [token for token, role in zip(found.encoder_ids, found.encoder_roles, strict=True) if role != "bos"]
    assert not {0, 1, 2} & set(own[:-1])
    assert found.encoder_roles.count("bos") == found.encoder_roles.count("eos") == 1
    assert not {0, 1, 2} & set(found.decoder_ids[1:])
    # Nothing is lost: the tokens spell the text, each under its role.
    pieces = tokenizer.convert_ids_to_tokens(list(found.encoder_ids))
    for role, text in (("prefix", "<s> who"), ("document", document)):
        spelled = "".join(
            piece for piece, its_role in zip(pieces, found.encoder_roles, strict=True) if its_role == role
        )
        assert spelled.replace("▁", "") == text.replace(" ", "")
    if tokenizer.backend_tokenizer.model.__class__.__name__ == "BPE":
        whole = tokenizer(document, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        assert list(TrialTokenizer(tokenizer, 2)(trial(document)).encoder_ids[1:-1]) == whole
    # The caller's tokenizer is as it was.
    assert tokenizer(document, add_special_tokens=False)["input_ids"] == plain


def test_an_unknown_character_stays_unknown() -> None:
    tokenizer = unigram()
    found = TrialTokenizer(tokenizer, 2)(trial("wall é wall <unk>"))
    assert found.encoder_ids.count(3) == 1


@pytest.mark.parametrize(
    "tokenizer",
    [
        tiny_models.tokenizer(),
        tiny_models.tokenizer(newline="folded"),
        tiny_models.tokenizer(newline="merged"),
        AutoTokenizer.from_pretrained(str(REFERENCE_MODEL)),
    ],
    ids=["kept", "folded", "merged", "built-in"],
)
def test_ordinary_texts_have_the_tokenizer_s_own_ids(tokenizer: PreTrainedTokenizerFast) -> None:
    tokenize = TrialTokenizer(tokenizer, 2)
    for row in corpus_rows(8):
        found = tokenize(trial(row["document"], prefix=row["query"], answer=row["answer"]))
        assert list(found.encoder_ids) == tokenizer(f"{row['query']}\n{row['document']}")["input_ids"]
        assert list(found.decoder_ids[1:]) == tokenizer(row["answer"], add_special_tokens=False)["input_ids"]


def test_the_built_in_tokenizer_spells_its_control_tokens() -> None:
    tokenizer = AutoTokenizer.from_pretrained(str(REFERENCE_MODEL))
    found = TrialTokenizer(tokenizer, 2)(trial("the <bos> gate <eos> of <image>"))
    control = {token for token, added in tokenizer.added_tokens_decoder.items() if added.special}
    inner = [
        token
        for token, role in zip(found.encoder_ids, found.encoder_roles, strict=True)
        if role == "document"
    ]
    assert not control & set(inner)
    assert tokenizer.decode(inner).replace(" ", "") == "the<bos>gate<eos>of<image>"


# Spellings that a normaliser turns into control tokens.

#: Control tokens of the usual shapes, a language, and one of a single character, which can't be cut in two.
SPECIAL = ("<pad>", "</s>", "<s>", "<unk>", "<mask>", "[CLS]", "<|end|>", "en_XX", "\u2047")
TEXT = [chr(code) for code in range(32, 127)] + ["▁", "\n"]
KINDS = (
    "chosen",
    "chosen of bytes",
    "chosen, one unknown for several",
    "merged",
    "whole words",
    "word pieces",
    "bytes",
)


def pieces_of(kind: str) -> tuple[models.Model, pre_tokenizers.PreTokenizer]:
    """A model whose own vocabulary lists the control tokens, so that it finds them in what a normaliser leaves."""
    ids = {piece: number for number, piece in enumerate([*SPECIAL, *TEXT])}
    spaced = pre_tokenizers.Metaspace(prepend_scheme="always", split=True)
    if kind.startswith("chosen"):
        pieces = [(piece, 0.0 if piece in SPECIAL else -9.0) for piece in ids]
        if kind == "chosen of bytes":
            pieces += [(f"<0x{byte:02X}>", -20.0) for byte in range(256)]
        return models.Unigram(pieces, unk_id=3, byte_fallback=kind == "chosen of bytes"), spaced
    if kind == "merged":
        merges = []
        for special in SPECIAL:
            for end in range(2, len(special) + 1):
                ids.setdefault(special[:end], len(ids))
                merges.append((special[: end - 1], special[end - 1]))
        return models.BPE(ids, list(dict.fromkeys(merges)), unk_token="<unk>"), spaced
    if kind == "whole words":
        return models.WordLevel(ids, unk_token="<unk>"), pre_tokenizers.WhitespaceSplit()
    if kind == "word pieces":
        ids |= {f"##{piece}": len(ids) + number for number, piece in enumerate(TEXT)}
        return models.WordPiece(ids, unk_token="<unk>"), pre_tokenizers.WhitespaceSplit()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    ids = {piece: number for number, piece in enumerate([*SPECIAL, *alphabet])}
    return models.BPE(ids, [], unk_token="<unk>"), pre_tokenizers.ByteLevel(add_prefix_space=False)


@cache
def normalising(kind: str, declared_normalised: bool) -> TrialTokenizer:
    """A tokenizer of a kind behind NFKC and folding of case; its control tokens may be looked for after that or before."""
    model, words = pieces_of(kind)
    core = tokenizers.Tokenizer(model)
    core.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace("ſ", "s")])
    core.pre_tokenizer = words
    core.add_special_tokens([AddedToken(token, normalized=declared_normalised) for token in SPECIAL])
    core.post_processor = processors.TemplateProcessing(
        single=["<s>", "$A", "</s>"], special_tokens=[("<s>", 2), ("</s>", 1)]
    )
    made = PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", eos_token="</s>", bos_token="<s>", unk_token="<unk>"
    )
    return TrialTokenizer(made, 2)


@cache
def variants() -> Mapping[str, str]:
    """By character, all characters that NFKC turns into it or into something with it, itself among them."""
    found: dict[str, str] = {}
    for code in range(sys.maxunicode + 1):
        normal = unicodedata.normalize("NFKC", chr(code))
        if normal != chr(code) and len(normal) < 4 and not 0xD800 <= code < 0xE000:
            for character in set(normal):
                found[character] = found.get(character, "") + chr(code)
    return found


@st.composite
def respelled(draw: st.DrawFn) -> str:
    """A control token, each character as it is or as one that is normalised to it, in a text."""
    special = draw(st.sampled_from(SPECIAL))
    spelled = "".join(
        draw(st.one_of(st.just(one), st.sampled_from(one + variants().get(one, "")))) for one in special
    )
    before, after = (
        draw(st.sampled_from(["", " ", "a", "<", "/s>", "the ", "é", "\u0338", "＜"])) for _ in "ab"
    )
    return before + spelled + after


@pytest.mark.parametrize("declared_normalised", [True, False], ids=["found after", "found before"])
@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=50, derandomize=True)
@given(texts=st.lists(respelled(), min_size=3, max_size=3))
@example(texts=["＜/s＞", "﹤pad﹥", "⁇"])
@example(texts=["é＜unk＞é", "＜ſ﹥", "［ＣＬＳ］"])
@example(texts=["<|end|＞", "en_XX", "ｅｎ＿ＸＸ"])
def test_no_spelling_is_a_control_token(kind: str, declared_normalised: bool, texts: list[str]) -> None:
    """In no role of a text, whichever tokenizer; and what is fed spells what the normaliser made of the text."""
    tokenize = normalising(kind, declared_normalised)
    backend = tokenize.tokenizer.backend_tokenizer
    control = {backend.token_to_id(token) for token in SPECIAL} - {3}
    document, prefix, answer = texts
    fed = tokenize(trial(document + "x", prefix=prefix + "x", answer=answer + "x"))
    roles = fed.encoder_roles + fed.decoder_roles
    placed = [*zip(fed.encoder_ids + fed.decoder_ids, roles, strict=True)]
    assert {role for token, role in placed if token in control} == {"bos", "eos", "start"}
    for text in texts:
        whole = tokenize.plain_text(text + "x", add_special_tokens=False)
        assert all(0 <= start <= end <= len(text) + 1 for start, end in whole["offset_mapping"])
        places = [start for start, _ in whole["offset_mapping"]]
        assert places == sorted(places)
        normal = backend.normalizer.normalize_str(text + "x")
        # Unknown only where the text has what the vocabulary lacks, or a word that it lacks.
        if set(normal) <= set(TEXT) and "word" not in kind:
            assert 3 not in whole["input_ids"]
            spelled = "".join(backend.id_to_token(token) for token in whole["input_ids"])
            assert spelled.replace("▁", "").replace("Ġ", "") == normal.replace(" ", "").replace("▁", "")


def test_a_control_token_across_a_boundary_is_told_apart() -> None:
    """The prefix ends in "<", the document begins with "/s>": each has its own characters."""
    tokenize = normalising("chosen", True)
    bare = Trial.bare(Example("one", "who", "/s>wall", "wall"))
    fed = tokenize(bare.with_prefix((Segment("prefix", text="a<"),)))
    pieces = tokenize.tokenizer.convert_ids_to_tokens(list(fed.encoder_ids))
    own = {
        role: "".join(p for p, r in zip(pieces, fed.encoder_roles, strict=True) if r == role)
        for role in fed.encoder_roles
    }
    assert (own["prefix"].replace("▁", ""), own["document"]) == ("a<", "/s>wall")
