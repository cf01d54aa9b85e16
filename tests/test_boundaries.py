"""The boundary between prefix and document, on tokenizers with and without BOS, "\\n" kept, folded or merged.

The claims are checked on the raw tokenizer: what is fed is what it gives for the whole text, and the flag that
says whether a document kept its ids is right in every case, also for texts that no one expects.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import tokenizers
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from budgetlens.design.design import Factor, crossed
from budgetlens.design.intervention import Context
from budgetlens.model.roles import ENCODER_ROLES
from budgetlens.model.tokenization import TokenizedTrial, TrialTokenizer
from budgetlens.model.trials import Example, Trial
from budgetlens.runs.records import Fed, trial_records
from budgetlens.tables.build import trials_table
from interventions.prefix import Prefix
from interventions.texts.prefix_sources import SOURCES
from tests.reference import tiny_models


def byte_level(*, begin: bool) -> PreTrainedTokenizerFast:
    """Every byte a token, as in tokenizers of the GPT-2 and BART kind: no text is unknown to it."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    specials = ["<pad>", "</s>", "<s>", "<unk>", "<mask>"]
    vocabulary = {piece: number for number, piece in enumerate([*specials, *alphabet])}
    core = tokenizers.Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    core.add_special_tokens(specials)
    core.post_processor = processors.TemplateProcessing(
        single=["<s>"] * begin + ["$A", "</s>"], special_tokens=[("<s>", 2), ("</s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", eos_token="</s>", bos_token="<s>", unk_token="<unk>"
    )


CONTROL = ("<pad>", "</s>", "<s>", "<unk>")


def unigram(*, begin: bool, newline: str, control: Sequence[str] = CONTROL) -> PreTrainedTokenizerFast:
    """Letters and a few words as in SentencePiece models; a line break is a token or becomes a space, as in T5."""
    pieces = [*((piece, 0.0) for piece in control), ("▁", -4.0), ("\n", -4.0)]
    pieces += [(chr(code), -8.0) for code in range(33, 127)]
    pieces += [(word, -3.0) for word in ("▁the", "▁mill", "▁river", "▁what", "▁of")]
    core = tokenizers.Tokenizer(models.Unigram(pieces, unk_id=3, byte_fallback=False))
    if newline == "folded":
        core.normalizer = normalizers.Sequence(
            [normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(tokenizers.Regex(" {2,}"), " ")]
        )
        core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    else:
        # As in Gemma: no space is put in front, and a line break stands by itself.
        core.normalizer = normalizers.Replace(" ", "▁")
        core.pre_tokenizer = pre_tokenizers.Split("\n", behavior="isolated")
    core.post_processor = processors.TemplateProcessing(
        single=[control[2]] * begin + ["$A", control[1]], special_tokens=[(control[2], 2), (control[1], 1)]
    )
    pad, end, start, unknown = control
    return PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token=pad, eos_token=end, bos_token=start, unk_token=unknown
    )


def setting(kind: str, begin: bool) -> TrialTokenizer:
    if kind == "bytes":
        made = byte_level(begin=begin)
    elif kind.startswith("unigram"):
        made = unigram(begin=begin, newline=kind.removeprefix("unigram "))
    else:
        made = tiny_models.tokenizer(begin=begin, newline=kind)
    return TrialTokenizer(made, 2)


KINDS = ("kept", "folded", "merged", "bytes", "unigram kept", "unigram folded")
SETTINGS = {(kind, begin): setting(kind, begin) for kind in KINDS for begin in (True, False)}
#: The same vocabularies with control tokens that no text spells.
UNSPELLED = {
    kind: unigram(
        begin=False, newline=kind.removeprefix("unigram "), control=("\ue000", "\ue001", "\ue002", "\ue003")
    )
    for kind in KINDS
    if kind.startswith("unigram")
}


def raw_ids(kind: str, text: str) -> list[int]:
    """What the bare tokenizer gives for a text in which nothing is a control token."""
    if kind in UNSPELLED:
        return list(UNSPELLED[kind](text, add_special_tokens=False)["input_ids"])
    tokenizer = SETTINGS[kind, True].tokenizer
    return list(tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"])


def ids_of(fed: TokenizedTrial, role: str) -> list[int]:
    return [token for token, own in zip(fed.encoder_ids, fed.encoder_roles, strict=True) if own == role]


#: Where a line break is a token of its own in front of which nothing reaches: the document is always the same.
ALWAYS_INTACT = ("unigram kept",)

#: Pieces of which texts are made: words, white space, other scripts, what looks like control tokens.
PIECES = st.sampled_from(
    [
        "the",
        "mill",
        "river",
        "Kesh",
        "1412",
        "a" * 300,
        " ",
        "  ",
        "\n",
        "\t",
        "\r\n",
        "\u00a0",
        "\u200b",
        "\ufeff",
        "ä",
        "e\u0301",
        "ﬁ",
        "中文",
        "שלום",
        "مرحبا",
        "\u202eabc",
        "🙂",
        "👩‍👩‍👧",
        "🇩🇪",
        "<s>",
        "</s>",
        "<pad>",
        "<bos>",
        "<0x0A>",
        # What NFKC makes control tokens of.
        "＜/s＞",
        "﹤pad﹥",
        "＜ｓ＞",
        "＜unk＞",
        "▁",
        "Ġ",
        ".",
        "?",
    ]
)
TEXTS = st.one_of(
    st.lists(PIECES, min_size=1, max_size=8).map("".join),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30),
).filter(lambda text: text.strip())


@pytest.mark.parametrize("key", sorted(SETTINGS), ids=str)
@settings(deadline=None, max_examples=60, derandomize=True)
@given(query=TEXTS, document=TEXTS)
@example(query="who", document="  The mill")
@example(query="who ", document="The mill\n")
@example(query="<s> who", document="<s>The mill</s>")
@example(query="\u202eabc", document="\ufeff🙂 the mill")
@example(query="＜s﹥ who", document="é＜unk＞ 中文﹤/s＞The mill﹤pad﹥")
def test_what_is_fed_is_what_the_tokenizer_gives(key: tuple[str, bool], query: str, document: str) -> None:
    """No id lost or added, roles in order, and the flag for the document's ids right."""
    kind, begin = key
    tokenizer = SETTINGS[key]
    one = Example("one", query, document, "Kesh")
    alone = raw_ids(kind, document)
    whole = raw_ids(kind, f"{query}\n{document}")
    context = Context(0, (one,), tokenizer, tokenizer.tokenizer.vocab_size, 42)
    trial = Prefix("oracle").apply(Trial.bare(one), context)
    if not alone:
        # White space to this tokenizer (a byte order mark, say): there is nothing to feed.
        for each in (Trial.bare(one), trial):
            with pytest.raises(ValueError, match="no document token is left"):
                tokenizer(each)
        return
    fed, bare = tokenizer(trial), tokenizer(Trial.bare(one))
    assert list(fed.encoder_ids) == [2] * begin + whole + [1] * ("eos" in fed.encoder_roles)
    assert list(bare.encoder_ids) == [2] * begin + alone + [1] * ("eos" in fed.encoder_roles)
    assert list(fed.encoder_roles) == sorted(fed.encoder_roles, key=ENCODER_ROLES.index)
    assert fed.document_intact == (ids_of(fed, "document") == alone)
    assert fed.published_hidden == len(whole) - len(alone)
    assert bare.document_intact
    if kind in ALWAYS_INTACT:
        assert fed.document_intact


ORDINARY = st.lists(
    st.sampled_from(["the", "mill", "on", "Kesh,", "river.", "1412", "(was)", "Orla's"]),
    min_size=1,
    max_size=12,
).map(" ".join)


@pytest.mark.parametrize("kind", ["kept", "folded", "bytes", "unigram kept", "unigram folded"])
@pytest.mark.parametrize("begin", [True, False])
@settings(deadline=None, max_examples=30, derandomize=True)
@given(query=ORDINARY, document=ORDINARY, other=ORDINARY)
def test_ordinary_documents_keep_their_ids_under_every_source(
    kind: str, begin: bool, query: str, document: str, other: str
) -> None:
    """Plain English words, which is what the corpora hold: identical with and without each prefix."""
    tokenizer = SETTINGS[kind, begin]
    columns = (("topic", "of the mill"),)
    examples = (
        Example("one", query, document, "Kesh", columns=columns, other_queries=(other,)),
        Example("two", other, other, "mill"),
    )
    context = Context(0, examples, tokenizer, tokenizer.tokenizer.vocab_size, 42)
    alone = raw_ids(kind, document)
    for name in SOURCES:
        level = {
            "literal": "literal:of the mill",
            "column": "column:topic",
            "neutral": "neutral:3",
            "matched": "matched:oracle",
        }.get(name, name)
        fed = tokenizer(Prefix.parse(level).apply(Trial.bare(examples[0]), context))
        if tokenizer.tokenizer.convert_ids_to_tokens(alone[0]) == "▁" and "folded" in kind:
            # The space is the line break's now, so the document is one token shorter, and the flag says so.
            assert not fed.document_intact, level
            assert ids_of(fed, "separator") + ids_of(fed, "document") == alone, level
        else:
            assert fed.document_intact, level
            assert ids_of(fed, "document") == alone, level


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_says_how_many_documents_changed(kind: str) -> None:
    """In the table of what was fed, against a count on the bare tokenizer.

    Where a line break becomes a space, it takes the space in front of a first word that is not one piece with
    its space: "▁the" stays, "▁", "T", "h", "e" loses a token. Where pieces span the line break, what follows it
    is compared as it is.
    """
    tokenizer = SETTINGS[kind, True]
    documents = ("The mill", "mill", "1412 mills", "river", "Tamm", "the river")
    examples = tuple(
        Example(f"{place}", "who built it", text, "Kesh") for place, text in enumerate(documents)
    )
    design = crossed((Factor("prefix", ("none", "oracle")),))
    fed = []
    for place, one in enumerate(examples):
        context = Context(place, examples, tokenizer, tokenizer.tokenizer.vocab_size, 42)
        fed += [Fed(cell.name, tokenizer(cell.trial(one, context))) for cell in design.cells]
    table = trials_table(trial_records(fed).to_pandas()).set_index("cell")
    assert list(table["n"]) == [len(documents)] * 2
    assert table.loc["prefix=none", "documents_changed"] == 0
    changed = 0
    for text in documents:
        alone, whole = raw_ids(kind, text), raw_ids(kind, f"who built it\n{text}")
        first = tokenizer.tokenizer.convert_ids_to_tokens(alone[0])
        changed += first == "▁" if "folded" in kind else whole[-len(alone) :] != alone
    assert table.loc["prefix=oracle", "documents_changed"] == changed
    # "The", "1412" and "Tamm" are no pieces of the Unigram vocabulary.
    known = {"kept": 0, "bytes": 0, "unigram kept": 0, "unigram folded": 3}
    assert changed == known.get(kind, changed)
    if kind == "merged":
        assert changed > 0
