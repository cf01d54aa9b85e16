"""The report's page: markup helpers, its style and script, and the frame around its sections."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from figures.labels import written_out
from figures.theme import DARK, LIGHT, ROLE_COLOURS, mixed

#: The browser itself refuses every request: nothing that a corpus or a model wrote can reach a network.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; "
    "base-uri 'none'; form-action 'none'"
)


@dataclass(frozen=True)
class Section:
    """A part of the report: its anchor, its heading, its content (markup), and sub-headings for the contents."""

    anchor: str
    title: str
    content: str
    parts: tuple[tuple[str, str], ...] = ()
    """Anchor and title of each sub-section."""


def escaped(text: object) -> str:
    """Text as markup that shows exactly this text; control and direction characters are written out."""
    return html.escape(written_out(str(text).replace("\n", "⏎").replace("\t", "⇥")))


def foreign(text: object) -> str:
    """Text from a corpus, a model or a user: escaped, and apart, so that its direction turns nothing else.

    Names such as `bare_random_q|prompt=none` may break after `_`, `|` and `+`, and need not break elsewhere.
    """
    breakable = re.sub(r"(?<=\w)([_|+]+)(?=\w)", r"\1<wbr>", escaped(text))
    return f'<bdi dir="auto">{breakable}</bdi>'


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of plain text."""
    return f'<p class="{kind}">{escaped(text)}</p>' if kind else f"<p>{escaped(text)}</p>"


def slug(prefix: str, name: str) -> str:
    """An identifier for an anchor."""
    return f"{prefix}-" + (re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "unnamed")


def heading(level: int, anchor: str, title: str) -> str:
    """A heading that carries the anchor, and a link to itself for copying."""
    link = (
        f'<a class="anchor" href="#{anchor}" aria-label="Link to this section: {escaped(title)}">'
        '<span aria-hidden="true">#</span></a>'
    )
    return f'<h{level} id="{anchor}" tabindex="-1">{escaped(title)} {link}</h{level}>'


def scroller(content: str, label: str) -> str:
    """Content that may be wider than the page: it scrolls by itself, by keys as well."""
    return f'<div class="scroll" role="region" tabindex="0" aria-label="{escaped(label)}">{content}</div>'


def page(title: str, lead: str, sections: Sequence[Section]) -> str:
    """The whole page.

    Args:
        title: plain text, for the tab.
        lead: markup of the header.
        sections: in reading order; the contents list is made from them.
    """
    contents = "".join(_entry(section) for section in sections)
    bodies = "\n".join(
        f'<section aria-labelledby="{section.anchor}">{heading(2, section.anchor, section.title)}\n'
        f"{section.content}</section>"
        for section in sections
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{html.escape(POLICY)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escaped(title)}</title>\n<style>\n{asset('report.css')}\n{role_styles()}</style>\n</head>\n"
        '<body>\n<a class="skip" href="#summary">Skip to the summary</a>\n'
        f"<header>{lead}</header>\n"
        f'<nav aria-label="Contents"><ol>{contents}</ol></nav>\n'
        f"<main>\n{bodies}\n</main>\n"
        "<footer><p>Written by budgetlens. This page holds everything it shows and asks no network.</p>"
        f"</footer>\n<script>\n{asset('report.js')}\n</script>\n</body>\n</html>\n"
    )


def _entry(section: Section) -> str:
    parts = "".join(f'<li><a href="#{anchor}">{escaped(title)}</a></li>' for anchor, title in section.parts)
    inner = f"<ol>{parts}</ol>" if parts else ""
    return f'<li><a href="#{section.anchor}">{escaped(section.title)}</a>{inner}</li>'


def asset(name: str) -> str:
    """A style sheet or script that lies beside this module."""
    return (files("budgetlens.report") / name).read_text(encoding="utf-8")


def role_styles() -> str:
    """A rule per role: underlined in the role's colour, on a tint of it that the page's text is read on."""
    light = "\n".join(_role_rule(role, LIGHT.paper, 0.2) for role in ROLE_COLOURS)
    dark = "\n".join(_role_rule(role, DARK.paper, 0.34) for role in ROLE_COLOURS)
    return f"{light}\n@media screen and (prefers-color-scheme: dark) {{\n{dark}\n}}\n"


def _role_rule(role: str, paper: str, tint: float) -> str:
    """One role's rule on a page of a colour; ``tint`` is the role's part in its ground, from 0 to 1."""
    ground = mixed(((0.0, paper), (1.0, ROLE_COLOURS[role])), tint)
    channels = ", ".join(str(round(255 * channel)) for channel in ground)
    return f".role-{role} {{ background: rgb({channels}); border-bottom-color: {ROLE_COLOURS[role]}; }}"
