"""The sink audit's tables with their captions, and its figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from plotly.graph_objects import Figure

from analyses.studies.sink_paths import Path
from analyses.studies.sink_prediction import CROSS_TOTAL, SinkReadings, read_sinks
from analyses.studies.sink_tables import (
    ALL_LAYERS,
    TOTAL,
    audit_table,
    entropy_table,
    exactness_table,
    head_table,
    main_quantity,
    shift_table,
)
from budgetlens.model.roles import ROLES
from budgetlens.runs.run import Run
from budgetlens.statistics.bands import MAPPED_FROM
from budgetlens.statistics.column_splits import ROUNDING
from budgetlens.statistics.verdicts import CAUTION_RULE
from budgetlens.tables.cells import with_cell_columns
from budgetlens.tables.extract import Extract
from budgetlens.tables.presentation import Table, documents_resampled, sample
from budgetlens.tables.probe_presentation import shown_layers
from figures import effect_map, shift_by_layer, sink_audit

#: How many heads the table of heads shows.
SHOWN_HEADS = 12
#: Roles whose shares are drawn layer by layer; hidden ones are 0 by definition.
_DRAWN = ("document", "start", "prompt")
SHARE_UNIT = "share of attention, 0 to 1"
INTERVALS = "95 % intervals over examples, made for long tails"
#: Columns of a step: how large it is, in itself and of the total.
SPLIT = ("mean_difference", "share")
#: What is to be said of a row.
NOTED = ("caution", "reason")
STEPS = "shares of the total are ratios of means, withheld where the interval of the total holds 0"


@dataclass(frozen=True)
class _Audit:
    """What every table of one audit shares: whose attention, of how many examples, and how it was resampled."""

    readings: SinkReadings
    labels: Mapping[str, str]
    rows: str
    n: str
    seed: int
    resampling: tuple[str, ...]

    @property
    def whose(self) -> str:
        """The rows whose attention is read, in words."""
        return f"the answer's {self.rows} rows"

    @property
    def main(self) -> str:
        """The share that is shown."""
        return main_quantity(self.readings)

    def table(
        self,
        frame: pd.DataFrame,
        places: Iterable[int],
        columns: tuple[str, ...],
        *,
        notes: tuple[str, ...] = (),
        unit: str = SHARE_UNIT,
        family: str = "none",
        correction: str = "none",
        **facts: str,
    ) -> Extract:
        """A table of estimates with intervals: of which the rows at ``places`` are shown, in order."""
        return Extract(
            frame=frame,
            unit=unit,
            n=self.n,
            family=family,
            correction=correction,
            seed=self.seed,
            notes=(*self.resampling, *notes, f"a caution stands for any interval of its row; {CAUTION_RULE}"),
            columns=columns,
            shown_rows=tuple(places),
            allows_for_documents=True,
            **facts,
        )


def sink_tables(
    run: Run, *, paths: Sequence[Path], pairs: Sequence[Path], headline: Path
) -> dict[str, Table]:
    """Every table of the audit, by name.

    ``paths`` are split into steps, ``pairs`` compare measured shares with predicted ones; of ``headline``,
    which is one of the paths, layers and heads are shown.
    """
    seed, clusters, inference = run.seed, run.documents, run.inference
    readings = read_sinks(run, [*paths, *pairs])
    audit = _Audit(
        readings=readings,
        labels=run.manifest.labels,
        rows=run.manifest.rows,
        n=sample(len(readings.examples), clusters),
        seed=seed,
        resampling=(INTERVALS, *documents_resampled(clusters is not None)),
    )
    shifts = shift_table(readings, paths, inference)
    over_all = shifts["layer"] == ALL_LAYERS
    shares = audit_table(readings, pairs, inference)
    heads = head_table(readings, paths, inference)
    named = [_named(pair, audit.labels) for pair in pairs]
    entropies = entropy_table(readings, [*paths, *named], inference)
    shown = [
        path.name for path in paths if path.points[0].cell == headline.points[0].cell or len(path.steps) == 2
    ]
    return {
        "sink_exactness": _exactness(audit, exactness_table(readings, pairs)),
        "sink_shifts": _shifts(audit, shifts[over_all].reset_index(drop=True)),
        "sink_layers": _layers(audit, _numbered(shifts[~over_all]), headline),
        "sink_audit": _shares(audit, with_cell_columns(shares, run.manifest.cells)),
        "sink_heads": _heads(audit, _numbered(heads), headline),
        "sink_entropies": _entropies(audit, entropies, shown),
    }


def _named(pair: Path, labels: Mapping[str, str]) -> Path:
    """A pair under the short name of its hidden cell, for the table of entropies."""
    return Path(f"hiding in {labels[pair.name]}", pair.points, ("hidden, A/(1 − m)", "hidden, propagated"))


def _numbered(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of single layers, with the layers as numbers."""
    return frame.reset_index(drop=True).assign(layer=lambda rows: rows["layer"].astype(int))


