"""Two runs beside each other: every probe that both recorded, in every cell that both have, example by example."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from plotly.graph_objects import Figure

from budgetlens.model.declaration import Declaration
from budgetlens.runs.run import Run
from budgetlens.statistics.bands import share_differences
from budgetlens.statistics.budget_arrays import BudgetArray, by_document
from budgetlens.statistics.contrasts import Contrast, comparison, wide_cells
from budgetlens.statistics.effects import effects_table
from budgetlens.statistics.verdicts import CAUTION_RULE
from budgetlens.tables.extract import Extract
from budgetlens.tables.presentation import DOCUMENTS_RESAMPLED, Table
from budgetlens.tables.probe_maps import layer_map
from budgetlens.tables.probe_presentation import shown_layers
from figures import effects_forest

#: In front of a cell's name: which of the runs it is of.
OTHER, OWN = "other: ", "run: "

COLUMNS = (
    "probe",
    "cell",
    "stack",
    "block",
    "layer",
    "category",
    "n",
    "other",
    "run",
    "difference",
    "low",
    "high",
    "p",
    "smallest_effect",
    "verdict",
    "unit",
    "caution",
    "reason",
)


def require_one_model(run: Run) -> None:
    """Raise ValueError, with the runs that there are, for a sweep over models."""
    if run.manifest.is_sweep:
        places = ", ".join(str(one.place(run.path)) for one in run.swept if not one.failure)
        raise ValueError(
            f"{run.path} is a sweep over models; compare the run of one of them: {places or 'none'}"
        )


def compared_runs(run: Run, other: Run) -> dict[str, Table]:
    """A table for every probe of which both runs recorded the same quantity: each cell that both have, paired.

    Args:
        run: a finished run, the treatment of every difference.
        other: what it is compared with, the baseline: of the same corpus, such as another model's or version's.

    Returns:
        By the probe's name, tables with the columns probe, cell, stack, block, layer, category (empty of probes of
        answers), n, other, run (means over the examples that both hold), difference (other - run), low, high (of
        attention a band over all layers), p (corrected), smallest_effect, verdict, unit, caution and reason.

    Raises:
        ValueError: the runs read different texts, or share no example, no cell or no probe.
    """
    for own in (run, other):
        require_one_model(own)
    cells = _shared_cells(run, other)
    tables = {}
    unlike = _otherwise_asked(run, other)
    for name, declared in run.declarations.items():
        theirs = other.declarations.get(name)
        if not declared.shown or declared.tested is None or theirs is None:
            continue
        if (theirs.axis, theirs.tested) != (declared.axis, declared.tested) or name in unlike:
            continue
        found = (_of_attention if declared.axis else _of_answers)(run, other, name, declared, cells)
        if len(found):
            tables[name] = _presented(run, other, declared, found)
    if not tables:
        names = (", ".join(own.manifest.probes or own.declarations) or "none" for own in (run, other))
        raise ValueError(
            f"{run.path} and {other.path} recorded no probe in common with the same parameters: {' and '.join(names)}; run "
            "both with the same --probes"
        )
    if unlike:
        note = f"left out: {', '.join(sorted(unlike))}, which the runs recorded with other parameters"
        tables = {name: replace(table, notes=(*table.notes, note)) for name, table in tables.items()}
    return tables


def _otherwise_asked(run: Run, other: Run) -> set[str]:
    """Probes that both runs recorded with parameters of their own, so that their numbers are of different things."""
    asked = [{text.partition(":")[0]: text for text in own.manifest.probes} for own in (run, other)]
    return {name for name in asked[0].keys() & asked[1].keys() if asked[0][name] != asked[1][name]}


def compared_figures(run: Run, tables: dict[str, Table]) -> dict[str, Figure]:
    """A figure of every table: differences by cell, or by layer and category with a panel per cell."""
    return {name: _figure(run, run.declarations[name], table) for name, table in tables.items()}


def _shared_cells(run: Run, other: Run) -> list[str]:
    if run.manifest.corpus.hash != other.manifest.corpus.hash:
        raise ValueError(
            f"{run.path} and {other.path} read different examples (corpus {run.manifest.corpus.name} and "
            f"{other.manifest.corpus.name}, by the hash of their texts), so that none can be paired; compare runs of one "
            "corpus, --n and --seed"
        )
    cells = [name for name in run.manifest.cell_names if name in other.manifest.cell_names]
    if not cells:
        raise ValueError(f"{run.path} and {other.path} have no cell in common; compare runs of one design")
    return cells


def _contrasts(cells: Sequence[str], family: str) -> tuple[Contrast, ...]:
    return tuple(comparison(f"{OTHER}{cell}", f"{OWN}{cell}", family, cell) for cell in cells)


def _of_answers(run: Run, other: Run, name: str, declared: Declaration, cells: Sequence[str]) -> pd.DataFrame:
    quantity = declared.tested
    assert quantity is not None  # looked at before
    sides = []
    for prefix, side in ((OTHER, other), (OWN, run)):
        wide = wide_cells(side.records(name), quantity.name, missing="drop")
        wide = wide.set_axis(wide.index.astype(str)).set_axis(wide.columns.astype(str), axis=1)
        sides.append(wide[list(cells)].add_prefix(prefix))
    wide = pd.concat(sides, axis=1, join="inner")
    _require_examples(run, other, len(wide))
    long = (
        wide.rename_axis(index="example", columns="cell")
        .stack(future_stack=True)
        .rename(quantity.name)
        .reset_index()
    )
    inference = run.inference.of(quantity)
    found = effects_table(long, _contrasts(cells, name), inference, quantity=quantity, missing="drop")
    means = wide.mean()
    table = pd.DataFrame(
        {
            "probe": name,
            "cell": found["contrast"],
            "stack": "",
            "block": "",
            "layer": pd.array([pd.NA] * len(found), dtype="Int64"),
            "category": "",
            "n": found["n"],
            "other": [means[f"{OTHER}{cell}"] for cell in found["contrast"]],
            "run": [means[f"{OWN}{cell}"] for cell in found["contrast"]],
            "difference": found["mean_difference"],
            "low": found["low"],
            "high": found["high"],
            "p": found[f"p_{inference.correction}"],
            "smallest_effect": found["smallest_effect"],
            "verdict": found["verdict"],
            "unit": quantity.unit,
            "caution": found["caution"],
            "reason": found["reason"],
        }
    )
    # What else is known of paired differences stands behind what every table has.
    return pd.concat([table, found.drop(columns=[name for name in found if name in table])], axis=1)


def _of_attention(
    run: Run, other: Run, name: str, declared: Declaration, cells: Sequence[str]
) -> pd.DataFrame:
    quantity = declared.tested
    assert quantity is not None  # looked at before
    own, theirs = (
        {
            (array.stack, array.block): array
            for array in side.arrays(name, declared.axis, (quantity.name,))[quantity.name]
        }
        for side in (run, other)
    )
    inference = run.inference.of(quantity)
    frames = []
    for site in own.keys() & theirs.keys():
        joined = _joined(theirs[site], own[site], cells)
        _require_examples(run, other, len(joined.examples))
        (array,) = by_document([joined], run.documents)
        found = share_differences([array], _contrasts(cells, name), inference, quantity)
        means = _means(array)
        keys = list(zip(found["contrast"], found["layer"], found["role"], strict=True))
        frames.append(
            pd.DataFrame(
                {
                    "probe": name,
                    "cell": found["contrast"],
                    "stack": found["stack"],
                    "block": found["block"],
                    "layer": found["layer"].astype("Int64"),
                    "category": found["role"],
                    "n": found["n"],
                    "other": [means[f"{OTHER}{cell}", layer, role] for cell, layer, role in keys],
                    "run": [means[f"{OWN}{cell}", layer, role] for cell, layer, role in keys],
                    "difference": found["mean"],
                    "low": found["band_low"],
                    "high": found["band_high"],
                    "p": found["p_simultaneous"],
                    "smallest_effect": found["smallest_effect"],
                    "verdict": found["verdict"],
                    "unit": quantity.unit,
                    "caution": found["caution"],
                    "reason": found["reason"],
                }
            )
        )
    if not frames:
        return pd.DataFrame(columns=list(COLUMNS))
    whole = pd.concat(frames, ignore_index=True)
    return whole.sort_values(["stack", "block"], kind="stable", ignore_index=True)


def _joined(other: BudgetArray, own: BudgetArray, cells: Sequence[str]) -> BudgetArray:
    """Both runs' cells in one array, heads in one, of the examples, layers and categories that both have."""
    known = {str(example) for example in other.examples}
    examples = [example for example in own.examples if str(example) in known]
    layers = [layer for layer in own.layers if layer in other.layers]
    roles = [role for role in own.roles if role in other.roles]
    sides = []
    for array in (other, own):
        places = {str(example): place for place, example in enumerate(array.examples)}
        chosen = array.values[[array.cells.index(cell) for cell in cells]]
        chosen = chosen[:, [places[str(example)] for example in examples]]
        chosen = chosen[:, :, [array.layers.index(layer) for layer in layers]]
        chosen = chosen[..., [array.roles.index(role) for role in roles]]
        sides.append(np.expand_dims(own.over_heads(chosen, axis=3), axis=3))
    return replace(
        own,
        cells=(*(f"{OTHER}{cell}" for cell in cells), *(f"{OWN}{cell}" for cell in cells)),
        examples=tuple(examples),
        layers=tuple(layers),
        heads=(0,),
        roles=tuple(roles),
        values=np.concatenate(sides).astype(np.float32),
    )


