"""Strata and seeds as people read them: one row per contrast, the strata beside each other."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from budgetlens.statistics.adjustment import Correction
from budgetlens.statistics.decisions import joined
from budgetlens.statistics.verdicts import CAUTION_RULE, rule, trend_rule
from budgetlens.tables.digits import counted, with_interval
from budgetlens.tables.presentation import Table, documents_resampled, shares_documents
from budgetlens.tables.stating import correction_words, stated

_NAMES = {
    "answer length": "strata_answer_length",
    "document length": "strata_document_length",
    "baseline NLL": "strata_baseline",
    "mean NLL of both sides": "strata_mean",
}


def strata_presented(
    strata: pd.DataFrame, trends: pd.DataFrame, *, seed: int, correction: str
) -> Iterator[tuple[str, Table]]:
    """One table for each kind of strata: contrasts down, strata across, the trend at the end.

    Args:
        strata, trends: from `budgetlens.tables.run_statistics.strata_tables`.
        seed, correction: for the captions.
    """
    for by, own in strata.groupby("by", sort=False):
        kind = str(by)
        trend = trends[trends["by"] == kind].set_index("contrast")
        levels = list(dict.fromkeys(own["stratum"]))
        # Strata of hardness are each contrast's own, those of length are the same for all.
        sizes = {level: sorted(set(own.loc[own["stratum"] == level, "n"])) for level in levels}
        titles = {
            level: f"{level} (n {found[0]})" if len(found) == 1 else f"{level} (n {found[0]}-{found[-1]})"
            for level, found in sizes.items()
        }
        rows = []
        for contrast, part in own.groupby("contrast", sort=False):
            found = trend.loc[str(contrast)]
            cells = {
                titles[row.stratum]: with_interval(row.mean_difference, row.low, row.high)
                for row in part.itertuples()
            }
            notes = [*part["caution"], found["caution"]]
            rows.append(
                {
                    "contrast": contrast,
                    **cells,
                    "slope": found["slope"],
                    "low": found["low"],
                    "high": found["high"],
                    "p_holm": found["p_holm"],
                    "verdict": found["verdict"],
                    "caution": joined(*notes),
                    "reason": joined(*part["reason"], found["reason"]),
                }
            )
        yield (
            next(name for start, name in _NAMES.items() if kind.startswith(start)),
            Table(
                frame=pd.DataFrame(rows).fillna(dict.fromkeys(titles.values(), "")),
                title=f"Effects by {kind}",
                estimand="mean over a stratum's examples of baseline - treatment; slope = change of that mean from "
                "one stratum to the next",
                unit="nats per answer token",
                n="in the headings",
                family=f"trends of {counted(len(rows), 'headline contrast')} over {kind}",
                correction="Holm on the permutation p of the slope",
                seed=seed,
                notes=(
                    "95 % intervals over examples, made for long tails",
                    *documents_resampled(shares_documents(own)),
                    f"a letter stands for any stratum of its row; strata.csv has tests ({correction}) and verdicts "
                    "of every stratum, trends.csv the trends",
                    CAUTION_RULE,
                ),
                rule=trend_rule(),
                allows_for_documents=True,
            ),
        )


def seeds_presented(frame: pd.DataFrame, *, seed: int, correction: Correction) -> Table:
    """Contrasts over several random seeds, pooled, with the spread over the seeds."""
    sizes = frame.groupby("family", sort=False).size()
    units = sorted(set(frame["clusters"]))
    return Table(
        frame=frame,
        title="Effects over several random seeds",
        estimand="mean over examples and draws of baseline - treatment (positive: the treatment helps)",
        unit="nats per answer token",
        n=" to ".join(str(count) for count in dict.fromkeys((units[0], units[-1])))
        + " independent examples (or documents), each with every draw",
        family=", ".join(f"{name} ({size})" for name, size in sizes.items()),
        correction=f"{correction_words(correction)}, all its contrasts counted, as in the table of paired effects",
        seed=seed,
        notes=(
            "95 % intervals made for long tails: an example with all its draws is one unit",
            "variance between draws: its part of the variance of a single difference, 0 to 1",
            CAUTION_RULE,
        ),
        rule=rule(stated(frame), orders=frame["order"]),
        allows_for_documents=True,
        columns=(
            "contrast",
            "seeds",
            "mean_difference",
            "seed_mean_low",
            "seed_mean_high",
            "seed_mean_sd",
            "within_share",
            f"p_{correction}",
            "verdict",
            "caution",
            "reason",
        ),
    )
