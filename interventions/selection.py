"""Selection: the decoder sees some positions of the document, whose states were made with all of it there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

from budgetlens.design.intervention import Context, Intervention, LevelError, intervention
from budgetlens.model.keeping import SCORES, Keep
from budgetlens.model.trials import Trial
from budgetlens.registry.labels import Label
from interventions.levels.values import at_least, known_name, whole_number


@intervention("keep")
@dataclass(frozen=True)
class Selection(Intervention):
    """Hide all positions of the document from the decoder but K.

    Level: ``SCORE:K``, K positions or ``K%`` of them, rounded up; or ``none``. ``first`` and ``last`` go by place,
    ``random`` draws (``random:20%#2`` is another draw). Prefix, separator, BOS and EOS stay as they are.
    """

    sample_levels: ClassVar[tuple[str, ...]] = ("first:4", "last:30%", "random:30%")
    identity_levels: ClassVar[tuple[str, ...]] = ("none", "first:100%")

    score: str = "none"
    amount: int = 100
    percent: bool = True

    def __post_init__(self) -> None:
        known_name(self.score, "score of positions", ("none", *SCORES))
        at_least(self.amount, "the number of positions that are kept", least=1)
        if self.percent and self.amount > 100:
            raise LevelError(f"at most 100 % of the document is kept; got {self.amount} %")

    @classmethod
    def parse(cls, level: str) -> Self:
        """From ``none`` or ``SCORE:K`` or ``SCORE:K%``; LevelError with the known scores otherwise."""
        score, colon, amount = level.partition(":")
        known_name(score, "score of positions", ("none", *SCORES))
        if (score == "none") == bool(colon):
            raise LevelError(
                f"keep is none, or a score with a number behind a colon, as in first:20%; got {level!r}"
            )
        if not colon:
            return cls()
        what = f"the number of positions in keep={level}"
        return cls(score, whole_number(amount.removesuffix("%"), what, least=1), amount.endswith("%"))

    @classmethod
    def label(cls, level: str) -> Label:
        """How much of the document is seen, and by which score."""
        own = cls.parse(level)
        if own.score == "none" or (own.percent and own.amount == 100):
            return Label("", "the whole document visible", rest=True)
        amount = f"{own.amount} %" if own.percent else f"{own.amount} tokens"
        words = f"{own.score} {amount} of the document"
        return Label(f"kept: {words}", f"the {words} kept")

    def apply(self, trial: Trial, context: Context) -> Trial:
        """The trial with this selection in place of any other."""
        if self.score == "none":
            return replace(trial, keep=None)
        seed = int(context.generator("keep").integers(2**32)) if self.score == "random" else 0
        return replace(trial, keep=Keep(self.score, self.amount, self.percent, seed))
