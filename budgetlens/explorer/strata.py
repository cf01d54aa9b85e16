"""Parts of a run's examples: by the answer's length, the document's length, and how hard they are."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from budgetlens.explorer.data import RunData
from budgetlens.statistics.strata import length_strata, quantile_strata

#: What examples can be parted by, and what each is called.
KINDS = {
    "": "all examples",
    "answer": "answer length",
    "document": "document length",
    "hardness": "hardness (mean NLL over the cells)",
}
PARTS = 5


def strata_of(data: RunData, kind: str) -> pd.Series:
    """The stratum of every example, an ordered categorical; one of :data:`KINDS`.

    Answers go by words in the published bins where the texts are at hand, else by tokens in five equal parts;
    documents by tokens, and hardness by the mean NLL over all cells (not over one: see `quantile_strata`).
    """
    if kind == "answer" and data.texts:
        words = pd.Series(
            {name: len(data.texts[name].answer.split()) for name in data.examples if name in data.texts}
        )
        strata = length_strata(words.reindex(data.nll.index))
        return strata.cat.rename_categories(lambda label: f"{label} words")
    if kind == "answer":
        return quantile_strata(data.answer_tokens, PARTS)
    if kind == "document":
        return quantile_strata(data.counts["document_tokens"], PARTS)
    if kind == "hardness":
        return quantile_strata(data.nll.mean(axis=1), PARTS)
    raise ValueError(f"examples can't be parted by {kind!r}; known: {', '.join(filter(None, KINDS))}")


def levels_of(data: RunData, kind: str) -> list[str]:
    """The strata of a kind that have examples, in their order."""
    if not kind:
        return []
    strata = strata_of(data, kind)
    present = set(strata.dropna())
    return [str(level) for level in strata.cat.categories if level in present]


def level_label(kind: str, level: str) -> str:
    """A stratum in words: where it is a fifth, which end is which."""
    low, high = {"document": ("shortest", "longest"), "hardness": ("easiest", "hardest")}.get(
        kind, ("shortest", "longest")
    )
    if level == f"1 of {PARTS}":
        return f"{level} ({low})"
    return f"{level} ({high})" if level == f"{PARTS} of {PARTS}" else level


def mask_of(data: RunData, kind: str, level: str) -> NDArray[np.bool_]:
    """Which examples are in a stratum; all of them without one."""
    if not kind or not level:
        return np.ones(len(data.nll), dtype=bool)
    return (strata_of(data, kind).reindex(data.nll.index) == level).fillna(False).to_numpy(dtype=bool)
