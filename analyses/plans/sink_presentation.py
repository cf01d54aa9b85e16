"""The sink audit's tables with their captions, and its figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from plotly.graph_objects import Figure

from analyses.plans.sink_prediction import CROSS_TOTAL, Path, SinkReadings, read_sinks
from analyses.plans.sink_tables import (
    ALL_LAYERS,
    TOTAL,
    audit_table,
    entropy_table,
    exactness_table,
    head_table,
    main_quantity,
    shift_table,
)
from analyses.statistics.column_splits import ROUNDING
from analyses.storage.run_directory import RunDirectory
from analyses.tables.attention_presentation import shown_layers
from analyses.tables.build import with_cell_columns
from analyses.tables.extract import Extract
from analyses.tables.presentation import Table
from figures import effect_map, shift_by_layer, sink_audit
from probes.roles import ROLES

#: How many heads the table of heads shows.
SHOWN_HEADS = 12
#: Roles whose shares are drawn layer by layer; hidden ones are 0 by definition.
_DRAWN = ("document", "start", "prompt")
SHARE_UNIT = "share of attention, 0 to 1"
STEPS = "shares of the total are ratios of means, withheld where the interval of the total holds 0"


def sink_tables(
    directory: RunDirectory, *, paths: Sequence[Path], pairs: Sequence[Path], headline: Path
) -> dict[str, Table]:
    """Every table of the audit, by name.

    ``paths`` are split into steps, ``pairs`` compare measured shares with predicted ones; of ``headline``,
    which is one of the paths, layers and heads are shown.
    """
    manifest = directory.manifest()
    seed, count, rows = (
        int(manifest["seed"]),
        f"{manifest['corpus']['n']} examples",
        manifest["identity"]["rows"],
    )
    readings = read_sinks(directory, [*paths, *pairs])
    labels = {cell["name"]: cell["alias"] or cell["name"] for cell in manifest["cells"]}
    whose = f"the answer's {rows} rows"
    shifts = shift_table(readings, paths, seed=seed)
    tables: dict[str, Table] = {
        "sink_exactness": _exactness(exactness_table(readings, pairs), labels, readings, count),
        "sink_shifts": _shifts(shifts[shifts["layer"] == ALL_LAYERS], readings, whose, count, seed),
        "sink_layers": _layers(shifts[shifts["layer"] != ALL_LAYERS], readings, headline, whose, count, seed),
    }
    audit = with_cell_columns(audit_table(readings, pairs, seed=seed), manifest["cells"])
    tables["sink_audit"] = _audit(audit, labels, readings, whose, count, seed)
    tables["sink_heads"] = _heads(
        head_table(readings, paths, seed=seed), readings, headline, whose, count, seed
    )
    entropies = entropy_table(readings, [*paths, *(_named(pair, labels) for pair in pairs)], seed=seed)
    shown = [
        path.name for path in paths if path.points[0].cell == headline.points[0].cell or len(path.steps) == 2
    ]
    tables["sink_entropies"] = _entropies(entropies, shown, whose, count, seed)
    return tables


def _named(pair: Path, labels: Mapping[str, str]) -> Path:
    """A pair under the short name of its hidden cell, for the table of entropies."""
    return Path(f"hiding in {labels[pair.name]}", pair.points, ("hidden, A/(1 − m)", "hidden, propagated"))


def _exactness(frame: pd.DataFrame, labels: Mapping[str, str], readings: SinkReadings, count: str) -> Table:
    shown = shown_layers(readings.layers)
    frame = frame.assign(condition=frame["cell"].map(labels))
    return Extract(
        frame=frame,
        title="Is hiding a softmax without its keys? Measured against A/(1 − m), layer by layer",
        estimand="|measured − predicted share| of every role, head and example in each cell that hides roles; "
        "prediction: the same encoder pass with all roles visible, m the mass of what the cell hides",
        unit=SHARE_UNIT,
        n=count,
        family="none",
        correction="none",
        seed=None,
        notes=(
            f"holds: no share of any head and example is further than {ROUNDING:g} from its prediction",
            "layer 0 sees the same inputs in both cells, so that it must hold there; later layers show what "
            "has propagated",
        ),
        columns=("condition", "layer", "n", "largest", "mean_absolute", "holds"),
        shown_rows=tuple(np.flatnonzero(frame["layer"].isin(shown))),
    )


def _shifts(frame: pd.DataFrame, readings: SinkReadings, whose: str, count: str, seed: int) -> Table:
    frame = frame.reset_index(drop=True)
    main = main_quantity(readings)
    return Extract(
        frame=frame,
        title=f"What explains the shift in the {main}, over all layers",
        estimand=f"mean over examples, heads and layers of the share that {whose} give to the {main}, "
        "first less last (positive: it falls); steps add up to the total",
        unit=SHARE_UNIT,
        n=count,
        family="none",
        correction="none",
        seed=seed,
        notes=(
            "95 % BCa bootstrap intervals over examples",
            STEPS,
            "A/(1 − m): what hiding keys of mass m does to each softmax by itself; propagated: what it does "
            "through the layers below",
            "the CSV file has every role",
        ),
        columns=("shift", "part", "mean_difference", "share", "reason"),
        shown_rows=tuple(np.flatnonzero(frame["role"] == main)),
    )


def _layers(
    frame: pd.DataFrame, readings: SinkReadings, headline: Path, whose: str, count: str, seed: int
) -> Table:
    frame = frame.reset_index(drop=True)
    frame["layer"] = frame["layer"].astype(int)
    main = main_quantity(readings)
    shown = frame["layer"].isin(shown_layers(readings.layers)) & (frame["role"] == main)
    shown &= frame["shift"] == headline.name
    return Extract(
        frame=frame,
        title=f"What explains the shift in the {main}, layer by layer",
        estimand=f"mean over examples and heads of the share that {whose} give to the {main}, first less last",
        unit=SHARE_UNIT,
        n=count,
        family="none",
        correction="none",
        seed=seed,
        notes=("95 % BCa bootstrap intervals over examples", STEPS, "chosen layers of one shift"),
        columns=("shift", "layer", "part", "mean_difference", "share", "reason"),
        shown_rows=tuple(np.flatnonzero(shown)),
    )


def _audit(
    frame: pd.DataFrame, labels: Mapping[str, str], readings: SinkReadings, whose: str, count: str, seed: int
) -> Table:
    frame = frame.assign(condition=frame["cell"].map(labels))
    shown = (frame["layer"] == ALL_LAYERS) & (frame["predicted"] > 0)
    return Extract(
        frame=frame,
        title="Shares with roles visible, predicted with them hidden, and measured, over all layers",
        estimand=f"mean over examples, heads and layers of the share that {whose} give to a role; difference: "
        "measured − predicted",
        unit=SHARE_UNIT,
        n=count,
        family="none",
        correction="none",
        seed=seed,
        notes=(
            "95 % BCa bootstrap intervals over examples",
            "roles that are hidden have share 0 and are not shown; the CSV file has every layer",
        ),
        columns=("condition", "role", "visible", "predicted", "mean", "difference", "reason"),
        shown_rows=tuple(np.flatnonzero(shown)),
    )


def _heads(
    frame: pd.DataFrame, readings: SinkReadings, headline: Path, whose: str, count: str, seed: int
) -> Table:
    frame = frame.reset_index(drop=True)
    frame["layer"] = frame["layer"].astype(int)
    main = main_quantity(readings)
    own = frame[(frame["shift"] == headline.name) & (frame["role"] == main)]
    totals = own[own["part"] == TOTAL]
    largest = totals.loc[totals["mean_difference"].abs().nlargest(SHOWN_HEADS).index]
    places: list[int] = []
    for layer, head in zip(largest["layer"], largest["head"], strict=True):
        here = own[(own["layer"] == layer) & (own["head"] == head)]
        places += here.index[here["part"].isin([TOTAL, headline.steps[0]])].tolist()
    return Extract(
        frame=frame,
        title=f"What explains the shift in the {main}, head by head",
        estimand=f"mean over examples of the share that {whose} give to the {main} in one head, first less last",
        unit=SHARE_UNIT,
        n=count,
        family="layers, heads and roles of one part of one shift",
        correction="Benjamini-Hochberg q of one-sample t tests; discovered: q at most .05",
        seed=seed,
        notes=(
            "95 % BCa bootstrap intervals over examples",
            STEPS,
            f"the {SHOWN_HEADS} heads with the largest totals of one shift",
        ),
        columns=("shift", "layer", "head", "part", "mean_difference", "share", "q", "discovered", "reason"),
        shown_rows=tuple(places),
    )


def _entropies(frame: pd.DataFrame, shown: Sequence[str], whose: str, count: str, seed: int) -> Table:
    return Extract(
        frame=frame,
        title="Entropy of the cross-attention that remains, over all layers",
        estimand=f"mean over examples, heads and layers of the entropy of {whose} over the encoder keys that "
        "they see, normalised; first less last (negative: it rises)",
        unit="nats",
        n=count,
        family="none",
        correction="none",
        seed=seed,
        notes=(
            "95 % BCa bootstrap intervals over examples",
            STEPS,
            "an example counts in a layer where every head has an entropy at every point of the way",
            "the CSV file has every layer",
        ),
        columns=("shift", "part", "n", "first", "last", "mean_difference", "share", "reason"),
        shown_rows=tuple(np.flatnonzero((frame["layer"] == ALL_LAYERS) & frame["shift"].isin(shown))),
    )


def sink_figures(
    tables: Mapping[str, pd.DataFrame],
    setting: str,
    *,
    paths: Sequence[Path],
    headline: Path,
    audited: Sequence[str],
) -> dict[str, Figure]:
    """The audit's figures: ``paths`` are drawn layer by layer, ``headline`` head by head, ``audited`` are the
    hidden cells whose shares are drawn beside what is predicted for them."""
    layers, heads, audit = tables["sink_layers"], tables["sink_heads"], tables["sink_audit"]
    main = CROSS_TOTAL if (layers["role"] == CROSS_TOTAL).any() else "document"
    audit = audit[(audit["layer"] != ALL_LAYERS) & (audit["predicted"] > 0)]
    audit = audit.assign(layer=audit["layer"].astype(int))
    audit = audit[audit["cell"].isin(audited)]
    drawn = audit[audit["role"].isin(_DRAWN)]
    own = heads[(heads["role"] == main) & (heads["shift"] == headline.name)]
    return {
        "sink_audit": sink_audit(drawn, title=f"Sink audit: {setting}"),
        "sink_propagation": effect_map(
            audit.drop(columns=["mean", "low", "high"])
            .rename(columns={"difference": "mean", "difference_low": "low", "difference_high": "high"})
            .assign(condition=lambda rows: rows["alias"].where(rows["alias"] != "", rows["cell"]))
            .assign(marked=lambda rows: (rows["low"] > 0) | (rows["high"] < 0)),
            x="layer",
            y="role",
            facet="condition",
            quantity="measured − predicted share",
            unit="points",
            percent=True,
            order={"role": [role for role in (CROSS_TOTAL, *ROLES) if role in set(audit["role"])]},
            x_title="decoder layer",
            y_title="",
            title=f"What A/(1 − m) does not predict: {setting}",
            subtitle="share with roles hidden, measured − predicted | framed: the interval leaves out 0",
        ),
        "sink_layers": shift_by_layer(
            layers[layers["role"] == main],
            facets=[path.name for path in paths],
            quantity=f"shift in the {main}, first − last",
            unit="points",
            title=f"What explains the shift in the {main}: {setting}",
            subtitle="mean over examples and heads; intervals of the totals",
        ),
        "sink_heads": effect_map(
            own.rename(columns={"mean_difference": "mean"}).assign(marked=own["discovered"]),
            x="head",
            y="layer",
            facet="part",
            quantity=f"shift in the {main}, first − last",
            unit="points",
            percent=True,
            y_title="decoder layer",
            title=f"What explains the shift in the {main}, head by head: {setting}",
            subtitle=f"{headline.name} | framed: q of at most .05",
        ),
    }
