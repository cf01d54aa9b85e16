"""A run's tables with their captions: the form in which people read them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pandas as pd

from budgetlens.design.plan import Plan
from budgetlens.model.declaration import Declaration
from budgetlens.model.roles import ROLES
from budgetlens.runs.manifest import Manifest
from budgetlens.runs.run import Run
from budgetlens.statistics.verdicts import CAUTION_RULE
from budgetlens.tables.captions import Captions
from budgetlens.tables.digits import counted
from budgetlens.tables.outcomes import presented_outcome
from budgetlens.tables.presentation import (
    Table,
    documents_resampled,
    shares_documents,
)
from budgetlens.tables.probe_presentation import presented_probe
from budgetlens.tables.shifts import SHIFTS, shifts_presented
from budgetlens.tables.strata_presentation import seeds_presented, strata_presented

__all__ = ["presented_tables"]


def presented_tables(run: Run, tables: Mapping[str, pd.DataFrame]) -> dict[str, Table]:
    """The tables that a reader wants first, captioned; the CSV files hold the rest.

    ``tables`` come from :func:`budgetlens.tables.build.build_tables`.
    """
    plan, manifest = run.plan, run.manifest
    captions = Captions(
        seed=run.seed, n=manifest.examples_words, correction=plan.correction, labels=manifest.labels
    )
    presented: dict[str, Table] = {}
    for name, declared in run.declarations.items():
        if declared.axis:
            presented |= presented_probe(captions, name, declared, tables, manifest.rows)
            continue
        presented |= presented_outcome(captions, name, declared, tables, run.inference)
        if declared.outcome:
            presented |= dict(_of_the_outcome(captions, plan, declared, tables))
    if SHIFTS in tables:
        presented[SHIFTS] = shifts_presented(captions, run, tables)
    presented["trials"] = _trials(captions, tables["trials"], manifest)
    return presented


def _of_the_outcome(
    captions: Captions, plan: Plan, declared: Declaration, tables: Mapping[str, pd.DataFrame]
) -> Iterator[tuple[str, Table]]:
    (quantity,) = declared.quantities
    if "decomposition" in tables:
        yield (
            "decomposition",
            captions.describing(
                tables["decomposition"],
                title="Splits of effects on the mean",
                estimand="mean over examples of each part; share = ratio of means, part over total",
                unit=quantity.unit,
                notes=(
                    "95 % intervals over examples, made for long tails",
                    *documents_resampled(shares_documents(tables["decomposition"])),
                    "shares are withheld where the interval of the total holds 0",
                    "a share below 0 or above 1 means that the parts have opposite signs",
                    f"a caution stands for either interval of its row; {CAUTION_RULE}",
                ),
                columns=("contrast", "part", "mean_difference", "share", "caution", "reason"),
            ),
        )
    if "anova" in tables:
        yield from _anova(captions, declared, tables["anova"])
    if "strata" in tables:
        yield from strata_presented(
            tables["strata"], tables["trends"], seed=captions.seed, correction=plan.correction
        )
    if "seeds" in tables:
        yield "seeds", seeds_presented(tables["seeds"], seed=captions.seed, correction=plan.correction)


def _anova(captions: Captions, declared: Declaration, frame: pd.DataFrame) -> Iterator[tuple[str, Table]]:
    (quantity,) = declared.quantities
    for number, (crossing, own) in enumerate(frame.groupby("crossing", sort=False), start=1):
        left_out = int(own["cells_left_out"].iloc[0])
        units = int(own["n"].iloc[0])
        yield (
            "anova" if number == 1 else f"anova_{number}",
            Table(
                frame=own,
                title=f"Analysis of variance of {declared.label.sentence}: {crossing}",
                estimand="main effects and interactions within examples, each against its interaction with examples",
                unit=quantity.unit,
                n=captions.n
                if captions.n == counted(units, "example")
                else f"{counted(units, 'document')} (means)",
                family=f"the {counted(len(own), 'effect')} of this crossing",
                correction="Holm on the Greenhouse-Geisser p",
                seed=None,
                notes=(
                    f"{counted(left_out, 'cell')} outside this crossing left out; draws of one level averaged per example",
                    "values of ε below 1 say how far sphericity fails; with two levels it is 1",
                    "F supposes near-normal differences: where the effects table cautions, trust its p of the mean",
                ),
                columns=(
                    "effect",
                    "df",
                    "df_error",
                    "f",
                    "epsilon_greenhouse_geisser",
                    "p_greenhouse_geisser",
                    "p_huynh_feldt",
                    "p_holm",
                    "partial_eta_squared",
                    "reason",
                ),
            ),
        )


def _trials(captions: Captions, frame: pd.DataFrame, manifest: Manifest) -> Table:
    changed = int(frame["documents_changed"].sum())
    return captions.describing(
        captions.conditions(frame),
        random=False,
        title="What each cell fed the model",
        estimand="mean number of positions by role",
        unit="tokens",
        notes=(
            f"{counted(changed, 'trial')} with other token ids of the document than without its prefix"
            if changed
            else "every document has the same token ids with and without its prefix",
            *manifest.left_out_words,
        ),
        columns=(
            "condition",
            *(f"mean_{role}_tokens" for role in ROLES),
            "mean_hidden_tokens",
            "documents_changed",
            "truncated",
            "idle",
            # Seldom there: short answers and queries are never cut.
            *(name for name in ("answers_cut", "prompts_cut") if name in frame and frame[name].any()),
        ),
    )
