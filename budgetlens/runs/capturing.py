"""Capturing a part: its trials in batches, records of every batch, and smaller batches where memory is used up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from budgetlens.model.batching import EncoderKey, encoder_key, make_batch, with_donors
from budgetlens.model.capture import Capture, Probing, capture
from budgetlens.model.loaded import LoadedModel, pad_token
from budgetlens.model.token_scores import placed
from budgetlens.runs.manifest import RunError
from budgetlens.runs.memory import free_memory, is_out_of_memory
from budgetlens.runs.records import (
    Fed,
    answer_records,
    candidate_records,
    generated_records,
    observation_records,
    trial_records,
)


@dataclass(frozen=True)
class Unit:
    """One example with all its cells, tokenized."""

    fed: tuple[Fed, ...]

    @property
    def encoder_length(self) -> int:
        """Longest encoder input."""
        return max(len(item.trial.encoder_ids) for item in self.fed)

    @property
    def donors(self) -> int:
        """Encoder passes that the trials' state edits need besides their own."""
        return len({encoder_key(donor) for item in self.fed for donor in with_donors(item.trial)[1:]})

    @property
    def decoder_length(self) -> int:
        """Longest decoder input."""
        return max(len(item.trial.decoder_ids) for item in self.fed)


def _nobody(words: str) -> None:
    """Where nobody wants to know that a batch was halved."""


def capture_part(
    model: LoadedModel,
    part: Sequence[Unit],
    reading: Probing,
    *,
    rows: str,
    batch_tokens: int,
    on_halving: Callable[[str], None] = _nobody,
) -> dict[str, pa.Table]:
    """Records of one part, by kind.

    A batch that the memory, or the GPU's, has no room for is halved until it fits; ``on_halving`` is told so in a
    sentence. Raises RunError where one trial alone does not fit.
    """
    collected: dict[str, list[pa.Table]] = {}
    placed_part = [_with_places(model, unit) for unit in part]
    waiting = [
        (fed, own) for own, units in _by_reading(placed_part, reading) for fed in batches(units, batch_tokens)
    ]
    while waiting:
        fed, own = waiting.pop(0)
        records = _records_that_fit(model, fed, own, rows)
        if records is None:
            free_memory()
            middle = len(fed) // 2
            on_halving(
                f"out of memory: a batch of {len(fed)} trials is computed as {middle} and {len(fed) - middle}"
            )
            waiting[:0] = [(fed[:middle], own), (fed[middle:], own)]
            continue
        for kind, table in records.items():
            collected.setdefault(kind, []).append(table)
    return {kind: pa.concat_tables(tables).unify_dictionaries() for kind, tables in collected.items()}


def _by_reading(part: Sequence[Unit], reading: Probing) -> Iterator[tuple[Probing, list[Unit]]]:
    """The units with the cells in which all is read, then with those in which answers alone are."""
    for whole, own in ((True, reading), (False, reading.of_answers_alone)):
        cut = (Unit(tuple(item for item in unit.fed if reading.in_cell(item.cell) == whole)) for unit in part)
        units = [unit for unit in cut if unit.fed]
        if units:
            yield own, units


def _with_places(model: LoadedModel, unit: Unit) -> Unit:
    """The unit with the positions chosen that the model is to choose: example by example, whatever stands beside it."""
    if not any(item.trial.asks for item in unit.fed):
        return unit
    trials = placed(model, [item.trial for item in unit.fed])
    return Unit(tuple(replace(item, trial=trial) for item, trial in zip(unit.fed, trials, strict=True)))


def _records_that_fit(
    model: LoadedModel, fed: Sequence[Fed], reading: Probing, rows: str
) -> dict[str, pa.Table] | None:
    """Records of one batch, by kind; None where several trials together have no room in memory."""
    try:
        return capture_records(fed, capture_fed(model, fed, reading, rows))
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        if len(fed) == 1:
            trial = fed[0].trial
            raise RunError(
                f"example {fed[0].example} in cell {fed[0].cell} does not fit into memory by itself "
                f"({len(trial.encoder_ids)} encoder and {len(trial.decoder_ids)} decoder tokens); free memory, or give "
                "fewer --layers or a smaller --max-encoder-tokens"
            ) from error
    # Here, where the error and all that its frames hold are gone.
    return None


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


def capture_records(fed: Sequence[Fed], captured: Capture) -> dict[str, pa.Table]:
    """Records of one batch, by kind."""
    tables = {"trials": trial_records(fed)}
    for name in dict.fromkeys(observation.probe for observation in captured.observations):
        seen = [observation for observation in captured.observations if observation.probe == name]
        tables[name] = observation_records(fed, seen)
    for answer in captured.answers:
        tables[answer.probe] = answer_records(fed, answer)
    for own in captured.generated:
        tables[own.probe] = generated_records(fed, own)
    for compared in captured.candidates:
        tables[compared.probe] = candidate_records(fed, compared)
    return tables


def batches(part: Sequence[Unit], batch_tokens: int) -> Iterator[list[Fed]]:
    """The trials of a part in batches of about ``batch_tokens`` padded positions; those of one pass adjoin."""
    items = [item for unit in part for item in unit.fed]
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
    yield chunk


def _by_encoder_pass(items: Sequence[Fed]) -> Any:
    first: dict[Any, int] = {}
    for index, item in enumerate(items):
        first.setdefault(encoder_key(item.trial), index)
    return lambda item: first[encoder_key(item.trial)]
