"""16: which measure finds the tokens that the answer's likelihood rests on?"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from analyses.studies.faithfulness_plans import MEASURES, NORM, RANDOM, REMOVE, SHARE, plan
from budgetlens.design.analysis import Analysis, analysis
from budgetlens.design.conclusions import Conclusion, Evidence
from budgetlens.registry.labels import Label

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

    from budgetlens.runs.run import Run
    from budgetlens.tables.presentation import Table


def _tables(run: Run) -> Mapping[str, Table]:
    from analyses.studies.faithfulness import faithfulness_tables

    return faithfulness_tables(run)


def _figures(run: Run, tables: Mapping[str, pd.DataFrame]) -> Mapping[str, Figure]:
    from analyses.studies.faithfulness import faithfulness_figures

    return faithfulness_figures(run, tables)


def conclusion(protocol: str) -> Conclusion:
    """Whether norms find the tokens better than attention shares do; beside it, each measure against chance."""
    decides = REMOVE.beside(NORM, SHARE).name
    against_chance = [REMOVE.beside(measure, RANDOM).name for measure in MEASURES]
    return Conclusion(
        tuple(Evidence(name, label=Label(name)) for name in (decides, *against_chance)),
        {
            "positive": "Hiding the tokens with the highest norms costs less than hiding those with the highest attention: "
            "here attention finds better what the likelihood rests on",
            "negative": "Hiding the tokens with the highest norms costs more than hiding those with the highest attention: "
            "what rows take tells better than where they look what the likelihood rests on",
            "none": "Hiding the tokens with the highest norms costs as much as hiding those with the highest attention, by "
            "what matters",
            "undecided": "Whether norms find better than attention what the likelihood rests on is open",
        },
        "faithfulness",
    )


@analysis("exp16")
def exp16() -> Analysis:
    """The document without, and with nothing but, its highest 1 to 50 % of tokens by measure, gradient and chance."""
    return Analysis(
        name="exp16",
        title="Are the measures any good?",
        question="Which measure finds the document's tokens whose absence costs the answer's likelihood most?",
        plans={"corrected": plan()},
        n=48,
        tables=_tables,
        figures=_figures,
        conclusion=conclusion,
    )


if __name__ == "__main__":
    from budgetlens.command.main import main

    sys.exit(main(["run", "exp16", *sys.argv[1:]]))
