"""The plan of look and use: cells that are read by every ledger, and what cutting each role costs in them."""

from __future__ import annotations

from dataclasses import dataclass

from analyses.studies.encoder_by_prompt import BOS_VISIBLE
from budgetlens.design.design import Cell, Design, Factor
from budgetlens.design.effects import effect
from budgetlens.design.plan import Plan
from budgetlens.model.roles import DECODER_ROLES
from budgetlens.statistics.contrasts import Contrast
from budgetlens.statistics.quantities import Quantity

PREFIXES = {"none": "bare", "oracle": "oracle"}
PROMPTS = {"none": "no prompt", "query": "query"}
NONE = "none"


@dataclass(frozen=True)
class Place:
    """A cell that is read: what the encoder co-encoded, its prefix then hidden, and what the decoder is prompted with."""

    prefix: str
    prompt: str

    @property
    def words(self) -> str:
        """What the cell is called."""
        return f"{PREFIXES[self.prefix]}, {PROMPTS[self.prompt]}"

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles that are cut, one by one.

        Without a prompt the start is the first row itself, which a self-attention of its own could not go without.
        """
        own = DECODER_ROLES if self.prompt != NONE else ("answer",)
        return ("bos", "document", "eos", *own)

    def cell(self, role: str = "") -> Cell:
        """The cell, or the one in which the rows that predict no longer see a role, in any layer."""
        level = f"predicting->{role}@all" if role else NONE
        levels = (
            ("prefix", self.prefix),
            ("hidden", BOS_VISIBLE),
            ("prompt", self.prompt),
            ("knockout", level),
        )
        return Cell(levels, f"{self.words}, {role} cut" if role else self.words)

    def cut(self, role: str) -> Contrast:
        """The cell against itself without a role; negative: cutting it costs."""
        level = self.cell(role).factors["knockout"]
        own = effect(
            knockout=(NONE, level), prefix=self.prefix, hidden=BOS_VISIBLE, prompt=self.prompt
        ).named(f"{role} cut | {self.words}", self.words)
        return own.contrast((self.cell(), self.cell(role)))


PLACES = tuple(Place(prefix, prompt) for prefix in PREFIXES for prompt in PROMPTS)
#: The cell that the conclusion is about: what a production cache serves.
SERVED = Place("oracle", "query")
PROBES = ("budgets", "weighted", "norm", "projection", "logit", "alti")
#: The ledger that tells where rows look, and those that tell what they take, with what readers call them.
SHARE, TAKEN = (
    "budgets",
    {"norm": "norms", "weighted": "weighted attention", "projection": "projection", "alti": "ALTI+"},
)
NORM, SINK = "norm", "bos"

#: How well a ledger orders the roles as what cutting them costs does, example by example.
AGREEMENT = Quantity(
    "agreement",
    "rank correlation with the cost of cutting",
    "rank correlation, −1 to 1",
    better="higher",
    smallest_difference=0.05,
    short_unit="ρ",
)
#: What the encoder's BOS gets.
OF_SINK = Quantity(
    "of_sink", "part of the encoder's BOS", "fraction", smallest_difference=0.01, part_of_whole=True
)
#: The tables of these two, and the side of a comparison that has no order at all.
AGREEMENTS, SINKS, CHANCE = "agreement_effects", "sink_effects", "none"
#: What is compared in each: a ledger, and what it stands in the place of.
AGREEMENT_PAIRS = (*((own, SHARE) for own in TAKEN), *((own, CHANCE) for own in (SHARE, *TAKEN)))
SINK_PAIRS = tuple((own, SHARE) for own in TAKEN)


def instead(measure: str, of: str) -> str:
    """The name of a comparison: ``measure`` in the place of ``of``."""
    words = {SHARE: "attention shares", CHANCE: "no order at all", **TAKEN}
    return f"{words[measure]} instead of {words[of]}"


def plan() -> Plan:
    """The four places, each as it is and without each role; corrected within a place."""
    pairs = [(own, role) for own in PLACES for role in own.roles]
    cells = (*(own.cell() for own in PLACES), *(own.cell(role) for own, role in pairs))
    factors = (
        Factor("prefix", tuple(PREFIXES)),
        Factor("hidden", (BOS_VISIBLE,)),
        Factor("prompt", tuple(PROMPTS)),
        Factor("knockout", tuple(dict.fromkeys(cell.factors["knockout"] for cell in cells))),
    )
    return Plan(
        design=Design(factors, cells),
        rows="predicting",
        probes=PROBES,
        contrasts=tuple(own.cut(role) for own, role in pairs),
        # Of the other cells nothing but the NLL is looked at.
        share_contrasts=(),
        correction="holm",
        headline=tuple(SERVED.cut(role).name for role in SERVED.roles),
        # Where inputs have no BOS, there is none to cut.
        allow_idle=True,
        read_in=tuple(own.cell().name for own in PLACES),
    )
