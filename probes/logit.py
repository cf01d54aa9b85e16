"""Logit attribution: what every role, head and layer, and everything else, adds to the logit of the answer's token."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from einops import rearrange

from budgetlens.model.declaration import Declaration
from budgetlens.model.observation import AtSite, probe
from budgetlens.model.roles import ROLES
from budgetlens.statistics.quantities import Quantity

if TYPE_CHECKING:
    from torch import Tensor

    from budgetlens.model.attention import Site
    from budgetlens.model.stream import Stream
    from budgetlens.model.sublayer import Sublayer

#: What a layer puts into the stream that no head takes from a key, and the block that it is told under.
REST = ("mlp", "bias", "edit", "shift")
REST_BLOCK = "rest"
#: What enters the first layer, and what is added behind the last; their block, which has the layer 0 alone.
ENDS = ("embedding", "head_bias", "final_shift")
ENDS_BLOCK = "ends"


@probe("logit")
@dataclass(frozen=True)
class Logit:
    """What each part of the residual stream adds to the logit of the answer's next token, before a soft cap.

    ``logit`` is of the token itself, ``margin`` of it less the likeliest other one, which no constant that is added to all
    logits changes. The final norm, and in post-norm families every norm behind the part, is held at the scale that it had.
    By head and role; in the block ``rest``, layer by layer, what no head takes from a key: ``mlp``, ``bias`` of projections,
    ``edit`` of outputs and states, ``shift`` of norms; in the block ``ends``, ``embedding``, ``head_bias`` and the final
    norm's ``final_shift``. All parts of all layers sum to the logit. Always of the rows that predict the answer.
    """

    declares = Declaration(
        title="Logit attribution",
        quantities=(
            Quantity("logit", "target logit", "logits"),
            Quantity(
                "margin",
                "logit margin",
                "logits",
                smallest_difference=0.1,
                bound_unit="logits",
            ),
        ),
        axis="role",
        estimand="mean over examples of what each part adds to the logit at the rows that predict the answer, heads added",
        categories=(*ROLES, *REST, *ENDS),
        adds_heads=True,
        contributes=True,
        head_maps=("document", "bos"),
        labels={
            "mlp": "MLP",
            "edit": "edit of outputs or states",
            "shift": "shift of the norms",
            "head_bias": "bias of the head",
            "final_shift": "shift of the final norm",
        },
        plural="parts of the logit",
    )

    def categories(self, site: Site) -> tuple[str, ...]:
        """The parts at this site."""
        parts = {REST_BLOCK: REST, ENDS_BLOCK: ENDS, "joint": ()}
        return parts.get(site.block, site.roles)

    def keep(self, sublayer: Sublayer) -> Tensor:
        """Σ α·v by head and role: batch × row × head × role × value width."""
        return sublayer.mixture.by_role

    def observe_stream(self, stream: Stream) -> Iterable[AtSite]:
        """``logit`` and ``margin`` of every step, of the embedding and of what the end adds."""
        target, rival = (stream.head.directions(ids) for ids in (stream.targets, stream.rivals))
        bias, other = (stream.head.biases(ids) for ids in (stream.targets, stream.rivals))
        logits = self._parts(stream, target, bias)
        margins = self._parts(stream, target - rival, bias - other)
        for (site, categories, by_head, values), (*_, above) in zip(logits, margins, strict=True):
            yield AtSite(site, categories, by_head, {"logit": values, "margin": above})

    def _parts(
        self, stream: Stream, direction: Tensor, bias: Tensor
    ) -> Iterator[tuple[Site, tuple[str, ...], bool, Tensor]]:
        """Site, categories, whether by head, and the products of one direction of the head's input."""
        import torch

        from budgetlens.model.attention import Site
        from budgetlens.model.sublayer import product, role_products

        last = max(step.site.layer for step in stream.steps)
        first = stream.at_end(direction)
        rest = {layer: dict.fromkeys(REST, torch.zeros_like(bias)) for layer in range(last + 1)}
        for step, behind, output, before in stream.backwards(direction):
            first, own = before, rest[step.site.layer]
            own["shift"] = own["shift"] + step.shift(behind)
            own["edit"] = own["edit"] + product(step.edit, output)
            if step.projection is not None:
                own["bias"] = own["bias"] + product(step.bias, output)
                mixed = step.kept[self]
                roles = role_products(mixed, step.weight(mixed.shape[2]), output)
                by_head = rearrange(roles, "batch row head role -> batch head row role")
                yield step.site, step.site.roles, True, by_head
            elif step.edit is None:
                own["mlp"] = own["mlp"] + product(step.output, output)
        for layer, own in rest.items():
            yield Site("decoder", REST_BLOCK, layer), REST, False, _stacked(own.values())
        ends = (product(stream.embedding, first), bias, stream.final_shift(direction))
        yield Site("decoder", ENDS_BLOCK, 0), ENDS, False, _stacked(ends)


def _stacked(parts: Iterable[Tensor]) -> Tensor:
    """Parts batch × row as batch × 1 × row × part."""
    import torch

    return rearrange(torch.stack(list(parts), dim=-1), "batch row part -> batch 1 row part")
