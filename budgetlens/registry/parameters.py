"""Parameters written as text: the fields of a frozen dataclass, from ``10:0.5`` or ``k=10:scale=0.5``."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from budgetlens.registry.names import nearest

Made = TypeVar("Made")

#: Values are parted by colons; a colon of the value itself is written ``\:``.
_COLON = re.compile(r"(?<!\\):")
_NAMED = re.compile(r"(?P<name>[A-Za-z_]\w*)=(?P<value>.*)", re.DOTALL)
_TRUE, _FALSE = ("true", "yes", "1"), ("false", "no", "0")


class ParameterError(ValueError):
    """Text that holds an unknown parameter, too many, or a value of another type."""


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One field: its name, its type in words, and its default in words (empty where it needs a value)."""

    name: str
    kind: str
    default: str

    def __str__(self) -> str:
        return f"{self.name}: {self.kind}" + (f" = {self.default}" if self.default else "")


def parameters_of(cls: type) -> tuple[Parameter, ...]:
    """The fields of a dataclass that are given when one is made, in their order."""
    hints = get_type_hints(cls)
    return tuple(
        Parameter(field.name, _type_words(hints[field.name]), _default_words(field))
        for field in dataclasses.fields(cls)
        if field.init
    )


def from_text(cls: type[Made], text: str) -> Made:
    """An instance of a dataclass from its fields' values in order, joined by ``:``, or by name, or both.

    A value that reads ``word=…`` is one by name; a text that reads so itself is given by name as well
    (``text=a=b``). ``\\:`` is a colon of the value. Types are str, int, float, bool, ``Literal`` and any of these
    ``| None`` (written ``none``). Empty text takes the defaults.

    Raises:
        ParameterError: an unknown name (with the nearest known one), a value too many, too few, given twice or
            of another type; the message names the class and what was expected.
    """
    fields = [
        field
        for field in dataclasses.fields(cls)  # type: ignore[arg-type]
        if field.init
    ]
    hints = get_type_hints(cls)
    names = [field.name for field in fields]
    given: dict[str, Any] = {}
    by_name = False
    for position, part in enumerate(_COLON.split(text) if text else []):
        value = part.replace(r"\:", ":")
        match = _NAMED.fullmatch(value)
        if match:
            by_name, name, value = True, match["name"], match["value"]
            if name not in names:
                raise ParameterError(
                    f"{cls.__name__} has no parameter {name!r}.{nearest(name, names)} It takes {_signature(cls)}"
                )
        elif by_name:
            raise ParameterError(
                f"{cls.__name__}: {value!r} comes after a value by name; give the others by name too "
                f"({_signature(cls)})"
            )
        elif position >= len(names):
            raise ParameterError(
                f"{cls.__name__} takes at most {len(names)} value(s) ({', '.join(names) or 'none'}); got {text!r}"
            )
        else:
            name = names[position]
        if name in given:
            raise ParameterError(f"{cls.__name__}.{name} is given twice in {text!r}")
        given[name] = _converted(cls, name, hints[name], value)
    missing = [field.name for field in fields if _needs_value(field) and field.name not in given]
    if missing:
        raise ParameterError(f"{cls.__name__} needs a value for {', '.join(missing)}; got {text!r}")
    return cls(**given)


def texts_of(instance: Any, least: int = 0) -> tuple[str, ...]:
    """Texts that :func:`from_text` should make an equal instance of, the one that reads best first.

    Values in order up to the last that is no default, at least the first ``least``, and those by name. Whether a text
    does give the instance back is for the caller to try: a field may be of a type that has no text.
    """
    fields = [field for field in dataclasses.fields(instance) if field.init]
    values = [(field.name, getattr(instance, field.name)) for field in fields]
    changed = [
        place
        for place, field in enumerate(fields)
        if _needs_value(field) or values[place][1] != _default_of(field)
    ]
    in_order = ":".join(
        _value_text(value) for _, value in values[: max([least, *(place + 1 for place in changed)])]
    )
    by_name = ":".join(f"{values[place][0]}={_value_text(values[place][1])}" for place in changed)
    return tuple(dict.fromkeys((in_order, by_name)))


def _value_text(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    return str(value).replace(":", r"\:")


def _default_of(field: dataclasses.Field[Any]) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _signature(cls: type) -> str:
    return ", ".join(map(str, parameters_of(cls))) or "no parameters"


def _needs_value(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _default_words(field: dataclasses.Field[Any]) -> str:
    if field.default is not dataclasses.MISSING:
        return repr(field.default)
    return "" if field.default_factory is dataclasses.MISSING else repr(field.default_factory())


def _type_words(hint: Any) -> str:
    if get_origin(hint) in (Union, UnionType):
        return " | ".join(_type_words(part) for part in get_args(hint))
    if hint is NoneType:
        return "none"
    if get_origin(hint) is Literal:
        return " | ".join(map(repr, get_args(hint)))
    return (
        hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint).replace("typing.", "")
    )


def _converted(cls: type, name: str, hint: Any, value: str) -> Any:
    if get_origin(hint) in (Union, UnionType):
        parts = [part for part in get_args(hint) if part is not NoneType]
        if NoneType in get_args(hint) and value == "none":
            return None
        if len(parts) == 1:
            return _converted(cls, name, parts[0], value)
    if get_origin(hint) is Literal:
        known = {str(choice): choice for choice in get_args(hint)}
        if value in known:
            return known[value]
        raise ParameterError(
            f"{cls.__name__}.{name} is one of {', '.join(known)}; got {value!r}.{nearest(value, known)}"
        )
    if hint is bool and value.lower() in (*_TRUE, *_FALSE):
        return value.lower() in _TRUE
    if hint in _READERS:
        try:
            return _READERS[hint](value)
        except ValueError as error:
            raise ParameterError(
                f"{cls.__name__}.{name} must be {_type_words(hint)}; got {value!r}"
            ) from error
    raise ParameterError(
        f"{cls.__name__} must define parse(), since its field {name} is a {_type_words(hint)}"
    )


def _no_bool(value: str) -> bool:
    raise ValueError(value)


_READERS: Mapping[Any, Any] = {str: str, int: int, float: float, bool: _no_bool}


#: Digits that fit 64 bits.
MOST_DIGITS = 18
#: A level's end that numbers its draw: ``random-text#2``.
_DRAW = re.compile(r"^(?P<level>.*)#(?P<draw>[1-9][0-9]*)$", re.DOTALL)


def split_draw(level: str) -> tuple[str, int]:
    """The level without its draw, and the draw; 0 where none is named.

    Draws of a level are the same random choice, made with independent seeds.

    Raises ValueError for a number of more than 18 digits.
    """
    match = _DRAW.match(level)
    if match is None:
        return level, 0
    if len(match["draw"]) > MOST_DIGITS:
        raise ValueError(
            f"the draw after '#' in {match['level'][:40]!r} has {len(match['draw']):,} digits; give a number of at most "
            f"{MOST_DIGITS}"
        )
    return match["level"], int(match["draw"])
