"""Measuring a design without a directory: the records that a run of it would write, kept in memory."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
from tqdm import tqdm

from budgetlens.corpora.corpus import Corpus
from budgetlens.design.design import Design
from budgetlens.design.generable import require_generable
from budgetlens.design.reach import require_feasible
from budgetlens.model.loaded import LoadedModel
from budgetlens.model.observation import AnyProbe
from budgetlens.model.roles import GENERATED
from budgetlens.runs.capturing import Unit, capture_part
from budgetlens.runs.feeding import feeding_of
from budgetlens.runs.manifest import left_out_words
from budgetlens.runs.running import RunOptions, plan_parts, reading_of, resolved

#: Seconds after which a bar shows how far it is.
PATIENCE = 1.0


@dataclass(frozen=True)
class Measured:
    """``records`` by kind, one row per observation, as a run writes them; ``left_out`` tells why an example is in none."""

    records: Mapping[str, pa.Table]
    left_out: Mapping[str, str]


def measured(
    design: Design,
    model: LoadedModel,
    corpus: Corpus,
    probes: tuple[AnyProbe, ...],
    rows: str,
    options: RunOptions,
) -> Measured:
    """Every example of the corpus in every cell of the design, read by the probes alone.

    Parts and batches are those of a run with these cells, so that every number is the one which that would record.
    Lines on the standard error tell how far it is, which examples are left out, and where a batch was halved.

    Raises ValueError for layers that the model lacks, RunError where one trial does not fit into memory, and as
    :func:`budgetlens.design.reach.require_feasible` and, where answers are generated,
    :func:`budgetlens.design.generable.require_generable` do.
    """
    rows, batch_tokens = resolved(rows, model, options)
    reading = reading_of(probes, model, options)
    tokenizer = model.trial_tokenizer
    require_feasible(design, corpus, tokenizer, options.seed)
    if reading.of_generation or rows == GENERATED:
        require_generable(design, corpus, tokenizer, options.seed)
    feeding = feeding_of(design.cells, corpus, tokenizer, options.seed, passages=bool(reading.of_passages))
    for words in (
        *left_out_words(feeding.left_out, len(corpus.examples), 'attrs["left_out"]'),
        *feeding.cautions(design.cells, tokenizer, options.seed),
    ):
        print(words, file=sys.stderr)
    collected: dict[str, list[pa.Table]] = {}
    with tqdm(
        total=len(feeding.fed), unit="example", desc=f"{len(design.cells)} cells", delay=PATIENCE
    ) as bar:
        for part in plan_parts([Unit(fed) for fed in feeding.fed], batch_tokens):
            records = capture_part(
                model, part, reading, rows=rows, batch_tokens=batch_tokens, on_halving=_told
            )
            for kind, table in records.items():
                collected.setdefault(kind, []).append(table)
            bar.update(len(part))
    tables = {kind: pa.concat_tables(own).unify_dictionaries() for kind, own in collected.items()}
    return Measured(tables, feeding.left_out)


def _told(words: str) -> None:
    tqdm.write(words, file=sys.stderr)
