"""What is chosen in the explorer, and the address that says so: a copied address restores the view."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any
from urllib.parse import parse_qsl, urlencode

import numpy as np

from budgetlens.explorer.data import DECODER, RunData
from budgetlens.explorer.strata import KINDS, levels_of
from budgetlens.statistics.contrasts import contrast_values, parse_cell

EFFECTS, ATTENTION = "effects", "attention"
VIEWS = {
    EFFECTS: "Effects",
    ATTENTION: "Attention",
    "examples": "Examples",
    "tokens": "Tokens",
    "own": "Own text",
}
DRAWINGS = {"scatter": "points", "slopes": "lines"}
LAYERS, HEADS_OF_CONTRAST = "layers", "contrast"
MAPS = {LAYERS: "by layer", "heads": "heads", HEADS_OF_CONTRAST: "heads, difference"}
#: What addresses of earlier versions say otherwise: names of parts, and values of a part.
RENAMED = {"roles": "categories"}
RENAMED_VALUES = {("map", "ledger"): LAYERS}
SORTS = ("example", "query", "answer", "baseline", "treatment", "difference", "size")
#: Examples on one page of the table.
PAGE = 20
MEAN, NONE = "mean", "none"
#: Places, pages, layers, heads and rows of a number with more digits are none.
LARGEST = 1_000_000
_NUMBER = re.compile(r"[0-9]{1,6}")


@dataclass(frozen=True)
class State:
    """Every control's value, as text or tuples of text. Empty means the default (all, or the first).

    ``tested`` is the probe whose effects and examples are shown. ``strata`` and ``stratum`` part the examples;
    ``contrast`` is the effect that is followed; ``probe``, ``quantity`` and ``side`` (decoder or encoder) say whose
    attention is shown, ``cells``, ``layers``, ``heads`` and ``categories`` narrow it. ``left``, ``right``, ``layer``,
    ``head``, ``row`` and ``shading`` choose the token view (``mean`` averages over heads or rows, ``none`` leaves the second
    cell out). ``query``, ``document``, ``prefix`` and ``answer`` are the user's own texts, ``own_left`` and ``own_right``
    the cells of their token view.
    """

    run: str = ""
    view: str = EFFECTS
    tested: str = ""
    strata: str = ""
    stratum: str = ""
    family: str = ""
    contrast: str = ""
    probe: str = ""
    quantity: str = ""
    side: str = ""
    map: str = LAYERS
    cells: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    heads: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    drawing: str = "scatter"
    sort: str = "size"
    order: str = "down"
    page: str = "1"
    example: str = ""
    left: str = ""
    right: str = ""
    layer: str = ""
    head: str = MEAN
    row: str = MEAN
    shading: str = ""
    query: str = ""
    document: str = ""
    prefix: str = ""
    answer: str = ""
    own_left: str = ""
    own_right: str = ""


_SINGULAR = {"cells": "cell", "layers": "layer", "heads": "head", "categories": "category"}
_MANY = tuple(item.name for item in fields(State) if item.type == "tuple[str, ...]")
_NAMES = tuple(item.name for item in fields(State))


def to_fragment(state: State) -> str:
    """The part of an address after ``#`` (with it) that restores a state."""
    default = asdict(State())
    pairs: list[tuple[str, str]] = []
    for name, value in asdict(state).items():
        if value == default[name] and name not in ("run", "view"):
            continue
        pairs += [(name, part) for part in value] if name in _MANY else [(name, value)]
    return "#" + urlencode(pairs)


def from_fragment(fragment: object) -> tuple[State, list[str]]:
    """The state that an address tells, and a sentence for everything in it that is not understood."""
    if not isinstance(fragment, str):
        return State(), [f"The address can't be read ({_short(fragment)}); the default is shown."]
    found: dict[str, Any] = {}
    notes = []
    for given, value in parse_qsl(fragment.removeprefix("#"), keep_blank_values=True):
        name = RENAMED.get(given, given)
        value = RENAMED_VALUES.get((name, value), value)
        if name not in _NAMES:
            notes.append(f"The address has a part {_short(name)} that means nothing here; it was left out.")
        elif name in _MANY:
            found.setdefault(name, []).append(value)
        else:
            found[name] = value
    state, more = checked(found)
    return state, [*notes, *more]


def to_store(state: State) -> dict[str, Any]:
    """A state as JSON."""
    return {name: list(value) if name in _MANY else value for name, value in asdict(state).items()}


def from_store(content: object) -> State:
    """A state from JSON; what is unknown or of another kind than a state's is left out."""
    return checked(content)[0]


