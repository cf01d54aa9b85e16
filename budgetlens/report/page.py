"""The report's page: its templates, how text becomes markup, its style and its policy."""

from __future__ import annotations

import html
import re
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from figures.export import packed
from figures.labels import written_out
from figures.theme import DARK, LIGHT, ROLE_COLOURS, mixed

#: The browser itself refuses every request: nothing that a corpus or a model wrote can reach a network.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; "
    "base-uri 'none'; form-action 'none'"
)


def escaped(text: object) -> str:
    """Text as markup that shows exactly this text; control and direction characters are written out."""
    return html.escape(written_out(str(text).replace("\n", "⏎").replace("\t", "⇥")))


def foreign(text: object) -> Markup:
    """Text from a corpus, a model or a user: escaped, and apart, so that its direction turns nothing else.

    Names such as `bare_random_q|prompt=none` may break after `_`, `|` and `+`, and need not break elsewhere.
    """
    breakable = re.sub(r"(?<=\w)([_|+]+)(?=\w)", r"\1<wbr>", escaped(text))
    return Markup(f'<bdi dir="auto">{breakable}</bdi>')


def slug(prefix: str, name: str) -> str:
    """An identifier for an anchor."""
    return f"{prefix}-" + (re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "unnamed")


def render(template: str, **values: Any) -> Markup:
    """One of the templates beside this module, with values; every text in it is escaped as :func:`escaped` does."""
    return Markup(_environment().get_template(template).render(values))


@cache
def _environment() -> Environment:
    found = Environment(
        loader=PackageLoader("budgetlens.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: value if isinstance(value, Markup) else Markup(escaped(value)),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {"packed": packed, "foreign": foreign, "slug": lambda name, prefix: slug(prefix, name)}
    return found


def asset(name: str) -> Markup:
    """A style sheet or script that lies beside this module."""
    return Markup((files("budgetlens.report") / name).read_text(encoding="utf-8"))


def role_styles() -> Markup:
    """A rule per role: underlined in the role's colour, on a tint of it that the page's text is read on."""
    light = "\n".join(_role_rule(role, LIGHT.paper, 0.2) for role in ROLE_COLOURS)
    dark = "\n".join(_role_rule(role, DARK.paper, 0.34) for role in ROLE_COLOURS)
    return Markup(f"{light}\n@media screen and (prefers-color-scheme: dark) {{\n{dark}\n}}\n")


def _role_rule(role: str, paper: str, tint: float) -> str:
    """One role's rule on a page of a colour; ``tint`` is the role's part in its ground, from 0 to 1."""
    ground = mixed(((0.0, paper), (1.0, ROLE_COLOURS[role])), tint)
    channels = ", ".join(str(round(255 * channel)) for channel in ground)
    return f".role-{role} {{ background-color: rgb({channels}); border-color: {ROLE_COLOURS[role]}; }}"
