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
    from budgetlens.model.stream import Step, Stream
    from budgetlens.model.sublayer import Sublayer

#: What a sublayer of attention puts into the stream that comes from no key.
REST = ("bias", "edit", "shift")


@probe("logit")
@dataclass(frozen=True)
class Logit:
    """What each part of the residual stream adds to the logit of the answer's next token, before a soft cap.

    ``logit`` is of the token itself, ``margin`` of it less the likeliest other one, which no constant that is added to all
    logits changes. The final norm, and in post-norm families every norm behind the part, is held at the scale that it had.
    By head and role, and of what no head writes: ``bias`` and ``shift`` of projections and norms, ``edit`` of outputs or
    states, ``mlp``, ``embedding``. All parts of all layers sum to the logit. Always of the rows that predict the answer.
    """

    declares = Declaration(
        title="Logit attribution",
        quantities=(
            Quantity("logit", "logit of the answer's token", "logits"),
            Quantity(
                "margin",
                "logit of the answer's token above the best other one",
                "logits",
                smallest_difference=0.1,
                bound_unit="logits",
            ),
        ),
        axis="role",
        estimand="mean over examples of what each part adds to the logit at the rows that predict the answer, heads added",
        categories=(*ROLES, "mlp", "embedding", *REST),
        adds_heads=True,
        contributes=True,
        head_maps=("document", "bos"),
        labels={"mlp": "MLP", "edit": "edit of outputs or states", "shift": "shift of the norm"},
        plural="parts of the logit",
    )

    def categories(self, site: Site) -> tuple[str, ...]:
        """The parts at this site."""
        parts = {"mlp": ("mlp", "shift"), "embedding": ("embedding",), "output": ("bias", "shift")}
        if site.block == "joint":
            return ()
        return parts.get(site.block, ("edit",) if site.block == "states" else (*site.roles, *REST))

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
        from budgetlens.model.attention import Site
        from budgetlens.model.stream import EMBEDDING, OUTPUT
        from budgetlens.model.sublayer import product

        first = stream.at_end(direction)
        last = max(step.site.layer for step in stream.steps)
        yield (
            Site("decoder", OUTPUT, last),
            ("bias", "shift"),
            False,
            _stacked(bias, stream.final_shift(direction)),
        )
        for step, behind, output, before in stream.backwards(direction):
            first, shift = before, step.shift(behind)
            if step.projection is not None:
                yield from self._of_attention(step, output, shift)
            elif step.edit is not None:
                yield step.site, ("edit",), False, _stacked(product(step.edit, output))
            else:
                yield step.site, ("mlp", "shift"), False, _stacked(product(step.output, output), shift)
        yield (
            Site("decoder", EMBEDDING, 0),
            ("embedding",),
            False,
            _stacked(product(stream.embedding, first)),
        )

    def _of_attention(
        self, step: Step, direction: Tensor, shift: Tensor
    ) -> Iterator[tuple[Site, tuple[str, ...], bool, Tensor]]:
        from budgetlens.model.sublayer import product, role_products

        mixed = step.kept[self]
        by_role = role_products(mixed, step.weight(mixed.shape[2]), direction)
        yield (
            step.site,
            step.site.roles,
            True,
            rearrange(by_role, "batch row head role -> batch head row role"),
        )
        rest = _stacked(product(step.bias, direction), product(step.edit, direction), shift)
        yield step.site, REST, False, rest


def _stacked(*parts: Tensor) -> Tensor:
    """Parts batch × row as batch × 1 × row × part."""
    import torch

    return rearrange(torch.stack(parts, dim=-1), "batch row part -> batch 1 row part")
