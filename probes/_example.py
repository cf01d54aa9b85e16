"""A file to copy: without the underscore in its name, `budgetlens list probes` shows what it defines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from budgetlens import Declaration, Probe, Quantity, probe

if TYPE_CHECKING:  # what is declared loads without torch
    from torch import Tensor

    from budgetlens.model.attention import RowAttention, Site


@probe("strongest")  # its name: --probes budgets,strongest:count=3; the records lie in RUN/records/strongest
@dataclass(frozen=True)  # frozen: a probe has no state
class Strongest(Probe):
    """Share of a row's attention on its strongest keys, between 0 and 1."""  # the first line stands in the list

    count: int = 5  # a parameter, with its default; read from text by its type

    declares = Declaration(
        title="Strongest keys",  # heads its tables and figures
        quantities=(
            Quantity(
                name="strongest",  # a column of the records, and the key that `observe` returns
                label="share of the strongest keys",  # as in: the treatment lowers the …
                unit="fraction of attention",
                # Neither way is better: verdicts are *falls* and *rises*; with "lower" or "higher" *helps* and *hurts*.
                better="",
                smallest_difference=0.01,  # the smallest that matters; without one, differences are not tested
                part_of_whole=True,  # told in percent and points
            ),
        ),
        axis="keys",  # the column that tells the categories apart
        categories=("strongest",),  # the order in which they are shown
    )

    def categories(self, site: Site) -> tuple[str, ...]:
        """The categories at a site; none where the probe reads nothing there."""
        return ("strongest",) if site.stack == "decoder" else ()

    def observe(self, attention: RowAttention) -> Mapping[str, Tensor]:
        """Each quantity: batch × head × row × category; rows are averaged afterwards.

        `attention.probabilities` is batch × head × row × key and sums to 1; `attention.call` has queries, keys, values,
        output projection, roles, ids and positions, and `attention.rows` the places of these rows in it.
        """
        count = min(self.count, attention.probabilities.shape[-1])
        strongest = attention.probabilities.topk(count, dim=-1).values
        return {"strongest": strongest.sum(dim=-1, keepdim=True)}