def _exactness(audit: _Audit, frame: pd.DataFrame) -> Table:
    shown = shown_layers(audit.readings.layers)
    frame = frame.assign(condition=frame["cell"].map(audit.labels))
    return Extract(
        frame=frame,
        title="Is hiding a softmax without its keys? Measured against A/(1 − m), layer by layer",
        estimand="|measured − predicted share| of every role, head and example in each cell that hides roles; "
        "prediction: the same encoder pass with all roles visible, m the mass of what the cell hides",
        unit=SHARE_UNIT,
        n=audit.n,
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


def _shifts(audit: _Audit, frame: pd.DataFrame) -> Table:
    return audit.table(
        frame,
        np.flatnonzero(frame["role"] == audit.main),
        ("shift", "part", *SPLIT, *NOTED),
        title=f"What explains the shift in the {audit.main}, over all layers",
        estimand=f"mean over examples, heads and layers of the share that {audit.whose} give to the {audit.main}, "
        "first less last (positive: it falls); steps add up to the total",
        notes=(
            STEPS,
            "A/(1 − m): what hiding keys of mass m does to each softmax by itself; propagated: what it does "
            "through the layers below",
            "the CSV file has every role",
        ),
    )


def _layers(audit: _Audit, frame: pd.DataFrame, headline: Path) -> Table:
    shown = frame["layer"].isin(shown_layers(audit.readings.layers)) & (frame["role"] == audit.main)
    return audit.table(
        frame,
        np.flatnonzero(shown & (frame["shift"] == headline.name)),
        ("shift", "layer", "part", *SPLIT, *NOTED),
        title=f"What explains the shift in the {audit.main}, layer by layer",
        estimand=f"mean over examples and heads of the share that {audit.whose} give to the {audit.main}, first less "
        "last",
        notes=(STEPS, "chosen layers of one shift"),
    )


def _shares(audit: _Audit, frame: pd.DataFrame) -> Table:
    return audit.table(
        frame.assign(condition=frame["cell"].map(audit.labels)),
        np.flatnonzero((frame["layer"] == ALL_LAYERS) & (frame["predicted"] > 0)),
        ("condition", "role", "visible", "predicted", "mean", "difference", *NOTED),
        title="Shares with roles visible, predicted with them hidden, and measured, over all layers",
        estimand=f"mean over examples, heads and layers of the share that {audit.whose} give to a role; difference: "
        "measured − predicted",
        notes=("roles that are hidden have share 0 and are not shown; the CSV file has every layer",),
    )


def _heads(audit: _Audit, frame: pd.DataFrame, headline: Path) -> Table:
    own = frame[(frame["shift"] == headline.name) & (frame["role"] == audit.main)]
    totals = own[own["part"] == TOTAL]
    largest = totals.loc[totals["mean_difference"].abs().nlargest(SHOWN_HEADS).index]
    places: list[int] = []
    for layer, head in zip(largest["layer"], largest["head"], strict=True):
        here = own[(own["layer"] == layer) & (own["head"] == head)]
        places += here.index[here["part"].isin([TOTAL, headline.steps[0]])].tolist()
    return audit.table(
        frame,
        places,
        ("shift", "layer", "head", "part", *SPLIT, "q", "discovered", *NOTED),
        title=f"What explains the shift in the {audit.main}, head by head",
        estimand=f"mean over examples of the share that {audit.whose} give to the {audit.main} in one head, first "
        "less last",
        family="layers, heads and roles of one part of one shift",
        correction=f"Benjamini-Hochberg q of the p of the mean; discovered: q at most .05, from {MAPPED_FROM} examples on",
        notes=(STEPS, f"the {SHOWN_HEADS} heads with the largest totals of one shift"),
    )


def _entropies(audit: _Audit, frame: pd.DataFrame, shown: Sequence[str]) -> Table:
    return audit.table(
        frame,
        np.flatnonzero((frame["layer"] == ALL_LAYERS) & frame["shift"].isin(shown)),
        ("shift", "part", "n", "first", "last", *SPLIT, *NOTED),
        title="Entropy of the cross-attention that remains, over all layers",
        estimand=f"mean over examples, heads and layers of the entropy of {audit.whose} over the encoder keys that "
        "they see, normalised; first less last (negative: it rises)",
        unit="nats",
        notes=(
            STEPS,
            "an example counts in a layer where every head has an entropy at every point of the way",
            "the CSV file has every layer",
        ),
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
