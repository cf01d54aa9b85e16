"""Which edits can be made where answers are generated. Declaring and asking loads no torch."""

from __future__ import annotations

from collections.abc import Iterable

from budgetlens.model.decoding import GenerationError
from budgetlens.model.edit_words import edit_words
from budgetlens.model.trials import Edit, StateEdit, Trial


def require_by_row(edits: Iterable[Edit | StateEdit], named: str = "") -> None:
    """Raise GenerationError where an edit of the decoder does not say that it reads no later row.

    ``named`` is what made the edits, where that is known.
    """
    for edit in edits:
        if getattr(edit, "stack", None) != "encoder" and not getattr(edit, "by_row", False):
            raise GenerationError(
                f"{named + ': ' if named else ''}the edit '{edit_words(edit)}' may read rows behind the one that it "
                "changes, which generation does not have yet: leave it out, or let its class say by_row = True where every "
                "row depends on itself and earlier ones alone"
            )


def require_unseen_answer(trial: Trial, named: str = "") -> None:
    """Raise GenerationError where rows that hold the right answer choose which positions of the document are kept.

    ``named`` is what made the trial so, where that is known.
    """
    keep = trial.keep
    if keep is not None and keep.sees_the_answer:
        raise GenerationError(
            f"{named + ': ' if named else ''}{keep.level} goes by rows that hold the right answer, and generation has "
            "none: let the prompt's rows or the last of them choose, leave the level out, or the probes of generated answers"
        )
