"""14: is the gain in likelihood a gain in answers?"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from analyses.exp01_production_cache import HEADLINE, STUDY
from budgetlens.design.analysis import Analysis, analysis
from budgetlens.design.conclusions import Conclusion, Evidence
from budgetlens.design.plan import PROTOCOLS, Plan
from budgetlens.registry.labels import Label

if TYPE_CHECKING:
    from budgetlens.runs.run import Run
    from budgetlens.tables.presentation import Table

GENERATION = "generation"
#: Tables of the effects on answers, as the probe declares them, with what they are on: exact match first.
ON_ANSWERS = {
    "generation_effects": "exact match",
    "generation_f1_effects": "F1",
    "generation_recall_effects": "recall",
    "effects": "likelihood",
}


def plan(protocol: str) -> Plan:
    """The cells and effects of analysis 01; what is read are answers, and no attention."""
    return replace(STUDY.plan(protocol, headline=HEADLINE), probes=(GENERATION,), share_contrasts=())


def tables(run: Run) -> Mapping[str, Table]:
    """Every headline effect on likelihood beside its effects on answers."""
    from analyses.studies.answer_tables import beside_likelihood

    return {"answers": beside_likelihood(run, [effect.words for effect in HEADLINE])}


def conclusion(protocol: str) -> Conclusion:
    """Whether the co-encoded query changes how many answers are right; beside it, what it does to likelihood."""
    own = STUDY.prefix("oracle", "query", protocol).name
    return Conclusion(
        tuple(
            Evidence(own, table, label=Label(f"on {what}, prefix: the query · prompt: the query"))
            for table, what in ON_ANSWERS.items()
        ),
        {
            "positive": "A cache that was co-encoded with the query gives more right answers",
            "negative": "A cache that was co-encoded with the query gives fewer right answers",
            "none": "A cache that was co-encoded with the query makes no difference that matters to how many answers "
            "are right",
            "undecided": "Whether a cache that was co-encoded with the query gives more right answers is open",
        },
        "generation_effects",
    )


@analysis("exp14")
def exp14() -> Analysis:
    """The cells of 01: effects on likelihood beside effects on exact match, F1 and recall of generated answers."""
    return Analysis(
        name="exp14",
        title="Answers",
        question="Is what a prefix does to the answer's likelihood also done to the answers that are generated?",
        plans={protocol: plan(protocol) for protocol in PROTOCOLS},
        n=100,
        tables=tables,
        conclusion=conclusion,
    )


if __name__ == "__main__":
    from budgetlens.command.main import main

    sys.exit(main(["run", "exp14", *sys.argv[1:]]))
