"""Reading levels: whole numbers, names and roles in a level's text, with errors that say what is expected."""

from __future__ import annotations

from collections.abc import Iterable

from budgetlens.design.intervention import LevelError
from budgetlens.registry.names import nearest


def whole_number(text: str, what: str, *, least: int) -> int:
    """``text`` as a whole number of at least ``least``; LevelError names ``what`` and the text otherwise."""
    try:
        number = int(text)
    except ValueError as error:
        raise LevelError(f"{what} is a whole number of at least {least}; got {text!r}") from error
    return at_least(number, what, least=least)


def at_least(number: int, what: str, *, least: int) -> int:
    """``number`` where it is a whole number of at least ``least``; LevelError otherwise."""
    if isinstance(number, bool) or not isinstance(number, int) or number < least:
        raise LevelError(f"{what} is a whole number of at least {least}; got {number!r}")
    return number


def known_name(name: str, what: str, known: Iterable[str]) -> str:
    """``name`` where it is known; LevelError with the nearest known name and all of them otherwise."""
    names = list(known)
    if name not in names:
        raise LevelError(f"no {what} is called {name!r}.{nearest(name, names)} Known: {', '.join(names)}")
    return name


def role_set(text: str, known: tuple[str, ...]) -> frozenset[str]:
    """Roles joined by ``+``; ``none`` and the empty text are no role.

    Raises LevelError that names the unknown roles, the nearest known one and all known ones.
    """
    if text in ("", "none"):
        return frozenset()
    roles = [part.strip() for part in text.split("+")]
    unknown = sorted(set(roles) - set(known))
    if unknown:
        raise LevelError(
            f"unknown role(s) {unknown} in {text!r}.{nearest(unknown[0], known)} Known: {', '.join(known)}, "
            "joined by '+', or 'none'"
        )
    return frozenset(roles)
