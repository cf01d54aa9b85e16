"""Texts of the corpus's further columns, by name."""

from __future__ import annotations

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
