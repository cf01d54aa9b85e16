"""13: do shares of attention tell what the answer uses?"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from analyses.studies.look_and_use_plans import (
    AGREEMENT,
    AGREEMENTS,
    CHANCE,
    NORM,
    OF_SINK,
    SERVED,
    SHARE,
    SINK,
    SINKS,
    TAKEN,
    instead,
    plan,
)
from budgetlens.design.analysis import Analysis, analysis
from budgetlens.design.conclusions import Conclusion, Evidence
from budgetlens.registry.labels import Label
from budgetlens.statistics.quantities import Quantity

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

    from budgetlens.runs.run import Run
    from budgetlens.tables.presentation import Table


def _tables(run: Run) -> Mapping[str, Table]:
    from analyses.studies.look_and_use import look_and_use_tables

    return look_and_use_tables(run)


def _figures(run: Run, tables: Mapping[str, pd.DataFrame]) -> Mapping[str, Figure]:
    from analyses.studies.look_and_use import look_and_use_figures

    return look_and_use_figures(run, tables)


def conclusion(protocol: str) -> Conclusion:
    """Whether shares order the roles by what cutting costs as well as norms do; then each against no order, and the sink."""
    of_ledgers = [(NORM, SHARE), (SHARE, CHANCE), *((measure, SHARE) for measure in TAKEN if measure != NORM)]
    return Conclusion(
        (
            *(_of(instead(measure, other), AGREEMENTS, AGREEMENT) for measure, other in of_ledgers),
            _of(instead(NORM, SHARE), SINKS, OF_SINK),
            Evidence(SERVED.cut(SINK).name),
        ),
        {
            "positive": "Shares of attention order the roles by what cutting them costs better than norms do",
            "negative": "Norms of contributions order the roles by what cutting them costs better than shares do",
            "none": "Shares of attention order the roles by what cutting them costs as well as norms of contributions do",
            "undecided": "Whether shares of attention order the roles by what cutting them costs as well as norms of "
            "contributions do is open",
        },
        "look_and_use",
    )


def _of(name: str, table: str, quantity: Quantity) -> Evidence:
    of = " · the sink" if table == SINKS else ""
    return Evidence(name, table, label=Label(f"{name}{of}"), quantity=quantity)


@analysis("exp13")
def exp13() -> Analysis:
    """{bare, oracle} × {no prompt, query}, each as it is and cut off every role, read by every measure."""
    return Analysis(
        name="exp13",
        title="Look and use",
        question="Do shares of attention tell what the answer takes, and what it costs to cut it off?",
        plans={"corrected": plan()},
        n=100,
        tables=_tables,
        figures=_figures,
        conclusion=conclusion,
    )


if __name__ == "__main__":
    from budgetlens.command.main import main

    sys.exit(main(["run", "exp13", *sys.argv[1:]]))
