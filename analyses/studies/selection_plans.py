"""The plan of select or condition: which part of the document the decoder sees, chosen by which score, of which states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analyses.studies.encoder_by_prompt import BOS_VISIBLE
from budgetlens.design.design import Cell, Design, Factor
from budgetlens.design.effects import Effect, effect
from budgetlens.design.plan import Plan
from budgetlens.model.keeping import MODEL_SCORES
from budgetlens.statistics.contrasts import Contrast

NONE = "none"
PREFIXES = {"none": "bare", "oracle": "conditioned"}
PROMPTS = {"query": "query", "none": "no prompt"}
#: Percent of the document's tokens that are kept. What is told first is of the middle one, which was fixed before any result
#: was seen; where a choice counts most, the table and the figure tell.
AMOUNTS = (10, 25, 50)
TOLD = 25


@dataclass(frozen=True)
class Score:
    """A way of choosing: its name, its words, and what stands before and behind the percentage in its level.

    ``asks_prompt`` is of those that go by what a prompt looks at, and have no cell without one.
    """

    name: str
    words: str
    start: str
    end: str = ""
    draws: int = 1
    asks_prompt: bool = False

    def levels(self, amount: int) -> list[str]:
        """The levels by which it keeps so many percent: one, or the draws of a random one."""
        level = f"{self.start}:{amount}%{self.end}"
        return [level, *(f"{level}#{draw}" for draw in range(2, self.draws + 1))]


ATTENTION = Score("attention", "attention of the prompt", "attention", asks_prompt=True)
RANDOM = Score("random", "random", "random", draws=3)
#: Rows that hold the right answer choose: nobody who has to find the answer could.
ORACLE = Score("oracle", "attention of the answer (oracle)", "attention", ":predicting")
SCORES = (
    ATTENTION,
    Score("last row", "attention of the prompt's last row", "attention", ":last", asks_prompt=True),
    Score("norm", "norms of what the prompt takes", "norm", asks_prompt=True),
    Score("first", "first", "first"),
    Score("last", "last", "last"),
    RANDOM,
    ORACLE,
)


@dataclass(frozen=True)
class Place:
    """Whose states are cached, their prefix hidden, and what the decoder is prompted with."""

    prefix: str
    prompt: str

    @property
    def words(self) -> str:
        """What the place is called."""
        return f"{PREFIXES[self.prefix]}, {PROMPTS[self.prompt]}"

    @property
    def scores(self) -> tuple[Score, ...]:
        """The scores that choose there."""
        return tuple(score for score in SCORES if self.prompt != NONE or not score.asks_prompt)

    @property
    def held(self) -> dict[str, str]:
        """The levels of the other factors."""
        return {"prefix": self.prefix, "hidden": BOS_VISIBLE, "prompt": self.prompt}

    def cell(self, keep: str = NONE) -> Cell:
        """The cell in which so much of the document is visible."""
        told = "whole document" if keep == NONE else keep
        return Cell((*self.held.items(), ("keep", keep)), f"{told}, {self.words}")

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The whole document, then every part of it by every score and draw."""
        parts = (level for score in self.scores for amount in AMOUNTS for level in score.levels(amount))
        return (self.cell(), *map(self.cell, parts))

    def cost(self, score: Score, amount: int) -> Effect:
        """The whole document against a part of it; negative: what is hidden is missed."""
        own = effect(keep=(NONE, score.levels(amount)), **self.held)
        return own.named(f"{score.name} {amount} % kept | {self.words}", f"kept | {self.words}")

    def over_random(self, score: Score, amount: int) -> Effect:
        """A random part of the document against one that a score has chosen; positive: the score's carries more."""
        own = effect(keep=(RANDOM.levels(amount), score.levels(amount)), **self.held)
        return own.named(
            f"{score.name} over random, {amount} % kept | {self.words}", f"over random | {self.words}"
        )


PLACES = tuple(Place(prefix, prompt) for prompt in PROMPTS for prefix in PREFIXES)
#: What a production cache serves: the place that the conclusion is about.
SERVED = Place("oracle", "query")
BARE = Place("none", "query")


def conditioning(score: Score | None = None, prompt: str = "query") -> Effect:
    """Bare against conditioned states, where the whole document is visible or a part that a score has chosen."""
    keep: str | list[str] = score.levels(TOLD) if score else NONE
    told = f"{score.name} {TOLD} % kept" if score else "whole document"
    own = effect(prefix=("none", "oracle"), hidden=BOS_VISIBLE, prompt=prompt, keep=keep)
    return own.named(f"conditioning, {told} | {PROMPTS[prompt]}", f"conditioning | {PROMPTS[prompt]}")


def spared(score: Score) -> Effect:
    """What a selection costs of bare states less what it costs of conditioned ones; negative: conditioning spares it."""
    own = BARE.cost(score, TOLD) - SERVED.cost(score, TOLD)
    return own.named(f"conditioning spares {score.name} {TOLD} % kept", "select and condition", order=2)


def effects() -> tuple[Effect, ...]:
    """Every cost, everything over random, conditioning where it is whole and where it is selected, and both together."""
    found: list[Effect] = []
    for place in PLACES:
        parts = [(score, amount) for score in place.scores for amount in AMOUNTS]
        found += [place.cost(*part) for part in parts]
        found += [place.over_random(*part) for part in parts if part[0] is not RANDOM]
    for prompt in PROMPTS:
        scores = Place("none", prompt).scores
        found += [conditioning(prompt=prompt), *(conditioning(score, prompt) for score in scores)]
    return (*found, *map(spared, SERVED.scores))


def headline() -> tuple[Effect, ...]:
    """What is told first, of the served place: what the model chooses over random, what parts cost, and conditioning."""
    over = [SERVED.over_random(score, TOLD) for score in SCORES if score.start in MODEL_SCORES]
    costs = [SERVED.cost(score, TOLD) for score in (RANDOM, ATTENTION, ORACLE)]
    return (*over, *costs, conditioning(), spared(ATTENTION))


def plan() -> Plan:
    """The four places with their parts of the document; corrected within a place, or within a question over places."""
    cells = tuple(cell for place in PLACES for cell in place.cells)
    factors = tuple(Factor(name, _levels_of(name, cells)) for name in cells[0].factors)
    contrasts: tuple[Contrast, ...] = tuple(own.contrast(cells) for own in effects())
    return Plan(
        design=Design(factors, cells),
        rows="predicting",
        probes=(),
        contrasts=contrasts,
        correction="holm",
        headline=tuple(own.name for own in headline()),
        # The scores of positions need a document that is longer than what is kept of it.
        allow_idle=True,
    )


def _levels_of(factor: str, cells: Sequence[Cell]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(cell.factors[factor] for cell in cells))
