"""Control tokens that a text spells are text, in tokenizers that merge pieces and in those that choose them."""

from __future__ import annotations

import pytest
import tokenizers
from tokenizers import models, pre_tokenizers, processors
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
