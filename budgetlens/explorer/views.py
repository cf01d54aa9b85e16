"""What a view consists of, and the small tables in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from plotly.graph_objects import Figure

from figures.looks import LOOKS, Look

LIGHT: Look = LOOKS["light"]


class NothingToShow(ValueError):
    """A view that can't be shown; the message says why and what to do."""


@dataclass(frozen=True)
class Link:
    """A button in a table: ``what`` is chosen (`contrast`, `example`), to ``value``."""

    what: str
    value: str
    text: str


@dataclass(frozen=True)
class Listing:
    """A table to read on the page.

    ``columns`` are headings; a row holds text or :class:`Link` entries, one per column. ``numbers`` are the
    places of columns set as numbers. ``sorts`` names, per column, what it sorts by ("" for nothing); ``sort`` and
    ``order`` say what it is sorted by now. ``pages`` and ``page`` count from 1.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | Link, ...], ...]
    numbers: frozenset[int] = frozenset()
    sorts: tuple[str, ...] = ()
    sort: str = ""
    order: str = "down"
    page: int = 1
    pages: int = 1


@dataclass(frozen=True)
class Passage:
    """A named text of an example."""

    name: str
    text: str


@dataclass(frozen=True)
class View:
    """Everything that one view shows. ``frame`` holds the numbers drawn, for the CSV.

    ``wide`` figures have a width of their own and scroll; ``second`` is drawn below ``figure``.
    """

    heading: str
    lead: str
    figure: Figure | None = None
    second: Figure | None = None
    listing: Listing | None = None
    frame: pd.DataFrame | None = None
    passages: tuple[Passage, ...] = ()
    notes: tuple[str, ...] = ()


def joined(words: Sequence[str]) -> str:
    """Words in a sentence: ``a, b and c``."""
    words = list(words)
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else "none"