def checked(content: object) -> tuple[State, list[str]]:
    """The state that any JSON makes, and a sentence for every value that is none of a state's.

    Everything that a browser hands over comes through here: the address, what the page kept, the controls' values.
    Whether the run has what is named is the matter of :func:`resolved`.
    """
    if content is None:
        return State(), []
    if not isinstance(content, Mapping):
        return State(), [f"What the page kept can't be read ({_short(content)}); it begins anew."]
    found: dict[str, Any] = {}
    notes = []
    for name, value in content.items():
        if name not in _NAMES:
            continue
        parts = value if isinstance(value, list | tuple) and name in _MANY else [value]
        found[name] = tuple(part for part in parts if _is_text(part))
        notes += [
            f"There is no {_called(name)} {_short(part)} here; the default is shown."
            for part in parts
            if not _is_text(part)
        ]
        if name not in _MANY:
            found[name] = found[name][0] if found[name] else getattr(State(), name)
    return State(**found), notes


def _is_text(value: object) -> bool:
    """Whether a value is text that can be written as UTF-8; a lone half of a surrogate pair can't."""
    return isinstance(value, str) and not any("\ud800" <= character <= "\udfff" for character in value)


def _called(name: str) -> str:
    return _SINGULAR.get(name, name).replace("_", " ")


@dataclass(frozen=True)
class Pressed:
    """A button of a table: what it chooses (`contrast`, `example`, `page` or `sort`), and the place of the choice."""

    what: str
    place: int


def pressed_of(content: object) -> Pressed | None:
    """The button that the store of buttons names; None where it names none."""
    if not isinstance(content, Mapping):
        return None
    what, place = content.get("what"), content.get("place")
    if what not in ("contrast", "example", "page", "sort") or not isinstance(place, int):
        return None
    return Pressed(str(what), int(place)) if 0 <= place < LARGEST else None


@dataclass(frozen=True)
class Point:
    """A point of a figure: its place, None along an axis without numbers, and the texts that it carries.

    ``whole`` says whether it lies at a whole number of ``y``.
    """

    x: int | None
    y: int | None
    texts: tuple[str, ...]
    whole: bool


def point_of(click: object) -> Point | None:
    """The point that was clicked on, of what plotly tells; None where it is none."""
    points = click.get("points") if isinstance(click, Mapping) else None
    first = points[0] if isinstance(points, list) and points else None
    if not isinstance(first, Mapping):
        return None
    custom = first.get("customdata")
    told = custom if isinstance(custom, list) else [custom]
    return Point(
        x=_place(first.get("x")),
        y=_place(first.get("y")),
        texts=tuple(text for text in told if isinstance(text, str)),
        whole=isinstance(first.get("y"), int),
    )


def _place(value: object) -> int | None:
    """A whole place along an axis; None for what is no number, or no place that a figure has."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not -LARGEST < value < LARGEST:
        return None
    return round(value)


class _Asked:
    """What is asked for, looked at against what there is; ``notes`` tells what was replaced."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def known(self, name: str, value: str, options: Sequence[str], default: str) -> str:
        if value in options:
            return value
        if value:
            instead = _short(default) if default else "all"
            self.notes.append(f"There is no {name} {_short(value)} here; {instead} is shown.")
        return default

    def number(self, name: str, value: str, default: str, least: int = 0) -> str:
        if _NUMBER.fullmatch(value) and int(value) >= least:
            return str(int(value))
        return self.known(name, value, (default,), default)

    def several(self, name: str, values: Sequence[str], options: Sequence[str]) -> tuple[str, ...]:
        strange = [value for value in values if value not in options]
        self.notes += [f"There is no {_called(name)} {_short(value)} here." for value in strange]
        return tuple(dict.fromkeys(value for value in values if value in options))


def resolved(state: State, runs: Mapping[str, RunData]) -> tuple[State, list[str]]:
    """The state with its defaults filled in and what the run does not have replaced, and what was replaced."""
    asked = _Asked()
    known, number = asked.known, asked.number
    run = known("run", state.run, list(runs), next(iter(runs)))
    data = runs[run]
    if state.view in data.probes:
        # Earlier versions had a view of one probe, which bore its name.
        state = replace(state, view=ATTENTION, probe=state.probe or state.view)
    kind = known("kind of strata", state.strata, list(KINDS), "")
    contrast = known("contrast", state.contrast, list(data.contrasts), next(iter(data.contrasts), ""))
    tested = known("probe", state.tested, list(data.tested), data.run.outcome)
    state = replace(
        state,
        run=run,
        view=known("view", state.view, list(VIEWS), EFFECTS),
        tested=tested,
        strata=kind,
        stratum=known("stratum", state.stratum if kind else "", levels_of(data, kind), ""),
        family=known("family", state.family, families(data, tested), ""),
        contrast=contrast,
        drawing=known("drawing", state.drawing, list(DRAWINGS), "scatter"),
        sort=known("column", state.sort, SORTS, "size"),
        order=known("order", state.order, ("up", "down"), "down"),
        page=number("page", state.page, "1", least=1),
    )
    return _tokens(_attention(state, data, asked), data, asked), asked.notes


