"""Tables and figure of look and use: what rows look at, what they take, and what cutting it costs, role by role."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from plotly.graph_objects import Figure

from analyses.studies.look_and_use_plans import (
    AGREEMENT,
    AGREEMENT_PAIRS,
    AGREEMENTS,
    CHANCE,
    OF_SINK,
    PLACES,
    SERVED,
    SHARE,
    SINK,
    SINK_PAIRS,
    SINKS,
    TAKEN,
    Place,
    instead,
)
from budgetlens.model.roles import ROLES
from budgetlens.runs.run import Run
from budgetlens.statistics.column_splits import means_of_columns
from budgetlens.statistics.contrasts import Contrast
from budgetlens.statistics.effects import effects_table
from budgetlens.statistics.ranks import spearman
from budgetlens.tables.presentation import Table, documents_resampled, effects_presentation, sample
from figures import look_and_use

#: The ledger that the others are held against.
COST = "cost"
#: Fewer roles than that have no order worth the name.
LEAST_ROLES = 3


@dataclass(frozen=True)
class Ledger:
    """What a probe says of every role: its quantity, and how layers come together (``mean``, ``sum`` or ``last``)."""

    name: str
    quantity: str
    layers: str
    label: str
    percent: bool = True


LEDGERS = (
    Ledger("budgets", "share", "mean", "attention share"),
    Ledger("weighted", "weighted", "mean", "weighted attention"),
    Ledger("norm", "norm", "mean", "norms"),
    Ledger("projection", "projection", "mean", "projection"),
    Ledger("alti", "alti", "last", "ALTI+"),
    Ledger("logit", "margin", "sum", "logit margin", percent=False),
)
LABELS = {**{ledger.name: ledger.label for ledger in LEDGERS}, COST: "cost of cutting"}


def ledger_values(run: Run, ledger: Ledger) -> pd.DataFrame:
    """One number by cell, example and role: columns cell, example, role, value.

    Heads and layers are averaged, or added where they are parts of a sum. Where self- and cross-attention have a softmax
    each, measures that know both blocks together are of both, and the others of the block that has the role.
    """
    arrays = run.arrays(ledger.name, run.declarations[ledger.name].axis, (ledger.quantity,))[ledger.quantity]
    own = [array for array in arrays if array.stack == "decoder"]
    both = [array for array in own if array.block == "joint"]
    frames = []
    for array in both or own:
        roles = [place for place, role in enumerate(array.roles) if role in ROLES]
        # Parts that no head writes stand under a head of their own, where roles have nothing.
        heads = np.flatnonzero(np.isfinite(array.values[..., roles]).any(axis=(0, 1, 2, 4)))
        if not len(roles) or not len(heads):
            continue
        values = array.over_heads(array.values[:, :, :, heads][..., roles], axis=3)
        values = {
            "mean": lambda part: part.mean(axis=2),
            "sum": lambda part: part.sum(axis=2),
            "last": lambda part: part[:, :, -1],
        }[ledger.layers](values)
        index = pd.MultiIndex.from_product(
            [array.cells, array.examples, [array.roles[place] for place in roles]],
            names=["cell", "example", "role"],
        )
        frames.append(pd.Series(values.reshape(-1), index=index, name="value").reset_index())
    return pd.concat(frames, ignore_index=True)


def costs(run: Run, place: Place) -> pd.DataFrame:
    """What cutting each role costs, by example (rows) and role (columns), in nats; NaN where there is nothing to cut."""
    quantity = run.outcome_quantity.name
    table = run.outcomes.pivot_table(index="example", columns="cell", values=quantity, observed=True)
    trials = run.trials.pivot_table(
        index="example", columns="cell", values="idle", aggfunc="first", observed=True
    )
    plain = table[place.cell().name]
    found = {}
    for role in place.roles:
        name = place.cell(role).name
        idle = trials[name].reindex(table.index).astype(str) != ""
        found[role] = (table[name] - plain).mask(idle)
    return pd.DataFrame(found)


def side_by_side(run: Run, place: Place) -> dict[str, pd.DataFrame]:
    """Every ledger in one place, by example (rows) and role (columns); NaN where an example has no position of the role.

    Roles that can't be cut there, and those that no example has, are left out.
    """
    cost = costs(run, place)
    trials = run.trials[run.trials["cell"].astype(str) == place.cell().name].set_index("example")
    there = trials[[f"{role}_tokens" for role in cost]].set_axis(list(cost), axis=1).reindex(cost.index) > 0
    cost = cost.loc[:, there.any()]
    found = {}
    for ledger in LEDGERS:
        values = ledger_values(run, ledger)
        own = values[values["cell"] == place.cell().name]
        wide = own.pivot_table(index="example", columns="role", values="value", observed=True, dropna=False)
        found[ledger.name] = wide.reindex(index=cost.index, columns=cost.columns).where(there[cost.columns])
    return {**found, COST: cost}


def rank_correlations(one: pd.DataFrame, other: pd.DataFrame) -> np.ndarray:
    """Spearman's correlation of two ledgers over the roles, example by example.

    NaN where fewer than :data:`LEAST_ROLES` roles have both, or one of the two puts all of them on a level.
    """
    found = np.full(len(one), np.nan)
    for place, (left, right) in enumerate(zip(one.to_numpy(float), other.to_numpy(float), strict=True)):
        both = np.isfinite(left) & np.isfinite(right)
        if both.sum() >= LEAST_ROLES and np.ptp(left[both]) > 0 and np.ptp(right[both]) > 0:
            found[place] = spearman(left[both], right[both])
    return found


def _means(run: Run, columns: pd.DataFrame) -> pd.DataFrame:
    """Means of columns over examples with their intervals: n, mean, low, high, caution, reason."""
    inference = run.inference
    means = means_of_columns(
        columns.to_numpy(float), inference, clusters=inference.labels(pd.Index(columns.index))
    )
    return pd.DataFrame(
        {
            "n": means.n,
            "mean": means.mean,
            "low": means.low,
            "high": means.high,
            "caution": means.caution,
            "reason": means.reason,
        },
        index=columns.columns,
    )


def ledgers_table(run: Run, ledgers: Mapping[str, Mapping[str, pd.DataFrame]]) -> pd.DataFrame:
    """Columns cell, role, measure, n, mean, low, high, caution, reason: every ledger's mean of every role."""
    frames = []
    for cell, by_measure in ledgers.items():
        for measure, values in by_measure.items():
            own = _means(run, values).rename_axis("role").reset_index()
            frames.append(own.assign(cell=cell, measure=measure))
    table = pd.concat(frames, ignore_index=True)
    return table[["cell", "role", "measure", "n", "mean", "low", "high", "caution", "reason"]]


