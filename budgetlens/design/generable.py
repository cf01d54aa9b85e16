"""What generation admits: no intervention that reads the answer that is to be found, or rows that are not there yet."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from budgetlens.corpora.corpus import Corpus
from budgetlens.design.design import Cell, Design, context_of
from budgetlens.design.intervention import Context
from budgetlens.model.decoding import GenerationError
from budgetlens.model.generable import require_by_row, require_unseen_answer
from budgetlens.model.tokenization import TrialTokenizer
from budgetlens.model.trials import Example, ExampleError, Trial

#: How many examples every cell is tried on.
_TRIED = 2
#: What stands behind the right answer in the example that it is tried with beside the real one.
_ANOTHER = " or anything but that"


def require_generable(design: Design, corpus: Corpus, tokenizer: TrialTokenizer, seed: int) -> None:
    """Refuse interventions under which no answer can be generated.

    Every cell is made of the first examples twice, once with another right answer: what differs has read it.

    Raises:
        GenerationError: a level that rewrites the answer, feeds something else where the answer is another, or makes an
            edit of the decoder that may read later rows; the message names it and its cell.
    """
    for index, example in enumerate(corpus.examples[:_TRIED]):
        context = context_of(corpus, index, tokenizer, seed)
        for cell in design.cells:
            try:
                _require_cell(cell, example, context)
            except ExampleError:
                # It is left out of the run.
                continue


def _require_cell(cell: Cell, example: Example, context: Context) -> None:
    columns = tuple(
        (name, [example.answer + _ANOTHER] if name == "answers" else value) for name, value in example.columns
    )
    other = replace(example, answer=example.answer + _ANOTHER, columns=columns)
    examples = tuple(other if place == context.index else one for place, one in enumerate(context.examples))
    made = cell.trials(example, context)
    again = cell.trials(other, replace(context, examples=examples))
    for place, (factor, level) in enumerate(cell.levels, start=1):
        named = f"{factor}={level} in the cell {cell.name}"
        if _fed(made[place]) != _fed(again[place]) or _rewrites_answer(made[place]):
            raise GenerationError(
                f"{named} reads the right answer or rewrites it, and generation has none: leave the level out, or the "
                "probes of generated answers"
            )
        trial = made[place]
        require_unseen_answer(trial, named)
        require_by_row((*trial.edits, *trial.states), named)


def _rewrites_answer(trial: Trial) -> bool:
    return [one.text for one in trial.decoder if one.role == "answer"] != [trial.example.answer]


def _fed(trial: Trial) -> tuple[Any, ...]:
    """All that a trial feeds but its answer; of donors, what their encoders are fed."""
    return (
        trial.encoder,
        tuple(segment for segment in trial.decoder if segment.role != "answer"),
        trial.hidden,
        trial.decoder_shift,
        trial.prefix_positions,
        trial.keep,
        trial.edits,
        tuple((replace(edit, donors=()), tuple(map(_fed, edit.donors))) for edit in trial.states),
    )
