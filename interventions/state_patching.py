"""State patching: encoder states of some roles come from another cell of the same example."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

from budgetlens.design.intervention import Context, Intervention, LevelError, intervention
from budgetlens.design.labels import level_label
from budgetlens.model.roles import ROLE_LABELS, ROLES
from budgetlens.model.states import CopyStates
from budgetlens.model.trials import Trial
from budgetlens.registry.labels import Label
from interventions.levels.donors import Levels, Place, parse_levels, parse_place

_FORM = "'roles<-factor=level@where', for example 'bos+document<-prefix=oracle@final' or 'document<-prefix=none@3'"


@intervention("state_patching")
@dataclass(frozen=True)
class StatePatching(Intervention):
    """Copy encoder states of roles from a donor: this trial under other levels of some factors.

    Level: ``roles<-factor=level@where``, or ``none``; further levels are joined by ``&``. ``where`` is ``final``
    (the states that the decoder is given, behind the last norm) or a window of encoder layers, counted from 0,
    at whose output the states are copied. The donor is the trial as the factors before this one made it, with
    the named levels applied; it runs in the same batch and is not altered. A role must have as many
    positions in both, which holds for the document wherever the tokenizer keeps its tokens.
    Source: activation patching, Vig et al. 2020; Meng et al. 2022.
    """

    sample_levels: ClassVar[tuple[str, ...]] = (
        "document<-prefix=oracle@final",
        "bos+document+eos<-prefix=oracle@0",
        "document<-prefix=oracle@0-1",
    )
    identity_levels: ClassVar[tuple[str, ...]] = ("none",)

    place: Place | None = None
    levels: Levels = field(default_factory=Levels)

    @classmethod
    def parse(cls, level: str) -> Self:
        """From ``none`` or ``roles<-factor=level@where``; LevelError with that form otherwise."""
        if level == "none":
            return cls()
        roles, arrow, rest = level.partition("<-")
        donor, at, where = rest.rpartition("@")
        if not arrow or not at or not donor:
            raise LevelError(f"{level!r} names no donor and place; give {_FORM}")
        return cls(parse_place(roles, where), parse_levels(donor))

    @classmethod
    def label(cls, level: str) -> Label:
        """Whose states are copied, from which donor and where."""
        own = cls.parse(level)
        if own.place is None:
            return Label("", "no states copied", rest=True)
        roles = ", ".join(ROLE_LABELS[role].short for role in ROLES if role in own.place.roles)
        donor, _, where = level.partition("<-")[2].rpartition("@")
        pairs = (part.partition("=") for part in donor.split("&"))
        told = ", ".join(level_label(factor, text).long for factor, _, text in pairs)
        place = "behind the last norm" if where == "final" else f"at layers {where}"
        return Label(f"{roles} states from {told}, {place}", f"{roles} states copied from {told}, {place}")

    def apply(self, trial: Trial, context: Context) -> Trial:
        """The trial with these state edits besides its others."""
        if self.place is None:
            return trial
        donor = self.levels.applied(trial, context)
        edits = [
            CopyStates(self.place.roles, "encoder", layer, (donor,)) for layer in self.place.layers(context)
        ]
        return replace(trial, states=(*trial.states, *edits))
