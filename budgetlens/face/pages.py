"""HTML for notebooks, from jinja2 templates in which every text is escaped."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from budgetlens.report.page import foreign


@lru_cache(maxsize=1)
def _templates() -> Environment:
    templates = Environment(
        loader=PackageLoader("budgetlens.face"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Text of a corpus, a model or a user: apart, with control characters written out, and escaped already.
    templates.filters["foreign"] = _foreign
    return templates


def _foreign(text: object) -> Any:
    from markupsafe import Markup

    return Markup(foreign(text))


def rendered(template: str, **facts: Any) -> str:
    """A template of this package with its facts; jinja2's UndefinedError where one is missing."""
    return _templates().get_template(template).render(facts)
