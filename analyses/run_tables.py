"""A run's tables with their captions: the form in which people read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from analyses.analysis import find_analysis
from analyses.presentation import Table, effects_presentation
from analyses.tables import SMALLEST_EFFECT
from probes.roles import ROLES

#: Places in the depth of a stack that the share table shows (protocol: 0, L/6, L/3, L/2, 2L/3, L-1).
DEPTHS = (0.0, 1 / 6, 1 / 3, 1 / 2, 2 / 3, 1.0)


def presented_tables(manifest: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> dict[str, Table]:
    """The tables that a reader wants first, captioned; the CSV files hold the rest.

    ``manifest`` is the content of run.json, ``tables`` come from :func:`analyses.tables.build_tables`.
    """
    plan = find_analysis(manifest["analysis"]).plan(manifest["protocol"])
    seed, n = int(manifest["seed"]), f"{manifest['corpus']['n']} examples"
    labels = {cell["name"]: cell["alias"] or cell["name"] for cell in manifest["cells"]}
    presented = {
        "likelihood": Table(
            frame=tables["likelihood"].assign(condition=tables["likelihood"]["cell"].map(labels)),
            title="Answer NLL by cell",
            estimand="mean over examples of the mean NLL of an answer's tokens",
            unit="nats per answer token",
            n=n,
            family="none",
            correction="none",
            seed=seed,
            notes=("95 % BCa bootstrap intervals over examples",),
            columns=("condition", "n", "mean", "median", "trimmed_mean", "token_weighted_mean"),
        ),
        "effects": effects_presentation(
            tables["effects"], seed=seed, smallest_effect=SMALLEST_EFFECT, correction=plan.correction
        ),
    }
    if "decomposition" in tables:
        presented["decomposition"] = Table(
            frame=tables["decomposition"],
            title="Splits of effects on the mean",
            estimand="mean over examples of each part; share = ratio of means, part over total",
            unit="nats per answer token",
            n=n,
            family="none",
            correction="none",
            seed=seed,
            notes=("shares are withheld where the interval of the total holds 0",),
            columns=("contrast", "part", "mean_difference", "share", "reason"),
        )
    if "shares" in tables:
        for (stack, block), own in tables["shares"].groupby(["stack", "block"], sort=False):
            presented[f"shares_{stack}_{block}"] = _share_table(
                own, stack, block, labels, n, manifest["identity"]["rows"]
            )
    changed = int(tables["trials"]["documents_changed"].sum())
    presented["trials"] = Table(
        frame=tables["trials"].assign(condition=tables["trials"]["cell"].map(labels)),
        title="What each cell fed the model",
        estimand="mean number of positions by role",
        unit="tokens",
        n=n,
        family="none",
        correction="none",
        seed=None,
        notes=(
            f"{changed} trials have a document with other token ids than without its prefix"
            if changed
            else "every document has the same token ids with and without its prefix",
        ),
        columns=(
            "condition",
            *(f"mean_{role}_tokens" for role in ROLES),
            "mean_hidden_tokens",
            "documents_changed",
            "truncated",
        ),
    )
    return presented


def _share_table(
    own: pd.DataFrame, stack: Any, block: Any, labels: Mapping[str, str], n: str, rows: str
) -> Table:
    layers = sorted(own["layer"].unique())
    shown = sorted({layers[round(depth * (len(layers) - 1))] for depth in DEPTHS})
    present = set(own["role"])
    wide = (
        own[own["layer"].isin(shown)]
        .assign(condition=own["cell"].map(labels), percent=100 * own["mean"])
        .pivot_table(
            index=["condition", "layer"], columns="role", values="percent", sort=False, observed=True
        )
    )
    # Text, because significant digits would show a share of 0.7 % as 0.700.
    frame = wide[[role for role in ROLES if role in present]].map("{:.1f}".format).reset_index()
    frame.columns.name = None
    whose = f"the answer's {rows} rows" if stack == "decoder" else "the document's rows"
    return Table(
        frame=frame,
        title=f"Attention shares by role, {stack}, {block} block",
        estimand=f"mean over examples and heads of the share that {whose} give to each role",
        unit="percent",
        n=n,
        family="none",
        correction="none",
        seed=None,
        notes=("chosen layers; shares.csv has every layer, with intervals",),
    )
