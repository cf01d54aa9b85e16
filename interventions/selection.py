"""Selection: the decoder sees some positions of the document, whose states were made with all of it there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

from budgetlens.design.intervention import Context, Intervention, LevelError, intervention
from budgetlens.model.keeping import GRADIENT, SCORES, Keep
from budgetlens.model.observation import available_probes, scoring_probes
from budgetlens.model.trials import Trial
from budgetlens.registry.labels import Label
from interventions.levels.values import at_least, known_name, whole_number

NONE = "none"


def scores() -> tuple[str, ...]:
    """By what positions can be chosen: place, chance, and what the model says of them."""
    return (*SCORES, *scoring_probes(), GRADIENT)


@dataclass(frozen=True)
class _Choice(Intervention):
    """Some positions of the document by a score: ``SCORE:K``, or ``SCORE:K%`` for K percent of them, rounded up."""

    #: What random numbers are drawn for, and whether what is chosen is hidden, and not what is left.
    purpose: ClassVar[str] = "keep"
    removes: ClassVar[bool] = False

    score: str = NONE
    amount: int = 100
    percent: bool = True

    def __post_init__(self) -> None:
        known_name(self.score, "score of positions", (NONE, *scores()))
        at_least(self.amount, "the number of positions that are chosen", least=1)
        if self.percent and self.amount > 100:
            raise LevelError(f"at most 100 % of the document is chosen; got {self.amount} %")

    @classmethod
    def parse(cls, level: str) -> Self:
        """From ``none`` or ``SCORE:K`` or ``SCORE:K%``; LevelError with the known scores otherwise."""
        score, colon, amount = level.partition(":")
        known_name(score, "score of positions", (NONE, *scores()))
        if (score == NONE) == bool(colon):
            raise LevelError(
                f"a selection is none, or a score with a number behind a colon, as in first:20%; got {level!r}"
            )
        if not colon:
            return cls()
        what = f"the number of positions in {level}"
        return cls(score, whole_number(amount.removesuffix("%"), what, least=1), amount.endswith("%"))

    @property
    def words(self) -> str:
        """How much of the document is chosen, and by which score."""
        amount = f"{self.amount} %" if self.percent else f"{self.amount} tokens"
        if self.score in SCORES:
            return f"{self.score} {amount} of the document"
        made = available_probes().get(self.score)
        by = "gradient × input" if made is None else made.declares.label.short
        return f"highest {amount} of the document by {by}"

    def apply(self, trial: Trial, context: Context) -> Trial:
        """The trial with this selection in place of any other."""
        seed = 0
        if self.score == "random":
            seed = int(context.generator(self.purpose).integers(2**32))
        return replace(trial, keep=Keep(self.score, self.amount, self.percent, seed, self.removes))


@intervention("keep")
@dataclass(frozen=True)
class Selection(_Choice):
    """Hide all positions of the document from the decoder but K.

    Level: ``SCORE:K``, K positions or ``K%`` of them, rounded up; or ``none``. ``first`` and ``last`` go by place,
    ``random`` draws (``random:20%#2`` is another draw); the name of a probe whose records are by role takes the positions
    that have most by it while the model predicts the right answer with all of the document there, and ``gradient`` those
    whose states times their gradient add most to its likelihood. Prefix, separator, BOS and EOS stay as they are.
    """

    sample_levels: ClassVar[tuple[str, ...]] = ("first:4", "last:30%", "random:30%", "gradient:3")
    identity_levels: ClassVar[tuple[str, ...]] = ("none", "first:100%")

    @classmethod
    def label(cls, level: str) -> Label:
        """How much of the document is seen, and by which score."""
        own = cls.parse(level)
        if own.score == NONE or (own.percent and own.amount == 100):
            return Label("", "the whole document visible", rest=True)
        return Label(f"kept: {own.words}", f"the {own.words} kept")

    def apply(self, trial: Trial, context: Context) -> Trial:
        """The trial with this selection in place of any other."""
        return replace(trial, keep=None) if self.score == NONE else super().apply(trial, context)


@intervention("remove")
@dataclass(frozen=True)
class Removal(_Choice):
    """Hide K positions of the document from the decoder.

    Levels are those of ``keep``; here they name what is hidden. ``none`` leaves a selection that is there as it is.
    """

    sample_levels: ClassVar[tuple[str, ...]] = ("first:4", "random:30%", "gradient:2")
    identity_levels: ClassVar[tuple[str, ...]] = ("none",)
    purpose: ClassVar[str] = "remove"
    removes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.score != NONE and self.percent and self.amount == 100:
            raise LevelError(
                "at most 99 % of the document can be removed: the decoder needs something to see"
            )

    @classmethod
    def label(cls, level: str) -> Label:
        """How much of the document is hidden, and by which score."""
        own = cls.parse(level)
        if own.score == NONE:
            return Label("", "nothing of the document removed", rest=True)
        return Label(f"removed: {own.words}", f"the {own.words} removed")

    def apply(self, trial: Trial, context: Context) -> Trial:
        """The trial without these positions, in place of any other selection."""
        return trial if self.score == NONE else super().apply(trial, context)
