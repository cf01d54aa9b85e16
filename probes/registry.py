"""Registries without global state: a decorator names a class, and discovery collects what is named.

A registered class lives in a module of its package, or in any other distribution that lists the module
or class under the package's entry-point group. Nothing is kept between calls but Python's module cache.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import pkgutil
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType, ModuleType
from typing import Any, TypeVar

Registered = TypeVar("Registered")

_MARK = "__registered_as__"

#: Characters that would part a name from its levels, in cells and on the command line, stay out of names.
_NAME = re.compile(r"[A-Za-z][\w.-]*")

#: Names less similar than this (0 to 1) are not offered instead of one another.
_SIMILAR = 0.5

_PLURALS: Mapping[str, str] = MappingProxyType({"analysis": "analyses"})

#: What a class of a kind must have, besides being a frozen dataclass. Kinds not named here are functions.
_REQUIRED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "intervention": ("apply", "parse", "files", "sample_levels", "identity_levels"),
        "probe": ("axis", "averages_heads", "categories", "observe"),
    }
)


class RegistryError(ValueError):
    """A name registered twice, a name that nothing has, or a registered thing that can't be one of its kind."""


def registered(kind: str, name: str) -> Callable[[Registered], Registered]:
    """Mark a class or function as the ``kind`` called ``name``; discovery finds it in its module.

    Raises RegistryError for a name that does not start with a letter or holds more than letters, digits and ``_.-``.
    """
    if not _NAME.fullmatch(name):
        raise RegistryError(
            f"{name!r} is no name of a {kind}; a name starts with a letter and goes on with letters, digits, _ . or -"
        )

    def mark(thing: Registered) -> Registered:
        # Kept on the thing itself, so that a subclass does not inherit the name of its parent.
        setattr(thing, _MARK, (kind, name, thing.__qualname__))  # type: ignore[attr-defined]
        return thing

    return mark


def name_of(thing: Any) -> str:
    """The name under which a class, or the class of an object, is registered."""
    cls = thing if hasattr(thing, "__qualname__") else type(thing)
    mark = getattr(cls, _MARK, None)
    if mark is None or mark[2] != cls.__qualname__:
        raise RegistryError(f"{cls.__qualname__} is not registered")
    return mark[1]


def nearest(name: str, known: Iterable[str]) -> str:
    """``" Did you mean 'x'?"`` for the closest known name, or an empty string."""

    def closeness(other: str) -> tuple[float, int]:
        # Of equally similar names the one with the same letters: two of them may only have changed places.
        common = Counter(name) & Counter(other)
        return difflib.SequenceMatcher(None, name, other).ratio(), common.total()

    best = max(known, key=closeness, default="")
    return f" Did you mean {best!r}?" if best and closeness(best)[0] >= _SIMILAR else ""


def discover(kind: str, package: ModuleType, entry_point_group: str) -> Mapping[str, Any]:
    """Everything registered as ``kind`` in the package's modules and in the entry-point group, by name.

    Raises RegistryError where two different things share a name, where a thing can't be one of its kind, and for
    an entry point that can't be loaded or holds nothing of the kind; the message names the distribution.
    """
    found: dict[str, Any] = {}
    for module in _modules(package):
        _collect(kind, vars(module).values(), found)
    for entry_point in entry_points(group=entry_point_group):
        loaded = _loaded(entry_point, kind)
        things = vars(loaded).values() if isinstance(loaded, ModuleType) else (loaded,)
        if not _collect(kind, things, found):
            raise RegistryError(
                f"{_origin(entry_point)} holds nothing registered as {kind}; mark its class or function with "
                f'@{kind}("name"), or correct the group {entry_point_group!r}'
            )
    return MappingProxyType(dict(sorted(found.items())))


def lookup(kind: str, name: str, known: Mapping[str, Registered]) -> Registered:
    """The entry called ``name``; RegistryError with the nearest known name otherwise."""
    if name not in known:
        raise RegistryError(f"no {kind} is called {name!r}.{nearest(name, known)} Known: {', '.join(known)}")
    return known[name]


def plugin_of(thing: Any, entry_point_group: str) -> tuple[str, str] | None:
    """Name and version of the other distribution that a registered thing comes from; None where it is one of ours."""
    top = thing.__module__.partition(".")[0]
    for entry_point in entry_points(group=entry_point_group):
        if entry_point.module.partition(".")[0] == top and entry_point.dist is not None:
            return entry_point.dist.name, entry_point.dist.version
    return None


def _collect(kind: str, things: Iterable[Any], found: dict[str, Any]) -> int:
    """Add what is registered as ``kind`` to ``found``; how many things that were."""
    count = 0
    for thing in list(things):
        mark = getattr(thing, _MARK, None)
        if not isinstance(mark, tuple) or mark[0] != kind or mark[2] != getattr(thing, "__qualname__", None):
            continue
        count += 1
        name = mark[1]
        other = found.setdefault(name, thing)
        if other is not thing:
            raise RegistryError(
                f"two {_PLURALS.get(kind, f'{kind}s')} are called {name!r}: {_place(other)} and {_place(thing)}; "
                "rename one of them"
            )
        _require(kind, name, thing)
    return count


def _require(kind: str, name: str, thing: Any) -> None:
    """Raise RegistryError where ``thing`` can't be one of its kind."""
    if kind not in _REQUIRED:
        if isinstance(thing, type) or not callable(thing):
            raise RegistryError(
                f"{kind} {name!r} ({_place(thing)}) is no function; register a function that makes it"
            )
        return
    expected = f"expected a frozen dataclass with {', '.join(_REQUIRED[kind])}"
    if not isinstance(thing, type):
        raise RegistryError(f"{kind} {name!r} ({_place(thing)}) is no class; {expected}")
    # The parameters of the class itself: a plain subclass of a frozen dataclass inherits its parent's.
    settings = vars(thing).get("__dataclass_params__")
    if settings is None or not settings.frozen:
        raise RegistryError(
            f"{kind} {name!r} ({_place(thing)}) is not frozen; {expected}: write @dataclass(frozen=True) under "
            f"@{kind}"
        )
    fields = {field.name for field in dataclasses.fields(thing)}
    absent = [part for part in _REQUIRED[kind] if part not in fields and not hasattr(thing, part)]
    absent += sorted(getattr(thing, "__abstractmethods__", frozenset()))
    if absent:
        raise RegistryError(f"{kind} {name!r} ({_place(thing)}) has no {', '.join(absent)}; {expected}")


def _place(thing: Any) -> str:
    return f"{thing.__module__}.{thing.__qualname__}"


def _modules(package: ModuleType) -> Iterator[ModuleType]:
    for information in pkgutil.iter_modules(package.__path__):
        if not information.name.startswith("_"):
            yield importlib.import_module(f"{package.__name__}.{information.name}")


def _origin(entry_point: EntryPoint) -> str:
    distribution = entry_point.dist
    of = (
        f"distribution {distribution.name} {distribution.version}"
        if distribution
        else "an unknown distribution"
    )
    return f"the entry point '{entry_point.name} = {entry_point.value}' of {of}"


def _loaded(entry_point: EntryPoint, kind: str) -> Any:
    try:
        return entry_point.load()
    # A plugin's module may fail in any way while it is imported.
    except Exception as error:
        raise RegistryError(
            f"{_origin(entry_point)} can't be loaded as {kind}: {type(error).__name__}: {error}. "
            "Correct or uninstall that distribution"
        ) from error
