"""06: are effects of prefixes effects on short answers? A re-analysis of a run of 01; no model is needed."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from analyses.exp01_production_cache import STUDY, exp01
from budgetlens.design.analysis import Analysis, analysis
from budgetlens.design.conclusions import Conclusion, Evidence

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

    from budgetlens.runs.run import Run
    from budgetlens.tables.presentation import Table


def tables(run: Run) -> Mapping[str, Table]:
    """Effects, answer NLL, ratios, trends and attention shares by the length of the answer."""
    from analyses.studies import reanalysis
    from analyses.studies.prefix_ratios import prefix_ratios
    from analyses.studies.reanalysis_presentation import presented

    source = run.source or run
    records, own_plan, cells, inference = (
        reanalysis.read_source(source),
        source.plan,
        source.manifest.cells,
        source.inference,
    )
    frames = {
        "strata_likelihood": reanalysis.likelihood_by_stratum(records, cells, inference),
        "strata_effects": reanalysis.effects_by_stratum(records, own_plan, inference),
        "strata_ratios": reanalysis.ratios_by_stratum(records, own_plan, prefix_ratios(STUDY), inference),
        "strata_trends": reanalysis.trends(records, own_plan, inference),
        "strata_shares": reanalysis.shares_by_stratum(records, cells, inference),
    }
    return presented(frames, source)


def figures(run: Run, tables: Mapping[str, pd.DataFrame]) -> dict[str, Figure]:
    """Effects in each stratum, for both stratifications, and answer NLL over the bins."""
    from analyses.studies.reanalysis import BINS, SPLIT
    from figures import effects_forest, interaction_plot

    setting = run.manifest.setting
    drawn = {}
    effects = tables["strata_effects"]
    for by, name in ((SPLIT, "effects_short_long"), (BINS, "effects_bins")):
        own = effects[effects["by"] == by].assign(
            family=lambda rows: rows["contrast"], alias=lambda rows: rows["stratum"] + " words"
        )
        own["contrast"] = own["stratum"]
        drawn[name] = effects_forest(
            own.assign(baseline="", treatment=""),
            title=f"Effects by answer length, {by}: {setting}",
        )
    means = tables["strata_likelihood"]
    shown = means[(means["by"] == BINS) & means["alias"].isin(CONDITIONS)]
    drawn["likelihood_bins"] = interaction_plot(
        shown,
        x="stratum",
        line="prefix",
        facet="prompt",
        title=f"Answer NLL by answer length in words: {setting}",
    )
    return drawn


#: Conditions whose answer NLL is drawn.
CONDITIONS = ("bare", "oracle_trunc", "random_trunc", "bare_nq", "oracle_trunc_nq")


def conclusion(protocol: str) -> Conclusion:
    """Whether the co-encoded query's effect differs between long and short answers."""
    from analyses.studies.reanalysis import SPLIT

    effects = [STUDY.prefix("oracle", prompt, protocol).name for prompt in ("query", "none")]
    return Conclusion(
        tuple(
            Evidence(name, "strata_trends", {"by": SPLIT}, "nats, long answers less short ones")
            for name in effects
        ),
        {
            "positive": "The co-encoded query does better on long answers than on short ones",
            "negative": "The co-encoded query does worse on long answers than on short ones",
            "none": "The co-encoded query's effect is the same on short and long answers",
            "undecided": "Whether the co-encoded query's effect differs between short and long answers is open",
        },
        "effects_short_long",
    )


@analysis("exp06")
def exp06() -> Analysis:
    """A run of 01 by the length of its answers: up to 5 words or more, and five bins.

    ``budgetlens run exp06 --from RUN`` re-analyses RUN; without it, 01 is run first.
    """
    return Analysis(
        name="exp06",
        title="Factoid split",
        question="Are the effects of prefixes effects on short answers?",
        plans=exp01().plans,
        reads="exp01",
        tables=tables,
        figures=figures,
        conclusion=conclusion,
    )


if __name__ == "__main__":
    from budgetlens.command.main import main

    sys.exit(main(["run", "exp06", *sys.argv[1:]]))
