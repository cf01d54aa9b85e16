"""09: do the effects hold for other models?"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from analyses.studies.prefix_plans import ORACLE, PrefixLevel, PrefixStudy
from budgetlens.design.analysis import Analysis, analysis
from budgetlens.design.conclusions import Conclusion, Evidence
from budgetlens.design.plan import PROTOCOLS

if TYPE_CHECKING:
    from budgetlens.runs.run import Run
    from budgetlens.tables.presentation import Table

#: The random prefix of this analysis is words of a pool, as published.
STUDY = PrefixStudy(
    prefixes=(ORACLE, PrefixLevel("pool", "random_trunc", draws=("pool#1", "pool#2"))),
    without_prompt=(),
)


def tables(run: Run) -> Mapping[str, Table]:
    """The structural fraction of a model."""
    from analyses.studies.prefix_ratios import RatioOf, ratios_presented

    fraction = RatioOf("structural fraction", STUDY.prefix("pool").name, STUDY.prefix("oracle").name)
    return {"ratios": ratios_presented(run, [fraction])}


def conclusion(protocol: str) -> Conclusion:
    """Whether the co-encoded query helps a decoder that has the query, of each model."""
    effects = (
        STUDY.prefix("oracle", "query", protocol),
        STUDY.prefix("pool", "query", protocol),
        STUDY.prompt("none", protocol),
    )
    return Conclusion(
        tuple(Evidence(own.name) for own in effects),
        {
            "positive": "A co-encoded query helps a decoder that has the query",
            "negative": "A co-encoded query hurts a decoder that has the query",
            "none": "A co-encoded query makes no difference that matters to a decoder that has the query",
            "undecided": "Whether a co-encoded query helps a decoder that has the query is open",
        },
        "model_effects",
    )


@analysis("exp09")
def exp09() -> Analysis:
    """Bare, oracle, random with the query; bare without; always a sweep: on the built-in model, or every ``--model``."""
    headline = (STUDY.prefix("oracle"), STUDY.prefix("pool"), STUDY.prompt("none"))
    return Analysis(
        name="exp09",
        title="Cross-model sweep",
        question="Do a prefix's effect, its structural part and the decoder query's effect hold for other models?",
        plans={protocol: STUDY.plan(protocol, headline=headline) for protocol in PROTOCOLS},
        n=500,
        models=("reference",),
        tables=tables,
        conclusion=conclusion,
    )


if __name__ == "__main__":
    from budgetlens.command.main import main

    sys.exit(main(["run", "exp09", *sys.argv[1:]]))
