"""Which edits can be made where answers are generated. Declaring and asking loads no torch."""

from __future__ import annotations

from collections.abc import Iterable

from budgetlens.model.decoding import GenerationError
from budgetlens.model.edit_words import edit_words
from budgetlens.model.trials import Edit, StateEdit


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
