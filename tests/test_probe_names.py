"""No module knows a probe by name, but for the probes, what asks for them, and what tests and describes them.

Everything that a reader sees of a probe follows from its declaration; a name in the engine would be a favourite.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from budgetlens.model.observation import available_probes
from tests.test_structure import modules

#: Who may name a probe: the probes themselves, and analyses, which ask for some and make tables of them.
ASKING = ("probes", "analyses")
#: What a person writes in Python has a word for one of them: a reading's `budgets`, and the column `logit` of its tokens,
#: which is the model's own output and no probe's; and `keep=norm:20%` is a level that says by what positions are chosen.
WORDED = ("budgetlens.face.reading", "budgetlens.face.top_tokens", "budgetlens.model.keeping")
#: Stands apart; nothing imports it.
APART = "budgetlens.reference"


def looked_at() -> dict[str, Path]:
    return {
        name: path
        for name, path in modules().items()
        if name.partition(".")[0] not in ASKING
        and name not in WORDED
        and not f"{name}.".startswith(f"{APART}.")
    }


def constants(source: str) -> Iterator[str]:
    """Every text in a module's code, parts of f-strings and docstrings among them, without underscores at its ends.

    Those at the ends join a probe's name to another word, as in the name of a table.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value.strip("_")


def test_there_is_something_to_look_for() -> None:
    assert {"likelihood", "budgets", "entropies", "published_entropies", "renormalised"} <= set(
        available_probes()
    )
    assert len(looked_at()) > 100
    found = list(constants('TABLE = f"budgets_{stack}"\nif kind == "likelihood":\n    pass'))
    assert set(found) & set(available_probes()) == {"budgets", "likelihood"}


@pytest.mark.parametrize("module", list(looked_at()))
def test_no_probe_is_known_by_name(module: str) -> None:
    source = looked_at()[module].read_text(encoding="utf-8")
    assert sorted(set(constants(source)) & set(available_probes())) == []
