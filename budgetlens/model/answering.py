"""Answers of trials: the encoder, then generation."""

from __future__ import annotations

from collections.abc import Sequence

from budgetlens.model.batching import make_batch
from budgetlens.model.capture import encode
from budgetlens.model.decoding import Decoding
from budgetlens.model.generable import require_unseen_answer
from budgetlens.model.generation import Generated, generate_from
from budgetlens.model.loaded import LoadedModel, pad_token
from budgetlens.model.selecting import selected, selected_trial
from budgetlens.model.tokenization import TokenizedTrial
from budgetlens.model.trials import Edit


def generate(
    model: LoadedModel, trials: Sequence[TokenizedTrial], decoding: Decoding
) -> tuple[Generated, ...]:
    """The answer of every trial, in place of the one that it holds, under its own edits.

    Raises as :func:`budgetlens.model.generation.generate_from` does.
    """
    for trial in trials:
        require_unseen_answer(trial.trial)
    batch = make_batch(trials, pad_token=pad_token(model), device=model.device)
    states = encode(model, batch)
    return generate_from(model, selected(model, batch, states), states, decoding)


def answered_trial(model: LoadedModel, trial: TokenizedTrial, edits: Sequence[Edit] = ()) -> TokenizedTrial:
    """One trial with the model's greedy answer, its end included, in place of the one that it holds.

    Raises as :func:`budgetlens.model.generation.generate_from` does.
    """
    require_unseen_answer(trial.trial)
    chosen = selected_trial(model, trial, edits)
    batch = make_batch([chosen], pad_token=pad_token(model), device=model.device)
    states = encode(model, batch, edits)
    (found,) = generate_from(model, batch, states, Decoding(), edits)
    return found.in_place_of_answer(chosen)
