"""Attention token by token, kept with a run: ``RUN/tokens/*.parquet``, one file per example."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from budgetlens.runs.parquet_files import reading
from budgetlens.runs.storage import RunDirectory

if TYPE_CHECKING:
    from budgetlens.model.loaded import LoadedModel
    from budgetlens.model.observation import AnyProbe
    from budgetlens.runs.records import Fed


def save_token_attention(
    directory: RunDirectory,
    model: LoadedModel,
    fed: Sequence[Fed],
    *,
    layers: Iterable[int] | None = None,
    rows: str = "predicting",
    measures: Sequence[AnyProbe] = (),
) -> list[Path]:
    """Token-level records of some trials, kept with their run: ``RUN/tokens/*.parquet``, one file per example.

    The columns are those of :func:`budgetlens.model.token_attention.token_attention` and ``example``. A file that is
    there is replaced.

    Returns:
        The paths, in the order in which the examples first occur.
    """
    # Those who read what is kept load no torch.
    from budgetlens.model.token_attention import token_attention
    from budgetlens.model.token_scores import placed

    chosen = None if layers is None else tuple(layers)
    by_example: dict[str, list[Fed]] = {}
    for item in fed:
        by_example.setdefault(item.example, []).append(item)
    paths = []
    for example, items in by_example.items():
        trials = placed(model, [item.trial for item in items])
        frames = [
            token_attention(model, trial, layers=chosen, rows=rows, cell=item.cell, measures=measures)
            for item, trial in zip(items, trials, strict=True)
        ]
        paths.append(_write(directory, example, pd.concat(frames, ignore_index=True)))
    return paths


def stored_examples(directory: RunDirectory) -> dict[str, Path]:
    """Which examples have token-level records, and where; files that are not as they were written are left out."""
    found = {}
    for name, digest in sorted(directory.token_index().items()):
        if directory.is_unaltered(f"tokens/{name}", digest):
            path = directory.path / "tokens" / name
            try:
                example = (parquet.read_schema(path).metadata or {})[b"example"].decode()
            except (OSError, pa.ArrowException, KeyError, ValueError):
                # Whole, but no token-level records: somebody else's file, with its hash in the index.
                continue
            found[example] = path
    return found


def read_token_attention(path: Path, *, cells: Sequence[str], layer: int | None = None) -> pd.DataFrame:
    """The stored records of some cells of one example in one layer, or in all; empty where they were not stored."""
    filters: list[tuple[str, str, object]] = [("cell", "in", list(cells))]
    if layer is not None:
        filters.append(("layer", "==", layer))
    with reading(path):
        return parquet.read_table(path, filters=filters).to_pandas()


def _write(directory: RunDirectory, example: str, frame: pd.DataFrame) -> Path:
    table = pa.Table.from_pandas(frame.assign(example=example), preserve_index=False)
    metadata = {**(table.schema.metadata or {}), b"example": example.encode()}
    # An identifier may hold anything; a file's name may not.
    name = f"example-{hashlib.sha256(example.encode()).hexdigest()[:16]}"
    return directory.write_tokens(name, table.replace_schema_metadata(metadata))
