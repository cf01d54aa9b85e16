"""Random keys: as many keys as a knockout would cut, or as much attention, taken anywhere."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, Self

from budgetlens.design.intervention import Context, Intervention, LevelError, intervention
from budgetlens.model.random_keys import ALIKE, RandomKeys
from budgetlens.model.trials import Trial
from budgetlens.registry.labels import Label
from interventions.levels.edges import FORM, EdgeChoice, parse_edges

_WORDS = {"number": "as many random keys as", "mass": "random keys of the attention of"}


@intervention("random_keys")
@dataclass(frozen=True)
class RandomKeysCut(Intervention):
    """Cut random keys in the place of chosen ones: what cutting so many, or so much attention, costs by itself.

    Level: ``number:rows->keys@layers/heads`` cuts from each row as many random keys as it sees of those that are named;
    ``mass:rows->keys@layers/heads`` random keys that together get as much of its attention, in every head for itself, or as
    little less as can be had without the key that is too much; or ``none`` (:mod:`interventions.levels.edges`). The
    keys are drawn for every example from all that the row sees in that softmax, the named ones among them, and are the
    same in all layers; ``#2`` behind the level is another draw.
    """

    sample_levels: ClassVar[tuple[str, ...]] = (
        "number:predicting->document@all",
        "mass:predicting->document@all",
        "mass:predicting->document@0%-50%/h1",
        "number:document->document@0",
    )
    identity_levels: ClassVar[tuple[str, ...]] = ("none",)

    alike: str = "number"
    edges: EdgeChoice | None = None

    @classmethod
    def parse(cls, level: str) -> Self:
        """From ``none``, ``number:rows->keys@layers/heads`` or ``mass:…``; LevelError with that form otherwise."""
        if level == "none":
            return cls()
        alike, colon, edges = level.partition(":")
        if not colon or alike not in ALIKE:
            raise LevelError(
                f"{level!r} does not say in what random keys are like the named ones; give {' or '.join(ALIKE)}, a colon "
                f"and {FORM}"
            )
        return cls(alike, parse_edges(edges))

    @classmethod
    def label(cls, level: str) -> Label:
        """Which keys the random ones are like, and where they are cut."""
        own = cls.parse(level)
        if own.edges is None:
            return Label("", "no random keys cut", rest=True)
        words = f"{_WORDS[own.alike]} from {own.edges.words}"
        return Label(f"cut: {words}", f"{words} cut")

    def apply(self, trial: Trial, context: Context) -> Trial:
        """The trial with these edits besides its others."""
        if self.edges is None:
            return trial
        seed = int(context.generator("random_keys").integers(2**62))
        edits = self.edges.edits(partial(RandomKeys, alike=self.alike, seed=seed), context)
        return replace(trial, edits=(*trial.edits, *edits))
