"""Runs for tests of the explorer: one made of numbers alone, and one of a tiny model over hostile texts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa

from budgetlens.command.main import main
from budgetlens.design.catalogue import find_analysis
from budgetlens.model.roles import DECODER_ROLES, ENCODER_ROLES
from budgetlens.runs.storage import RunDirectory

ROLES = (*DECODER_ROLES, *ENCODER_ROLES)

#: Texts that a page must show as they are, and survive.
HOSTILE = (
    {
        "query": "<script>window.hacked = true</script> who?",
        "document": "<img src=x onerror='window.hacked=true'> The mill </div></table> was built by Oss & sons. "
        * 3,
        "answer": "Oss <b>& sons</b>",
    },
    {
        "query": "מי בנה את הגשר \u202e reversed %{x} $a_1$",
        "document": "הגשר נבנה על ידי אורלה ון בשנת 1412. " * 4,
        "answer": "אורלה ון",
    },
    {
        "query": "who 👩‍👩‍👧‍👦 built it 🏳️‍🌈",
        "document": "The 🌉 bridge was built by Kesh 🧱🧱.",
        "answer": "Kesh 🧱",
    },
    {"query": "w" * 100, "document": "a " + "d" * 10_000 + " river", "answer": "Tamm"},
    {"query": '=HYPERLINK("http://x")', "document": "The wall is forty miles long.", "answer": "forty miles"},
    {"query": "how long is the wall", "document": "The wall is forty miles long.", "answer": "forty miles"},
)


def write_hostile_corpus(path: Path) -> Path:
    """A JSON Lines corpus of hostile texts."""
    path.write_text("".join(json.dumps(row) + "\n" for row in HOSTILE), encoding="utf-8")
    return path


def hostile_run(folder: Path, model: Path) -> Path:
    """A finished run of a model, given by its directory, over the hostile texts."""
    corpus = write_hostile_corpus(folder / "hostile.jsonl")
    given = ["run", "exp08", "--model", str(model), "--corpus", str(corpus), "--out", str(folder / "hostile")]
    if main([*given, "--quiet", "--device", "cpu", "--max-encoder-tokens", "150"]) != 0:
        raise RuntimeError("the run failed; its message is on the standard error")
    return folder / "hostile"


def synthetic_run(path: Path, *, examples: int, layers: int, heads: int, seed: int = 0) -> Path:
    """A finished run of exp08 whose records are random numbers: no model, no texts, any size."""
    generator = np.random.default_rng(seed)
    plan = find_analysis("exp08").plan("corrected")
    cells = [cell.name for cell in plan.design.cells]
    names = [f"e{number:04d}" for number in range(examples)]
    directory = RunDirectory(path)
    manifest = {
        "analysis": "exp08",
        "title": "Decoder length control",
        "question": "?",
        "protocol": "corrected",
        "model": {"name": "./nowhere", "revision": None, "hash": "0", "family": "t5gemma2", "parameters": 1},
        "corpus": {"name": "./nowhere.jsonl", "source": "", "hash": "0", "n": examples, "description": ""},
        "seed": 42,
        "cells": [
            {"name": cell.name, "alias": cell.alias, "factors": cell.factors} for cell in plan.design.cells
        ],
        "command": ["budgetlens", "run", "exp08"],
    }
    identity = {
        "model": "0",
        "dtype": "float32",
        "device": "cpu",
        "rows": "predicting",
        "batch_tokens": 12_288,
        "limits": {"encoder": 2048, "prompt": 512, "answer": 256},
    }
    directory.begin(identity, manifest)
    directory.plan_parts(1, "[]\n")
    shape = (len(cells), examples, layers, heads, len(ROLES))
    shares = generator.dirichlet(np.full(len(ROLES), 0.5), size=shape[:-1])
    cell, example, layer, head, role = (axis.ravel() for axis in np.indices(shape, dtype=np.int32))
    pairs = [(name, own) for own in cells for name in names]
    tokens = dict(zip(names, generator.integers(1, 30, examples).tolist(), strict=True))
    document = dict(zip(names, generator.integers(50, 900, examples).tolist(), strict=True))
    keys = {"example": [name for name, _ in pairs], "cell": [own for _, own in pairs]}
    nll = generator.gamma(2.0, 1.0, len(pairs))
    directory.write_part(
        "part-00000",
        {
            "likelihood": pa.table(
                {**keys, "answer_tokens": [tokens[name] for name, _ in pairs], "nll": nll, "nll_sum": nll}
            ),
            "trials": pa.table({**keys, "document_tokens": [document[name] for name, _ in pairs]}),
            "budgets": pa.table(
                {
                    "example": pa.DictionaryArray.from_arrays(pa.array(example), pa.array(names)),
                    "cell": pa.DictionaryArray.from_arrays(pa.array(cell), pa.array(cells)),
                    "stack": pa.DictionaryArray.from_arrays(
                        pa.array(np.zeros_like(role)), pa.array(["decoder"])
                    ),
                    "block": pa.DictionaryArray.from_arrays(
                        pa.array(np.zeros_like(role)), pa.array(["merged"])
                    ),
                    "layer": pa.array(layer.astype(np.int16)),
                    "head": pa.array(head.astype(np.int16)),
                    "role": pa.DictionaryArray.from_arrays(pa.array(role), pa.array(ROLES)),
                    "share": pa.array(shares.ravel()),
                }
            ),
        },
    )
    return path
