"""11: in which encoder states, and from which layer on, does a co-encoded prefix live?"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from analyses.studies.encoder_by_prompt import BOS_VISIBLE
from analyses.studies.enrichment_plans import RESTORED, SHOWN, enrichment_contrast, enrichment_plan, patches
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
    """Whether the document's own final states carry the prefix's effect to a decoder that has the query."""
    hidden = _HIDDEN[protocol]
    every = [
        patch
        for patch in patches(hidden)
        if patch.direction == RESTORED and patch.depth == "final" and patch.prompt == "query"
    ]
    first = next(patch for patch in every if patch.roles == SHOWN)
    others = [patch.contrast.name for patch in every if patch is not first]
    names = (first.contrast.name, enrichment_contrast("query", hidden).name, *others)
    return Conclusion(
        tuple(Evidence(name) for name in names),
        {
            "positive": "The document's co-encoded states help a decoder that has the query, without any other state of "
            "the prefixed input",
            "negative": "The document's co-encoded states hurt a decoder that has the query",
            "none": "The document's co-encoded states do nothing that matters for a decoder that has the query",
            "undecided": "Whether the document's co-encoded states help a decoder that has the query is open",
        },
    )


@analysis("exp11")
def exp11() -> Analysis:
    """Bare and enriched runs, with states of each role copied between them at five depths, both ways."""
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
