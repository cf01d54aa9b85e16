"""What each cell saw: the text that was fed, coloured by role, hidden positions struck through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from budgetlens.report.page import Section, escaped, foreign, paragraph
from budgetlens.runs.manifest import Manifest
from figures.theme import ROLE_COLOURS

#: A longer text is shown once per example; where it comes again, its first characters stand for it.
LONGEST_REPEATED, REPEATED_FIRST = 160, 60

#: Longest run of text that the page shows, and what it keeps of the beginning and the end of a longer one.
LONGEST_SHOWN, SHOWN_FIRST, SHOWN_LAST = 700, 400, 200


def examples_section(manifest: Manifest, examples: Sequence[Mapping[str, Any]]) -> Section:
    """One example in every cell, further examples folded.

    Args:
        manifest: what run.json says, for the cells' short names.
        examples: the content of RUN/examples.json (:mod:`budgetlens.runs.examples_shown`); may be empty.
    """
    if not examples:
        content = paragraph(
            "The report of each model's own run shows the texts as its tokenizer cuts them."
            if manifest.is_sweep
            else "This run keeps no texts. `budgetlens show` prints what every cell feeds the model, and the table "
            "of what was fed counts its positions by role."
        )
        return Section("fed", "What each cell saw", content)
    aliases = {cell.name: cell.alias for cell in manifest.cells}
    lead = paragraph(
        "Text as it was fed, by position: the encoder reads a prefix and the document, the decoder a prompt "
        "and the answer. What is struck through was encoded and is hidden from the decoder. ⏎ is a line break."
    )
    first, *others = examples
    blocks = [lead, legend(), one_example(first, aliases)]
    blocks += [
        f"<details><summary>Example {foreign(example.get('example', ''))}</summary>"
        f"{one_example(example, aliases)}</details>"
        for example in others
    ]
    blocks.append(paragraph("The texts belong to the corpus; its terms hold for this page as well.", "muted"))
    return Section("fed", "What each cell saw", "\n".join(blocks))


def legend() -> str:
    """The roles in their colours."""
    items = "".join(f'<li><span class="run role-{role}">{role}</span></li>' for role in ROLE_COLOURS)
    return (
        f'<ul class="legend" aria-label="Roles">{items}'
        '<li><s class="unseen">hidden from the decoder</s></li></ul>'
    )


def one_example(example: Mapping[str, Any], aliases: Mapping[str, str]) -> str:
    """An example's cells, one below the other."""
    seen: set[str] = set()
    cells = [one_cell(cell, aliases, seen) for cell in example.get("cells", [])]
    return f'<p class="muted">Example {foreign(example.get("example", ""))}</p>\n' + "\n".join(cells)


def one_cell(cell: Mapping[str, Any], aliases: Mapping[str, str], seen: set[str]) -> str:
    """What one cell fed the encoder and the decoder; long texts in ``seen``, shown above, are only named."""
    name = str(cell.get("cell", ""))
    alias = aliases.get(name, "")
    title = f"{foreign(alias)} <small>{foreign(name)}</small>" if alias else foreign(name)
    notes = "; ".join(str(note) for note in cell.get("notes", []))
    return (
        f'<div class="fed"><h3 class="cell">{title}</h3><dl>'
        f"<dt>encoder</dt><dd>{runs(cell.get('encoder', []), seen)}</dd>"
        f"<dt>decoder</dt><dd>{runs(cell.get('decoder', []), seen)}</dd></dl>"
        + (paragraph(f"{notes[:1].upper()}{notes[1:]}.", "muted") if notes else "")
        + "</div>"
    )


def runs(found: Sequence[Sequence[Any]], seen: set[str]) -> str:
    """Runs of text, each in the colour of its role; the role is on hover and read out."""
    shown = []
    for text, role, visible in found:
        whole = str(text)
        # Cells differ in little: a document that stood above would hide what is different.
        again = len(whole) > LONGEST_REPEATED and whole in seen
        seen.add(whole)
        words = f"{whole[:REPEATED_FIRST].rpartition(' ')[0] or whole[:20]} … [as above]" if again else whole
        shown.append(one_run(words, str(role), bool(visible)))
    return " ".join(shown) or "–"


def one_run(text: str, role: str, visible: bool) -> str:
    """One run; a role that is not known has no colour."""
    kind = f" role-{role}" if role in ROLE_COLOURS else ""
    words = f"{role}, hidden from the decoder" if not visible else role
    shown = foreign(shortened(text)) if visible else f'<s class="unseen">{foreign(shortened(text))}</s>'
    return (
        f'<span class="run{kind}" title="{escaped(words)}">'
        f'<span class="visually-hidden">{escaped(words)}: </span>{shown}</span>'
    )


def shortened(text: str) -> str:
    """The text without its middle where it is long."""
    if len(text) <= LONGEST_SHOWN:
        return text
    left_out = len(text) - SHOWN_FIRST - SHOWN_LAST
    return f"{text[:SHOWN_FIRST]} … [{left_out:,} characters left out] … {text[-SHOWN_LAST:]}"
