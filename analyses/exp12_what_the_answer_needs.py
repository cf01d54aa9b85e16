"""12: what does it cost to cut the answer off positions, and in which layers?"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from analyses.studies.knockout_plans import WINDOWS, BaseCell, Knocked, knockout_plan, knockouts
from budgetlens.design.analysis import Analysis, analysis
from budgetlens.design.conclusions import Conclusion, Evidence
from budgetlens.model.roles import DECODER_ROLES, ENCODER_ROLES
from budgetlens.model.trials import FIRST_POSITIONS

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

    from budgetlens.runs.run import Run
    from budgetlens.tables.presentation import Table

_BASES = {
    "corrected": (
        BaseCell("none", "prefix visible", ENCODER_ROLES + DECODER_ROLES),
        BaseCell("prefix+separator", "prefix hidden", ("bos", "document", "eos", *DECODER_ROLES)),
    ),
    # The published truncation leaves the separator visible.
    "published": (
        BaseCell(FIRST_POSITIONS, "first positions hidden", ("separator", "document", "eos", *DECODER_ROLES)),
    ),
}

#: Rows and the windows in which they are cut off. All rows but the start, which in a self-attention of its
#: own sees nothing besides itself.
_ROWS: dict[str, dict[str, tuple[str, ...]]] = {
    "corrected": {"predicting": WINDOWS, "answer": ("all",), "prompt+answer": ("all",)},
    "published": {"answer": WINDOWS},
}


def _tables(run: Run) -> Mapping[str, Table]:
    from analyses.studies.knockouts import knockout_tables

    protocol = run.manifest.protocol
    return knockout_tables(run, knockouts(_BASES[protocol], _ROWS[protocol]))


def _figures(run: Run, tables: Mapping[str, pd.DataFrame]) -> Mapping[str, Figure]:
    from analyses.studies.knockouts import knockout_figures

    return knockout_figures(run, tables)


def conclusion(protocol: str) -> Conclusion:
    """What it costs to cut the answer's rows off the document in all layers, and off the other roles."""
    rows, base = next(iter(_ROWS[protocol])), _BASES[protocol][-1]
    by_keys = {keys: Knocked(base, rows, keys, "all").contrast.name for keys in base.keys}
    names = (by_keys.pop("document"), *by_keys.values())
    return Conclusion(
        tuple(Evidence(name) for name in names),
        {
            "positive": "Cutting the answer's rows off the document lowers the cost of the answer",
            "negative": "Cutting the answer's rows off the document costs",
            "none": "Cutting the answer's rows off the document costs nothing that matters",
            "undecided": "What cutting the answer's rows off the document costs is open",
        },
        "knockout_windows",
    )


@analysis("exp12")
def exp12() -> Analysis:
    """Each role as keys × quarters of the decoder's depth and all layers, prefix visible and hidden."""
    return Analysis(
        name="exp12",
        title="What cutting costs the answer",
        question="What does it cost to cut the answer's rows off each role, and in which layers?",
        plans={
            "corrected": knockout_plan(
                _BASES["corrected"],
                _ROWS["corrected"],
                read="predicting",
                probes=("budgets",),
                correction="holm",
            ),
            "published": knockout_plan(
                _BASES["published"],
                _ROWS["published"],
                read="holding",
                probes=("budgets", "published_entropies"),
                correction="bonferroni",
            ),
        },
        n=150,
        tables=_tables,
        figures=_figures,
        conclusion=conclusion,
    )


if __name__ == "__main__":
    from budgetlens.command.main import main

    sys.exit(main(["run", "exp12", *sys.argv[1:]]))
