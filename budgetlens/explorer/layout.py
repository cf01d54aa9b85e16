"""The page: its header, its controls, and the places where a view is shown. Texts are always shown as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from dash import dcc, html
from dash.development.base_component import Component

from budgetlens.explorer.data import RunData
from budgetlens.explorer.listing import attributes, spoken
from budgetlens.explorer.state import DRAWINGS, MAPS, MEAN, NONE, VIEWS, State, families, own_labels, texts
from budgetlens.explorer.strata import KINDS, level_label, levels_of
from figures.export import CONFIG

#: Fields of the state that are chosen from a list, with their labels, in the order of the page.
SINGLE = {
    "run": "Run",
    "tested": "Effects on",
    "strata": "Examples by",
    "stratum": "Stratum",
    "family": "Family",
    "contrast": "Contrast",
    "probe": "Probe",
    "quantity": "Quantity",
    "side": "Rows of",
    "example": "Example",
    "left": "Cell",
    "right": "Beside it",
    "own_left": "Cell",
    "own_right": "Beside it",
    "layer": "Layer",
    "head": "Head",
    "row": "Answer token",
    "shading": "Shaded by",
}
MANY = {"cells": "Cells", "layers": "Layers", "heads": "Heads", "categories": "Categories"}
TYPED = {"query": "Query", "document": "Document", "prefix": "Prefix (optional)", "answer": "Answer"}
PICTURES = ("png", "svg", "html")
#: Places of figures; the second is as wide as its text and scrolls.
SLOTS = ("figure", "second")
POLL_MILLISECONDS = 700

#: Which views show which controls.
_SHOWN_ON = {
    "tested": "effects examples",
    "strata": "effects attention examples",
    "stratum": "effects attention examples",
    "family": "effects",
    "contrast": "attention examples",
    "probe": "attention",
    "quantity": "attention",
    "side": "attention",
    "map": "attention",
    "cells": "attention",
    "layers": "attention",
    "heads": "attention",
    "categories": "attention",
    "drawing": "examples",
    "example": "examples tokens",
    "left": "tokens",
    "right": "tokens",
    "own_left": "own",
    "own_right": "own",
    "layer": "tokens own",
    "head": "tokens own",
    "row": "tokens own",
    "shading": "tokens own",
    "typed": "own",
}


def page(runs: Mapping[str, RunData]) -> Component:
    """The whole page, before anything is chosen."""
    return html.Div(
        id="page",
        className="view-effects",
        children=[
            dcc.Location(id="location", refresh=False),
            dcc.Store(id="state"),
            dcc.Store(id="model", data=""),
            dcc.Store(id="look"),
            dcc.Store(id="chosen"),
            dcc.Store(id="picture"),
            dcc.Download(id="download"),
            dcc.Interval(id="poll", interval=POLL_MILLISECONDS),
            html.Header(
                [
                    html.Div([html.H1("budgetlens explorer"), html.P(id="model-words", role="status")]),
                    _labelled(
                        "run", _dropdown("run", [_option(key, data.title) for key, data in runs.items()])
                    ),
                ]
            ),
            html.Nav(
                dcc.RadioItems(
                    id="view",
                    options=[_option(name, words) for name, words in VIEWS.items()],
                    className="steps",
                    inline=True,
                ),
                **spoken("Views"),
            ),
            html.Div(className="body", children=[_controls(), _main()]),
        ],
    )


def _controls() -> Component:
    return html.Section(
        className="controls",
        **spoken("Choices"),
        children=[
            _labelled("tested", _dropdown("tested", [])),
            _labelled("strata", _dropdown("strata", [_option(kind, words) for kind, words in KINDS.items()])),
            _labelled("stratum", _dropdown("stratum", [])),
            _labelled("family", _dropdown("family", [])),
            *(_labelled(name, _dropdown(name, [])) for name in ("probe", "quantity", "side")),
            _labelled("map", _radio("map", MAPS), "Drawing"),
            _labelled("contrast", _dropdown("contrast", [])),
            *(_labelled(name, _dropdown(name, [], many=True)) for name in MANY),
            _labelled("drawing", _radio("drawing", DRAWINGS), "Drawing"),
            html.Form(
                id="typed",
                className=_shown("typed"),
                children=[
                    *(_typed(name, label) for name, label in TYPED.items()),
                    html.Div(
                        className="buttons",
                        children=[
                            html.Button("Measure", id="measure", type="button", className="primary"),
                            html.Button("Take the chosen example", id="take", type="button"),
                        ],
                    ),
                ],
            ),
            *(
                _labelled(name, _dropdown(name, []))
                for name in (
                    "example",
                    "left",
                    "right",
                    "own_left",
                    "own_right",
                    "shading",
                    "layer",
                    "head",
                    "row",
                )
            ),
        ],
    )


def _main() -> Component:
    return html.Main(
        id="main",
        children=[
            html.H2(id="heading"),
            html.P(id="lead", className="lead"),
            html.Div(id="alert", className="alert", role="alert", hidden=True),
            html.Div(id="notes", className="notes"),
            dcc.Loading(
                type="dot",
                delay_show=400,
                overlay_style={"visibility": "visible", "opacity": 0.5},
                children=html.Div(id="busy"),
            ),
            *(_slot(name) for name in SLOTS),
            html.Div(id="passages"),
            html.Div(id="table"),
            html.Div(
                id="csv-tools",
                className="tools",
                hidden=True,
                children=html.Button("CSV of the numbers shown", id="export-csv", type="button"),
            ),
        ],
    )


def _slot(name: str) -> Component:
    return html.Div(
        id=f"{name}-slot",
        hidden=True,
        className="slot",
        children=[
            html.Div(
                className="scroll",
                tabIndex=0,
                role="region",
                **spoken("Figure"),
                children=dcc.Graph(id=name, config=cast(Any, CONFIG), responsive=name == "figure"),
            ),
            html.Div(
                className="tools",
                children=[
                    html.Button(
                        kind.upper(),
                        id=f"export-{name}-{kind}",
                        type="button",
                        **spoken(f"Save as {kind.upper()}"),
                    )
                    for kind in PICTURES
                ],
            ),
        ],
    )


def _shown(name: str) -> str:
    return "control " + " ".join(f"on-{view}" for view in _SHOWN_ON.get(name, " ".join(VIEWS)).split())


def _labelled(name: str, control: Component, label: str | None = None) -> Component:
    text = label or SINGLE.get(name) or MANY[name]
    return html.Div(
        id=f"control-{name}",
        className=_shown(name),
        role="group",
        **attributes({"aria-labelledby": f"label-{name}"}),
        children=[html.Label(text, htmlFor=name, id=f"label-{name}"), control],
    )


def _dropdown(name: str, options: Sequence[dict[str, str]], *, many: bool = False) -> Component:
    return dcc.Dropdown(
        id=name,
        options=list(options),
        value=[] if many else None,
        multi=many,
        clearable=many,
        searchable=True,
        placeholder="all" if many else "",
        maxHeight=320,
    )


def _radio(name: str, options: Mapping[str, str]) -> Component:
    return dcc.RadioItems(
        id=name,
        options=[_option(key, words) for key, words in options.items()],
        className="choices",
        inline=True,
    )


def _typed(name: str, label: str) -> Component:
    return html.Div(
        className="typed",
        children=[
            html.Label(label, htmlFor=name),
            dcc.Textarea(id=name, value="", rows=8 if name == "document" else 2, spellCheck=False),
        ],
    )


def _option(value: str, label: str) -> dict[str, str]:
    return {"value": value, "label": label}


def options_of(data: RunData, state: State, layers: Sequence[int]) -> dict[str, list[dict[str, str]]]:
    """The options of every control that depends on the run or on another control."""
    cells = [_option(cell, data.labels[cell]) for cell in data.cells]
    own = [_option(cell, label) for cell, label in own_labels(data, state.prefix).items()]
    none = _option(NONE, "nothing")
    axes = data.axes(state.probe, state.side)
    shown = data.probes[state.probe].quantities if state.probe in data.probes else ()
    answer_tokens = int(data.answer_tokens.get(state.example, 0)) if state.view != "own" else OWN_ROWS
    return {
        "stratum": [
            _option("", "all"),
            *(_option(level, level_label(state.strata, level)) for level in levels_of(data, state.strata)),
        ],
        "tested": [_option(name, own.title) for name, own in data.tested.items()],
        "probe": [_option(name, own.title) for name, own in data.probes.items()],
        "quantity": [_option(own.name, own.label) for own in shown],
        "side": [_option(stack, stack) for stack in axes.stacks],
        "family": [_option("", "all"), *(_option(name, name) for name in families(data, state.tested))],
        "contrast": [_option(name, name) for name in data.contrasts],
        "cells": cells,
        "layers": [_option(layer, layer) for layer in texts(axes.layers)],
        "heads": [_option(head, head) for head in texts(axes.heads)],
        "categories": [_option(name, _category_label(data, state, name)) for name in axes.categories],
        "example": [_option(name, _example_label(data, name)) for name in data.examples],
        "left": cells,
        "right": [none, *cells],
        "own_left": own,
        "own_right": [none, *own],
        "shading": [_option(name, _measure_label(data, name)) for name in data.measures],
        "layer": [_option(layer, layer) for layer in texts(sorted({*layers, int(state.layer)}))],
        "head": [_option(MEAN, "mean over the heads"), *(_option(head, head) for head in texts(data.heads))],
        "row": [
            _option(MEAN, "mean over the answer"),
            *(_option(str(row), str(row)) for row in range(answer_tokens)),
        ],
    }


#: Answer tokens that can be chosen of a text whose length is not known before it is measured.
OWN_ROWS = 64


def _measure_label(data: RunData, name: str) -> str:
    measure = data.measures[name]
    return f"{measure.label}, signed" if measure.signed else measure.label


def _category_label(data: RunData, state: State, name: str) -> str:
    return data.probes[state.probe].labels.get(name, name)


def _example_label(data: RunData, name: str) -> str:
    label = name if len(name) <= 40 else f"{name[:39]}…"
    if name not in data.texts:
        return label
    query = " ".join(data.texts[name].query.split())
    return f"{label}: {query if len(query) <= 60 else query[:59] + '…'}"