def _attention(state: State, data: RunData, asked: _Asked) -> State:
    """The state with whose attention is shown, and with what it is narrowed by."""
    probe = asked.known("probe", state.probe, list(data.probes), next(iter(data.probes), ""))
    sides = data.axes(probe, DECODER).stacks
    side = asked.known("side", state.side, sides, DECODER if DECODER in sides else next(iter(sides), ""))
    axes = data.axes(probe, side)
    quantity = main_quantity(data, probe)
    return replace(
        state,
        probe=probe,
        side=side,
        quantity=asked.known("quantity", state.quantity, quantities(data, probe), quantity),
        map=asked.known("drawing of attention", state.map, list(MAPS), LAYERS),
        cells=asked.several("cells", state.cells, data.cells),
        layers=asked.several("layers", state.layers, texts(axes.layers)),
        heads=asked.several("heads", state.heads, texts(axes.heads)),
        categories=asked.several("categories", state.categories, axes.categories),
    )


def _tokens(state: State, data: RunData, asked: _Asked) -> State:
    """The state with the example, cells, layer, head and row that the views of tokens show."""
    known, number = asked.known, asked.number
    pair = contrast_sides(data, state.contrast)
    own = own_cell_names(data, state.prefix)
    return replace(
        state,
        example=known("example", state.example, data.examples, largest_example(data, state.contrast)),
        left=known("cell", state.left, data.cells, pair[0]),
        right=known("cell", state.right, (*data.cells, NONE), pair[1]),
        own_left=known("cell", state.own_left, own, pair[0]),
        own_right=known("cell", state.own_right, (*own, NONE), own[0] if state.prefix else pair[1]),
        # Any layer of the model may be asked for, recorded or not; the token view checks it.
        layer=number("layer", state.layer, str(data.layers[-1] if data.layers else 0)),
        head=number("head", state.head, MEAN),
        row=number("row", state.row, MEAN),
        shading=known("shading", state.shading, list(data.measures), next(iter(data.measures))),
    )


def own_cell_names(data: RunData, prefix: str) -> tuple[str, ...]:
    """The cells that a user's own texts are measured in: with a prefix of their own, first those that hold it."""
    return (
        (*(name_with_own_prefix(cell) for cell in cells_with_prefix(data)), *data.cells)
        if prefix
        else data.cells
    )


def own_labels(data: RunData, prefix: str) -> dict[str, str]:
    """A short name for each of :func:`own_cell_names`."""
    theirs = {
        name_with_own_prefix(cell): f"{data.labels[cell]}, your prefix" for cell in cells_with_prefix(data)
    }
    return {cell: theirs.get(cell) or data.labels[cell] for cell in own_cell_names(data, prefix)}


def cells_with_prefix(data: RunData) -> tuple[str, ...]:
    """The first cell of each crossing of the other factors that has a prefix; a user's own takes its place."""
    found: dict[str, str] = {}
    for cell in data.cells:
        levels = dict(parse_cell(cell))
        if levels.get("prefix", NONE) != NONE:
            found.setdefault(name_with_own_prefix(cell), cell)
    return tuple(found.values())


def name_with_own_prefix(cell: str) -> str:
    """What a cell is called when the user's own prefix takes the place of its prefix."""
    return "|".join(
        f"{factor}={'own' if factor == 'prefix' else level}" for factor, level in parse_cell(cell).items()
    )


def families(data: RunData, measure: str) -> list[str]:
    """The families of the effects on what a probe measured, in order."""
    if data.tested[measure].axis:
        return list(dict.fromkeys(contrast.family for contrast in data.plan.share_contrasts))
    return list(dict.fromkeys(data.effects(measure)["family"].astype(str)))


def quantities(data: RunData, probe: str) -> list[str]:
    """The quantities of a probe of attention; none where the run has none."""
    return [quantity.name for quantity in data.probes[probe].quantities] if probe in data.probes else []


def main_quantity(data: RunData, probe: str) -> str:
    """The quantity that is shown where none is chosen: the one whose differences are tested, else the first."""
    if probe not in data.probes:
        return ""
    declared = data.probes[probe]
    return (declared.tested or declared.quantities[0]).name


def contrast_sides(data: RunData, contrast: str) -> tuple[str, str]:
    """The first cell on either side of a contrast; the first two cells without one."""
    if contrast not in data.contrasts:
        return data.cells[0], data.cells[1] if len(data.cells) > 1 else NONE
    weights = data.contrasts[contrast].weights
    ordered = [cell for cell in data.cells if weights.get(cell)]
    return (
        next(cell for cell in ordered if weights[cell] > 0),
        next(cell for cell in ordered if weights[cell] < 0),
    )


def largest_example(data: RunData, contrast: str) -> str:
    """The example with the largest difference in a contrast, by size; the first without one."""
    if contrast not in data.contrasts:
        return data.examples[0]
    values = contrast_values(data.nll, [data.contrasts[contrast]])[contrast].abs()
    return str(values.idxmax()) if np.isfinite(values).any() else data.examples[0]


def texts(numbers: Sequence[int]) -> tuple[str, ...]:
    """Numbers as text."""
    return tuple(map(str, numbers))


def _short(value: object) -> str:
    if not isinstance(value, str):
        return "nothing" if value is None else f"a {type(value).__name__}"
    return repr(value if len(value) <= 60 else value[:57] + "…")
