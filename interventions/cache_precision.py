"""Cache precision: the encoder's states as a smaller cache would give them back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

from budgetlens.design.intervention import Context, Intervention, intervention
from budgetlens.model.roles import ENCODER_ROLES
from budgetlens.model.states import PRECISIONS, RoundStates
from budgetlens.model.trials import Trial
from budgetlens.registry.labels import Label
from interventions.levels.values import known_name


@intervention("cache")
@dataclass(frozen=True)
class CachePrecision(Intervention):
    """Put the encoder's final states through a lower precision and back, before the decoder is given them.

    Level: ``bfloat16``; ``int8`` or ``int4``, symmetric, scaled by each position's largest absolute value; or ``none``. What
    is computed from them is computed in the model's own precision. Name this factor behind those that change states.
    """

    sample_levels: ClassVar[tuple[str, ...]] = ("int8", "int4")
    identity_levels: ClassVar[tuple[str, ...]] = ("none",)

    precision: str = "none"

    def __post_init__(self) -> None:
        known_name(self.precision, "cache precision", ("none", *PRECISIONS))

    @classmethod
    def known_levels(cls) -> tuple[str, ...]:
        """All there are."""
        return ("none", *PRECISIONS)

    @classmethod
    def parse(cls, level: str) -> Self:
        """From the name of a precision; LevelError with the known ones otherwise."""
        return cls(level)

    @classmethod
    def label(cls, level: str) -> Label:
        """The precision in which states are kept."""
        own = cls.parse(level)
        if own.precision == "none":
            return Label("", "a cache in the model's own precision", rest=True)
        return Label(f"cache: {own.precision}", f"a cache in {own.precision}")

    def apply(self, trial: Trial, context: Context) -> Trial:
        """The trial whose decoder is given rounded states."""
        if self.precision == "none":
            return trial
        edit = RoundStates(frozenset(ENCODER_ROLES), "encoder", None, (), self.precision)
        return replace(trial, states=(*trial.states, edit))
