"""Records of a run as the tables read them, made by hand: crossed cells, likelihood, facts about the examples."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd

from budgetlens.statistics.inference import Inference

#: What tests of the tables give every function that asks for it.
SETTINGS = Inference(seed=3)


def cells_of(*names: str) -> dict[str, dict[str, str]]:
    return {name: dict(part.split("=") for part in name.split("|")) for name in names}


def crossed(**factors: tuple[str, ...]) -> list[str]:
    return [
        "|".join(f"{factor}={level}" for factor, level in zip(factors, levels, strict=True))
        for levels in itertools.product(*factors.values())
    ]


def records(cells, n: int = 30, seed: int = 1, effect: float = 0.0) -> pd.DataFrame:
    """Likelihood records: a base per example, noise per cell, every later cell lower by `effect`."""
    generator = np.random.default_rng(seed)
    base = generator.gamma(2, 1, n)
    frames = []
    for number, cell in enumerate(cells):
        nll = base + generator.normal(0, 0.3, n) - effect * number
        keys = {"example": [f"e{i:03d}" for i in range(n)], "cell": cell}
        frames.append(pd.DataFrame({**keys, "answer_tokens": 2 + np.arange(n) % 7, "nll": nll}))
    return pd.concat(frames, ignore_index=True)


def facts(n: int = 30) -> pd.DataFrame:
    """One row per example of the trials records."""
    return pd.DataFrame(
        {
            "example": [f"e{i:03d}" for i in range(n)],
            "answer_words": 1 + np.arange(n) % 25,
            "document_words": 40 + 3 * np.arange(n),
        }
    )