def _means(array: BudgetArray) -> dict[tuple[str, int, str], float]:
    """Mean over examples by cell, layer and category; NaN where no example has a value."""
    n = np.isfinite(array.values).sum(axis=1)
    total = np.nansum(array.values, axis=1, dtype=np.float64)
    means = np.where(n > 0, total / np.maximum(n, 1), np.nan)[:, :, 0]
    return {
        (cell, layer, role): float(means[i, j, k])
        for i, cell in enumerate(array.cells)
        for j, layer in enumerate(array.layers)
        for k, role in enumerate(array.roles)
    }


def _require_examples(run: Run, other: Run, count: int) -> None:
    if count < 2:
        raise ValueError(
            f"{run.path} and {other.path} have {count} examples in common; a paired comparison needs at least 2"
        )


def _presented(run: Run, other: Run, declared: Declaration, frame: pd.DataFrame) -> Table:
    """The table with its caption; of attention print shows chosen layers."""
    quantity = declared.tested
    assert quantity is not None  # looked at before
    labelled = frame.assign(
        condition=frame["cell"].map(run.manifest.labels),
        category=[declared.labels.get(name, name) for name in frame["category"]],
    )
    shown = (
        labelled["layer"].isin(shown_layers(frame["layer"])) if declared.axis else labelled["layer"].isna()
    )
    constant = [name for name in ("stack", "block") if labelled[name].nunique() == 1]
    columns = [
        "condition",
        "stack",
        "block",
        "layer",
        "category",
        "n",
        "other",
        "run",
        "difference",
        "p",
        "verdict",
    ]
    if not declared.axis:
        constant += ["layer", "category"]
    return Extract(
        frame=labelled,
        title=f"{declared.label.long}: {other.name} (baseline) and {run.name} (treatment)",
        estimand=f"mean over examples of {other.name} - {run.name} in {quantity.label}",
        unit=quantity.unit,
        n="as in the column: what both runs hold",
        family="the cells of a probe of answers; the layers of one cell and category of attention",
        correction=f"{run.plan.correction}; of attention, band and p hold for all layers at once",
        seed=run.seed,
        notes=(
            f"other is {other.name} (model {other.manifest.model.name}), run is {run.name} (model "
            f"{run.manifest.model.name}); examples are paired",
            f"too small to matter: {quantity.within(run.inference.of(quantity).stated)}",
            CAUTION_RULE,
            *(() if run.documents is None else (DOCUMENTS_RESAMPLED,)),
        ),
        columns=tuple(name for name in (*columns, "caution", "reason") if name not in constant),
        shown_rows=tuple(np.flatnonzero(shown)),
    )


def _figure(run: Run, declared: Declaration, table: Table) -> Figure:
    quantity, frame = declared.tested, table.frame
    assert quantity is not None  # looked at before
    rows = frame.assign(contrast=frame["condition"], mean=frame["difference"])
    if declared.axis:
        for name in ("stack", "block"):
            if rows[name].nunique() > 1:
                rows = rows.assign(contrast=rows["contrast"] + ", " + rows[name])
        rows = rows.assign(marked=(rows["low"] > 0) | (rows["high"] < 0), **{declared.axis: rows["category"]})
        return layer_map(rows, declared, quantity, facet="contrast", title=table.title)
    return effects_forest(
        rows.assign(family=declared.label.long),
        quantity=declared.label.sentence,
        unit=quantity.unit,
        better=quantity.better,
        title=table.title,
    )
