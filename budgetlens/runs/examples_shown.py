"""A few examples as every cell fed them: ``RUN/examples.json``, written with a run and shown in its report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, Protocol

from budgetlens.model.edit_words import edit_words

if TYPE_CHECKING:
    from budgetlens.model.tokenization import TokenizedTrial, TrialTokenizer
    from budgetlens.runs.records import Fed

#: Longest run of text that is kept whole, and what is kept of the beginning and the end of a longer one.
LONGEST_RUN, KEPT_FIRST, KEPT_LAST = 2_000, 1_200, 400

Stretch = tuple[str, str, bool]
"""Text of adjoining positions with the same role and visibility, the role, and whether the decoder sees them."""


class FedUnit(Protocol):
    """One example with all its cells, tokenized: :class:`budgetlens.runs.running.Unit`."""

    @property
    def fed(self) -> tuple[Fed, ...]:
        """The trials by cell."""


def shown_examples(
    units: Sequence[FedUnit], tokenizer: TrialTokenizer, count: int = 3
) -> list[dict[str, Any]]:
    """The first ``count`` examples, each with the text that every cell fed the encoder and the decoder.

    Returns:
        One dictionary per example: ``example`` (identifier) and ``cells``, a list of dictionaries with
        ``cell`` (name), ``encoder`` and ``decoder`` (lists of :data:`Stretch`), ``notes`` (sentences about what
        the text does not show). Runs of more than 2,000 characters are cut in the middle and say so.

    Raises:
        ValueError: ``count`` is below 1.
    """
    if count < 1:
        raise ValueError(f"count = {count} examples were asked for; give at least 1")
    return [
        {
            "example": unit.fed[0].example,
            "cells": [
                {
                    "cell": item.cell,
                    "encoder": encoder_runs(item.trial, tokenizer),
                    "decoder": decoder_runs(item.trial, tokenizer),
                    "notes": notes_on(item.trial),
                }
                for item in unit.fed
            ],
        }
        for unit in list(units)[:count]
        if unit.fed
    ]


def encoder_runs(trial: TokenizedTrial, tokenizer: TrialTokenizer) -> list[Stretch]:
    """The encoder's positions as runs of text."""
    keys = list(zip(trial.encoder_roles, trial.visible, strict=True))
    return text_runs(trial.encoder_ids, keys, tokenizer)


def decoder_runs(trial: TokenizedTrial, tokenizer: TrialTokenizer) -> list[Stretch]:
    """The decoder's positions as runs of text; the decoder sees all of them."""
    return text_runs(trial.decoder_ids, [(role, True) for role in trial.decoder_roles], tokenizer)


def text_runs(
    ids: Sequence[int], keys: Sequence[tuple[str, bool]], tokenizer: TrialTokenizer
) -> list[Stretch]:
    """Adjoining positions with the same key, decoded together."""
    runs = []
    for (role, visible), group in groupby(zip(keys, ids, strict=True), key=lambda item: item[0]):
        text = str(tokenizer.tokenizer.decode([token for _, token in group]))
        runs.append((cut(text), role, visible))
    return runs


def cut(text: str) -> str:
    """The text, without its middle where it is long; what is left out is counted."""
    if len(text) <= LONGEST_RUN:
        return text
    left_out = len(text) - KEPT_FIRST - KEPT_LAST
    return f"{text[:KEPT_FIRST]} … [{left_out:,} characters left out] … {text[-KEPT_LAST:]}"


def notes_on(trial: TokenizedTrial) -> list[str]:
    """What happens in a cell that its text does not show: to its input, and while the model runs."""
    notes = notes_on_input(trial)
    for what, edits in (("attention is", trial.trial.edits), ("states are", trial.trial.states)):
        if edits:
            told = dict.fromkeys(edit_words(edit) for edit in edits)
            notes.append(f"{what} edited while the model runs ({' · '.join(told)})")
    return notes


def notes_on_input(trial: TokenizedTrial) -> list[str]:
    """What a trial feeds the model that its text does not show."""
    notes = []
    hidden = trial.hidden_positions
    if hidden:
        verb = "position is" if hidden == 1 else "positions are"
        keep = trial.chooses
        how = "" if keep is None else f", those of the document by {keep.score}, when the model runs"
        notes.append(f"{hidden} encoder {verb} hidden from the decoder{how}")
    if trial.decoder_shift:
        notes.append(f"decoder positions are moved by {trial.decoder_shift}")
    if trial.trial.prefix_positions == "before" and "prefix" in trial.encoder_roles:
        notes.append("the positions of the prefix are before those of the document")
    if not trial.document_intact:
        notes.append("the document has other token ids than without its prefix")
    if trial.truncated:
        notes.append(f"{trial.truncated} encoder tokens are cut at the limit")
    if trial.prompt_cut:
        notes.append(f"{trial.prompt_cut} prompt tokens are cut at the limit")
    if trial.answer_cut:
        notes.append(f"{trial.answer_cut} answer tokens are cut at the limit")
    return notes


def examples_text(units: Sequence[FedUnit], tokenizer: TrialTokenizer, count: int = 3) -> str:
    """The content of ``RUN/examples.json``."""
    return json.dumps(shown_examples(units, tokenizer, count), ensure_ascii=False, indent=1) + "\n"
