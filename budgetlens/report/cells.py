"""What each cell saw: a strip of roles per cell, told as its difference from the baseline, and the text that was fed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from budgetlens.model.roles import DECODER_ROLES, ENCODER_ROLES, ROLE_LABELS
from budgetlens.report.page import render
from figures.theme import ROLE_COLOURS

#: A longer text is shown once per example; where it comes again, its first characters stand for it.
LONGEST_REPEATED, REPEATED_FIRST = 160, 60
#: Longest run of text that the page shows, and what it keeps of the beginning and the end of a longer one.
LONGEST_SHOWN, SHOWN_FIRST, SHOWN_LAST = 700, 400, 200
#: What a role of a cell is beside the baseline's.
SAME, NEW, OTHER, HIDDEN, SEEN, GONE = "same", "new", "other text", "hidden", "seen again", "left out"


@dataclass(frozen=True)
class Chip:
    """One role of a cell: whether it is there and seen, and what it is beside the baseline's."""

    role: str
    words: str
    there: bool
    hidden: bool
    state: str


@dataclass(frozen=True)
class Strip:
    """One cell: its words, its chips by stack, and what its texts do not show."""

    words: str
    encoder: tuple[Chip, ...]
    decoder: tuple[Chip, ...]
    notes: str


@dataclass(frozen=True)
class Stretch:
    """Text of one role as the page shows it."""

    role: str
    words: str
    text: str
    seen: bool
    coloured: bool


def cells_html(examples: Sequence[Mapping[str, Any]], labels: Mapping[str, str], is_sweep: bool) -> Markup:
    """The diagram of the first example's cells, and every kept example's texts, folded.

    Args:
        examples: the content of RUN/examples.json (:mod:`budgetlens.runs.examples_shown`); may be empty.
        labels: the words of each cell; the design's first cell is the baseline.
        is_sweep: whether the run has no texts of its own.
    """
    first = examples[0].get("cells", []) if examples else []
    return render(
        "cells.html",
        strips=strips(first, labels),
        examples=[(example.get("example", ""), texts(example, labels)) for example in examples],
        is_sweep=is_sweep,
    )


def strips(cells: Sequence[Mapping[str, Any]], labels: Mapping[str, str]) -> list[Strip]:
    """Every cell of one example beside the first; roles that no cell has are left out."""
    found = [{side: _roles(cell.get(side, [])) for side in ("encoder", "decoder")} for cell in cells]
    used = {side: {role for own in found for role in own[side]} for side in ("encoder", "decoder")}
    order = {
        "encoder": [role for role in ENCODER_ROLES if role in used["encoder"]],
        "decoder": [role for role in DECODER_ROLES if role in used["decoder"]],
    }
    told = []
    for number, (cell, own) in enumerate(zip(cells, found, strict=True)):
        sides = {
            side: tuple(_chip(role, own[side], found[0][side], number == 0) for role in order[side])
            for side in order
        }
        # What is hidden the chips tell.
        notes = [str(note) for note in cell.get("notes", []) if "hidden from the decoder" not in str(note)]
        told.append(Strip(_label(cell, labels), sides["encoder"], sides["decoder"], "; ".join(notes)))
    return told


def _roles(runs: Sequence[Sequence[Any]]) -> dict[str, tuple[str, bool]]:
    """The text of each role, and whether any of it is seen."""
    found: dict[str, tuple[str, bool]] = {}
    for text, role, seen in runs:
        before, visible = found.get(str(role), ("", False))
        found[str(role)] = (before + str(text), visible or bool(seen))
    return found


def _chip(
    role: str, own: Mapping[str, tuple[str, bool]], base: Mapping[str, tuple[str, bool]], is_baseline: bool
) -> Chip:
    words = ROLE_LABELS[role].short
    if role not in own:
        return Chip(role, words, False, False, GONE if role in base and not is_baseline else "")
    (text, seen), before = own[role], base.get(role)
    if is_baseline:
        state = ""
    elif before is None:
        state = NEW
    elif seen != before[1]:
        state = SEEN if seen else HIDDEN
    else:
        state = SAME if text == before[0] else OTHER
    return Chip(role, words, True, not seen, state)


def _label(cell: Mapping[str, Any], labels: Mapping[str, str]) -> str:
    name = str(cell.get("cell", ""))
    return labels.get(name, name)


def texts(
    example: Mapping[str, Any], labels: Mapping[str, str]
) -> list[tuple[str, list[tuple[str, list[Stretch]]], str]]:
    """An example's cells: words, runs of text by stack, notes; a long text that stood above is only named."""
    seen: set[str] = set()
    found = []
    for cell in example.get("cells", []):
        notes = "; ".join(str(note) for note in cell.get("notes", []))
        sides = [(side, _stretches(cell.get(side, []), seen)) for side in ("encoder", "decoder")]
        found.append((_label(cell, labels), sides, f"{notes[:1].upper()}{notes[1:]}." if notes else ""))
    return found


def _stretches(runs: Sequence[Sequence[Any]], above: set[str]) -> list[Stretch]:
    shown = []
    for text, role, seen in runs:
        whole = str(text)
        # Cells differ in little: a document that stood above would hide what is different.
        again = len(whole) > LONGEST_REPEATED and whole in above
        above.add(whole)
        words = f"{whole[:REPEATED_FIRST].rpartition(' ')[0] or whole[:20]} … [as above]" if again else whole
        told = str(role) if seen else f"{role}, hidden from the decoder"
        shown.append(Stretch(str(role), told, shortened(words), bool(seen), role in ROLE_COLOURS))
    return shown


def shortened(text: str, longest: int = LONGEST_SHOWN) -> str:
    """The text without its middle where it is longer than so many characters."""
    if len(text) <= longest:
        return text
    left_out = len(text) - SHOWN_FIRST - SHOWN_LAST
    return f"{text[:SHOWN_FIRST]} … [{left_out:,} characters left out] … {text[-SHOWN_LAST:]}"
