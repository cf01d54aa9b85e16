"""Knockout: attention from chosen rows to chosen keys is cut while the model runs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

from budgetlens.design.intervention import Context, Intervention, intervention
from budgetlens.model.edits import HideKeys, KeepKeys
from budgetlens.model.trials import Trial
from budgetlens.registry.labels import Label
from interventions.levels.edges import EdgeChoice, parse_edges


@intervention("knockout")
@dataclass(frozen=True)
class Knockout(Intervention):
    """Cut the attention from rows to keys in chosen layers and heads; the rest of the softmax fills up.

    Level: ``rows->keys@layers/heads`` (:mod:`interventions.levels.edges`), or ``none``. ``all-bos`` as keys cuts every
    key but the BOS, in the softmaxes in which there can be one. Unlike ``hidden``, which hides keys from every
    row of the decoder in every layer, it chooses. Source: attention knockout, Geva et al. 2023.
    """

    sample_levels: ClassVar[tuple[str, ...]] = (
        "predicting->document@all",
        "answer->bos@0-1/h0+2",
        "predicting->all-document@50%-100%",
        "document->eos@all",
        "predicting->document@0/h1@1/h0+2",
    )
    identity_levels: ClassVar[tuple[str, ...]] = ("none",)

    edges: EdgeChoice | None = None

    @classmethod
    def parse(cls, level: str) -> Self:
        """From ``none`` or ``rows->keys@layers/heads``; LevelError with that form otherwise."""
        return cls(None if level == "none" else parse_edges(level, all_but=True))

    @classmethod
    def label(cls, level: str) -> Label:
        """Which keys are unseen by which rows, and where."""
        own = cls.parse(level)
        if own.edges is None:
            return Label("", "nothing cut", rest=True)
        return Label(f"cut: {own.edges.words}", f"the attention cut from {own.edges.words}")

    def apply(self, trial: Trial, context: Context) -> Trial:
        """The trial with these edits besides its others."""
        if self.edges is None:
            return trial
        kind = KeepKeys if self.edges.all_but else HideKeys
        return replace(trial, edits=(*trial.edits, *self.edges.edits(kind, context)))
