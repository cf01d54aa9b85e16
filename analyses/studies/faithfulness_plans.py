"""The plan of the faithfulness bench: document tokens removed, or alone kept, by each measure, by chance and by gradient."""

from __future__ import annotations

from dataclasses import dataclass

from budgetlens.design.design import Cell, Design, Factor
from budgetlens.design.effects import Effect, mean, place
from budgetlens.design.plan import Plan
from budgetlens.model.keeping import GRADIENT, MODEL_SCORES
from budgetlens.statistics.contrasts import Contrast

#: Percent of the document's tokens; the area over the curve is the mean over these (DeYoung et al. 2020, section 4).
AMOUNTS = (1, 5, 10, 20, 50)
#: Permutations by which tokens are chosen at random.
DRAWS = 3
RANDOM = "random"
#: The measures by the names of their probes, with what they are called.
MEASURES = {
    "attention": "attention share",
    "weighted": "weighted attention",
    "norm": "norms",
    "projection": "projection",
    "logit": "logit margin",
    "alti": "ALTI+",
    GRADIENT: "gradient × input",
}
LABELS = {**MEASURES, RANDOM: "random tokens"}
SHARE, NORM = "attention", "norm"
_HELD = {"prompt": "query"}
_NONE = "none"


@dataclass(frozen=True)
class Mode:
    """What is done with the chosen tokens: the factor that does it, its words, and whether a good choice costs more."""

    factor: str
    words: str
    costs: bool

    def level(self, measure: str, amount: int, draw: int = 0) -> str:
        """The level that chooses so many percent by a measure."""
        # All measures are read where the right answer is predicted.
        rows = ":predicting" if measure in MODEL_SCORES else ""
        return f"{measure}:{amount}%{rows}" + (f"#{draw}" if draw else "")

    def levels(self, measure: str, amount: int) -> list[str]:
        """One level, or as many as there are draws."""
        draws = range(1, DRAWS + 1) if measure == RANDOM else (0,)
        return [self.level(measure, amount, draw) for draw in draws]

    def factors(self, level: str) -> dict[str, str]:
        """The levels of a cell by factor."""
        return {**_HELD, "keep": _NONE, "remove": _NONE, self.factor: level}

    def at(self, measure: str, amount: int) -> Effect:
        """The cells of one measure and amount, draws averaged."""
        other = {own.factor: _NONE for own in MODES if own is not self}
        return place(**_HELD, **other, **{self.factor: self.levels(measure, amount)})

    def area(self, measure: str) -> Effect:
        """The mean over all amounts."""
        return mean(*(self.at(measure, amount) for amount in AMOUNTS))

    def cost(self, measure: str) -> Effect:
        """The whole document against the choice of a measure; negative: it costs."""
        whole = place(**_HELD, **{own.factor: _NONE for own in MODES})
        return (whole - self.area(measure)).named(f"{self.words} by {LABELS[measure]}", self.words)

    def beside(self, measure: str, other: str) -> Effect:
        """The choice of ``other`` against that of a measure; negative: the measure's costs more."""
        return (self.area(other) - self.area(measure)).named(
            f"{self.words} by {LABELS[measure]} instead of {LABELS[other]}",
            f"{self.words}, against {LABELS[other]}",
        )


REMOVE = Mode("remove", "removing the highest tokens", costs=True)
KEEP = Mode("keep", "keeping only the highest tokens", costs=False)
MODES = (REMOVE, KEEP)


def cell(mode: Mode, measure: str, amount: int, draw: int = 0) -> Cell:
    """The cell of one choice."""
    level = mode.level(measure, amount, draw)
    words = f"{mode.factor} {amount} % by {LABELS[measure]}" + (f" {draw}" if draw else "")
    return Cell(tuple(mode.factors(level).items()), words)


WHOLE = Cell(tuple(REMOVE.factors(_NONE).items()), "whole document")


def effects() -> tuple[Effect, ...]:
    """What each measure's choice costs, and what it costs beside a random one and beside that of attention shares."""
    found: list[Effect] = []
    for mode in MODES:
        found += [mode.cost(measure) for measure in LABELS]
        found += [mode.beside(measure, RANDOM) for measure in MEASURES]
        found += [mode.beside(measure, SHARE) for measure in MEASURES if measure != SHARE]
    return tuple(found)


def plan() -> Plan:
    """The whole document, and every measure, amount and draw, removed and kept."""
    draws = {measure: range(1, DRAWS + 1) if measure == RANDOM else (0,) for measure in LABELS}
    cells = (
        WHOLE,
        *(
            cell(mode, measure, amount, draw)
            for mode in MODES
            for measure in LABELS
            for amount in AMOUNTS
            for draw in draws[measure]
        ),
    )
    names = ("prompt", "keep", "remove")
    factors = tuple(Factor(name, tuple(dict.fromkeys(own.factors[name] for own in cells))) for name in names)
    contrasts: tuple[Contrast, ...] = tuple(own.contrast(cells) for own in effects())
    return Plan(
        design=Design(factors, cells),
        rows="predicting",
        # Measures are read where they choose; of the cells nothing but the likelihood is looked at.
        probes=(),
        contrasts=contrasts,
        share_contrasts=(),
        correction="holm",
        headline=tuple(REMOVE.beside(measure, RANDOM).name for measure in MEASURES),
    )
