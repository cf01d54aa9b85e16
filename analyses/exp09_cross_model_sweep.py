"""09: do the effects hold for other models?"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from analyses.studies.prefix_plans import ORACLE, PrefixLevel, PrefixStudy
from budgetlens.design.analysis import Analysis, analysis
from budgetlens.design.plan import PROTOCOLS

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

    from budgetlens.runs.request import RunRequest
    from budgetlens.runs.run import Run
    from budgetlens.tables.presentation import Table

#: The random prefix of this analysis is words of a pool, as published.
STUDY = PrefixStudy(
    prefixes=(ORACLE, PrefixLevel("pool", "random_trunc", draws=("pool#1", "pool#2"))),
    without_prompt=(),
)

#: The analysis that the directory of a sweep belongs to; that of a model's run in it is exp09.
SWEEP = "exp09-sweep"


def runner(request: RunRequest) -> Run:
    """Run every model that is asked for, one after another."""
    from budgetlens.command.finishing import finish
    from budgetlens.runs.model_sweep import sweep

    return sweep(request, SWEEP, finish)


def tables(run: Run) -> Mapping[str, Table]:
    """One row per model."""
    from analyses.studies.sweep_tables import sweep_tables

    return sweep_tables(run)


def figures(run: Run, tables: Mapping[str, pd.DataFrame]) -> Mapping[str, Figure]:
    """Effects of every model side by side."""
    from analyses.studies.sweep_tables import sweep_figures

    return sweep_figures(run, tables)


@analysis("exp09")
def exp09() -> Analysis:
    """Bare, oracle, random with the query; bare without; on every ``--model`` given."""
    headline = (STUDY.prefix("oracle"), STUDY.prefix("pool"), STUDY.prompt("none"))
    return Analysis(
        name="exp09",
        title="Cross-model sweep",
        question="Do a prefix's effect, its structural part and the decoder query's effect hold for other models?",
        plans={protocol: STUDY.plan(protocol, headline=headline) for protocol in PROTOCOLS},
        n=500,
        runner=runner,
    )


@analysis(SWEEP)
def exp09_sweep() -> Analysis:
    """The table over models that ``budgetlens run exp09`` leaves; the runs of the models lie below it."""
    swept = exp09()
    return Analysis(
        name=SWEEP,
        title=swept.title,
        question=swept.question,
        plans=swept.plans,
        n=swept.n,
        tables=tables,
        figures=figures,
        runner=lambda request: runner(replace(request, analysis=exp09())),
        has_records=False,
        listed=False,
    )


if __name__ == "__main__":
    from budgetlens.command.main import main

    sys.exit(main(["run", "exp09", *sys.argv[1:]]))
