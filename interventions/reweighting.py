"""Reweighting: a role's weight in the softmax is multiplied by a factor."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, Self

from budgetlens.design.intervention import Context, Intervention, LevelError, intervention
from budgetlens.model.edits import ReweightKeys
from budgetlens.model.trials import Trial
from interventions.levels.edges import EdgeChoice, parse_edges


@intervention("reweighting")
@dataclass(frozen=True)
class Reweighting(Intervention):
    """Multiply what rows give to keys by a factor before the softmax is normalised.

    Level: ``rows->keys*factor@layers/heads`` (:mod:`interventions.levels.edges`), or ``none``. A mass m becomes
    f·m / (1 − m + f·m): factor 1 changes nothing, factor 0 is a knockout.
    """

    sample_levels: ClassVar[tuple[str, ...]] = (
        "predicting->document*3@all",
        "predicting->bos*0@0%-50%",
        "document->eos*4@all/h0",
        "predicting->document*3@0/h1@1/h0+2",
    )
    identity_levels: ClassVar[tuple[str, ...]] = ("none", "predicting->document*1@all")

    edges: EdgeChoice | None = None
    factor: float = 1.0

    @classmethod
    def parse(cls, level: str) -> Self:
        """From ``none`` or ``rows->keys*factor@layers/heads``; LevelError with that form otherwise."""
        if level == "none":
            return cls()
        edges, star, rest = level.partition("*")
        factor, at, where = rest.partition("@")
        try:
            value = float(factor)
        except ValueError:
            value = math.nan
        if not star or not 0 <= value < math.inf:
            raise LevelError(
                f"{level!r} has no factor of 0 or more; give 'rows->keys*factor@layers/heads', for example "
                "'predicting->bos*0.5@20-33'"
            )
        return cls(parse_edges(edges + at + where), value)

    def apply(self, trial: Trial, context: Context) -> Trial:
        """The trial with these edits besides its others."""
        if self.edges is None:
            return trial
        edits = self.edges.edits(partial(ReweightKeys, factor=self.factor), context)
        return replace(trial, edits=(*trial.edits, *edits))
