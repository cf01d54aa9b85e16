"""Tables and passages on the page. Their texts come from a corpus and are always shown as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dash import html
from dash.development.base_component import Component

from budgetlens.explorer.views import Link, Listing, Passage


def attributes(named: Mapping[str, str]) -> dict[str, Any]:
    """Attributes whose names are no Python names, for an element of Dash."""
    return dict(named)


def spoken(label: str) -> dict[str, Any]:
    """What a screen reader calls an element."""
    return {"aria-label": label}


def table_of(listing: Listing | None, places: Mapping[str, Mapping[str, int]]) -> list[Component]:
    """A listing as a table with buttons. ``places`` numbers what a button can choose, by kind."""
    if listing is None:
        return []
    parts: list[Component] = [
        html.Div(
            className="scroll",
            tabIndex=0,
            role="region",
            **spoken("Table"),
            children=html.Table(
                [
                    html.Caption(listing.caption),
                    html.Thead(html.Tr(_headings(listing))),
                    _body(listing, places),
                ]
            ),
        )
    ]
    if listing.pages > 1:
        parts.append(_pager(listing))
    return parts


def _choice(what: str, place: int) -> dict[str, Any]:
    """What makes a button choose something: `assets/explorer.js` hands it to the store ``chosen``."""
    return {"data-choose": what, "data-place": str(place)}


def _headings(listing: Listing) -> list[Component]:
    headings: list[Component] = []
    for place, column in enumerate(listing.columns):
        kind = "number" if place in listing.numbers else ""
        if not listing.sorts:
            headings.append(html.Th(column, scope="col", className=kind))
            continue
        sorted_by = listing.sorts[place] == listing.sort
        direction = {"up": "ascending", "down": "descending"}[listing.order] if sorted_by else "none"
        mark = {"ascending": " ▲", "descending": " ▼", "none": ""}[direction]
        by_size = " (by size)" if sorted_by and listing.sort == "size" else ""
        headings.append(
            html.Th(
                html.Button(f"{column}{by_size}{mark}", type="button", **_choice("sort", place)),
                scope="col",
                className=kind,
                **attributes({"aria-sort": direction}),
            )
        )
    return headings


def _body(listing: Listing, places: Mapping[str, Mapping[str, int]]) -> Component:
    rows = []
    for number, row in enumerate(listing.rows):
        entries = []
        for place, entry in enumerate(row):
            content: Component | str = entry if isinstance(entry, str) else _button(entry, places)
            kind = "number" if place in listing.numbers else "text"
            entries.append(
                html.Th(content, scope="row") if place == 0 else html.Td(content, className=kind, dir="auto")
            )
        rows.append(html.Tr(entries, key=str(number)))
    return html.Tbody(rows)


def _button(link: Link, places: Mapping[str, Mapping[str, int]]) -> Component:
    return html.Button(
        link.text,
        type="button",
        className="link",
        **_choice(link.what, places[link.what][link.value]),
    )


def _pager(listing: Listing) -> Component:
    def step(words: str, page: int) -> Component:
        return html.Button(
            words, type="button", disabled=not 1 <= page <= listing.pages, **_choice("page", page)
        )

    return html.Div(
        className="tools",
        children=[
            step("Previous", listing.page - 1),
            html.Span(f"page {listing.page} of {listing.pages}"),
            step("Next", listing.page + 1),
        ],
    )


def passages_of(passages: Sequence[Passage], example: str) -> list[Component]:
    """The texts of an example, as they are."""
    if not passages:
        return []
    entries: list[Component] = []
    for passage in passages:
        entries += [html.Dt(passage.name), html.Dd(passage.text, dir="auto")]
    return [html.H3(f"Example {example if len(example) <= 60 else example[:59] + '…'}"), html.Dl(entries)]
