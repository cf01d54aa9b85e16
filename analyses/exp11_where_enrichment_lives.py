"""11: in which encoder states, and from which layer on, does a co-encoded prefix live?"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from analyses.studies.encoder_by_prompt import BOS_VISIBLE
from analyses.studies.enrichment_plans import (
    QUERY,
    RESTORED,
    SHOWN,
    enrichment_contrast,
    enrichment_plan,
    patches,
)
from budgetlens.design.analysis import Analysis, analysis
from budgetlens.design.conclusions import Conclusion, Evidence
from budgetlens.model.trials import FIRST_POSITIONS

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

    from budgetlens.runs.run import Run
    from budgetlens.tables.presentation import Table

_HIDDEN = {"corrected": BOS_VISIBLE, "published": FIRST_POSITIONS}


def _tables(run: Run) -> Mapping[str, Table]:
    from analyses.studies.enrichment import enrichment_tables

    return enrichment_tables(run, patches(_HIDDEN[run.manifest.protocol]))


def _figures(run: Run, tables: Mapping[str, pd.DataFrame]) -> Mapping[str, Figure]:
    from analyses.studies.enrichment import enrichment_figures

    return enrichment_figures(run, tables)


def conclusion(protocol: str) -> Conclusion:
    """Whether the document's own final states carry the prefix's effect; beside it, with the query."""
    hidden = _HIDDEN[protocol]
    every = [
        patch
        for patch in patches(hidden)
        if patch.direction == RESTORED and patch.depth == "final" and patch.prompt == "none"
    ]
    first = next(patch for patch in every if patch.roles == SHOWN and patch.donor == QUERY)
    others = [patch.contrast.name for patch in every if patch is not first]
    asked = (replace(first, prompt="query").contrast.name, enrichment_contrast("query", hidden).name)
    names = (first.contrast.name, enrichment_contrast("none", hidden).name, *others, *asked)
    return Conclusion(
        tuple(Evidence(name) for name in names),
        {
            "positive": "The document's own co-encoded states carry a help of the prefix, without any other state of the "
            "prefixed input",
            "negative": "The document's own co-encoded states carry a harm of the prefix",
            "none": "The document's own co-encoded states carry nothing of the prefix that matters",
            "undecided": "Whether the document's own co-encoded states carry what the prefix does is open",
        },
    )


@analysis("exp11")
def exp11() -> Analysis:
    """Bare and enriched runs, with states of each role copied between them at five depths, both ways.

    The default protocol adds two donors: a generic sentence as prefix, and positions alone.
    """
    return Analysis(
        name="exp11",
        title="Where enrichment lives",
        question="Which encoder states carry what a co-encoded prefix does, and from which layer on?",
        plans={
            "corrected": enrichment_plan(
                _HIDDEN["corrected"], rows="predicting", probes=("budgets",), correction="holm"
            ),
            "published": enrichment_plan(
                _HIDDEN["published"],
                rows="holding",
                probes=("budgets", "published_entropies"),
                correction="bonferroni",
            ),
        },
        n=120,
        tables=_tables,
        figures=_figures,
        conclusion=conclusion,
    )


if __name__ == "__main__":
    from budgetlens.command.main import main

    sys.exit(main(["run", "exp11", *sys.argv[1:]]))
