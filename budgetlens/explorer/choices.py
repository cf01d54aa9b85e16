"""What is chosen after a control, a button or a point of a figure was used: one state made of another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from budgetlens.explorer import layout
from budgetlens.explorer.attention_view import site_of
from budgetlens.explorer.data import DECODER, RunData
from budgetlens.explorer.state import (
    ATTENTION,
    EFFECTS,
    HEADS_OF_CONTRAST,
    MEAN,
    SORTS,
    Point,
    Pressed,
    State,
    checked,
    point_of,
    pressed_of,
    to_store,
)
from figures.labels import escaped


def controlled(state: State, values: Mapping[str, Any]) -> tuple[State, list[str]]:
    """The state with the values of the controls, and what is none.

    All of them are read and not only the one that called: a choice made while the answer to the one before is
    under way must not lose that one.
    """
    given = {name: [] if value is None and name in layout.MANY else value for name, value in values.items()}
    given = {name: value for name, value in given.items() if value is not None}
    chosen, notes = checked({**to_store(state), **given})
    changes = {name for name in given if getattr(chosen, name) != getattr(state, name)}
    if "contrast" in changes:
        return replace(chosen, left="", right="", page="1", example=""), notes
    if "probe" in changes:
        # What another probe saw has categories, heads and layers of its own.
        return replace(chosen, quantity="", side="", categories=(), layers=(), heads=()), notes
    if "side" in changes:
        return replace(chosen, categories=(), layers=(), heads=()), notes
    if "tested" in changes:
        return replace(chosen, family="", page="1"), notes
    if "strata" in changes:
        return replace(chosen, stratum="", page="1"), notes
    if "example" in changes:
        return replace(chosen, row=MEAN), notes
    return replace(chosen, page="1") if "stratum" in changes else chosen, notes


def changed(
    runs: Mapping[str, RunData], state: State, prop: str, value: Any, typed: Mapping[str, Any]
) -> tuple[State, list[str]]:
    """The state after something was clicked on, and what of that is nothing."""
    name, _, what = prop.rpartition(".")
    if what == "clickData":
        point = point_of(value)
        return state if point is None else _clicked(runs, state, name, point), []
    if name in ("measure", "take"):
        return _own_texts(runs, state, name, typed) if value else (state, [])
    pressed = pressed_of(value) if name == "chosen" else None
    return state if pressed is None else _pressed(runs, state, pressed), []


def _pressed(runs: Mapping[str, RunData], state: State, pressed: Pressed) -> State:
    """The state after a button in a table was pressed; the same where the table has no such button."""
    data = runs[state.run]
    if pressed.what == "page":
        return replace(state, page=str(pressed.place))
    places = {"contrast": list(data.contrasts), "example": data.examples, "sort": SORTS}[pressed.what]
    if pressed.place >= len(places):
        return state
    column = places[pressed.place]
    if pressed.what == "contrast":
        return _with_contrast(data, state, column)
    if pressed.what == "example":
        return replace(state, example=column, view="tokens", row=MEAN)
    if column == state.sort or (column == "difference" and state.sort == "size"):
        # The difference goes round: by size, then largest first, then smallest first.
        if column == "difference":
            follows = {("size", "down"): ("difference", "down"), ("difference", "down"): ("difference", "up")}
            sort, order = follows.get((state.sort, state.order), ("size", "down"))
            return replace(state, sort=sort, order=order, page="1")
        return replace(state, order="up" if state.order == "down" else "down", page="1")
    order = "up" if column in ("example", "query", "answer") else "down"
    return replace(state, sort="size" if column == "difference" else column, order=order, page="1")


def _with_contrast(data: RunData, state: State, contrast: str) -> State:
    """The contrast by its examples, or head by head where what attention does is followed."""
    if data.tested[state.tested].axis:
        return replace(
            state, contrast=contrast, view=ATTENTION, probe=state.tested, quantity="", map=HEADS_OF_CONTRAST
        )
    return replace(
        state, contrast=contrast, view="examples", left="", right="", example="", page="1", row=MEAN
    )


def _clicked(runs: Mapping[str, RunData], state: State, slot: str, point: Point) -> State:
    """The state after a point of a figure was chosen."""
    data = runs[state.run]
    if state.view == EFFECTS:
        names = {escaped(name): name for name in data.contrasts}
        name = next((names[text] for text in point.texts if text in names), None)
        return state if name is None else _with_contrast(data, state, name)
    if state.view == "examples":
        examples = {escaped(name): name for name in data.examples}
        shown = next(iter(point.texts), "")
        return (
            replace(state, example=examples[shown], view="tokens", row=MEAN) if shown in examples else state
        )
    if point.y is None:
        return state
    if state.view == ATTENTION:
        site = None if point.x is None else site_of(data, state, point.x, point.y)
        if site is None or state.side != DECODER:
            # Tokens are shown of the decoder's rows alone.
            return state
        layer, head = site
        return replace(state, layer=layer, head=MEAN if head is None else head, view="tokens")
    # The matrix has its answer rows at whole numbers, the text its lines between them.
    if slot == "second" and point.whole:
        return replace(state, row=MEAN if state.row == str(point.y) else str(point.y))
    return state


def _own_texts(
    runs: Mapping[str, RunData], state: State, button: str, typed: Mapping[str, Any]
) -> tuple[State, list[str]]:
    if button == "measure":
        given = {name: value or "" for name, value in typed.items()}
        after, notes = checked({**to_store(state), **given})
        if bool(after.prefix) != bool(state.prefix):
            after = replace(after, own_left="", own_right="")
        return after, notes
    found = runs[state.run].texts.get(state.example)
    if found is None:
        return state, []
    return replace(state, query=found.query, document=found.document, answer=found.answer), []
