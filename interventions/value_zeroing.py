"""Value zeroing: chosen keys keep their attention and contribute nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from budgetlens.design.intervention import intervention
from budgetlens.model.edits import ZeroValues
from budgetlens.registry.labels import Label
from interventions.levels.edited_values import EditedValues


@intervention("value_zeroing")
@dataclass(frozen=True)
class ValueZeroing(EditedValues):
    """Put zero in the place of the values that rows take from keys; the attention stays, unlike in a knockout.

    Level: ``rows->keys@layers/heads`` (:mod:`interventions.levels.edges`), or ``none``. Source: Mohebbi et al. 2023.
    """

    edit = ZeroValues
    sample_levels: ClassVar[tuple[str, ...]] = (
        "decoder->document@all",
        "predicting->document@0%-50%/h1",
        "document->document@all",
        "predicting->document@0/h1@1/h0+2",
    )

    @classmethod
    def label(cls, level: str) -> Label:
        """Whose values are zeroed for which rows, and where."""
        own = cls.parse(level)
        if own.edges is None:
            return Label("", "no values zeroed", rest=True)
        return Label(f"zero values: {own.edges.words}", f"values of zero from {own.edges.words}")
