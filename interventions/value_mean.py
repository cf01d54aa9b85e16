"""Mean values: chosen keys keep their attention and contribute what keys contribute on average."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from budgetlens.design.intervention import intervention
from budgetlens.model.edits import MeanValues
from budgetlens.registry.labels import Label
from interventions.levels.edited_values import EditedValues


@intervention("value_mean")
@dataclass(frozen=True)
class ValueMean(EditedValues):
    """Put the mean value in the place of those that rows take from keys; the attention stays, unlike in a knockout.

    Level: ``rows->keys@layers/heads`` (:mod:`interventions.levels.edges`), or ``none``. The mean is over the keys that
    the first of the rows sees, in its own softmax and layer. Nearer to what the layers above are used to than values
    of zero. Source: mean ablation, Wang et al. 2023.
    """

    edit = MeanValues
    sample_levels: ClassVar[tuple[str, ...]] = (
        "decoder->document@all",
        "predicting->document@0%-50%/h1",
        "document->document@all",
    )

    @classmethod
    def label(cls, level: str) -> Label:
        """Whose values are averaged for which rows, and where."""
        own = cls.parse(level)
        if own.edges is None:
            return Label("", "no values averaged", rest=True)
        return Label(f"mean values: {own.edges.words}", f"mean values from {own.edges.words}")
