"""Reranking: does the answer belong to its own document rather than to the other passages of its row?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from budgetlens.model.declaration import Declaration
from budgetlens.model.observation import probe
from budgetlens.statistics.quantities import Quantity, score


@probe("reranking")
@dataclass(frozen=True)
class Reranking:
    """The rank of an example's document among its passages, by the answer's mean NLL per token given each, in the same cell.

    Under ``--task rerank`` the answer is the query. The cell is made anew of every passage: its prefix, its edits.
    ``reciprocal_rank`` is 1 over the document's rank; ``top_1`` is 1 where that is the first, else 0; ``margin`` is the
    lowest NLL under another passage less that under the document. A passage with the same NLL stands before the document:
    who can't tell them apart has found nothing. Other passages that the row calls right are not ranked. Examples without
    another passage have none of these. Records have the NLL under every passage besides, ``passage_nll``, the document's
    first.
    """

    declares = Declaration(
        title="Rank of the document among its passages",
        quantities=(
            score("reciprocal_rank", "reciprocal rank of the document"),
            score("top_1", "documents that are ranked first", binary=True),
            Quantity(
                "margin",
                "margin of the document over the best other passage",
                "nats per token",
                better="higher",
                smallest_difference=0.05,
                short_unit="nats",
            ),
        ),
        estimand="mean over the examples that have other passages",
        undefined="the example has no other passage",
        plural="ranks of documents",
        task="rerank",
    )

    def observe_passages(self, document: float, others: Sequence[float]) -> Mapping[str, float]:
        """Reciprocal rank, whether it is the first, and margin; NaN without others."""
        if not others:
            return dict.fromkeys(("reciprocal_rank", "top_1", "margin"), float("nan"))
        rank = 1 + sum(other <= document for other in others)
        return {
            "reciprocal_rank": 1 / rank,
            "top_1": float(rank == 1),
            "margin": min(others) - document,
        }
