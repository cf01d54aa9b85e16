"""Published figures beside measured ones, per quantity, with the difference and what may be said.

The published figures are a table of this project (`published_figures.csv`, cells in `published_cells.csv`):
only the quantities compared, in this project's words, each with its source. Like is compared with like: a
run of another model, corpus or protocol is refused unless the user insists, and then every row says what is
unlike.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from plotly.graph_objects import Figure

from budgetlens.comparison.measured_figures import Measured, Measurements
from budgetlens.comparison.options import add_arguments
from budgetlens.comparison.published import (
    chosen_model,
    published_figures,
    short_cell_names,
    unlike_parts,
)
from budgetlens.comparison.runs_compared import compared_figures, compared_runs, require_one_model
from budgetlens.runs.figure_files import write_figures
from budgetlens.runs.files import write_output
from budgetlens.runs.run import Run
from budgetlens.statistics.verdicts import CAUTION_RULE
from budgetlens.tables.presentation import DOCUMENTS_RESAMPLED, Table, printed, render
from budgetlens.tables.terminal_text import visible
from figures import published_beside_measured

__all__ = ["Measured", "add_arguments", "agreement", "compare", "main", "save_comparison"]

NAN = float("nan")

NAME = "published_beside_measured"
"""Name of the table and of the figure that are kept with the run."""

TOLERANCES = {
    "mean NLL": 0.05,
    "mean difference": 0.05,
    "d_z": 0.1,
    "win %": 5.0,
    "share of the whole": 0.1,
    "attention share": 0.02,
    "sd of attention share": 0.02,
    "published entropy": 0.1,
    "sd of published entropy": 0.1,
    "p (t)": NAN,
    "ratio of d_z": 0.1,
    "difference of d_z": 0.1,
    "document tokens": 5.0,
    "examples": 10.0,
}
"""Largest difference that counts as agreement, per quantity, in its own unit; a p has none."""

LEVEL = 0.05
"""Two p agree where both are below it or neither is."""

AGREES, COMPATIBLE, DIFFERS, NOT_MEASURED = "agrees", "compatible", "differs", "not measured"

WINS = "win % and p allow for it by the cluster-robust variance (Wilson at the effective number of examples)"

RULE = (
    "agreement is by rule: agrees where the difference is within the tolerance (a p: where both are below "
    "0.05, or neither is); compatible where it is not, but the measured interval holds the published figure; "
    "differs otherwise; not measured where the run cannot tell"
)


def compare(run: Run, force: bool = False, *, model: str | None = None, resamples: int = 9_999) -> Table:
    """Published beside measured for every published quantity of the run's analysis.

    Args:
        run: a finished run.
        force: compare even where model, corpus or protocol differ; every row then says so.
        model: published model to compare with; by default the run's own, else the main one.
        resamples: sign patterns drawn.

    Returns:
        A table with the columns stratum, quantity, baseline, treatment, layer, part, unit, n, published, measured,
        low, high, difference (measured - published), difference_low, difference_high, tolerance, agreement,
        unlike, caution (of the measured figure), reason and source. The published figure is taken as exact: its own
        sampling error is not in the interval.

    Raises:
        ValueError: nothing was published for the analysis, the run is a sweep over models, or unlike things were
            compared without `force`.
    """
    manifest = run.manifest
    require_one_model(run)
    figures = published_figures(manifest.analysis)
    chosen = chosen_model(figures, manifest.model.name, model)
    figures = figures[figures["model"] == chosen]
    unlike = unlike_parts(manifest, chosen, str(figures["corpus"].iloc[0]))
    if unlike and not force:
        raise ValueError(
            f"{run.path} is unlike the published runs ({unlike}); compare a like run, or insist with --force"
        )
    found = Measurements(run.source or run, resamples)
    short = short_cell_names(manifest.analysis)
    rows = [
        {**_row(figure, found(figure), unlike), "cells": _cells_in_words(figure, short)}
        for _, figure in figures.iterrows()
    ]
    return Table(
        frame=pd.DataFrame(rows),
        title=f"{manifest.analysis}: published and measured",
        estimand="measured - published, per quantity",
        unit="as in the column",
        n=f"published {int(figures['n'].iloc[0])}, measured as in the column",
        family="none: every row stands for itself",
        correction="none",
        seed=run.seed,
        notes=(
            "95 % intervals of the measured figure over examples, made for long tails (Wilson for win %)",
            *(() if found.documents is None else (DOCUMENTS_RESAMPLED, WINS)),
            "the published figure is taken as exact",
            RULE,
            CAUTION_RULE,
            *((f"UNLIKE in every row: {unlike}",) if unlike else ()),
        ),
        columns=(
            "cells",
            "stratum",
            "quantity",
            "layer",
            "part",
            "n",
            "published",
            "measured",
            "difference",
            "tolerance",
            "agreement",
            "unlike",
            "caution",
            "reason",
        ),
    )


def agreement(quantity: str, published: float, measured: Measured) -> str:
    """One of the four words of `RULE`."""
    if math.isnan(measured.value):
        return NOT_MEASURED
    if quantity == "p (t)":
        return AGREES if (measured.value < LEVEL) == (published < LEVEL) else DIFFERS
    if abs(measured.value - published) <= TOLERANCES[quantity]:
        return AGREES
    return COMPATIBLE if measured.low <= published <= measured.high else DIFFERS


def _cells_in_words(figure: pd.Series, short: Mapping[str, str]) -> str:
    def side(cells: str) -> str:
        return " + ".join(short.get(cell, cell) for cell in cells.split(" + "))

    words = side(figure["baseline"])
    if figure["treatment"]:
        words += f" → {side(figure['treatment'])}"
    if figure["whole_baseline"]:
        joint = {"ratio of d_z": "over", "difference of d_z": "minus"}.get(figure["quantity"], "of")
        words += f", {joint} {side(figure['whole_baseline'])} → {side(figure['whole_treatment'])}"
    return words


def _row(figure: pd.Series, measured: Measured, unlike: str) -> dict[str, object]:
    quantity, published = str(figure["quantity"]), float(figure["value"])
    reason = measured.reason
    if measured.n and measured.n != int(figure["n"]):
        reason = "; ".join(filter(None, (reason, f"n {measured.n}, published {int(figure['n'])}")))
    return {
        "stratum": figure["stratum"],
        "quantity": quantity,
        "baseline": figure["baseline"],
        "treatment": figure["treatment"],
        "layer": figure["layer"],
        "part": figure["part"],
        "unit": figure["unit"],
        "n": measured.n,
        "published": published,
        "measured": measured.value,
        "low": measured.low,
        "high": measured.high,
        "difference": measured.value - published,
        "difference_low": measured.low - published,
        "difference_high": measured.high - published,
        "tolerance": TOLERANCES[quantity],
        "agreement": agreement(quantity, published, measured),
        "unlike": unlike,
        "caution": measured.caution,
        "reason": reason,
        "source": figure["source"],
    }


def main(arguments: argparse.Namespace) -> int:
    """Run `budgetlens compare`: print the tables, keep them and their figures with the run; the exit status.

    Raises ValueError for another run together with a published model, and as :func:`compare` and
    :func:`budgetlens.comparison.runs_compared.compared_runs` do.
    """
    run = Run.open(arguments.run)
    if arguments.other is None:
        table = compare(run, arguments.force, model=arguments.published_model)
        tables, figures = {NAME: table}, {NAME: published_beside_measured(table.frame, title=table.title)}
    else:
        if arguments.published_model is not None:
            raise ValueError(
                "a run is compared with another run or with published figures: leave one of them out"
            )
        other = Run.open(arguments.other)
        found = compared_runs(run, other)
        drawn = compared_figures(run, found)
        start = f"beside_{re.sub(r'[^A-Za-z0-9.-]', '_', other.name)}"
        tables = {f"{start}_{name}": table for name, table in found.items()}
        figures = {f"{start}_{name}": figure for name, figure in drawn.items()}
    for path in save_comparison(run, tables, figures):
        print(visible(f"saved: {path}"), file=sys.stderr)
    if arguments.out is None:
        sys.stdout.write("\n".join(printed(table, arguments.format) for table in tables.values()))
    else:
        write_output(arguments.out, "\n".join(render(table, arguments.format) for table in tables.values()))
    return 0


def save_comparison(run: Run, tables: Mapping[str, Table], figures: Mapping[str, Figure]) -> list[Path]:
    """Write the comparison as ``RUN/tables/NAME.csv`` and ``RUN/figures/NAME.html``; the paths."""
    with run.directory.locked("wait for it and give the same command again"):
        written = run.directory.write_tables({name: table.frame for name, table in tables.items()})
        return [*written, *write_figures(run.directory, figures)]
