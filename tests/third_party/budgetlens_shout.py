"""An intervention and a probe from another distribution."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from budgetlens.design.intervention import Context, Intervention, intervention
from budgetlens.model.attention import RowAttention, Site
from budgetlens.model.declaration import Declaration
from budgetlens.model.observation import probe
from budgetlens.model.trials import Segment, Trial
from budgetlens.statistics.quantities import Quantity


@intervention("shout")
@dataclass(frozen=True)
class Shout(Intervention):
    """Write the answer in capitals, a number of times."""

    sample_levels = ("", "loud:2")
    identity_levels = ("none",)

    how: str = "loud"
    times: int = 1

    def apply(self, trial: Trial, context: Context) -> Trial:
        if self.how == "none":
            return trial
        text = " ".join([trial.example.answer.upper()] * self.times)
        return replace(trial, decoder=(*trial.decoder[:-1], Segment("answer", text=text)))


@probe("peak")
@dataclass(frozen=True)
class Peak:
    """The largest share that any one role gets, to the power of a number."""

    power: int = 1

    declares = Declaration(
        title="Largest share",
        quantities=(Quantity("peak", "largest share", "fraction of attention", smallest_difference=0.01),),
        axis="part",
    )

    def categories(self, site: Site) -> tuple[str, ...]:
        return ("all",)

    def observe(self, attention: RowAttention) -> Mapping[str, Tensor]:
        shares = attention.mass(tuple((role,) for role in attention.site.roles))
        return {"peak": torch.amax(shares, dim=-1, keepdim=True) ** self.power}
