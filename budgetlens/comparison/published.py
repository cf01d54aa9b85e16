"""The published figures that a run can be compared with: a table of this project's own making.

`published_figures.csv` holds only the quantities compared, in this project's words, each with its source;
`published_cells.csv` gives the published short name of each cell.
"""

from __future__ import annotations

from importlib import resources

import pandas as pd

from budgetlens.runs.manifest import Manifest
from budgetlens.statistics.contrasts import parse_cell

MAIN_MODEL = "google/t5gemma-2-4b-4b"
PROTOCOL = "published"
ROWS = "holding"

_TEXTS = ("stratum", "treatment", "whole_baseline", "whole_treatment", "part")


def published_figures(analysis: str) -> pd.DataFrame:
    """The published figures of one analysis, one row per quantity.

    Columns model, corpus, n, stratum (empty, or words of the answer: "answer words 3-5"), quantity, unit,
    baseline, treatment (cells; several are joined by ` + `; no
    treatment where the quantity is of one cell), whole_baseline, whole_treatment (what a share is of),
    layer, part, value and source.

    Raises:
        ValueError: nothing was published for this analysis.
    """
    figures = _own_table("published_figures.csv")
    known = sorted(figures["analysis"].unique())
    if analysis not in known:
        raise ValueError(
            f"no published figures for analysis {analysis!r}; there are some for {', '.join(known)}"
        )
    return figures[figures["analysis"] == analysis].drop(columns="analysis").reset_index(drop=True)


def chosen_model(figures: pd.DataFrame, own: str, asked: str | None) -> str:
    """The published model to compare with: the one asked for, the run's own, else the main one."""
    known = list(dict.fromkeys(figures["model"]))
    if asked is not None:
        if asked not in known:
            raise ValueError(f"nothing was published for model {asked!r}; there is {', '.join(known)}")
        return asked
    if own in known:
        return own
    return MAIN_MODEL if MAIN_MODEL in known else known[0]


def unlike_parts(manifest: Manifest, model: str, corpus: str) -> str:
    """What differs between the run and the published one, in words; empty where nothing does."""
    rows = manifest.rows or ROWS
    pairs = (
        ("model", manifest.model.name, model),
        ("corpus", manifest.corpus.name, corpus),
        ("protocol", manifest.protocol, PROTOCOL),
        ("rows of attention", rows, ROWS),
    )
    return "; ".join(f"{what} {own}, published {theirs}" for what, own, theirs in pairs if own != theirs)


def short_cell_names(analysis: str) -> dict[str, str]:
    """Canonical cell name to the short name that was published."""
    cells = _own_table("published_cells.csv")
    cells = cells[cells["analysis"] == analysis]
    return dict(zip(cells["cell"], cells["published_name"], strict=True))


def own_cell_names(manifest: Manifest) -> dict[str, str]:
    """Published cell name to the run's: the same levels in any order, else the published short name as alias."""
    by_levels = {_levels(name): name for name in manifest.cell_names}
    by_alias = {cell.alias: cell.name for cell in manifest.cells if cell.alias}
    matched = {}
    for name, short in short_cell_names(manifest.analysis).items():
        own = by_levels.get(_levels(name), by_alias.get(short))
        if own is not None:
            matched[name] = own
    return matched


def same_levels(one: str, other: str) -> bool:
    """Whether two lists of cells, joined by ` + `, name the same levels, in whatever order of factors."""
    if not (one and other):
        return one == other
    return [_levels(cell) for cell in one.split(" + ")] == [_levels(cell) for cell in other.split(" + ")]


def _levels(cell: str) -> frozenset[tuple[str, str]]:
    """What a cell does: its levels but *none*, which does nothing."""
    return frozenset((factor, level) for factor, level in parse_cell(cell).items() if level != "none")


def _own_table(name: str) -> pd.DataFrame:
    with resources.files("budgetlens.comparison").joinpath(name).open(encoding="utf-8") as file:
        return pd.read_csv(
            file, dtype={"layer": "Int64"} if name == "published_figures.csv" else None
        ).fillna(dict.fromkeys(_TEXTS, ""))
