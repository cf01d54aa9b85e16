"""Figures of a run for a paper: the drawings of its report and its plotly figures, at the width of a column or a page."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
from markupsafe import Markup

from budgetlens.report.card import card_rows, foot_of
from budgetlens.report.drawing import draw_figures
from budgetlens.report.evidence import evidence_of
from budgetlens.report.intervals import interval_pictures
from budgetlens.report.readable import words_of
from budgetlens.report.saving import with_cautions
from budgetlens.runs.run import Run
from budgetlens.tables.complete import tables_of
from budgetlens.tables.conclusions import conclusions_of
from figures.export import NoBrowser, write_whole
from figures.paper import WIDTHS, paper_svg, printed, sized

#: The drawing that is as wide as a column, and the one that is as wide as a page.
LOOKS = {"3.25in": "narrow", "6.75in": "middle"}


@dataclass(frozen=True)
class Printed:
    """What was written, and in one sentence each what was not."""

    written: tuple[Path, ...]
    missing: tuple[str, ...]


def paper_figures(run: Run, names: Sequence[str], width: str, formats: Sequence[str]) -> Printed:
    """Write figures of a run as ``RUN/figures/paper/NAME-WIDTH.FORMAT``.

    Args:
        run: a finished run.
        names: which; all by default. *answer* and *attention* are drawings that need no browser as svg.
        width: one of :data:`figures.paper.WIDTHS`.
        formats: svg, pdf, png.

    Raises:
        ValueError: a figure that the run does not have.
    """
    run = with_cautions(run)
    frames, _ = tables_of(run)
    drawings = dict(_drawings(run, frames, width))
    for name, figure in draw_figures(run, frames).items():
        drawings.setdefault(name, partial(paper_svg, figure, WIDTHS[width]))
    unknown = [name for name in names if name not in drawings]
    if unknown:
        raise ValueError(f"this run has no figure {unknown[0]}; it has {', '.join(drawings)}")
    written: list[Path] = []
    missing: dict[str, list[str]] = {}
    for name in names or drawings:
        for kind in formats:
            try:
                svg = drawings[name]()
                content = svg.encode("utf-8") if kind == "svg" else printed(svg, kind)
            except NoBrowser as error:
                missing.setdefault(str(error), []).append(f"{name} as {kind}")
                continue
            written.append(run.directory.folder("figures") / "paper" / f"{name}-{width}.{kind}")
            write_whole(written[-1], content)
    return Printed(
        tuple(written),
        tuple(f"not written: {', '.join(which)}, since {why}" for why, which in missing.items()),
    )


def _drawings(
    run: Run, frames: Mapping[str, pd.DataFrame], width: str
) -> Iterator[tuple[str, Callable[[], str]]]:
    """The drawings of the page by name: the answer, and what stands behind it."""
    words, concluded = words_of(run), conclusions_of(run, frames)
    rows = card_rows(concluded)
    looks = {"answer": interval_pictures(rows, run.manifest.question, foot_of(run.manifest))} if rows else {}
    for picture in evidence_of(run, concluded, frames, words).pictures:
        looks[picture.name] = picture.looks
    for name, own in looks.items():
        look = next(one for one in own if f'class="drawn {LOOKS[width]}"' in one)
        yield name, partial(_alone, look, WIDTHS[width])


def _alone(look: Markup, inches: float) -> str:
    """A drawing out of its page: without the title that its copies have, which a caption says."""
    return sized(re.sub(r'<g class="copied">.*?</g>', "", str(look), flags=re.DOTALL).strip(), inches)
