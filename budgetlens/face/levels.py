"""Levels as people give them from Python: as text, ``prefix=oracle``, or as an instance, ``Hint("It may help")``.

A cell holds text, which run.json keeps and from which the instance is made again. An instance is therefore written as
text here, and the text must give an equal instance back; probes are treated alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any

from budgetlens.design.intervention import Intervention, LevelError, available_interventions
from budgetlens.model.observation import available_probes
from budgetlens.registry.characters import is_broken
from budgetlens.registry.names import RegistryError, lookup, name_of, nearest, printable
from budgetlens.registry.parameters import ParameterError, from_text, split_draw, texts_of


def level_of(given: str | Intervention) -> tuple[str, str]:
    """The factor's name and the level's text of an intervention, given as ``factor=level`` or as an instance.

    A text may end in a draw (``prompt=random-text#2``); an instance is the first draw.

    Raises:
        RegistryError: the factor is no registered intervention, or the instance's class is none, or was defined
            again since.
        LevelError: a text without ``=``, a level that the intervention can't be made from, or an instance that no
            text gives back.

    Examples:
        >>> level_of("hidden=prefix+separator")
        ('hidden', 'prefix+separator')
    """
    given = made_of(given)
    if isinstance(given, Intervention):
        return _level_of_instance(given)
    known = available_interventions()
    if not isinstance(given, str):
        raise LevelError(
            f"an intervention is a text 'factor=level' or an instance of a registered class; got {_told(given)}"
        )
    factor, equals, level = given.partition("=")
    if not equals:
        hint = "" if factor in known else nearest(factor, known)
        raise LevelError(
            f"{given!r} names no level; an intervention is written 'factor=level', for example "
            f"'hidden=prefix+separator'.{hint} Factors: {', '.join(known)}"
        )
    cls = lookup("intervention", factor, known)
    _require_whole(factor, level)
    cls.parse(split_draw(level)[0])
    return factor, level


def probe_text(given: str | Any) -> str:
    """A probe as a run names it, ``entropies`` or ``NAME:PARAMETER=VALUE``, from that text or from an instance.

    Raises RegistryError for an unknown name or class, ParameterError for parameters that the probe does not take, or
    that no text gives back.
    """
    known = available_probes()
    if isinstance(given, str):
        name, _, parameters = given.partition(":")
        from_text(lookup("probe", name, known), parameters)
        return given
    name = _registered_name("probe", given, known)
    for text in texts_of(given):
        if _read_back(from_text, type(given), text) == given:
            return f"{name}:{text}" if text else name
    raise ParameterError(
        f"{given!r} can't be written as text, since no text makes an equal one; give its parameters types that have a "
        "text (str, int, float, bool, Literal), and compare by value"
    )


def made_of(given: Any) -> Any:
    """An instance with its defaults of a class that was given; anything else as it is.

    Raises ParameterError where a parameter has no default.
    """
    return from_text(given, "") if isinstance(given, type) and is_dataclass(given) else given


def own_name(kind: str, given: Any) -> str:
    """The name that the decorator gave the class of an instance, found by that name or not.

    Raises RegistryError for a class, and for an instance of one without the decorator.
    """
    if isinstance(given, type):
        raise RegistryError(f"{given.__name__} is a class; give an instance, {given.__name__}(…), or text")
    try:
        return name_of(given)
    except RegistryError as error:
        raise RegistryError(
            f'{given!r} is of no registered class; write @{kind}("name") above {type(given).__qualname__}'
        ) from error


def _level_of_instance(given: Intervention) -> tuple[str, str]:
    name = _registered_name("intervention", given, available_interventions())
    cls = type(given)
    # A class with a syntax of its own is not written field by field; the levels it tells may still hold this instance.
    told = dict.fromkeys((*cls.known_levels(), *cls.sample_levels, *cls.identity_levels))
    # A level is told by a word, be it the default.
    for text in (*texts_of(given, least=1), *told):
        if split_draw(text)[1] == 0 and _read_back(_parsed, cls, text) == given:
            _require_whole(name, text)
            return name, text
    raise LevelError(
        f"{given!r} can't be written as a level, since no text is known that {cls.__name__}.parse() makes an equal one "
        f"of; give the level as text, '{name}=LEVEL' (levels: {', '.join(told) or 'none are told'})"
    )


def _parsed(cls: type[Intervention], text: str) -> Intervention:
    return cls.parse(text)


def _read_back(read: Any, cls: type, text: str) -> Any:
    """What ``read`` makes of a text that may not be meant for it; None where it refuses."""
    try:
        return read(cls, text)
    except (LevelError, ParameterError):
        return None


def _registered_name(kind: str, given: Any, known: Mapping[str, Any]) -> str:
    """The name of an instance's class; RegistryError where it is not the class that is registered under it."""
    name = own_name(kind, given)
    found = known.get(name)
    if found is type(given):
        return name
    if found is None:
        raise RegistryError(
            f"the {kind} {name!r} ({type(given).__module__}.{type(given).__qualname__}) is not found by its name; bring "
            f"its class into the notebook or script (from {type(given).__module__} import {type(given).__name__}), or "
            f"name its module under the entry-point group budgetlens.{kind}s"
        )
    raise RegistryError(
        f"{given!r} is of another class than the {kind} that is called {name!r} now "
        f"({found.__module__}.{found.__qualname__}): the class was defined again since; make the instance again"
    )


def _require_whole(factor: str, level: str) -> None:
    """Raise LevelError for a level that would end inside a cell's name, or that no file can hold."""
    if "|" in level:
        raise LevelError(
            f"{factor}={printable(level)!r} holds '|', which joins a cell's levels; leave it out"
        )
    if is_broken(level):
        raise LevelError(
            f"{factor}={level!a} holds a broken character (a lone surrogate), which no tokenizer can read and no run keep; "
            "leave it out"
        )


def _told(given: object) -> str:
    return f"the class {given.__name__}" if isinstance(given, type) else repr(given)
