"""Training batches as tensors: one encoder text and several decoder sequences of it, packed into one row.

Encoding a document once for many questions gives far more answer tokens per second than one question per
document. The decoder sequences ("slots") of a document lie behind each other in one decoder row; the
self-attention mask keeps them apart, their positions restart at 0, and each slot has its own cross mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from budgetlens.reference.world.tokenizer import BOS, PAD

IGNORED = -100
#: The query's first token weighs less by this: after the start token, an answer must stay what is expected.
FIRST_PROMPT_TOKEN = 0.1


@dataclass(frozen=True)
class Slot:
    """One decoder sequence: prompt and target ids, and the weight of each target token.

    ``hidden`` is the half-open range of encoder positions it may not attend to; ``shift`` is added to its
    position ids. With ``prompt_weight`` the prompt's tokens are learned too: the query given the document.
    """

    prompt: tuple[int, ...]
    target: tuple[int, ...]
    kind: str
    weight: float = 1.0
    hidden: tuple[int, int] = (0, 0)
    shift: int = 0
    prompt_weight: float = 0.0

    def __len__(self) -> int:
        return len(self.prompt) + len(self.target)


@dataclass(frozen=True)
class Row:
    """One encoder text, BOS first, and its slots."""

    encoder: tuple[int, ...]
    slots: tuple[Slot, ...]


@dataclass(frozen=True)
class Batch:
    """Tensors of one step; masks are boolean, True where attention is allowed.

    Shapes: ``encoder_ids`` (rows, encoder); ``decoder_ids``, ``positions``, ``labels`` and ``weights``
    (rows, decoder); ``encoder_mask`` (rows, encoder); ``slots`` (rows, decoder) holds the number of the
    slot at each position, -1 on padding; ``cross_mask`` (rows, decoder, encoder).
    ``kinds`` maps a kind of slot to the (row, position) pairs of its labels; those of prompts are ``asking``.
    """

    encoder_ids: torch.Tensor
    encoder_mask: torch.Tensor
    decoder_ids: torch.Tensor
    positions: torch.Tensor
    slots: torch.Tensor
    cross_mask: torch.Tensor
    labels: torch.Tensor
    weights: torch.Tensor
    kinds: dict[str, torch.Tensor]

    def tokens(self) -> int:
        """Encoder and decoder tokens of the batch, padding not counted."""
        return int(self.encoder_mask.sum()) + int((self.slots >= 0).sum())


def _empty(rows: Sequence[Row], encoder_length: int, decoder_length: int) -> Batch:
    """The batch before its slots: encoder texts alone."""
    count = len(rows)
    encoder_ids = torch.full((count, encoder_length), PAD)
    for place, row in enumerate(rows):
        total = sum(map(len, row.slots))
        if len(row.encoder) > encoder_length or total > decoder_length:
            raise ValueError(
                f"a row of {len(row.encoder)} encoder and {total} decoder tokens does not fit "
                f"{encoder_length} and {decoder_length}"
            )
        encoder_ids[place, : len(row.encoder)] = torch.tensor(row.encoder)
    lengths = torch.tensor([len(row.encoder) for row in rows])
    shape = (count, decoder_length)
    return Batch(
        encoder_ids=encoder_ids,
        encoder_mask=torch.arange(encoder_length)[None] < lengths[:, None],
        decoder_ids=torch.full(shape, PAD),
        positions=torch.zeros(shape, dtype=torch.long),
        slots=torch.full(shape, -1),
        cross_mask=torch.zeros((*shape, encoder_length), dtype=torch.bool),
        labels=torch.full(shape, IGNORED),
        weights=torch.zeros(shape),
        kinds={},
    )


def pack(rows: Sequence[Row], encoder_length: int, decoder_length: int) -> Batch:
    """Put rows into tensors of fixed lengths (padding right).

    Raises:
        ValueError: a row does not fit the lengths.
    """
    batch = _empty(rows, encoder_length, decoder_length)
    kinds: dict[str, list[tuple[int, int]]] = {}
    for r, row in enumerate(rows):
        start = 0
        for number, slot in enumerate(row.slots):
            ids = (BOS, *slot.prompt, *slot.target[:-1])
            end, first = start + len(ids), start + len(slot.prompt)
            batch.decoder_ids[r, start:end] = torch.tensor(ids)
            batch.positions[r, start:end] = torch.arange(len(ids)) + slot.shift
            batch.slots[r, start:end] = number
            batch.labels[r, first:end] = torch.tensor(slot.target)
            batch.weights[r, first:end] = slot.weight
            batch.cross_mask[r, start:end, : len(row.encoder)] = True
            batch.cross_mask[r, start:end, slot.hidden[0] : slot.hidden[1]] = False
            kinds.setdefault(slot.kind, []).extend((r, position) for position in range(first, end))
            if slot.prompt and slot.prompt_weight:
                batch.labels[r, start:first] = torch.tensor(slot.prompt)
                batch.weights[r, start:first] = slot.prompt_weight
                batch.weights[r, start] *= FIRST_PROMPT_TOKEN
                kinds.setdefault("asking", []).extend((r, position) for position in range(start, first))
            start = end
    batch.kinds.update({kind: torch.tensor(places) for kind, places in kinds.items()})
    return batch
