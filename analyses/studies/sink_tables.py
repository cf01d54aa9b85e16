"""Tables of the sink audit: shifts of shares split into what hiding a sink explains and what it does not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analyses.studies.sink_paths import Path
from analyses.studies.sink_prediction import CROSS_ENTROPY, CROSS_TOTAL, SELF_TOTAL, SinkReadings
from budgetlens.model.roles import ROLES
from budgetlens.statistics.adjustment import false_discovery_q
from budgetlens.statistics.bands import FALSE_DISCOVERIES, MAPPED_FROM
from budgetlens.statistics.column_splits import ROUNDING, ColumnMeans, means_of_columns, split_of_columns
from budgetlens.statistics.decisions import joined, of_intervals
from budgetlens.statistics.inference import Inference

Floats = NDArray[np.float64]

#: Value of ``layer`` in rows that are means over all layers.
ALL_LAYERS = "all"
TOTAL = "total"
SHARES = (CROSS_TOTAL, SELF_TOTAL, *ROLES)


def main_quantity(readings: SinkReadings) -> str:
    """The share that a table shows first: the cross total, or the document's where the softmaxes are separate."""
    return CROSS_TOTAL if CROSS_TOTAL in readings.quantities else "document"


def shift_table(
    readings: SinkReadings,
    paths: Sequence[Path],
    inference: Inference,
    quantities: Iterable[str] = SHARES,
) -> pd.DataFrame:
    """Every path's total and steps, per layer and over all layers, heads averaged first.

    Columns shift, stack, block, layer ("all" or its number), role, part ("total" or a step), n,
    clusters (independent units), mean_difference, low, high (first point less last), share, share_low,
    share_high (step over total: ratio of means), caution (of either interval), reason.
    """
    chosen = readings.only(quantities)
    frames = []
    for path in paths:
        points = [_layers_and_all(chosen.at(point)) for point in path.points]
        index = _index(chosen, heads=False)
        frames.append(_split_frame(chosen, path, points, index, inference))
    # Nothing is tested here.
    return (
        pd.concat(frames, ignore_index=True)
        .drop(columns="p_of_many")
        .assign(caution=lambda table: table["caution"].map(of_intervals))
    )


def head_table(readings: SinkReadings, paths: Sequence[Path], inference: Inference) -> pd.DataFrame:
    """As `shift_table`, for every layer and head, with the false discovery rate of each part controlled.

    Further columns standard_error, p (one-sample t test over examples, cluster-robust where they share documents, made
    for the tails of many heads), q (Benjamini and Hochberg 1995, over the layers, heads and roles of one part of one
    shift) and discovered (q of at most .05); the caution is of this test as well.
    """
    chosen = readings.only(SHARES)
    frames = []
    for path in paths:
        points = [
            chosen.at(point).reshape(len(chosen.examples), -1).astype(np.float64) for point in path.points
        ]
        index = _index(chosen, heads=True)
        frame = _split_frame(chosen, path, points, index, inference)
        frame["p"] = frame.pop("p_of_many")
        frame["q"] = frame.groupby("part", sort=False)["p"].transform(
            lambda p: false_discovery_q(p.to_numpy())
        )
        frame["discovered"] = (frame["q"] <= FALSE_DISCOVERIES) & (frame["clusters"] >= MAPPED_FROM)
        frames.append(frame)
    table = pd.concat(frames, ignore_index=True)
    notes = ["caution", "reason"]
    return table[[name for name in table.columns if name not in notes] + notes]


def audit_table(readings: SinkReadings, pairs: Sequence[Path], inference: Inference) -> pd.DataFrame:
    """Shares with roles visible, predicted with them hidden, and measured with them hidden, by layer.

    Args:
        pairs: paths of three points: visible, predicted, measured; each is named by its hidden cell.
        inference: as in `shift_table`.

    Returns:
        Columns cell, stack, block, layer, role, n, clusters (independent units), visible, mean, low, high (measured),
        predicted, difference, difference_low, difference_high (measured - predicted), largest (of |difference| over
        examples and heads), caution (of either interval), reason.
    """
    chosen = readings.only(SHARES)
    index = _index(chosen, heads=False)
    labels = inference.labels(pd.Index(chosen.examples))
    frames = []
    for pair in pairs:
        arrays = [chosen.at(point) for point in pair.points]
        visible, predicted, measured = (_layers_and_all(array) for array in arrays)
        # The difference is measured less predicted, so the steps run backwards.
        split = split_of_columns([measured, predicted], ["difference"], inference, clusters=labels)
        level = means_of_columns(measured, inference, clusters=labels)
        distance = np.abs(arrays[2] - arrays[1]).max(axis=(0, 2))
        largest = np.concatenate([distance, distance.max(axis=0, keepdims=True)]).reshape(-1)
        frames.append(
            index.assign(
                cell=pair.name,
                stack="decoder",
                block=chosen.block,
                n=split.total.n,
                clusters=split.total.clusters,
                visible=visible.mean(axis=0),
                mean=level.mean,
                low=level.low,
                high=level.high,
                predicted=predicted.mean(axis=0),
                difference=split.total.mean,
                difference_low=split.total.low,
                difference_high=split.total.high,
                largest=largest,
                caution=_each(of_intervals, level.caution, split.total.caution),
                reason=split.total.reason,
            )
        )
    table = pd.concat(frames, ignore_index=True)
    front = ["cell", "stack", "block", "layer", "role", "n", "clusters"]
    return table[front + [name for name in table.columns if name not in front]]


