"""What happens when something is chosen: one callback keeps address, controls and state the same, one shows the view."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dash import ClientsideFunction, Dash, Input, Output, ctx, dcc, html, no_update, set_props
from dash import State as Held
from dash.exceptions import PreventUpdate
from plotly.graph_objects import Figure

from budgetlens.explorer import layout, listing
from budgetlens.explorer.attention_view import attention_view
from budgetlens.explorer.choices import changed, controlled
from budgetlens.explorer.data import RunData
from budgetlens.explorer.effects_view import effects_view
from budgetlens.explorer.examples_view import examples_view
from budgetlens.explorer.live import EXPECTED, LiveModel, first_line
from budgetlens.explorer.state import (
    ATTENTION,
    EFFECTS,
    State,
    checked,
    from_fragment,
    from_store,
    resolved,
    to_fragment,
    to_store,
)
from budgetlens.explorer.tokens_view import own_view, tokens_view
from budgetlens.explorer.views import LIGHT, NothingToShow, View
from budgetlens.runs.spreadsheets import spreadsheet_csv
from figures import NoBrowser, write_html, write_static
from figures.export import figure_height, figure_width
from figures.looks import LOOKS, Look
from figures.panels import NARROW_WIDTH

logger = logging.getLogger(__name__)

#: Narrowest a figure that is laid out for a wide page is drawn, in pixels; a narrower page scrolls it.
NARROWEST = 720
#: Widest a figure is drawn, as a multiple of the width that it was laid out for.
WIDEST = 1.4

#: Notes on an address that are shown; the others are counted.
MOST_NOTES = 8

_CONTROLS = (*layout.SINGLE, *layout.MANY, "view", "map", "drawing")
_DEPENDENT = (
    "tested",
    "stratum",
    "family",
    "probe",
    "quantity",
    "side",
    "contrast",
    *layout.MANY,
    "example",
    "left",
    "right",
    "own_left",
    "own_right",
    "layer",
    "head",
    "row",
    "shading",
)


@dataclass(frozen=True)
class Explored:
    """What the page is about: runs by key, and the model of each."""

    runs: Mapping[str, RunData]
    live: Mapping[str, LiveModel]

    def of(self, state: State) -> tuple[RunData, LiveModel]:
        """The run that a state names, and its model."""
        return self.runs[state.run], self.live[state.run]


def view_of(explored: Explored, state: State, look: Look = LIGHT) -> View:
    """What a resolved state shows. Raises NothingToShow, whose message is for the reader."""
    data, live = explored.of(state)
    if state.view == EFFECTS:
        return effects_view(data, state, look)
    if state.view == ATTENTION:
        return attention_view(data, state, look)
    if state.view == "examples":
        return examples_view(data, state, look)
    return (tokens_view if state.view == "tokens" else own_view)(data, state, live, look)


def register(app: Dash, explored: Explored) -> None:
    """Give the page its behaviour."""
    _register_state(app, explored)
    _register_view(app, explored)
    _register_model(app, explored)
    _register_export(app, explored)


def _register_state(app: Dash, explored: Explored) -> None:
    @app.callback(
        output={
            "fragment": Output("location", "hash"),
            "state": Output("state", "data"),
            "notes": Output("notes", "children"),
            "page": Output("page", "className"),
            "clicks": [Output(name, "clickData") for name in layout.SLOTS],
            "poll": Output("poll", "disabled", allow_duplicate=True),
            "values": {name: Output(name, "value") for name in (*_CONTROLS, *layout.TYPED)},
            "options": {name: Output(name, "options") for name in _DEPENDENT},
        },
        inputs={
            "fragment": Input("location", "hash"),
            "values": {name: Input(name, "value") for name in _CONTROLS},
            "clicks": [Input(name, "clickData") for name in layout.SLOTS],
            "chosen": Input("chosen", "data"),
            "buttons": [Input("measure", "n_clicks"), Input("take", "n_clicks")],
            "model": Input("model", "data"),
            "typed": {name: Held(name, "value") for name in layout.TYPED},
            "held": Held("state", "data"),
        },
        prevent_initial_call="initial_duplicate",
    )
    def synchronise(
        fragment: Any,
        values: dict[str, Any],
        clicks: list[Any],
        chosen: Any,
        buttons: list[Any],
        model: Any,
        typed: dict[str, Any],
        held: Any,
    ) -> dict[str, Any]:
        before, notes = checked(held)
        before, replaced = resolved(before, explored.runs) if held is not None else (before, [])
        notes += replaced
        if held is None or "location.hash" in ctx.triggered_prop_ids:
            asked, notes = from_fragment(fragment or "")
        else:
            asked, wrong = controlled(before, values)
            notes += wrong
            for triggered in ctx.triggered:
                asked, wrong = changed(explored.runs, asked, triggered["prop_id"], triggered["value"], typed)
                notes += wrong
        after, more = resolved(asked, explored.runs)
        if held is not None and after.run != before.run and "location.hash" not in ctx.triggered_prop_ids:
            # What another run does not have is no mistake of the reader's.
            more = []
        explored.live[after.run].start()
        stored = to_store(after)
        same = held == stored
        told = [html.P(note) for note in _few([*notes, *more])]
        data, live = explored.of(after)
        shown = to_store(before) if held is not None else {}
        return {
            "fragment": no_update if to_fragment(after) == fragment else to_fragment(after),
            "state": no_update if same else stored,
            # What was told of an address stays until something else is chosen.
            "notes": no_update if same and not told else told,
            "page": f"view-{after.view} map-{after.map}",
            "clicks": [None for _ in layout.SLOTS],
            "poll": False if held is None or after.run != before.run else no_update,
            "values": {
                name: no_update
                if name in shown and shown[name] == value and values.get(name, value) == value
                else value
                for name, value in stored.items()
                if name in _CONTROLS or name in layout.TYPED
            },
            "options": layout.options_of(data, after, live.layers()),
        }


def _few(notes: Sequence[str]) -> list[str]:
    """The first notes, each once, and how many more there are."""
    different = list(dict.fromkeys(notes))
    more = len(different) - MOST_NOTES
    return [*different[:MOST_NOTES], *([f"And {more:,} more parts mean nothing here."] if more > 0 else [])]


def _register_view(app: Dash, explored: Explored) -> None:
    @app.callback(
        output={
            "heading": Output("heading", "children"),
            "lead": Output("lead", "children"),
            "alert": Output("alert", "children"),
            "quiet": Output("alert", "hidden"),
            "busy": Output("busy", "children"),
            "figures": [Output(name, "figure") for name in layout.SLOTS],
            "styles": [Output(name, "style") for name in layout.SLOTS],
            "hidden": [Output(f"{name}-slot", "hidden") for name in layout.SLOTS],
            "passages": Output("passages", "children"),
            "table": Output("table", "children"),
            "no_numbers": Output("csv-tools", "hidden"),
        },
        inputs={
            "held": Input("state", "data"),
            "model": Input("model", "data"),
            "look": Input("look", "data"),
        },
        prevent_initial_call=True,
    )
    def show(held: Any, model: Any, look: Any) -> dict[str, Any]:
        if held is None or look is None:
            raise PreventUpdate
        # Also where the model alone has changed: an answer that says nothing would take the place of one under way.
        state, _ = resolved(from_store(held), explored.runs)
        data, _ = explored.of(state)
        try:
            view = view_of(explored, state, LOOKS.get(look, LIGHT) if isinstance(look, str) else LIGHT)
        except EXPECTED as error:
            view = View(heading=layout.VIEWS[state.view], lead="", notes=(_message(error),))
            return _shown(data, state, view, failed=True)
        return _shown(data, state, view)


def _shown(data: RunData, state: State, view: View, *, failed: bool = False) -> dict[str, Any]:
    figures = [view.figure, view.second]
    places = {
        "contrast": {name: place for place, name in enumerate(data.contrasts)},
        "example": {name: place for place, name in enumerate(data.examples)},
    }
    told = [html.P(note) for note in view.notes]
    return {
        "heading": view.heading,
        "lead": [view.lead] if failed else [view.lead, *(html.Span(f" {note}") for note in view.notes)],
        "alert": told if failed else [],
        "quiet": not failed,
        "busy": "",
        "figures": [no_update if figure is None else figure for figure in figures],
        "styles": [_style(figure) for figure in figures],
        "hidden": [figure is None for figure in figures],
        "passages": listing.passages_of(view.passages, state.example),
        "table": listing.table_of(view.listing, places),
        "no_numbers": view.frame is None,
    }


def _style(figure: Figure | None) -> Any:
    if figure is None:
        return no_update
    width = figure_width(figure)
    narrow = width <= NARROW_WIDTH
    style = {
        "height": f"{figure_height(figure)}px",
        "minWidth": "0px" if narrow else f"{min(width, NARROWEST)}px",
        "maxWidth": "100%" if narrow else f"{round(width * WIDEST)}px",
    }
    return style | ({"width": f"{figure.layout.width}px"} if figure.layout.width else {})


def _message(error: BaseException) -> str:
    return str(error) if isinstance(error, NothingToShow) else f"{first_line(error)}"


def _register_model(app: Dash, explored: Explored) -> None:
    @app.callback(
        Output("model-words", "children"),
        Output("model", "data"),
        Output("poll", "disabled"),
        # Not called by the state, which it calls: a circle of callbacks would stand still.
        Input("poll", "n_intervals"),
        Held("state", "data"),
        Held("model", "data"),
    )
    def tell(ticks: Any, held: Any, told: Any) -> tuple[Any, Any, Any]:
        if held is None:
            raise PreventUpdate
        state, _ = resolved(from_store(held), explored.runs)
        live = explored.live[state.run]
        now = f"{state.run} {live.state}"
        ended = live.state in ("ready", "absent")
        return live.words, no_update if now == told else now, ended


def _register_export(app: Dash, explored: Explored) -> None:
    buttons = [f"export-{slot}-{kind}" for slot in layout.SLOTS for kind in layout.PICTURES]

    @app.callback(
        Output("download", "data"),
        Output("picture", "data"),
        Output("alert", "children", allow_duplicate=True),
        Output("alert", "hidden", allow_duplicate=True),
        [Input(name, "n_clicks") for name in (*buttons, "export-csv")],
        Held("state", "data"),
        prevent_initial_call=True,
    )
    def export(*values: Any) -> tuple[Any, Any, Any, Any]:
        if not any(values[:-1]) or ctx.triggered_id not in (*buttons, "export-csv"):
            raise PreventUpdate
        state, _ = resolved(from_store(values[-1]), explored.runs)
        name = f"budgetlens-{state.run}-{state.view}"
        try:
            view = view_of(explored, state)
            if ctx.triggered_id == "export-csv":
                if view.frame is None:
                    raise NothingToShow("There are no numbers to save in this view.")
                return dcc.send_string(spreadsheet_csv(view.frame), f"{name}.csv"), no_update, [], True
            _, slot, kind = str(ctx.triggered_id).split("-")
            figure = view.figure if slot == "figure" else view.second
            if figure is None:
                raise NothingToShow("There is no figure to save in this view.")
            try:
                return _file(figure, f"{name}.{kind}"), no_update, [], True
            except NoBrowser:
                # The reader's own browser draws it then.
                order = {
                    "slot": slot,
                    "kind": kind,
                    "name": name,
                    "height": figure_height(figure),
                    "width": figure_width(figure),
                }
                return no_update, order, [], True
        except EXPECTED as error:
            return no_update, no_update, [html.P(_message(error))], False

    app.clientside_callback(
        ClientsideFunction("explorer", "look"), Output("look", "data"), Input("page", "id")
    )
    app.clientside_callback(
        ClientsideFunction("explorer", "savePicture"),
        Output("busy", "title"),
        Input("picture", "data"),
        prevent_initial_call=True,
    )


def _file(figure: Figure, name: str) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        written = write_html(figure, path) if path.suffix == ".html" else write_static(figure, path)
        return dcc.send_file(str(written))


def tell_of(error: Exception) -> None:
    """What the page says of an error that nobody expected; the terminal has the rest."""
    logger.error("an error in the explorer", exc_info=error)
    words = f"Something went wrong in the explorer ({type(error).__name__}). The terminal tells more; please report it."
    set_props("alert", {"children": [html.P(words)], "hidden": False})
