"""Trials in batches of about one size, and one batch through the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from budgetlens.model.batching import EncoderKey, encoder_key, make_batch, with_donors
from budgetlens.model.capture import Capture, Probing, capture
from budgetlens.model.loaded import LoadedModel, pad_token
from budgetlens.runs.records import Fed


def capture_fed(model: LoadedModel, fed: Sequence[Fed], reading: Probing, rows: str) -> Capture:
    """One batch of what was fed, in the family's own layout. Raises as :func:`budgetlens.model.capture.capture` does."""
    batch = make_batch(
        [item.trial for item in fed],
        pad_token=pad_token(model),
        rows=rows,
        device=model.device,
        pack=model.family.packs,
    )
    return capture(model, batch, reading)


def batches(items: Sequence[Fed], batch_tokens: int) -> Iterator[list[Fed]]:
    """Trials in batches of about ``batch_tokens`` padded positions; those of one pass adjoin."""
    chunk: list[Fed] = []
    donors: set[EncoderKey] = set()
    width = 0
    for item in sorted(items, key=_by_encoder_pass(items)):
        passes = {encoder_key(donor): donor for donor in with_donors(item.trial)[1:]}
        own = len(item.trial.encoder_ids) + len(item.trial.decoder_ids)
        own = max(own, *(len(donor.encoder_ids) for donor in passes.values()), 0)
        rows = len(chunk) + 1 + len(donors | passes.keys())
        if chunk and max(width, own) * rows > batch_tokens * 1.25:
            yield chunk
            chunk, donors, width = [], set(), 0
        chunk.append(item)
        donors |= passes.keys()
        width = max(width, own)
    if chunk:
        yield chunk


def _by_encoder_pass(items: Sequence[Fed]) -> Any:
    first: dict[Any, int] = {}
    for index, item in enumerate(items):
        first.setdefault(encoder_key(item.trial), index)
    return lambda item: first[encoder_key(item.trial)]
