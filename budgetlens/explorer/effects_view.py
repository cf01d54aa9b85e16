"""The view of effects: the forest of a run's contrasts, of all examples or of one stratum."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pandas as pd

from budgetlens.explorer.data import RESAMPLES, RunData, subset_effects
from budgetlens.explorer.state import State
from budgetlens.explorer.strata import KINDS, level_label, mask_of
from budgetlens.explorer.views import LIGHT, Link, Listing, NothingToShow, View
from budgetlens.statistics.verdicts import SMALLEST_EFFECT
from figures import effects_forest
from figures.labels import p_value, signed
from figures.looks import Look

#: Fewest examples of a stratum that statistics are computed for.
FEWEST = 5


def effects_view(data: RunData, state: State, look: Look = LIGHT) -> View:
    """The effects of the chosen family in the chosen stratum.

    Raises NothingToShow where a stratum has too few examples.
    """
    table = effects_of(data, state)
    if state.family:
        table = table[table["family"] == state.family]
    if table.empty:
        raise NothingToShow("This run compares no cells, so that it has no effects.")
    n = int(mask_of(data, state.strata, state.stratum).sum())
    figure = effects_forest(
        table, SMALLEST_EFFECT, title=f"Effects on answer NLL: {data.title}{stratum_words(state)}", **look
    )
    return View(
        heading="Effects",
        lead="Every comparison, as baseline minus treatment: to the right of 0 the treatment helps. Choose one to "
        "see its examples.",
        figure=figure,
        listing=_listing(data, table),
        frame=table,
        notes=()
        if not state.stratum
        else (
            f"{n:,} of {len(data.nll):,} examples ({KINDS[state.strata]} {level_label(state.strata, state.stratum)}); "
            f"intervals and p from {RESAMPLES:,} resamples, corrected within each family of this stratum alone.",
        ),
    )


def effects_of(data: RunData, state: State) -> pd.DataFrame:
    """The table of effects of all examples, or of the chosen stratum."""
    if not state.stratum:
        return data.tables["effects"]
    mask = mask_of(data, state.strata, state.stratum)
    if int(mask.sum()) < FEWEST:
        raise NothingToShow(
            f"Only {int(mask.sum())} examples are in this stratum; statistics need at least {FEWEST}. Choose another one."
        )
    return _stratum_effects(_Held(data), np.packbits(mask).tobytes(), len(mask))


class _Held:
    """A run as a key of a cache: the same run is the same key."""

    def __init__(self, data: RunData) -> None:
        self.data = data

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Held) and other.data is self.data

    def __hash__(self) -> int:
        return id(self.data)


@lru_cache(maxsize=32)
def _stratum_effects(held: _Held, packed: bytes, count: int) -> pd.DataFrame:
    mask = np.unpackbits(np.frombuffer(packed, dtype=np.uint8), count=count).astype(bool)
    return subset_effects(held.data, mask, held.data.run.inference.at_most(RESAMPLES))


def stratum_words(state: State) -> str:
    """``, answer length 1-2 words`` where a stratum is chosen."""
    if not state.stratum:
        return ""
    return f", {KINDS[state.strata]} {level_label(state.strata, state.stratum)}"


def _listing(data: RunData, table: pd.DataFrame) -> Listing:
    corrected = next(name for name in ("p_holm", "p_bonferroni") if name in table.columns)
    rows = []
    for row in table.to_dict("records"):
        name = str(row["contrast"])
        rows.append(
            (
                Link("contrast", name, name) if name in data.contrasts else name,
                f"{int(row['n']):,}",
                signed(row["mean_difference"]),
                f"{signed(row['low'])} to {signed(row['high'])}",
                signed(row["d_z"], 2),
                p_value(row[corrected]),
                str(row["verdict"]),
            )
        )
    return Listing(
        caption="The same effects as a table: mean paired difference of answer NLL in nats, with its interval.",
        columns=(
            "contrast",
            "n",
            "difference",
            "95 % interval",
            "d_z",
            f"p ({corrected.removeprefix('p_').capitalize()})",
            "verdict",
        ),
        rows=tuple(rows),
        numbers=frozenset({1, 2, 3, 4, 5}),
    )
