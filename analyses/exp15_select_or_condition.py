"""15: which of the document's tokens carry the answer, and does conditioning spare the choice?"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from analyses.studies.selection_plans import TOLD, headline, plan
from budgetlens.design.analysis import Analysis, analysis
from budgetlens.design.conclusions import Conclusion, Evidence

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

    from budgetlens.runs.run import Run
    from budgetlens.tables.presentation import Table


def _tables(run: Run) -> Mapping[str, Table]:
    from analyses.studies.selection import selection_tables

    return selection_tables(run)


def _figures(run: Run, tables: Mapping[str, pd.DataFrame]) -> Mapping[str, Figure]:
    from analyses.studies.selection import selection_figures

    return selection_figures(run, tables)


def conclusion(protocol: str) -> Conclusion:
    """Whether what the prompt looks at carries more than as many random tokens; beside it the other scores and the costs."""
    looked = f"The {TOLD} % of the document that the prompt looks at most"
    return Conclusion(
        tuple(Evidence(own.name) for own in headline()),
        {
            "positive": f"{looked} carry more of the answer than random {TOLD} %",
            "negative": f"{looked} carry less of the answer than random {TOLD} %",
            "none": f"{looked} carry as much of the answer as random {TOLD} %, but for what doesn't matter",
            "undecided": f"Whether the {TOLD} % of the document that the prompt looks at most carry more of the answer than "
            f"random {TOLD} % is open",
        },
        "selection",
    )


@analysis("exp15")
def exp15() -> Analysis:
    """{bare, oracle} × {query, no prompt} × parts of the document by every score: what is lost, over random as the floor."""
    return Analysis(
        name="exp15",
        title="Select or condition",
        question="Which of the document's tokens carry the answer, and does conditioning spare their choice?",
        plans={"corrected": plan()},
        n=100,
        tables=_tables,
        figures=_figures,
        conclusion=conclusion,
    )


if __name__ == "__main__":
    from budgetlens.command.main import main

    sys.exit(main(["run", "exp15", *sys.argv[1:]]))