def agreement_table(run: Run, ledgers: Mapping[str, Mapping[str, pd.DataFrame]]) -> pd.DataFrame:
    """Columns cell, measure, with, n, mean, low, high, caution, reason: mean rank correlation over the examples."""
    frames = []
    for cell, by_measure in ledgers.items():
        pairs = [(ledger.name, COST) for ledger in LEDGERS]
        pairs += [("budgets", ledger.name) for ledger in LEDGERS[1:]]
        columns = pd.DataFrame(
            {pair: rank_correlations(by_measure[pair[0]], by_measure[pair[1]]) for pair in pairs},
            index=by_measure[COST].index,
        )
        own = _means(run, columns).rename_axis(["measure", "with"]).reset_index()
        frames.append(own.assign(cell=cell))
    table = pd.concat(frames, ignore_index=True)
    # No correlation lies beyond these, whatever the length that long tails ask for.
    table[["low", "high"]] = table[["low", "high"]].clip(-1, 1)
    return table[["cell", "measure", "with", "n", "mean", "low", "high", "caution", "reason"]]


def sink_table(run: Run, ledgers: Mapping[str, Mapping[str, pd.DataFrame]]) -> pd.DataFrame:
    """The encoder's BOS: each ledger's mean, and the share of attention less it, with interval; empty without a BOS."""
    frames = []
    measures = ("budgets", "weighted", "norm", "alti")
    for cell, by_measure in ledgers.items():
        if "bos" not in by_measure[COST]:
            continue
        sink = pd.DataFrame({name: by_measure[name]["bos"] for name in measures})
        less = _means(run, sink.rsub(sink["budgets"], axis=0))[["mean", "low", "high"]].add_prefix("less_")
        less.loc["budgets"] = np.nan
        frames.append(_means(run, sink).join(less).rename_axis("measure").reset_index().assign(cell=cell))
    if not frames:
        return pd.DataFrame()
    table = pd.concat(frames, ignore_index=True)
    order = [
        "cell",
        "measure",
        "n",
        "mean",
        "low",
        "high",
        "less_mean",
        "less_low",
        "less_high",
        "caution",
        "reason",
    ]
    return table[order]


