"""Candidates: what the model makes of other answers in the place of the right one, in the same cell."""

from __future__ import annotations

from dataclasses import replace

from budgetlens.model.tokenization import TokenizedTrial, TrialTokenizer


def candidate_trials(tokenizer: TrialTokenizer, trial: TokenizedTrial) -> tuple[TokenizedTrial, ...]:
    """The trial with each of its example's other candidates for an answer, tokenized and cut as answers are.

    A candidate without a token, or with the answer's own tokens, is none. Raises ExampleError where one is too long for
    the decoder's table of positions.
    """
    answer = trial.decoder_ids[-trial.answer_tokens :]
    given, roles = trial.decoder_ids[: -trial.answer_tokens], trial.decoder_roles[: -trial.answer_tokens]
    texts = (
        tokenizer.decoder_segment(one, tokenizer.limits.answer) for one in trial.trial.example.candidates
    )
    found = []
    for ids in dict.fromkeys(texts):
        if ids and ids != answer:
            tokenizer.require_room(trial.trial.example, len(given) + len(ids), trial.decoder_shift)
            found.append(
                replace(trial, decoder_ids=(*given, *ids), decoder_roles=(*roles, *("answer",) * len(ids)))
            )
    return tuple(found)
