"""The end of a run on a terminal: its question, its answer, the effects that carry it, what to mind, and where more is."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from budgetlens.report.conclusion import answer, clause, in_answers, shift_sentences
from budgetlens.report.findings import short_verdict, size
from budgetlens.report.readable import words_of
from budgetlens.runs.run import Run
from budgetlens.statistics.verdicts import CAUTIONS
from budgetlens.tables.conclusions import Concluded
from budgetlens.tables.digits import counted
from budgetlens.tables.terminal_text import visible

#: Lines that a summary never exceeds, and the widths between which it is laid out.
MOST_LINES, NARROWEST, WIDEST = 25, 60, 100
#: Columns that an effect's words have at least, beside its size and verdict.
NARROWEST_EFFECT = 30
#: What the sizes of effects are, a positive one being a fall.
DIFFERENCE = "baseline − treatment"
#: Models that a sweep's summary shows.
MOST_MODELS = 8


def summary_lines(
    run: Run, concluded: Sequence[Concluded], caveats: int, page: Path | None, width: int = 80
) -> list[str]:
    """At most :data:`MOST_LINES` lines of at most ``width`` columns, but for paths, which are not broken.

    Args:
        run: the finished run.
        concluded: what it concludes; of a sweep one conclusion of each model.
        caveats: how many caveats the report tells.
        page: the report; None where none was written.
        width: columns, brought within 60 and 100.
    """
    width = min(max(width, NARROWEST), WIDEST)
    head = [*_wrapped(run.analysis.question, width), ""]
    end = ["", *_end(run, caveats, page, width)]
    notes = [line for text in _notes(concluded) for line in _wrapped(text, width)]
    care = ["", *notes] if notes else []
    told = [line for text in _answers(concluded) for line in _wrapped(text, width)]
    room = MOST_LINES - len(head) - len(told) - len(care) - len(end) - 1
    rows = list(_rows(concluded, width))
    shifts = list(_shifts(run, concluded, width, room - _least(rows)))
    room -= len(shifts)
    shown: list[str] = []
    for number, row in enumerate(rows):
        more = [f"  … and {counted(len(rows) - number, 'more effect')} in the report"]
        if len(shown) + len(row) + (len(more) if number + 1 < len(rows) else 0) > room:
            shown += more
            break
        shown += row
    return [visible(line) for line in (*head, *told, *([""] if shown else []), *shown, *shifts, *care, *end)]


def _least(rows: Sequence[Sequence[str]]) -> int:
    """Lines of the first row of effects and of the one that counts the others, which nothing else may take."""
    return len(rows[0]) + 1 if rows else 0


def _shifts(run: Run, concluded: Sequence[Concluded], width: int, room: int) -> Iterator[str]:
    """Of one run, the largest shift in attention and what is told beside it, where there is room for both."""
    if len(concluded) != 1 or concluded[0].model or not concluded[0].shifts:
        return
    name, told = shift_sentences(concluded[0], words_of(run))[0]
    lines = ["", *_wrapped(f"{name}: {told}", width)]
    if len(lines) <= room:
        yield from lines


def _wrapped(text: str, width: int) -> list[str]:
    # A count stays together: n = 24.
    lines = textwrap.wrap(text.replace(" = ", "\u00a0=\u00a0"), width, break_on_hyphens=False)
    return [line.replace("\u00a0", " ") for line in lines]


def _answers(concluded: Sequence[Concluded]) -> list[str]:
    """The answer of a run; of a sweep what is said, each time with the models that say it."""
    if not concluded:
        return ["Nothing was compared."]
    if not concluded[0].model:
        return list(filter(None, (answer(concluded[0]), in_answers(concluded[0]))))
    said: dict[str, list[str]] = {}
    for own in concluded:
        said.setdefault(clause(own), []).append(own.model)
    return [f"{words.rstrip('.')} ({_names(models)})." for words, models in said.items()]


def _names(models: Sequence[str]) -> str:
    shown = ", ".join(models[:MOST_MODELS])
    more = len(models) - MOST_MODELS
    return shown if more <= 0 else f"{shown} and {more} more"


def _notes(concluded: Sequence[Concluded]) -> Iterator[str]:
    """Within what small effects lie, and what stands against the intervals and tests that are shown, each once."""
    shown = [finding for own in concluded for told in own.told for finding in (told.finding, *told.beside)]
    bounds = dict.fromkeys(
        (own.quantity.within(own.bound), own.quantity.label)
        for own in shown
        if own.small or own.kind == "none"
    )
    # Of several quantities it is said whose bound each is.
    several = len({own.quantity.label for own in shown}) > 1
    for within, label in bounds:
        of = f" in the {label}" if several else ""
        yield f"{within.capitalize()} a difference{of} is too small to matter."
    codes = dict.fromkeys(code for own in shown for code in own.cautions)
    if codes:
        yield f"Read with care: {'; '.join(CAUTIONS.get(code, code) for code in codes)}."


def _rows(concluded: Sequence[Concluded], width: int) -> Iterator[list[str]]:
    """The lines of each row: the effect, or the model of the deciding one, then its size, then the verdict.

    A heading comes with the first row. Where the columns have no room side by side, the size stands below the effect.
    """
    if concluded and concluded[0].model:
        told = [(own.model, own.told[0].finding) for own in concluded if own.told]
    else:
        told = [(each.label.short, each.finding) for own in concluded for each in own.told]
    if not told:
        return
    sizes = [size(finding) for _, finding in told]
    units = {unit for _, unit in sizes}
    texts = [text if len(units) == 1 else f"{text} {unit}" for text, unit in sizes]
    heading = f"{DIFFERENCE}, {units.pop()}" if len(units) == 1 else DIFFERENCE
    verdicts = [short_verdict(finding) for _, finding in told]
    wide, decided = max(map(len, (heading, *texts))), max(map(len, verdicts))
    room = width - wide - decided - 6
    below = room < NARROWEST_EFFECT
    name = width - 2 if below else min(room, max(len(words) for words, _ in told))
    for number, ((words, _), text, verdict) in enumerate(zip(told, texts, verdicts, strict=True)):
        first, *others = _wrapped(words, name) or [""]
        lines = [] if number else [f"  {'' if below else ' ' * (name + 2)}{heading}"]
        if below:
            lines += [f"  {line}" for line in (first, *others)] + [f"      {text:<{wide}}  {verdict}"]
        else:
            lines += [f"  {first:<{name}}  {text:<{wide}}  {verdict}", *(f"  {line}" for line in others)]
        yield [line.rstrip() for line in lines]


def _end(run: Run, caveats: int, page: Path | None, width: int) -> Iterator[str]:
    if caveats:
        yield f"{counted(caveats, 'more caution')} in the report."
    failed = [one for one in run.swept if one.failure]
    for one in failed[:2]:
        yield from _wrapped(f"{one.name} failed: {one.failure}", width)
    yield (
        f"report:  {page}" if page is not None else f"report:  budgetlens report {shlex.quote(str(run.path))}"
    )
    yield f"tables:  {run.path / 'tables'}"
