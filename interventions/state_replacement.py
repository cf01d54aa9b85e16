"""State replacement: encoder states of some roles give way to zeros, a mean, or another example's states."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

from budgetlens.design.intervention import Context, Intervention, LevelError, intervention
from budgetlens.model.states import CycleStates, MeanStates, ZeroStates
from budgetlens.model.trials import Example, StateEdit, Trial
from interventions.levels.donors import Levels, Place, parse_levels, parse_place
from interventions.levels.values import known_name, whole_number

SOURCES = ("zero", "mean", "other")
_FORM = (
    "'roles<-zero@where', 'roles<-mean:8:prefix=oracle@where' or 'roles<-other:prefix=oracle@where', where 'where' is "
    "'final' or encoder layers"
)


@intervention("state_replacement")
@dataclass(frozen=True)
class StateReplacement(Intervention):
    """Put other states in the place of some roles' encoder states: prefix ablation that keeps every position.

    Levels, besides ``none``:

    * ``prefix+separator<-zero@final``: zeros.
    * ``prefix+separator<-mean:8:prefix=oracle@final``: the mean over all positions of the same role in 8 other
      examples, each run bare but for the named levels. The 8 are the first of the corpus without the example
      itself, so that the mean depends on no batch, and nearly all examples share one.
    * ``prefix+separator<-other:prefix=oracle@final``: the states of the example half a corpus away, run bare but
      for the named levels, position by position; where it has fewer, it starts again from its first, and where
      it has more, the rest is left out.

    Where a role has no position in the trial, nothing is replaced.
    """

    sample_levels: ClassVar[tuple[str, ...]] = (
        "document<-zero@final",
        "document<-mean:2@1",
        "document<-other@final",
    )
    identity_levels: ClassVar[tuple[str, ...]] = ("none",)

    source: str = "none"
    place: Place | None = None
    count: int = 0
    levels: Levels = field(default_factory=Levels)

    @classmethod
    def parse(cls, level: str) -> Self:
        """From ``none`` or one of the forms above; LevelError with them otherwise."""
        if level == "none":
            return cls()
        roles, arrow, rest = level.partition("<-")
        what, at, where = rest.rpartition("@")
        if not arrow or not at:
            raise LevelError(f"{level!r} names no replacement and place; give {_FORM}")
        source, _, donor = what.partition(":")
        known_name(source, "replacement", SOURCES)
        count = 0
        if source == "mean":
            number, _, donor = donor.partition(":")
            count = whole_number(number, "a mean's number of examples, as in 'mean:8',", least=1)
        elif source == "zero" and donor:
            raise LevelError(f"{level!r}: zeros come from no other trial; give {_FORM}")
        return cls(source, parse_place(roles, where), count, parse_levels(donor))

    def apply(self, trial: Trial, context: Context) -> Trial:
        """The trial with these state edits besides its others.

        Raises LevelError where the corpus has too few other examples.
        """
        if self.place is None:
            return trial
        present = {role for role in self.place.roles if _may_have(trial, role)}
        if not present:
            return trial
        edits = [self._edit(layer, trial, context) for layer in self.place.layers(context)]
        return replace(trial, states=(*trial.states, *edits))

    def _edit(self, layer: int | None, trial: Trial, context: Context) -> StateEdit:
        assert self.place is not None
        roles = self.place.roles
        if self.source == "zero":
            return ZeroStates(roles, "encoder", layer)
        if self.source == "mean":
            return MeanStates(roles, "encoder", layer, self._donors(self._first_others(context), context))
        other = context.other()
        if other.identifier == trial.example.identifier:
            raise LevelError("the states of another example need a corpus of two or more")
        return CycleStates(roles, "encoder", layer, self._donors([other], context))

    def _first_others(self, context: Context) -> list[Example]:
        others = [
            example
            for index, example in enumerate(context.examples[: self.count + 1])
            if index != context.index
        ][: self.count]
        if len(others) < self.count:
            raise LevelError(
                f"a mean over {self.count} other examples needs a corpus of {self.count + 1}; this one has "
                f"{len(context.examples)}"
            )
        return others

    def _donors(self, examples: list[Example], context: Context) -> tuple[Trial, ...]:
        places = {example.identifier: index for index, example in enumerate(context.examples)}
        return tuple(
            self.levels.applied(Trial.bare(example), replace(context, index=places[example.identifier]))
            for example in examples
        )


def _may_have(trial: Trial, role: str) -> bool:
    return role in ("bos", "eos") or any(segment.role == role for segment in trial.encoder)
