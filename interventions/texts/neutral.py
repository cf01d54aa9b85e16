"""The neutral token: one ordinary token that says nothing, to be repeated as filler."""

from __future__ import annotations

from budgetlens.model.tokenization import TrialTokenizer

#: Words without content, tried in this order. Punctuation comes last: delimiters can attract attention.
NEUTRAL_WORDS: tuple[str, ...] = ("the", "of", "and", "to", "a", ",", ".")


def neutral_token(tokenizer: TrialTokenizer) -> int:
    """The id of the first neutral word that the tokenizer writes as one ordinary token.

    Raises ValueError where there is none.
    """
    special = set(tokenizer.tokenizer.all_special_ids)
    for word in NEUTRAL_WORDS:
        ids = tokenizer.decoder_segment(word, 2)
        if len(ids) == 1 and ids[0] not in special:
            return ids[0]
    raise ValueError(
        f"none of the neutral words {', '.join(map(repr, NEUTRAL_WORDS))} is one token of this tokenizer; "
        "use another filler (prefix=literal:TEXT, prompt=random-text)"
    )
