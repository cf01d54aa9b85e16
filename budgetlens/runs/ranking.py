"""Ranking an example's document among its passages: every passage in the document's place, in the same cell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from budgetlens.model.capture import Capture, Probing
from budgetlens.model.loaded import LoadedModel
from budgetlens.model.roles import PREDICTING
from budgetlens.model.token_scores import placed
from budgetlens.registry.names import name_of
from budgetlens.runs.batches import batches, capture_fed
from budgetlens.runs.records import Fed, passage_records


def ranking_records(
    model: LoadedModel, fed: Sequence[Fed], captured: Capture, reading: Probing
) -> dict[str, pa.Table]:
    """Records of the probes of passages, by probe, of a batch that was captured.

    The other passages are captured in batches that have about as many padded positions as the batch itself has, so that a
    smaller one, where memory is short, makes theirs smaller too.
    """
    if not reading.of_passages:
        return {}
    documents = _means(captured)
    room = len(fed) * max(_length(item) for item in fed)
    flat = [Fed(item.cell, other) for item in fed for other in placed(model, item.others)]
    known: dict[int, float] = {}
    for batch in batches(flat, room):
        own = _means(capture_fed(model, batch, Probing(), PREDICTING))
        known.update((id(item), float(mean)) for item, mean in zip(batch, own, strict=True))
    means = iter([known[id(item)] for item in flat])
    others = [[next(means) for _ in item.others] for item in fed]
    losses = [[float(first), *rest] for first, rest in zip(documents, others, strict=True)]
    tables = {}
    for probe in reading.of_passages:
        seen = [probe.observe_passages(first, rest) for first, *rest in losses]
        values = {name: [each[name] for each in seen] for name in seen[0]}
        tables[name_of(probe)] = passage_records(fed, values, losses)
    return tables


def _means(captured: Capture) -> np.ndarray:
    """Mean NLL of every trial's answer, in nats per token."""
    return np.nanmean(captured.token_losses.astype(np.float64), axis=1)


def _length(item: Fed) -> int:
    return len(item.trial.encoder_ids) + len(item.trial.decoder_ids)
