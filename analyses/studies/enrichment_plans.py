"""Plans of state patching between a bare encoder pass and an enriched one.

The enrichment is what a co-encoded prefix does to the states of the other positions. Copying states of some
roles from the enriched pass into the bare one, where they leave an encoder layer, restores a share of its
effect; copying bare states into the enriched pass takes a share away.

Enriched states have seen the query, have seen a prefix of some kind, and stand where a prefix has moved them. Two further
donors tell these apart under the default protocol: a generic sentence in the query's place, and the query with the
document blind to it, which moves positions and does nothing else.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from analyses.studies.encoder_by_prompt import BOS_VISIBLE
from budgetlens.design.design import Cell, Design, Factor
from budgetlens.design.effects import effect
from budgetlens.design.plan import Plan
from budgetlens.statistics.adjustment import Correction
from budgetlens.statistics.contrasts import Contrast

#: Where states are copied: at the output of the layer that stands there in the depth of any encoder, or at the
#: end, behind the last norm. The window is one layer wide.
DEPTHS = {
    "0%-1%": "first layer",
    "25%-26%": "25 %",
    "50%-51%": "50 %",
    "75%-76%": "75 %",
    "final": "final",
}
ROLE_SETS = ("document", "bos", "eos", "bos+document+eos")
PROMPTS = ("none", "query")
#: Receiver's prefix and donor's prefix, by the name of the direction.
DIRECTIONS = {
    "enriched states into bare": ("none", "oracle"),
    "bare states into enriched": ("oracle", "none"),
}
RESTORED, LOST = DIRECTIONS
NONE = "none"
SHOWN = "document"
ALL_ROLES = ROLE_SETS[-1]
#: What the donor of enriched states was encoded with: its name and the levels that make it. Bare states have one donor.
DONORS = {
    "query": "prefix=oracle",
    "generic sentence": "prefix=generic",
    "positions alone": "prefix=oracle&prefix_attention=masked",
}
QUERY = next(iter(DONORS))


@dataclass(frozen=True)
class Patch:
    """States of ``roles`` at ``depth`` copied in one ``direction``; ``hidden`` is the level of truncation.

    ``donor`` names what enriched states come from.
    """

    direction: str
    roles: str
    depth: str
    prompt: str
    hidden: str
    donor: str = QUERY

    @property
    def cell(self) -> Cell:
        """The patched cell."""
        receiver, other = DIRECTIONS[self.direction]
        donor = DONORS[self.donor] if self.direction == RESTORED else f"prefix={other}"
        return patch_cell(receiver, self.hidden, self.prompt, f"{self.roles}<-{donor}@{self.depth}")

    @property
    def by_construction(self) -> bool:
        """Whether the decoder is given all of the donor's states and nothing else: the patched cell is the donor's."""
        return self.roles == ALL_ROLES and self.depth == "final" and self.hidden == BOS_VISIBLE

    @property
    def receiver(self) -> Cell:
        """The same cell without the patch."""
        return patch_cell(DIRECTIONS[self.direction][0], self.hidden, self.prompt)

    @property
    def contrast(self) -> Contrast:
        """The receiver against the patched cell."""
        other = "" if self.donor == QUERY else f" by {self.donor}"
        name = f"{self.direction}{other}: {self.roles}, {DEPTHS[self.depth]} | prompt={self.prompt}"
        ends = (NONE, self.cell.factors["state_patching"])
        patched = effect(state_patching=ends, prefix=DIRECTIONS[self.direction][0], prompt=self.prompt)
        return patched.named(name, f"{self.direction}{other} | prompt={self.prompt}").contrast(
            (self.receiver, self.cell)
        )


def patch_cell(prefix: str, hidden: str, prompt: str, level: str = NONE) -> Cell:
    """A cell with or without a patch."""
    short = {"none": "bare", "oracle": "oracle_trunc"}[prefix] + ("_nq" if prompt == "none" else "_q")
    levels = (("prefix", prefix), ("hidden", hidden), ("prompt", prompt), ("state_patching", level))
    return Cell(levels, short if level == NONE else f"{short}, {level}")


def patches(hidden: str) -> list[Patch]:
    """Every direction, set of roles, depth and prompt; under the default truncation the document by other donors as well.

    What makes the patched cell the donor's by construction is left out: there is nothing to find.
    """
    every = [
        Patch(direction, roles, depth, prompt, hidden)
        for prompt, direction, roles, depth in itertools.product(PROMPTS, DIRECTIONS, ROLE_SETS, DEPTHS)
    ]
    others = [
        Patch(RESTORED, SHOWN, depth, prompt, hidden, donor)
        for prompt, donor, depth in itertools.product(PROMPTS, DONORS, DEPTHS)
        if donor != QUERY and hidden == BOS_VISIBLE
    ]
    return [patch for patch in (*every, *others) if not patch.by_construction]


def enrichment_contrast(prompt: str, hidden: str) -> Contrast:
    """Bare against enriched: the whole effect."""
    ends = [patch_cell(prefix, hidden, prompt) for prefix in ("none", "oracle")]
    whole = effect(prefix=("none", "oracle"), prompt=prompt)
    return whole.named(f"oracle prefix | prompt={prompt}", "enrichment").contrast(ends)


def enrichment_plan(hidden: str, *, rows: str, probes: tuple[str, ...], correction: Correction) -> Plan:
    """The bare and the enriched cell of each prompt, and every patch between them."""
    every = patches(hidden)
    ends = [patch_cell(prefix, hidden, prompt) for prefix in ("none", "oracle") for prompt in PROMPTS]
    cells = (*ends, *(patch.cell for patch in every))
    factors = (
        Factor("prefix", ("none", "oracle")),
        Factor("hidden", (hidden,)),
        Factor("prompt", PROMPTS),
        Factor("state_patching", tuple(dict.fromkeys(cell.factors["state_patching"] for cell in cells))),
    )
    whole = tuple(enrichment_contrast(prompt, hidden) for prompt in PROMPTS)
    final = [patch.contrast.name for patch in every if patch.depth == "final" and patch.roles == SHOWN]
    return Plan(
        design=Design(factors, cells),
        rows=rows,
        probes=probes,
        contrasts=(*whole, *(patch.contrast for patch in every)),
        share_contrasts=whole,
        correction=correction,
        headline=(*(contrast.name for contrast in whole), *final),
        allow_idle=True,
    )
