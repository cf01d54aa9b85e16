"""02: does a prefix still help when the document grows?"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from analyses.studies.prefix_plans import (
    ORACLE,
    UNPADDED,
    PrefixLevel,
    PrefixStudy,
)
from budgetlens.design.analysis import Analysis, analysis
from budgetlens.design.plan import PROTOCOLS, Plan

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

    from budgetlens.runs.run import Run
    from budgetlens.tables.presentation import Table

LENGTHS = ("256", "512", "1024", "2048", "4096")

#: One draw of the random prefix more than published, and not two: at these lengths every prefix is dear.
STUDY = PrefixStudy(
    prefixes=(
        ORACLE,
        PrefixLevel("keywords:5", "surr_doc_trunc"),
        PrefixLevel("random", "random_trunc", draws=("random@1",)),
    ),
    paddings=(UNPADDED, *LENGTHS),
)


def plan(protocol: str) -> Plan:
    """The study's plan; the shortest and the longest document are its headlines."""
    ends = (UNPADDED, LENGTHS[-1])
    return STUDY.plan(
        protocol,
        headline=(
            *(STUDY.prefix("oracle", padding=padding) for padding in ends),
            *(STUDY.interaction(padding=padding) for padding in ends),
        ),
    )


def tables(run: Run) -> Mapping[str, Table]:
    """Effects and ratios by length."""
    from analyses.studies.length_tables import length_tables

    return length_tables(run, STUDY)


def figures(run: Run, tables: Mapping[str, pd.DataFrame]) -> Mapping[str, Figure]:
    """Effects by length."""
    from analyses.studies.length_tables import length_figures

    return length_figures(run, tables)


@analysis("exp02")
def exp02() -> Analysis:
    """{unpadded, 256 to 4,096 tokens} × {bare, oracle, keywords, random with the query; bare, oracle without}."""
    return Analysis(
        name="exp02",
        title="Length scaling",
        question="What becomes of a prefix's effect, with and without the query, as the document grows?",
        plans={protocol: plan(protocol) for protocol in PROTOCOLS},
        n=16,
        tables=tables,
        figures=figures,
        encoder_tokens=4_608,
    )


if __name__ == "__main__":
    from budgetlens.command.main import main

    sys.exit(main(["run", "exp02", *sys.argv[1:]]))
