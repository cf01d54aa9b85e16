"""Lenses: what the model would answer if it stopped at a layer, of the decoder or of the encoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from budgetlens.model.declaration import Declaration
from budgetlens.model.observation import probe
from budgetlens.statistics.quantities import Quantity

if TYPE_CHECKING:
    from torch import Tensor

    from budgetlens.model.attention import Site
    from budgetlens.model.observation import AnswerLogits

#: The only category: what is read at a layer is read of the answer's tokens.
ANSWER = "answer"
NLL = Quantity(
    "nll",
    "NLL read at the layer",
    "nats per answer token",
    better="lower",
    smallest_difference=0.1,
    bound_unit="nats",
)
RANK = Quantity("rank", "rank of the answer's tokens", "place among all tokens, from 1")


def _read(answer: AnswerLogits) -> Mapping[str, Tensor]:
    """``nll`` and ``rank``: batch × row. The rank is one more than there are likelier tokens."""
    targets = answer.targets[:, :, None]
    likelier = answer.logits > answer.logits.gather(-1, targets)
    return {"nll": answer.losses, "rank": likelier.sum(dim=-1).double() + 1}


@probe("lens")
@dataclass(frozen=True)
class Lens:
    """The logit lens: NLL and rank of the answer's tokens read from the residual stream behind each decoder layer.

    The stream goes through the model's own final norm and head, as if no layer came behind. The last layer is the model.
    """

    reads_stack = "decoder"
    declares = Declaration(
        title="Logit lens",
        quantities=(NLL, RANK),
        axis="read",
        estimand="mean over examples of the mean over an answer's tokens, read from the stream behind the layer",
        categories=(ANSWER,),
        averages_heads=True,
        head_maps=False,
    )

    def categories(self, site: Site) -> tuple[str, ...]:
        """One, behind every layer of the decoder."""
        return (ANSWER,)

    def observe_layer(self, answer: AnswerLogits) -> Mapping[str, Tensor]:
        """``nll`` in nats and ``rank`` from 1: batch × row."""
        return _read(answer)


@probe("decoder_lens")
@dataclass(frozen=True)
class DecoderLens:
    """DecoderLens: NLL and rank of the answer's tokens when the decoder is given the states behind each encoder layer.

    The states go through the encoder's own final norm, as if no layer came behind (Langedijk et al. 2023). The last layer is
    the model. The decoder runs once more for every layer of the encoder.
    """

    reads_stack = "encoder"
    declares = Declaration(
        title="DecoderLens",
        quantities=(NLL, RANK),
        axis="read",
        estimand="mean over examples of the mean over an answer's tokens, with the decoder on the states behind the "
        "layer of the encoder",
        categories=(ANSWER,),
        averages_heads=True,
        head_maps=False,
    )

    def categories(self, site: Site) -> tuple[str, ...]:
        """One, behind every layer of the encoder."""
        return (ANSWER,)

    def observe_layer(self, answer: AnswerLogits) -> Mapping[str, Tensor]:
        """``nll`` in nats and ``rank`` from 1: batch × row."""
        return _read(answer)
