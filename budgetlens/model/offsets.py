"""Texts to ids with roles by character offsets, and the special tokens that frame a text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from budgetlens.model.trials import Segment

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def label_by_offsets(
    tokenizer: Callable[..., Any], segments: Sequence[Segment]
) -> tuple[list[int], list[str]]:
    """Token ids of the joined texts, each with the role of the segment it belongs to.

    A token that spans a boundary belongs to the last segment of which it covers a character that is no
    white space: ``"\\n"`` folded into the space before a word goes with the word. A token of white space
    alone belongs to the first segment that it covers.
    """
    text = "".join(segment.text or "" for segment in segments)
    if not text:
        return [], []
    encoding = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    owner: list[str] = []
    for segment in segments:
        owner.extend([segment.role] * len(segment.text or ""))
    roles = []
    for start, end in encoding["offset_mapping"]:
        covered = (
            range(start, end)
            if end > start
            else range(min(start, len(text) - 1), min(start, len(text) - 1) + 1)
        )
        solid = [position for position in covered if not text[position].isspace()]
        roles.append(owner[solid[-1]] if solid else owner[covered[0]])
    return list(encoding["input_ids"]), roles


def special_frame(tokenizer: PreTrainedTokenizerBase) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Special ids that the tokenizer puts before and after an encoder text.

    Raises ValueError where the special tokens do not frame the text.
    """
    sample = "a b"
    plain = list(tokenizer(sample, add_special_tokens=False)["input_ids"])
    framed = list(tokenizer(sample)["input_ids"])
    for start in range(len(framed) - len(plain) + 1):
        if framed[start : start + len(plain)] == plain:
            return tuple(framed[:start]), tuple(framed[start + len(plain) :])
    raise ValueError(
        f"the tokenizer's special tokens do not frame the text: {sample!r} gives {framed} with and {plain} "
        "without special tokens"
    )
