"""Value zeroing: chosen keys keep their attention and contribute nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

from budgetlens.design.intervention import Context, Intervention, intervention
from budgetlens.model.edits import ZeroValues
from budgetlens.model.trials import Trial
from budgetlens.registry.labels import Label
from interventions.levels.edges import EdgeChoice, parse_edges


@intervention("value_zeroing")
@dataclass(frozen=True)
class ValueZeroing(Intervention):
    """Put zero in the place of the values that rows take from keys; the attention stays, unlike in a knockout.

    Level: ``rows->keys@layers/heads`` (:mod:`interventions.levels.edges`), or ``none``. Source: Mohebbi et al. 2023.
    """

    sample_levels: ClassVar[tuple[str, ...]] = (
        "decoder->document@all",
        "predicting->document@0%-50%/h1",
        "document->document@all",
        "predicting->document@0/h1@1/h0+2",
    )
    identity_levels: ClassVar[tuple[str, ...]] = ("none",)

    edges: EdgeChoice | None = None

    @classmethod
    def parse(cls, level: str) -> Self:
        """From ``none`` or ``rows->keys@layers/heads``; LevelError with that form otherwise."""
        return cls(None if level == "none" else parse_edges(level))

    @classmethod
    def label(cls, level: str) -> Label:
        """Whose values are zeroed for which rows, and where."""
        own = cls.parse(level)
        if own.edges is None:
            return Label("", "no values zeroed", rest=True)
        return Label(f"zero values: {own.edges.words}", f"values of zero from {own.edges.words}")

    def apply(self, trial: Trial, context: Context) -> Trial:
        """The trial with these edits besides its others."""
        if self.edges is None:
            return trial
        return replace(trial, edits=(*trial.edits, *self.edges.edits(ZeroValues, context)))
