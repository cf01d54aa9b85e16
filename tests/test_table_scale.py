"""All tables of a large run: time and memory, measured in a process of their own on Parquet parts as a run writes them.

The slow test makes a run with a twentieth of the examples. The whole size (12 cells and a control × 5,000
examples × 34 layers × 8 heads × 8 roles, about 1.3 GB on disk) is measured by

    python -m tests.test_table_scale DIRECTORY 5000
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from budgetlens.design.catalogue import find_analysis
from budgetlens.model.roles import DECODER_ROLES, ENCODER_ROLES
from budgetlens.runs.run import Run
from budgetlens.runs.storage import RunDirectory, part_name

LAYERS, HEADS, ROLES = 34, 8, (*ENCODER_ROLES, *DECODER_ROLES)
PARTS = ("self", "cross", "all")
EXAMPLES_PER_PART = 50

MEASURE = """
import json, resource, sys, time
from pathlib import Path
from budgetlens.tables.complete import tables_of
from budgetlens.runs.run import Run
began = time.perf_counter()
run = Run.open(Path(sys.argv[1]))
frames, presented = tables_of(run)
run.directory.write_tables(frames)
texts = [table.to_terminal(160) for table in presented.values()]
usage = resource.getrusage(resource.RUSAGE_SELF)
# Not ru_maxrss, which a process keeps from the one that started it.
status = Path("/proc/self/status").read_text().splitlines()
peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
print(json.dumps({
    "wall_s": round(time.perf_counter() - began, 1),
    "cpu_s": round(usage.ru_utime + usage.ru_stime, 1),
    "peak_gb": round(peak * 1024 / 1e9, 2),
    "rows": {name: len(frame) for name, frame in frames.items()},
}))
"""


def keys(values: list[str], repeats: int) -> pa.DictionaryArray:
    """Each value `repeats` times, as records hold them."""
    codes = np.repeat(np.arange(len(values), dtype=np.int32), repeats)
    return pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(values))


def write_run(path: Path, examples: int, *, layers: int = LAYERS, heads: int = HEADS, seed: int = 1) -> Run:
    """A finished run of exp08 with random records in the form that a run writes."""
    plan = find_analysis("exp08").plan("corrected")
    cells = [cell.name for cell in plan.design.cells]
    directory = RunDirectory(path)
    directory.begin(
        {"rows": plan.rows},
        {
            "analysis": "exp08",
            "title": "t",
            "question": "q",
            "protocol": "corrected",
            "model": {"name": "random numbers"},
            "corpus": {"name": "random numbers", "n": examples},
            "seed": 42,
            "cells": [
                {"name": cell.name, "alias": cell.alias, "factors": cell.factors}
                for cell in plan.design.cells
            ],
        },
    )
    generator = np.random.default_rng(seed)
    numbers = range(0, examples, EXAMPLES_PER_PART)
    directory.plan_parts(len(numbers), "[]\n")
    for number, first in enumerate(numbers):
        names = [f"q{index:05d}" for index in range(first, min(first + EXAMPLES_PER_PART, examples))]
        directory.write_part(part_name(number), part(generator, names, cells, layers, heads))
    return Run.open(path)


def part(
    generator: np.random.Generator, names: list[str], cells: list[str], layers: int, heads: int
) -> dict[str, pa.Table]:
    """The records of one part: every example in every cell."""
    trials = len(names) * len(cells)
    example = [name for name in names for _ in cells]
    cell = cells * len(names)
    # Per example, so that every cell answers the same tokens of the same document.
    words, tokens, lengths = (
        np.repeat(generator.integers(low, high, len(names)), len(cells))
        for low, high in ((1, 30), (1, 40), (40, 400))
    )
    base = np.repeat(generator.gamma(1, 0.6, len(names)), len(cells))
    nll = base + generator.gamma(0.5, 0.4, trials) + np.tile(np.linspace(0, 0.3, len(cells)), len(names))
    counts = {f"{role}_tokens": pa.array(np.ones(trials, np.int32)) for role in ROLES}
    records = {
        "likelihood": pa.table(
            {
                "example": pa.array(example).dictionary_encode(),
                "cell": pa.array(cell).dictionary_encode(),
                "answer_tokens": pa.array(tokens, pa.int32()),
                "nll": nll,
                "nll_sum": nll * tokens,
            }
        ),
        "trials": pa.table(
            {
                "example": pa.array(example).dictionary_encode(),
                "cell": pa.array(cell).dictionary_encode(),
                **counts,
                "document_tokens": pa.array(lengths, pa.int32()),
                "answer_words": pa.array(words, pa.int32()),
                "hidden_tokens": pa.array(np.zeros(trials, np.int32)),
                "truncated_tokens": pa.array(np.zeros(trials, np.int32)),
                "document_intact": pa.array(np.ones(trials, bool)),
            }
        ),
    }
    shares = generator.random((layers, trials, heads, len(ROLES)), dtype=np.float32)
    shares /= shares.sum(axis=-1, keepdims=True)
    records["budgets"] = observed(example, cell, "role", ROLES, {"share": shares})
    masses = generator.random((layers, trials, heads, len(PARTS)), dtype=np.float32)
    entropies = {"mass": masses, "entropy": 3 * generator.random(masses.shape, dtype=np.float32)}
    records["entropies"] = observed(example, cell, "part", PARTS, entropies)
    return records


def observed(
    example: list[str], cell: list[str], axis: str, categories: tuple[str, ...], values: dict[str, np.ndarray]
) -> pa.Table:
    """One probe's records, layer by layer."""
    tables = []
    layers, trials, heads, width = next(iter(values.values())).shape
    for layer in range(layers):
        rows = trials * heads * width
        where = pa.array(np.repeat(np.arange(trials), heads * width))
        zeros = pa.array(np.zeros(rows, np.int8))
        columns = {
            "example": pa.array(example).dictionary_encode().take(where),
            "cell": pa.array(cell).dictionary_encode().take(where),
            "stack": pa.DictionaryArray.from_arrays(zeros, pa.array(["decoder"])),
            "block": pa.DictionaryArray.from_arrays(zeros, pa.array(["merged"])),
            "layer": pa.array(np.full(rows, layer), pa.int16()),
            "head": pa.array(np.tile(np.repeat(np.arange(heads), width), trials), pa.int16()),
            axis: pa.DictionaryArray.from_arrays(
                pa.array(np.tile(np.arange(width), trials * heads), pa.int8()), pa.array(categories)
            ),
        }
        numbers = {
            name: pa.array(array[layer].astype(np.float64).reshape(-1)) for name, array in values.items()
        }
        tables.append(pa.table({**columns, **numbers}))
    return pa.concat_tables(tables)


def measure(path: Path) -> dict:
    """Wall time, CPU time and peak memory of all tables, in a fresh process with two threads at most."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "2",
        "OPENBLAS_NUM_THREADS": "2",
        "ARROW_NUM_THREADS": "2",
    }
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_tables_of_a_twentieth_of_the_large_run(tmp_path):
    measured = measure(write_run(tmp_path / "run", 250).path)
    # The whole takes under 60 s and 3 GB; a twentieth, with the imports and what does not grow with examples.
    assert measured["cpu_s"] < 40
    assert measured["peak_gb"] < 1.2


def main() -> None:
    """Make a run of the given size and print what its tables cost."""
    path, examples = Path(sys.argv[1]), int(sys.argv[2])
    if not (path / "run.json").exists():
        began = time.perf_counter()
        write_run(path, examples)
        size = sum(file.stat().st_size for file in path.rglob("*.parquet")) / 1e9
        print(f"made {path}: {size:.2f} GB in {time.perf_counter() - began:.0f} s")
    print(measure(path))


if __name__ == "__main__":
    main()
