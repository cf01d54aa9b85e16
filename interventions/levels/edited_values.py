"""Interventions on the values that chosen rows take from chosen keys, while the attention stays where it was."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

from budgetlens.design.intervention import Context, Intervention
from budgetlens.model.edits import Edges
from budgetlens.model.trials import Trial
from interventions.levels.edges import EdgeChoice, parse_edges


@dataclass(frozen=True)
class EditedValues(Intervention):
    """Base of those whose level is ``rows->keys@layers/heads`` or ``none``; ``edit`` says what becomes of the values."""

    edit: ClassVar[type[Edges]]
    identity_levels: ClassVar[tuple[str, ...]] = ("none",)

    edges: EdgeChoice | None = None

    @classmethod
    def parse(cls, level: str) -> Self:
        """From ``none`` or ``rows->keys@layers/heads``; LevelError with that form otherwise."""
        return cls(None if level == "none" else parse_edges(level))

    def apply(self, trial: Trial, context: Context) -> Trial:
        """The trial with these edits besides its others."""
        if self.edges is None:
            return trial
        return replace(trial, edits=(*trial.edits, *self.edges.edits(self.edit, context)))
