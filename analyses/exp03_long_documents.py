"""03: the production cache on long documents."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from analyses.studies.prefix_plans import ORACLE, OTHER_QUERY, RANDOM, PrefixLevel, PrefixStudy
from budgetlens.design.analysis import Analysis, analysis
from budgetlens.design.conclusions import Conclusion, Evidence
from budgetlens.design.plan import PROTOCOLS

if TYPE_CHECKING:
    from budgetlens.runs.run import Run
    from budgetlens.tables.presentation import Table

KEYWORDS = PrefixLevel("keywords:5", "surr_doc_trunc")

STUDY = PrefixStudy(prefixes=(ORACLE, KEYWORDS, RANDOM), corrected_prefixes=(OTHER_QUERY,))

#: What strata, seeds and head maps report.
HEADLINE = (
    STUDY.prefix("oracle"),
    STUDY.prefix("keywords:5"),
    STUDY.prefix("random"),
    STUDY.prefix("oracle", "none"),
    STUDY.interaction(),
)


def tables(run: Run) -> Mapping[str, Table]:
    """Ratios of prefix effects."""
    from analyses.studies.prefix_ratios import prefix_ratios, ratios_presented

    return {"ratios": ratios_presented(run, prefix_ratios(STUDY))}


def conclusion(protocol: str) -> Conclusion:
    """Whether the co-encoded query still helps on long documents."""
    effects = (
        STUDY.prefix("oracle", "query", protocol),
        STUDY.prefix("oracle", "none", protocol),
        STUDY.prefix("keywords:5", "query", protocol),
        STUDY.prefix("random", "query", protocol),
    )
    return Conclusion(
        tuple(Evidence(own.name) for own in effects),
        {
            "positive": "On long documents a co-encoded query helps a decoder that has the query",
            "negative": "On long documents a co-encoded query hurts a decoder that has the query",
            "none": "On long documents a co-encoded query makes no difference that matters to a decoder that has the query",
            "undecided": "Whether a co-encoded query helps on long documents once the decoder has the query is open",
        },
        "interaction",
    )


@analysis("exp03")
def exp03() -> Analysis:
    """Bare, oracle, keywords, random with the query; bare and oracle without; on long documents.

    The published runs took ``--corpus neural-bridge --n 500``; the default is the built-in corpus's long part.
    """
    return Analysis(
        name="exp03",
        title="Long documents",
        question="Does a co-encoded prefix still help where the document is long?",
        plans={protocol: STUDY.plan(protocol, headline=HEADLINE) for protocol in PROTOCOLS},
        corpus="reference-long",
        n=100,
        tables=tables,
        conclusion=conclusion,
    )


if __name__ == "__main__":
    from budgetlens.command.main import main

    sys.exit(main(["run", "exp03", *sys.argv[1:]]))
