"""The mark by which discovery knows what is registered, and what a notebook's class must be before it gets a name."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from budgetlens.registry.discovery import REQUIRED, installed, place, require
from budgetlens.registry.names import MARK, RegistryError

Registered = TypeVar("Registered")

#: Characters that would part a name from its levels, in cells and on the command line, stay out of names.
_NAME = re.compile(r"[A-Za-z][\w.-]*")


def registered(kind: str, name: str) -> Callable[[Registered], Registered]:
    """Mark a class or function as the ``kind`` called ``name``; discovery finds it in its module.

    Raises RegistryError for a name that does not start with a letter or holds more than letters, digits and ``_.-``; and
    for a class of a notebook or script that can't be one of its kind, or takes a name that an installed one has. Those
    of packages are told of when they are found, so that the message names their distribution.
    """
    if not _NAME.fullmatch(name):
        raise RegistryError(
            f"{name!r} is no name of a {kind}; a name starts with a letter and goes on with letters, digits, _ . or -"
        )

    def mark(thing: Registered) -> Registered:
        # Kept on the thing itself, so that a subclass does not inherit the name of its parent.
        setattr(thing, MARK, (kind, name, thing.__qualname__))  # type: ignore[attr-defined]
        if kind in REQUIRED and getattr(thing, "__module__", None) == "__main__":
            # Where it is defined: once it has a name there, every later call would meet it.
            require(kind, name, thing)
            _require_free(kind, name, thing)
        return thing

    return mark


def _require_free(kind: str, name: str, thing: Any) -> None:
    """Raise RegistryError where something else is installed under the name; the script may be that module itself."""
    other = installed(kind, f"budgetlens.{kind}s").get(name)
    if other is None:
        return
    own_file = getattr(sys.modules["__main__"], "__file__", None)
    if own_file is None or own_file != getattr(sys.modules[other.__module__], "__file__", None):
        raise RegistryError(
            f'the {kind} {name!r} is there already ({place(other)}); give {place(thing)} another name: @{kind}("…")'
        )
