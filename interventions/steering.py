"""Steering: a given direction is added to the states of some roles."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Self

from budgetlens.design.intervention import Context, Intervention, LevelError, intervention
from budgetlens.model.direction_files import document_digest
from budgetlens.model.states import AddDirection, Direction
from budgetlens.model.trials import ExampleError, Trial
from interventions.levels.donors import Place, parse_place

_FORM = "'roles:strength:file@where', for example 'document:4:directions/query.npy@final' or 'predicting:-2:d.npy@5'"

#: Why an example is left out.
MADE_FROM = "the direction that steers was made from their document"


@intervention("steering")
@dataclass(frozen=True)
class Steering(Intervention):
    """Add strength × direction to the states of roles.

    Level: ``roles:strength:file@where``, or ``none``. ``file`` is a ``.npy``, or a ``.safetensors`` or ``.pt`` that
    holds one tensor: one number per unit of the model's width, added as it is, without scaling. ``where`` is
    ``final`` (the encoder states that the decoder is given) or a window of layers, at whose output the direction
    is added: the encoder's for encoder roles, the decoder's for ``start``, ``prompt``, ``answer`` and
    ``predicting`` (the rows whose logits predict the answer). Strength 0 changes nothing.

    A file that ``bl.direction`` has made knows the documents from whose states it was made: examples that have one of these
    are left out of all cells, so that no direction is tested on what it was made from.
    """

    # There is no direction that fits every model, so that the conformance suite is given files by its tests.
    sample_levels: ClassVar[tuple[str, ...]] = ()
    identity_levels: ClassVar[tuple[str, ...]] = ("none",)

    place: Place | None = None
    strength: float = 0.0
    path: Path = Path()

    @classmethod
    def parse(cls, level: str) -> Self:
        """From ``none`` or ``roles:strength:file@where``; LevelError for another form or a missing file."""
        if level == "none":
            return cls()
        what, at, where = level.rpartition("@")
        roles, _, rest = what.partition(":")
        number, _, name = rest.partition(":")
        try:
            strength = float(number)
        except ValueError:
            strength = math.nan
        if not at or not name or not math.isfinite(strength):
            raise LevelError(f"{level!r} names no direction and place; give {_FORM}")
        if not Path(name).is_file():
            raise LevelError(f"there is no file {name}; give {_FORM}")
        return cls(parse_place(roles, where, decoder=True), strength, Path(name))

    @cached_property
    def direction(self) -> Direction:
        """The direction; one object for all trials, so that its file is read once."""
        return Direction(self.path)

    def apply(self, trial: Trial, context: Context) -> Trial:
        """The trial with these state edits besides its others.

        Raises ExampleError where the direction was made from the example's document, StateError for a damaged file.
        """
        if self.place is None:
            return trial
        if document_digest(trial.example.document) in self.direction.documents:
            raise ExampleError(
                f"example {trial.example.identifier!r}: the direction {self.path} was made from its document",
                MADE_FROM,
            )
        edits = [
            AddDirection(self.place.roles, self.place.stack, layer, (), self.direction, self.strength)
            for layer in self.place.layers(context)
        ]
        return replace(trial, states=(*trial.states, *edits))

    def files(self) -> tuple[Path, ...]:
        """The direction's file."""
        return () if self.place is None else (self.path,)
