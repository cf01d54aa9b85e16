"""A figure in words: for readers who do not see it."""

from __future__ import annotations

from collections.abc import Iterable

import plotly.graph_objects as go

from figures.labels import visible_text


def described(figure: go.Figure) -> str:
    """What a figure shows, in plain sentences: title, subtitle, panels, axes with units, series and notes.

    The numbers themselves are in the table that was drawn. The text is not escaped.
    """
    layout = figure.layout
    sentences = [plain(layout.title.text), plain(layout.title.subtitle.text)]
    panels = len({(getattr(trace, "xaxis", None) or "x") for trace in figure.data})
    along = ", ".join(distinct(axis.title.text for axis in figure.select_xaxes()))
    up = ", ".join(distinct(axis.title.text for axis in figure.select_yaxes()))
    axes = [f"across: {along}" if along else "", f"up: {up}" if up else ""]
    words = "; ".join(word for word in axes if word)
    count = f"{panels} panels" if panels > 1 else ""
    sentences.append(". ".join(part for part in (count, words[:1].upper() + words[1:]) if part))
    series = distinct(trace.name for trace in figure.data if trace.showlegend is not False and trace.name)
    sentences.append(f"Series: {', '.join(series)}" if series else "")
    sentences += [plain(note.text) for note in layout.annotations if note.name == "notes"]
    return " ".join(f"{sentence.rstrip('.')}." for sentence in sentences if sentence)


def plain(text: str | None) -> str:
    """A label's text on one line."""
    return " ".join(visible_text(text or "").split())


def distinct(texts: Iterable[str | None]) -> list[str]:
    """Labels without repetition and without empty ones, in order of appearance."""
    return [text for text in dict.fromkeys(plain(text) for text in texts) if text]
