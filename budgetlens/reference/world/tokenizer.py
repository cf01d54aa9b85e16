"""The built-in tokenizer: whole words, one token per syllable of a name, characters and bytes for the rest.

It behaves as Gemma's does where the analyses notice: BOS in front of an encoder text and no EOS, a newline
is one token, and any text can be encoded. Unlike Gemma's it treats the first word of a text like any
other, so that an answer has the same token ids alone and inside a document.
"""

from __future__ import annotations

import re
from functools import cache

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from budgetlens.reference.world import names, values
from budgetlens.reference.world.domains import every_template

SPACE = "▁"
SPECIAL_TOKENS = ("<pad>", "<eos>", "<bos>", "<unk>", "<boi>", "<eoi>", "<image>", "<unused0>")
PAD, EOS, BOS, UNKNOWN, BOI, EOI, IMAGE = range(7)

#: Log probabilities of the unigram model: the segmentation with the fewest and largest pieces wins.
WORD_SCORE, SYLLABLE_SCORE, NUMBER_SCORE, CHARACTER_SCORE, BYTE_SCORE = -4.0, -5.0, -6.0, -12.0, -30.0
#: Words of the analyses' own prefixes (template and generic sentence): words here too, and not spelled.
PREFIX_WORDS = ("What", "information", "Here", "text", "that", "somebody", "may", "want", "read")


def _words() -> list[str]:
    fixed = " ".join(every_template())
    for place in ("{e}", "{f}", "{v}", "{S}", "{a}"):
        fixed = fixed.replace(place, " ")
    found = {*re.findall(r"[A-Za-z]+", fixed), *values.every_word(), *PREFIX_WORDS}
    return sorted(word for word in found if len(word) > 1 or word in {"a", "A"})


def vocabulary() -> list[tuple[str, float]]:
    """Every token with its log probability, in the order of the ids."""
    pieces: list[tuple[str, float]] = [(token, 0.0) for token in SPECIAL_TOKENS]
    pieces += [(f"<0x{byte:02X}>", BYTE_SCORE) for byte in range(256)]
    pieces += [(SPACE, CHARACTER_SCORE)]
    pieces += [(chr(code), CHARACTER_SCORE) for code in range(33, 127)]
    pieces += [(f"{SPACE}{digit}", NUMBER_SCORE) for digit in range(10)]
    pieces += [(f"{SPACE}{number}", NUMBER_SCORE) for number in range(10, 100)]
    pieces += [(f"{number:02d}", NUMBER_SCORE) for number in range(100)]
    pieces += [(SPACE + syllable.capitalize(), SYLLABLE_SCORE) for syllable in names.FIRST_SYLLABLES]
    pieces += [(syllable, SYLLABLE_SCORE) for syllable in names.LAST_SYLLABLES]
    taken = {piece for piece, _ in pieces}
    pieces += [(SPACE + word, WORD_SCORE) for word in _words() if SPACE + word not in taken]
    return pieces


@cache
def build_tokenizer() -> PreTrainedTokenizerFast:
    """The built-in tokenizer. It is made from the word lists alone; nothing is fitted."""
    tokenizer = Tokenizer(models.Unigram(vocabulary(), unk_id=UNKNOWN, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="always", split=True)
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.ByteFallback(),
            decoders.Metaspace(replacement=SPACE, prepend_scheme="always"),
            decoders.Fuse(),
            decoders.Replace("\n ", "\n"),
        ]
    )
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL_TOKENS])
    tokenizer.add_tokens([AddedToken("\n", normalized=False, special=False)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A $B", special_tokens=[("<bos>", BOS)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="<eos>",
        bos_token="<bos>",
        unk_token="<unk>",
        padding_side="right",
        model_max_length=4096,
        clean_up_tokenization_spaces=False,
    )


def ids_of(text: str) -> tuple[int, ...]:
    """Token ids of ``text`` without special tokens."""
    return tuple(build_tokenizer().backend_tokenizer.encode(text, add_special_tokens=False).ids)


def token_count(text: str) -> int:
    """Length of ``text`` in tokens, BOS not counted."""
    return len(ids_of(text))


@cache
def first_text_id() -> int:
    """The lowest id of the tokens of ordinary text: special, byte and character tokens come before it."""
    return [piece for piece, _ in vocabulary()].index(f"{SPACE}0")