def look_and_use_tables(run: Run) -> dict[str, Table]:
    """The three tables with their captions."""
    ledgers = {place.words: side_by_side(run, place) for place in PLACES}
    words = {"measure": LABELS, "with": LABELS}
    by_role, agreement, sink = (
        make(run, ledgers).replace(words) for make in (ledgers_table, agreement_table, sink_table)
    )
    tables = {
        "look_and_use": _told(
            run,
            by_role,
            "What rows look at, what they take, and what cutting it costs",
            "mean over examples of each role's part by every measure, over heads and layers (ALTI+: up to the last "
            "layer; logit margin: added over heads and layers), of the rows that predict the answer",
            "fractions; logits for the logit margin; nats per answer token for the cost (positive: cutting costs)",
        ),
        "agreement": _told(
            run,
            agreement,
            "Do the ledgers agree?",
            "mean over examples of Spearman's rank correlation of two measures over the roles, where "
            f"{LEAST_ROLES} roles or more have both",
            "from −1 to 1",
        ),
    }
    tables |= comparisons(run, ledgers[SERVED.words])
    if len(sink):
        tables["sink"] = _told(
            run,
            sink,
            "The sink: looked at, and taken from",
            "mean over examples of what the encoder's BOS gets by each measure; less: share of attention less it",
            "fractions",
        )
    return tables


def comparisons(run: Run, served: Mapping[str, pd.DataFrame]) -> dict[str, Table]:
    """Tests in the cell that is served: which ledger agrees better with the costs, and what the sink gets by which.

    Of examples in which every ledger has an order; without them, or without a sink, a table is left out.
    """
    agreement = pd.DataFrame(
        {name: rank_correlations(served[name], served[COST]) for name in (SHARE, *TAKEN)},
        index=served[COST].index,
    ).assign(**{CHANCE: 0.0})
    tested = {AGREEMENTS: (agreement, AGREEMENT, AGREEMENT_PAIRS)}
    if SINK in served[COST]:
        sink = pd.DataFrame({name: served[name][SINK] for name in (SHARE, *TAKEN)})
        tested[SINKS] = (sink, OF_SINK, SINK_PAIRS)
    titles = {
        AGREEMENTS: f"Which ledger orders the roles by what cutting them costs: {SERVED.words}",
        SINKS: f"What the encoder's BOS gets by each ledger: {SERVED.words}",
    }
    families = {AGREEMENTS: "agreement with what cutting costs", SINKS: "what the sink gets"}
    found = {}
    for name, (columns, quantity, pairs) in tested.items():
        whole = columns.dropna()
        if len(whole) < 2:
            continue
        contrasts = [
            Contrast(instead(one, other), families[name], {f"measure={other}": 1.0, f"measure={one}": -1.0})
            for one, other in pairs
        ]
        long = whole.add_prefix("measure=").rename_axis("example").reset_index()
        long = long.melt("example", var_name="cell", value_name=quantity.name)
        inference = run.inference.of(quantity)
        frame = effects_table(long, contrasts, inference, quantity=quantity)
        found[name] = effects_presentation(frame, inference, quantity=quantity, title=titles[name])
    return found


def _told(run: Run, frame: pd.DataFrame, title: str, estimand: str, unit: str) -> Table:
    """A table with what all three have in common."""
    return Table(
        frame=frame,
        title=title,
        estimand=estimand,
        unit=unit,
        n=sample(run.trials["example"].nunique(), run.documents),
        family="none",
        correction="none: nothing is tested here",
        seed=run.seed,
        allows_for_documents=True,
        notes=(
            "95 % intervals over examples, made for long tails",
            *documents_resampled(run.documents is not None),
            "cutting tells what the answer loses without the direct look, not what it needed",
        ),
    )


def look_and_use_figures(run: Run, tables: Mapping[str, pd.DataFrame]) -> dict[str, Figure]:
    """Every role by every measure, beside what cutting it costs."""
    fractions = [ledger.label for ledger in LEDGERS if ledger.percent]
    return {
        "look_and_use": look_and_use(
            tables["look_and_use"],
            measures=fractions,
            cost=LABELS[COST],
            cells=[place.words for place in PLACES],
            title=f"Look and use: {run.manifest.setting}",
        )
    }
