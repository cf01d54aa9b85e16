"""Capturing a part: its trials in batches, records of every batch, and smaller batches where memory is used up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from budgetlens.model.batching import encoder_key, with_donors
from budgetlens.model.capture import Capture, Probing
from budgetlens.model.loaded import LoadedModel
from budgetlens.model.token_scores import placed
from budgetlens.runs.batches import batches, capture_fed
from budgetlens.runs.manifest import RunError
from budgetlens.runs.memory import free_memory, is_out_of_memory
from budgetlens.runs.ranking import ranking_records
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
    def others(self) -> int:
        """Positions of what is ranked beside the trials: their documents' other passages."""
        return sum(
            len(other.encoder_ids) + len(other.decoder_ids) for item in self.fed for other in item.others
        )

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
    items = [item for unit in part for item in _with_places(model, unit).fed]
    waiting = [(fed, own) for own, read in _by_reading(items, reading) for fed in batches(read, batch_tokens)]
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


def _by_reading(items: Sequence[Fed], reading: Probing) -> Iterator[tuple[Probing, list[Fed]]]:
    """What is fed in the cells in which all is read, then what is in those in which answers alone are."""
    for whole, own in ((True, reading), (False, reading.of_answers_alone)):
        read = [item for item in items if reading.in_cell(item.cell) == whole]
        if read:
            yield own, read


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
        captured = capture_fed(model, fed, reading, rows)
        return {**capture_records(fed, captured), **ranking_records(model, fed, captured, reading)}
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