def exactness_table(readings: SinkReadings, pairs: Sequence[Path]) -> pd.DataFrame:
    """How far the measured shares of all roles are from the predicted ones, cell by cell and layer by layer.

    Columns cell, layer, n, largest and mean_absolute (|measured − predicted| over examples, heads and roles),
    and holds: whether the largest is within rounding, which it must be in layer 0.
    """
    chosen = readings.only(ROLES)
    rows = []
    for pair in pairs:
        _, predicted, measured = (chosen.at(point) for point in pair.points)
        distance = np.abs(measured - predicted)
        for number, layer in enumerate(chosen.layers):
            own = distance[:, number]
            rows.append(
                {
                    "cell": pair.name,
                    "layer": layer,
                    "n": int(np.isfinite(own).all(axis=(1, 2)).sum()),
                    "largest": float(np.nanmax(own, initial=0.0)),
                    "mean_absolute": float(np.nanmean(own)) if np.isfinite(own).any() else float("nan"),
                    "holds": bool(np.nanmax(own, initial=0.0) <= ROUNDING),
                }
            )
    return pd.DataFrame(rows)


def entropy_table(readings: SinkReadings, paths: Sequence[Path], inference: Inference) -> pd.DataFrame:
    """`shift_table` of the conditional cross entropy (nats per head), with the means of the two ends.

    Further columns first and last: mean entropy at the path's ends over the examples that have it at every
    point.
    """
    table = shift_table(readings, paths, inference, (CROSS_ENTROPY,))
    chosen = readings.only((CROSS_ENTROPY,))
    table["first"], table["last"] = np.nan, np.nan
    for path in paths:
        points = np.stack([_layers_and_all(chosen.at(point)) for point in path.points])
        whole = np.isfinite(points).all(axis=0)
        counts = np.maximum(whole.sum(axis=0), 1)
        for name, end in (("first", points[0]), ("last", points[-1])):
            means = np.where(whole, end, 0.0).sum(axis=0) / counts
            means = np.where(whole.any(axis=0), means, np.nan)
            own = table["shift"] == path.name
            table.loc[own, name] = np.tile(means, len(path.steps) + 1)
    return table


def _layers_and_all(values: NDArray[np.float32]) -> Floats:
    """Heads averaged; every layer and then the mean over layers, shape [example, (layers + 1) · quantity]."""
    layers = values.mean(axis=2, dtype=np.float64)
    return np.concatenate([layers, layers.mean(axis=1, keepdims=True)], axis=1).reshape(len(values), -1)


def _index(readings: SinkReadings, *, heads: bool) -> pd.DataFrame:
    layers = [str(layer) for layer in readings.layers]
    axes: list[tuple[str, Sequence[object]]] = [("layer", layers), ("role", readings.quantities)]
    if heads:
        axes.insert(1, ("head", readings.heads))
    else:
        axes[0] = ("layer", [*layers, ALL_LAYERS])
    return pd.MultiIndex.from_product([axis for _, axis in axes], names=[name for name, _ in axes]).to_frame(
        index=False
    )


def _split_frame(
    readings: SinkReadings,
    path: Path,
    points: Sequence[Floats],
    index: pd.DataFrame,
    inference: Inference,
) -> pd.DataFrame:
    labels = inference.labels(pd.Index(readings.examples))
    split = split_of_columns(points, path.steps, inference, clusters=labels)
    frames = []
    for part in (TOTAL, *path.steps):
        means: ColumnMeans = split.total if part == TOTAL else split.parts[part]
        whole = part == TOTAL
        own = index.assign(
            part=part,
            n=means.n,
            clusters=means.clusters,
            mean_difference=means.mean,
            low=means.low,
            high=means.high,
            standard_error=means.standard_error,
            p_of_many=means.p_of_many,
            share=1.0 if whole else split.share[part],
            share_low=np.nan if whole else split.share_low[part],
            share_high=np.nan if whole else split.share_high[part],
            caution=means.caution if whole else _each(joined, means.caution, split.share_caution[part]),
            reason=means.reason if whole else _joined(means.reason, split.share_reason[part]),
        )
        frames.append(own)
    table = pd.concat(frames, ignore_index=True)
    for position, (name, value) in enumerate(
        (("shift", path.name), ("stack", "decoder"), ("block", readings.block))
    ):
        table.insert(position, name, value)
    return table


def _each(join: Callable[..., str], *columns: NDArray[np.object_]) -> list[str]:
    """What a row's cautions are together, for every row."""
    return [join(*own) for own in zip(*columns, strict=True)]


def _joined(first: NDArray[np.object_], second: NDArray[np.object_]) -> list[str]:
    return ["; ".join(filter(None, pair)) for pair in zip(first, second, strict=True)]
