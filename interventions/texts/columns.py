"""Texts that the corpus has of an example besides its own: further columns by name, other queries of its document."""

from __future__ import annotations

from budgetlens.design.intervention import Context
from budgetlens.model.trials import Example, ExampleError


def column_text(example: Example, name: str) -> str:
    """The text that an example has in a column.

    Raises ExampleError where there is no such column, or no text in it.
    """
    value = dict(example.columns).get(name)
    if not isinstance(value, str) or not value.strip():
        has = ", ".join(column for column, own in example.columns if isinstance(own, str)) or "none"
        raise ExampleError(
            f"example {example.identifier!r} has no text in a column {name!r}; its columns of texts are {has}",
            f"they have no text in the column {name!r}",
        )
    return value


def sibling_query(example: Example, context: Context) -> str:
    """Another query of the example's document, drawn from those that the corpus has.

    Prefix and prompt take the same one. Raises ExampleError where the corpus has no other.
    """
    others = example.other_queries
    if not others:
        raise ExampleError(
            f"example {example.identifier!r}: no other row of the corpus has its document with another query",
            "their document has no other query in the corpus",
        )
    return others[int(context.generator("sibling query").integers(len(others)))]
