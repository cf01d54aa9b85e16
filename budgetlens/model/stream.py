"""The residual stream of the rows that predict the answer, as the sum of what was put into it, up to the logits.

A logit is the product of the stream behind the last layer with a direction: the head's row, pulled back through the final
norm, whose scale is held. Every part of the stream has its product with that direction, and these add up to the logit
before a soft cap. In post-norm families the direction is pulled back through the norms of every sublayer behind the part.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from budgetlens.model.attention import Site
from budgetlens.model.loaded import LoadedModel
from budgetlens.model.norms import HeldNorm
from budgetlens.model.sublayer import head_weights, product, projection_bias

#: Block of what edits of states put into the stream behind a layer.
STATES = "states"


@dataclass(frozen=True, eq=False)
class Step:
    """What one sublayer, or an edit of states, puts into the stream, in the rows that predict the answer.

    ``output`` is what is put in, before ``norm`` and with ``edit`` in it; ``norm`` acts on it alone, or on the stream and
    it together where ``on_stream``. ``projection`` is the output projection of attention. ``kept`` has what probes asked
    to keep of a sublayer of attention, by the probe, batch × row × ….
    """

    site: Site
    output: Float[Tensor, "batch row width"]
    norm: HeldNorm | None = None
    on_stream: bool = False
    edit: Float[Tensor, "batch row width"] | None = None
    projection: nn.Linear | None = None
    kept: Mapping[Any, Tensor] = field(default_factory=dict)

    def before(self, direction: Float[Tensor, "batch row width"]) -> tuple[Tensor, Tensor]:
        """A direction behind this step pulled back: for the stream before it, and for what it puts in."""
        if self.norm is None:
            return direction, direction
        pulled = self.norm.transposed(direction)
        return (pulled if self.on_stream else direction), pulled

    def weight(self, heads: int) -> Float[Tensor, "head value_width width"]:
        """The output projection's part of every head."""
        assert self.projection is not None
        return head_weights(self.projection, heads)

    @property
    def bias(self) -> Float[Tensor, "1 1 width"] | None:
        """The output projection's bias; None where it has none."""
        assert self.projection is not None
        return projection_bias(self.projection)

    def shift(self, direction: Float[Tensor, "batch row width"]) -> Float[Tensor, "batch row"]:
        """The product with what the norm adds by itself."""
        own = None if self.norm is None else self.norm.map.shift
        return product(own, direction)


@dataclass(frozen=True)
class Head:
    """The output head: ``weight`` and ``bias`` by vocabulary entry, and what its input is multiplied by before."""

    weight: Float[Tensor, "vocabulary width"]
    bias: Float[Tensor, " vocabulary"] | None
    scale: float

    @classmethod
    def of(cls, model: LoadedModel) -> Head:
        """The head of a loaded model; its bias with the family's bias of the final logits."""
        own = model.model.get_output_embeddings()
        biases = [own.bias, getattr(model.model, "final_logits_bias", None)]
        found = [bias.detach().float().reshape(-1) for bias in biases if bias is not None]
        flag = model.family.head_scaled.get(model.model.config.model_type)
        scaled = flag is not None and getattr(model.model.config, flag)
        scale = own.weight.shape[1] ** -0.5 if scaled else 1.0
        return cls(own.weight.detach(), sum(found[1:], found[0]) if found else None, scale)

    def directions(self, ids: Int[Tensor, "batch row"]) -> Float[Tensor, "batch row width"]:
        """The directions of these entries' logits."""
        return self.weight[ids].float() * self.scale

    def biases(self, ids: Int[Tensor, "batch row"]) -> Float[Tensor, "batch row"]:
        """What is added to these entries' logits."""
        return torch.zeros(ids.shape, device=ids.device) if self.bias is None else self.bias[ids]


@dataclass(frozen=True, eq=False)
class Stream:
    """The stream of the rows that predict the answer: what enters the first layer, and every step behind it.

    ``last`` is the stream behind the last layer; ``final`` the norm behind that, held, or None. ``logits`` are the model's
    own, behind a soft cap where there is one.
    """

    embedding: Float[Tensor, "batch row width"]
    steps: Sequence[Step]
    last: Float[Tensor, "batch row width"]
    final: HeldNorm | None
    head: Head
    logits: Float[Tensor, "batch row vocabulary"]
    targets: Int[Tensor, "batch row"]

    @cached_property
    def rivals(self) -> Int[Tensor, "batch row"]:
        """The likeliest entry that is not the target, row by row."""
        return self.logits.scatter(-1, self.targets[:, :, None], -torch.inf).argmax(dim=-1)

    def at_end(self, direction: Float[Tensor, "batch row width"]) -> Float[Tensor, "batch row width"]:
        """A direction of the head's input pulled back to the stream behind the last layer."""
        return direction if self.final is None else self.final.transposed(direction)

    def final_shift(self, direction: Float[Tensor, "batch row width"]) -> Float[Tensor, "batch row"]:
        """The product of a direction of the head's input with what the final norm adds by itself."""
        return product(None if self.final is None else self.final.map.shift, direction)

    def backwards(
        self, direction: Float[Tensor, "batch row width"]
    ) -> Iterator[tuple[Step, Tensor, Tensor, Tensor]]:
        """Every step from the last to the first, with three directions that a direction of the head's input becomes.

        Behind the step, for what the step puts in, and for the stream before it.
        """
        behind = self.at_end(direction)
        for step in reversed(self.steps):
            stream, output = step.before(behind)
            yield step, behind, output, stream
            behind = stream
