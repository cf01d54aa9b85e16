"""Answers of trials, from texts to tokens: the encoder, then generation."""

from __future__ import annotations

from collections.abc import Sequence

from budgetlens.model.batching import make_batch
from budgetlens.model.capture import encode
from budgetlens.model.decoding import Decoding
from budgetlens.model.generation import Generated, generate_from
from budgetlens.model.loaded import LoadedModel, pad_token
from budgetlens.model.selecting import selected
from budgetlens.model.tokenization import TokenizedTrial


def generate(
    model: LoadedModel, trials: Sequence[TokenizedTrial], decoding: Decoding
) -> tuple[Generated, ...]:
    """The answer of every trial, in place of the one that it holds, under its own edits.

    Raises as :func:`budgetlens.model.generation.generate_from` does.
    """
    batch = make_batch(trials, pad_token=pad_token(model), device=model.device)
    states = encode(model, batch)
    return generate_from(model, selected(model, batch, states), states, decoding)
