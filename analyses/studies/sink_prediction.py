"""What a cell's attention would be if only some roles were hidden, beside what it was: the sink's null.

Hiding keys of mass m from a softmax whose queries and keys stay the same turns every other share A into
A/(1 − m). In the first decoder layer nothing upstream differs between a cell and the same cell with roles
hidden, so that the prediction is exact there; in later layers what differs from it has propagated.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analyses.studies.sink_paths import Path, Point
from budgetlens.model.roles import DECODER_ROLES, ENCODER_ROLES, ROLES, parse_roles
from budgetlens.model.trials import FIRST_POSITIONS
from budgetlens.runs.manifest import RunError
from budgetlens.runs.run import Run

KIND = "renormalised"
SELF_TOTAL, CROSS_TOTAL, CROSS_ENTROPY = "self total", "cross total", "cross_entropy"

#: First positions that the published truncation can hide, if it hides whole roles: counted from the front.
_FIRST = ("none", "bos", "bos+prefix", "bos+prefix+separator")


@dataclass(frozen=True)
class SinkReadings:
    """Measured and predicted attention of chosen rows, of the block that holds encoder keys.

    ``values`` by cell and set of roles taken away: float32 arrays [example, layer, head, quantity];
    ``hidden`` by cell: which set of roles every example hides, "" where it hides part of a role.
    """

    block: str
    examples: tuple[object, ...]
    layers: tuple[int, ...]
    heads: tuple[int, ...]
    quantities: tuple[str, ...]
    values: Mapping[tuple[str, str], NDArray[np.float32]]
    hidden: Mapping[str, tuple[str, ...]]

    def at(self, point: Point) -> NDArray[np.float32]:
        """Values at a point, [example, layer, head, quantity]; NaN where what is hidden is part of a role."""
        if not point.like:
            return self.values[point.cell, "none"]
        found = np.full_like(self.values[point.cell, "none"], np.nan)
        for removed in set(self.hidden[point.like]) - {""}:
            own = np.array([each == removed for each in self.hidden[point.like]])
            found[own] = self.values[point.cell, removed][own]
        return found

    def only(self, quantities: Iterable[str]) -> SinkReadings:
        """The same readings of some quantities, in the order given; those that the block lacks are left out."""
        chosen = [quantity for quantity in quantities if quantity in self.quantities]
        places = [self.quantities.index(quantity) for quantity in chosen]
        values = {key: array[..., places] for key, array in self.values.items()}
        return replace(self, quantities=tuple(chosen), values=values)


def read_sinks(run: Run, paths: Iterable[Path]) -> SinkReadings:
    """The readings that ``paths`` need, from a run with the probe ``renormalised``.

    In a merged block the quantities hold the totals of both stacks as well.

    Raises RunError where the run has no such records or lacks a cell.
    """
    points = [point for path in paths for point in path.points]
    trials = run.trials.astype({"cell": str, "example": str})
    cells = {point.cell for point in points} | {point.like for point in points if point.like}
    absent = sorted(cells - set(trials["cell"]))
    if absent:
        raise RunError(f"{run.path} has no cell {absent[0]!r}; it has {sorted(set(trials['cell']))}")
    examples = tuple(sorted(set(trials["example"])))
    hidden = {cell: _hidden_sets(trials[trials["cell"] == cell], examples) for cell in sorted(cells)}
    wanted = {(point.cell, "none") for point in points}
    for point in points:
        if point.like:
            wanted |= {(point.cell, removed) for removed in hidden[point.like] if removed}
    return _read(run, wanted, examples, hidden)


def _hidden_sets(trials: pd.DataFrame, examples: tuple[object, ...]) -> tuple[str, ...]:
    """Name of the set of roles that every example of one cell hides; "" where it hides part of a role."""
    level = parse_hidden(str(trials["cell"].iloc[0]))
    if level != FIRST_POSITIONS:
        return (_set_name(parse_roles(level)),) * len(examples)
    removed = _removed()
    trials = trials.set_index("example").loc[list(examples)]
    found = np.full(len(examples), "", dtype=object)
    # From the longest: where roles have no positions, several sets are the same positions.
    for name in reversed(_FIRST):
        counts = sum(
            (trials[f"{role}_tokens"] for role in sorted(removed[name])), start=0 * trials["hidden_tokens"]
        )
        found[(counts == trials["hidden_tokens"]).to_numpy()] = name
    return tuple(found)


def parse_hidden(cell: str) -> str:
    """Level of the factor *hidden* in a cell's name; *none* where it has no such factor."""
    levels = dict(part.split("=", 1) for part in cell.split("|"))
    return levels.get("hidden", "none")


def _set_name(roles: frozenset[str]) -> str:
    for name, removed in _removed().items():
        if roles == removed:
            return name
    raise RunError(f"no prediction is recorded for hiding {sorted(roles)}; there are {', '.join(_removed())}")


def _removed() -> Mapping[str, frozenset[str]]:
    """The sets of roles for whose hiding the probe predicts attention."""
    # Here, since the probe computes with torch, and what the analysis declares needs none of it.
    from probes.renormalised import REMOVED

    return REMOVED


def _read(
    run: Run,
    wanted: set[tuple[str, str]],
    examples: tuple[object, ...],
    hidden: Mapping[str, tuple[str, ...]],
) -> SinkReadings:
    frames: dict[tuple[str, str], list[pd.DataFrame]] = {key: [] for key in wanted}
    blocks: set[str] = set()
    for part in run.parts(KIND):
        frame = part.to_pandas()
        blocks |= set(frame["block"].astype(str))
        for key, rows in frame.groupby(["cell", "removed"], observed=True):
            if key in frames:
                frames[key].append(rows)
    sample = next(iter(frames.values()))[0]
    roles = [role for role in ROLES if role in sample.columns]
    quantities = [*roles, CROSS_ENTROPY]
    layers = tuple(sorted(int(layer) for layer in sample["layer"].unique()))
    heads = tuple(sorted(int(head) for head in sample["head"].unique()))
    place = {example: position for position, example in enumerate(examples)}
    values = {}
    for key, parts in frames.items():
        rows = pd.concat(parts, ignore_index=True)
        array = np.full((len(examples), len(layers), len(heads), len(quantities)), np.nan, dtype=np.float32)
        index = (
            rows["example"].astype(str).map(place).to_numpy(dtype=np.int64),
            np.searchsorted(layers, rows["layer"].to_numpy()),
            np.searchsorted(heads, rows["head"].to_numpy()),
        )
        array[index] = rows[quantities].to_numpy(dtype=np.float32)
        values[key] = array
    readings = SinkReadings(
        block=" and ".join(sorted(blocks)),
        examples=examples,
        layers=layers,
        heads=heads,
        quantities=tuple(quantities),
        values=values,
        hidden=hidden,
    )
    return _with_totals(readings) if readings.block == "merged" else readings


def _with_totals(readings: SinkReadings) -> SinkReadings:
    groups = {SELF_TOTAL: DECODER_ROLES, CROSS_TOTAL: ENCODER_ROLES}
    places = [[readings.quantities.index(role) for role in roles] for roles in groups.values()]
    values = {
        key: np.concatenate(
            [array, *(array[..., own].sum(axis=-1, keepdims=True) for own in places)], axis=-1
        )
        for key, array in readings.values.items()
    }
    return replace(readings, quantities=(*readings.quantities, *groups), values=values)
