"""01: does a cache that was co-encoded with the query still help a decoder that has the query?"""

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

TEMPLATE = PrefixLevel("template", "surr_template_trunc")
KEYWORDS = PrefixLevel("keywords:5", "surr_doc_trunc")

STUDY = PrefixStudy(
    prefixes=(ORACLE, TEMPLATE, KEYWORDS, RANDOM),
    corrected_prefixes=(OTHER_QUERY,),
    untruncated={"oracle": "oracle_full"},
    taken_apart={"oracle": ("query", "none")},
)

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
    """Whether the co-encoded query still helps a decoder that has it; beside it, what it does to one that has not."""
    effects = (
        STUDY.prefix("oracle", "query", protocol),
        STUDY.prefix("oracle", "none", protocol),
        STUDY.interaction("oracle", protocol),
        STUDY.prefix("random", "query", protocol),
        *(() if protocol == "published" else (STUDY.prefix(OTHER_QUERY.level, "query", protocol),)),
    )
    return Conclusion(
        tuple(Evidence(own.name) for own in effects),
        {
            "positive": "A cache that was co-encoded with the query helps a decoder that has the query",
            "negative": "A cache that was co-encoded with the query hurts a decoder that has the query",
            "none": "A cache that was co-encoded with the query makes no difference that matters to a decoder that "
            "has the query",
            "undecided": "Whether a cache that was co-encoded with the query helps a decoder that has it is open",
        },
        "interaction",
    )


@analysis("exp01")
def exp01() -> Analysis:
    """Bare, oracle (hidden and left visible), template, keywords, random with the query; bare, oracle without.

    The default protocol adds another example's query.
    """
    return Analysis(
        name="exp01",
        title="Production cache",
        question="How much of a co-encoded prefix's effect survives once the decoder has the query itself?",
        plans={protocol: STUDY.plan(protocol, headline=HEADLINE) for protocol in PROTOCOLS},
        tables=tables,
        conclusion=conclusion,
    )


if __name__ == "__main__":
    from budgetlens.command.main import main

    sys.exit(main(["run", "exp01", *sys.argv[1:]]))
