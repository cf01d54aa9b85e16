"""13: do shares of attention tell what the answer uses?"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from analyses.studies.look_and_use_plans import SERVED, plan
from budgetlens.design.analysis import Analysis, analysis
from budgetlens.design.conclusions import Conclusion, Evidence

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
    """What it costs to cut the sink, which is looked at most, and beside it the other roles."""
    names = [SERVED.cut(role).name for role in ("bos", *(role for role in SERVED.roles if role != "bos"))]
    return Conclusion(
        tuple(Evidence(name) for name in names),
        {
            "positive": "Cutting the answer's rows off the encoder's BOS lowers the cost of the answer",
            "negative": "Cutting the answer's rows off the encoder's BOS costs",
            "none": "Cutting the answer's rows off the encoder's BOS costs nothing that matters",
            "undecided": "What cutting the answer's rows off the encoder's BOS costs is open",
        },
        "look_and_use",
    )


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
