"""04: what in a prefix helps: this document's words, any words, or their number?"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from analyses.studies.prefix_plans import ORACLE, OTHER_QUERY, RANDOM, PrefixLevel, PrefixStudy
from budgetlens.design.analysis import Analysis, analysis
from budgetlens.design.conclusions import Conclusion, Evidence, doing
from budgetlens.design.plan import PROTOCOLS, Plan

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

    from budgetlens.runs.run import Run
    from budgetlens.tables.presentation import Table

#: The wrong keywords come from the next example, as published.
WRONG = "wrong_keywords@1:5"

STUDY = PrefixStudy(
    prefixes=(
        ORACLE,
        RANDOM,
        PrefixLevel("keywords:5", "surr_kw5"),
        PrefixLevel("keywords:10", "surr_kw10"),
        PrefixLevel("keywords:20", "surr_kw20"),
        PrefixLevel("first_sentence", "surr_first_sent"),
        PrefixLevel(WRONG, "surr_random_kw5"),
    ),
    corrected_prefixes=(PrefixLevel("pool", "pool_trunc", draws=("pool#1", "pool#2")), OTHER_QUERY),
)

SPECIFICITY = "own over wrong keywords"


def plan(protocol: str) -> Plan:
    """The study's plan with the specificity contrast and the split of what keywords are worth."""
    structure, keywords, wrong = (
        STUDY.prefix(level, "query", protocol) for level in ("random", "keywords:5", WRONG)
    )
    vocabulary = (wrong - structure).named("vocabulary (random→wrong keywords)", wrong.family)
    semantics = (keywords - wrong).named("semantics (wrong keywords→keywords)", wrong.family)
    over_random = (keywords - structure).named("keywords:5 over random", wrong.family)
    return STUDY.plan(
        protocol,
        effects=(semantics.named(SPECIFICITY, "specificity"),),
        splits=(
            (keywords, (structure.named("structure (none→random)"), vocabulary, semantics)),
            (over_random, (vocabulary, semantics)),
        ),
        headline=(STUDY.prefix("oracle"), keywords, structure, semantics.named(SPECIFICITY)),
    )


def tables(run: Run) -> Mapping[str, Table]:
    """Ranking, keyword curve and ratios."""
    from analyses.studies.prefix_ranking import ranking_tables
    from analyses.studies.prefix_ratios import RatioOf, prefix_ratios, ratios_presented

    own = RatioOf("specific part of keywords:5", SPECIFICITY, STUDY.prefix("keywords:5").name)
    return {
        **ranking_tables(run, STUDY),
        "ratios": ratios_presented(run, (*prefix_ratios(STUDY), own)),
    }


def figures(run: Run, tables: Mapping[str, pd.DataFrame]) -> Mapping[str, Figure]:
    """The curve over the number of keywords."""
    from analyses.studies.prefix_ranking import ranking_figures

    return ranking_figures(run, tables)


def conclusion(protocol: str) -> Conclusion:
    """Whether it matters that the words are the document's own."""
    effects = [
        STUDY.prefix(level, "query", protocol).name for level in ("oracle", "keywords:5", WRONG, "random")
    ]
    said = {
        effects[1]: doing("its own keywords", plural=True),
        effects[2]: doing("another document’s", plural=True),
    }
    return Conclusion(
        (Evidence(SPECIFICITY), *(Evidence(name, said=said.get(name, {})) for name in effects)),
        {
            "positive": "This document's own keywords do better than another document's",
            "negative": "This document's own keywords do worse than another document's",
            "none": "Whose keywords they are makes no difference that matters",
            "undecided": "Whether it matters that keywords are the document's own is open",
        },
    )


@analysis("exp04")
def exp04() -> Analysis:
    """Bare, oracle, random, keywords (5, 10, 20), first sentence, another document's keywords; two without a prompt.

    The default protocol adds words of a pool, which are of no document, and another example's query.
    """
    return Analysis(
        name="exp04",
        title="Prefix content",
        question="What in a prefix helps the answer: this document's words, any document's, or any words at all?",
        plans={protocol: plan(protocol) for protocol in PROTOCOLS},
        tables=tables,
        figures=figures,
        conclusion=conclusion,
    )


if __name__ == "__main__":
    from budgetlens.command.main import main

    sys.exit(main(["run", "exp04", *sys.argv[1:]]))
