"""02: does a prefix still help when the document grows?"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from analyses.studies.prefix_plans import (
    ORACLE,
    OTHER_QUERY,
    UNPADDED,
    PrefixLevel,
    PrefixStudy,
)
from budgetlens.design.analysis import Analysis, analysis
from budgetlens.design.conclusions import Conclusion, Evidence, doing
from budgetlens.design.plan import PROTOCOLS, Plan
from budgetlens.registry.labels import Label

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
    corrected_prefixes=(OTHER_QUERY,),
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


def conclusion(protocol: str) -> Conclusion:
    """Whether the effect of the co-encoded query changes with the document's length, with the query and without."""
    trends = {
        prompt: Label(
            f"slope over length, {words}", f"the query as prefix, per doubling of the length, with {words}"
        )
        for prompt, words in (("query", "the query in the prompt"), ("none", "no prompt"))
    }
    ends = {
        STUDY.prefix("oracle", "query", protocol, padding=padding).name: int(padding)
        for padding in (LENGTHS[0], LENGTHS[-1])
    }
    return Conclusion(
        (
            *(
                Evidence(
                    f"oracle prefix | prompt={prompt}, per doubling of the length",
                    "length_trends",
                    unit="nats per doubling of the length",
                    label=label,
                )
                for prompt, label in trends.items()
            ),
            *(Evidence(name, said=doing(f"at {length:,} tokens it")) for name, length in ends.items()),
        ),
        {
            "positive": "With the query in the decoder, the co-encoded query does better the longer the document",
            "negative": "With the query in the decoder, the co-encoded query does worse the longer the document",
            "none": "With the query in the decoder, the co-encoded query's effect changes by nothing that matters per "
            "doubling of the length",
            "undecided": "Whether the co-encoded query's effect changes with the document's length is open",
        },
        "effects_by_length",
    )


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
        conclusion=conclusion,
        encoder_tokens=4_608,
    )


if __name__ == "__main__":
    from budgetlens.command.main import main

    sys.exit(main(["run", "exp02", *sys.argv[1:]]))
