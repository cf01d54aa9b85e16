"""Seeded tables of the shapes that analyses write, for the tests of the figures."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd

ENCODER = ("bos", "prefix", "separator", "document", "eos")
DECODER = ("start", "prompt", "answer")
CELLS = tuple(
    f"prefix={prefix}|hidden={hidden}|prompt={prompt}"
    for prefix, hidden, prompt in itertools.product(
        ("none", "oracle"), ("prefix+separator", "bos+prefix+separator"), ("none", "random", "query")
    )
) + ("prefix=oracle|hidden=prefix+separator|prompt=shifted",)


def factors(cell: str) -> dict[str, str]:
    """Factor levels of a cell."""
    return dict(part.split("=") for part in cell.split("|"))


def shares_table(
    cells: tuple[str, ...] = CELLS, layers: int = 34, block: str = "merged", stack: str = "decoder", seed: int = 1
) -> pd.DataFrame:
    """Shares that sum to 1 over the roles of every softmax."""
    generator = np.random.default_rng(seed)
    blocks = {"merged": ENCODER + DECODER} if block == "merged" else {"self": DECODER, "cross": ENCODER}
    if stack == "encoder":
        blocks = {"self": ENCODER}
    rows = []
    for cell, (name, roles), layer in itertools.product(cells, blocks.items(), range(layers)):
        weight = np.array([1.5 if role == "document" else 0.6 for role in roles]) * (1 + 3 * generator.random(len(roles)))
        weight *= np.array([2 + np.sin(layer / 3) if role in ("bos", "start") else 1.0 for role in roles])
        hidden = {
            "prefix": "prefix" in factors(cell)["hidden"] or factors(cell)["prefix"] == "none",
            "separator": "prefix" in factors(cell)["hidden"] or factors(cell)["prefix"] == "none",
            "bos": "bos" in factors(cell)["hidden"],
            "prompt": factors(cell)["prompt"] in ("none", "shifted"),
        }
        weight *= np.array([0.0 if hidden.get(role, False) else 1.0 for role in roles])
        share = weight / weight.sum()
        for role, mean in zip(roles, share, strict=True):
            half = 0.02 * np.sqrt(mean * (1 - mean))
            rows.append(
                {"cell": cell, "stack": stack, "block": name, "layer": layer, "role": role, "n": 600, "mean": mean}
                | {"low": max(0.0, mean - half), "high": min(1.0, mean + half)}
                | factors(cell)
            )
    return pd.DataFrame(rows)


def effects_table(seed: int = 2) -> pd.DataFrame:
    """Two families of contrasts with all verdicts."""
    generator = np.random.default_rng(seed)
    rows = []
    words = ("helps", "hurts", "undecided", "no effect within ±0.05")
    for family, count in (("prefix, by prompt", 6), ("prompt, by prefix", 5), ("interaction", 2)):
        for i in range(count):
            verdict = words[(i + count) % 4]
            mean = {"helps": 0.45, "hurts": -0.3, "undecided": 0.09}.get(verdict, 0.004) * (0.6 + generator.random())
            half = {"undecided": 0.16}.get(verdict, 0.03) * (0.6 + generator.random())
            rows.append(
                {
                    "contrast": f"prefix oracle − none (hidden bos, prompt {i})",
                    "baseline": CELLS[i],
                    "treatment": CELLS[i + 6],
                    "family": family,
                    "n": 600,
                    "mean_difference": mean,
                    "low": mean - half,
                    "high": mean + half * 1.2,
                    "d_z": mean / 0.9,
                    "win_percent": 50 + 30 * mean,
                    "p_sign_flip": 0.0002 if abs(mean) > half else 0.31,
                    "p_holm": 0.0004 if abs(mean) > half else 0.62,
                    "verdict": verdict,
                }
            )
    return pd.DataFrame(rows)


def cell_means_table(seed: int = 3) -> pd.DataFrame:
    """Mean NLL of every cell."""
    generator = np.random.default_rng(seed)
    rows = []
    for cell in CELLS[:12]:
        levels = factors(cell)
        mean = 2.6 - {"none": 0.0, "random": 0.15, "query": 0.9}[levels["prompt"]]
        mean -= {"none": 0.7, "random": 0.5, "query": 0.05}[levels["prompt"]] * (levels["prefix"] == "oracle")
        mean += 0.05 * generator.random() + (0.2 if "bos" in levels["hidden"] else 0.0)
        rows.append({"cell": cell, **levels, "n": 600, "mean": mean, "low": mean - 0.11, "high": mean + 0.13})
    return pd.DataFrame(rows)
