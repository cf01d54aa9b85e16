"""Attention budgets of two cells, mirrored layer by layer, with what changes in points: SVG made from the data alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from markupsafe import Markup

from budgetlens.model.roles import ROLE_LABELS
from budgetlens.report.page import render
from figures.labels import lines_of
from figures.ledger import BLOCK_WORDS, known_roles
from figures.panels import folded
from figures.theme import ROLE_COLOURS, luminance, mixed

#: Layers of one block that have a row each; of more, every n-th has.
MOST_LAYERS = 32
#: Narrowest band that holds its share as a number, in pixels.
NUMBERED = 30


@dataclass(frozen=True)
class Side:
    """One of the two cells: its name, its words, and its outcome in words."""

    cell: str
    words: str
    outcome: str


@dataclass(frozen=True)
class Form:
    """Where things stand, in pixels: half a budget's width, what stands between the halves and beside them."""

    look: str
    width: int
    half: int
    centre: int
    row: int
    narrow: bool


FORMS = (
    Form("wide", width=1000, half=390, centre=408, row=26, narrow=False),
    Form("middle", width=800, half=304, centre=322, row=26, narrow=False),
    Form("narrow", width=350, half=112, centre=130, row=22, narrow=True),
)
#: From the middle to where each half begins: the layer's number stands between them.
GUTTER = 18


def mirrored_pictures(
    shares: pd.DataFrame, sides: tuple[Side, Side], heading: str, foot: str
) -> tuple[Markup, ...]:
    """The decoder's budgets of a baseline (left) and a treatment (right), in each of :data:`FORMS`.

    Args:
        shares: columns cell, block, layer, role, mean (a fraction of attention), of the decoder.
        sides: baseline and treatment.
        heading, foot: what a picture says above and below that is copied out of its page.
    """
    return tuple(_picture(shares, sides, heading, foot, form) for form in FORMS)


def _picture(shares: pd.DataFrame, sides: tuple[Side, Side], heading: str, foot: str, form: Form) -> Markup:
    wanted = shares[shares["cell"].isin([side.cell for side in sides])]
    present = wanted.groupby("role", observed=True)["mean"].max()
    roles = [role for role in known_roles(list(wanted["role"]), "mirrored budgets") if present[role] > 0]
    keys, room = _legend(roles, form)
    lines = [lines_of(side.words, int(form.half / 6.8))[:3] for side in sides]
    outcomes = [folded(side.outcome, int(form.half / 5.8)) for side in sides]
    names = 15 * max(map(len, lines))
    top = room + names + 15 * max(map(len, outcomes)) + 8
    blocks = []
    for block in [name for name in BLOCK_WORDS if name in set(wanted["block"])]:
        own = wanted[wanted["block"] == block]
        blocks.append(_block(own, block, sides, roles, top, form))
        top = blocks[-1]["bottom"] + 14
    return render(
        "mirrored.svg",
        form=form,
        gutter=GUTTER,
        keys=keys,
        room=room,
        names=room + names,
        sides=list(zip(lines, outcomes, strict=True)),
        blocks=blocks,
        several=len(blocks) > 1,
        height=top - 8,
        heading=folded(heading, int(form.width / 8.2)),
        foot=folded(foot, int(form.width / 6.2)),
        told=f"Shares of the answer's attention by role and layer: {sides[0].words}, and {sides[1].words}",
    )


def _legend(roles: Sequence[str], form: Form) -> tuple[list[dict[str, Any]], int]:
    """The roles with their colours, in lines; and what these take."""
    keys, x, y = [], 0, 12
    for role in roles:
        words = ROLE_LABELS[role].short
        width = 22 + 7 * len(words) + 14
        if x and x + width > form.width:
            x, y = 0, y + 18
        keys.append({"x": x, "y": y, "words": words, "role": role, "colour": ROLE_COLOURS[role]})
        x += width
    return keys, y + 14


def _block(
    own: pd.DataFrame, block: str, sides: tuple[Side, Side], roles: Sequence[str], top: int, form: Form
) -> dict[str, Any]:
    means = own.pivot_table(index="layer", columns=["cell", "role"], values="mean", observed=True).fillna(0.0)
    layers = sorted(means.index)
    layers = layers[:: -(-len(layers) // MOST_LAYERS)]
    begin = top + 18
    rows = []
    for number, layer in enumerate(layers):
        found = [
            {role: float(means.loc[layer].get((side.cell, role), 0.0)) for role in roles} for side in sides
        ]
        changes = {role: found[1][role] - found[0][role] for role in roles}
        most = max(changes, key=lambda role: abs(changes[role]))
        rows.append(
            {
                "layer": int(layer),
                "y": begin + number * form.row,
                "left": _bands(found[0], -1, form),
                "right": _bands(found[1], 1, form),
                "change": _points(changes[most]),
                "role": most,
                "words": ROLE_LABELS[most].short,
                "colour": ROLE_COLOURS[most],
            }
        )
    return {"words": BLOCK_WORDS[block], "rows": rows, "top": top, "bottom": begin + len(rows) * form.row + 4}


def _bands(shares: Mapping[str, float], sign: int, form: Form) -> list[dict[str, Any]]:
    """The bands of one half, from the middle outwards."""
    bands, used = [], 0.0
    for role, share in shares.items():
        width = share * form.half
        begin = form.centre + sign * (GUTTER + used) - (width if sign < 0 else 0.0)
        bands.append(
            {
                "colour": ROLE_COLOURS[role],
                "ink": ink_on(ROLE_COLOURS[role]),
                "x": round(begin, 1),
                "width": round(width, 1),
                "number": f"{100 * share:.0f}" if width >= NUMBERED else "",
                "told": f"{ROLE_LABELS[role].short} {100 * share:.1f} %",
            }
        )
        used += width
    return bands


def ink_on(colour: str) -> str:
    """Black or white, whichever is better read on a #RRGGBB colour."""
    light = luminance(*mixed(((0.0, colour), (1.0, colour)), 0.0))
    return "#000000" if (light + 0.05) ** 2 >= 0.05 * 1.05 else "#ffffff"


def _points(change: float) -> str:
    return f"{100 * change:+.1f}".replace("-", "−")
