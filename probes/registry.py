"""Registries without global state: a decorator names a class, and discovery collects what is named.

A registered class lives in a module of its package, or in any other distribution that lists the module
or class under the package's entry-point group. Nothing is kept between calls but Python's module cache.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import entry_points
from types import MappingProxyType, ModuleType
from typing import Any, TypeVar

Registered = TypeVar("Registered")

_MARK = "__registered_as__"


class RegistryError(ValueError):
    """A name registered twice, or a name that nothing has."""


def registered(kind: str, name: str) -> Callable[[Registered], Registered]:
    """Mark a class or function as the ``kind`` called ``name``; discovery finds it in its module."""

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
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else ""


def discover(kind: str, package: ModuleType, entry_point_group: str) -> Mapping[str, Any]:
    """Everything registered as ``kind`` in the package's modules and in the entry-point group.

    Raises RegistryError where two different things share a name.
    """
    found: dict[str, Any] = {}
    for thing in _candidates(package, entry_point_group):
        mark = getattr(thing, _MARK, None)
        if mark is None or mark[0] != kind or mark[2] != getattr(thing, "__qualname__", None):
            continue
        name = mark[1]
        other = found.setdefault(name, thing)
        if other is not thing:
            raise RegistryError(
                f"two {kind}s are called {name!r}: {other.__module__}.{other.__qualname__} and "
                f"{thing.__module__}.{thing.__qualname__}; rename one of them"
            )
    return MappingProxyType(dict(sorted(found.items())))


def lookup(kind: str, name: str, known: Mapping[str, Registered]) -> Registered:
    """The entry called ``name``; RegistryError with the nearest known name otherwise."""
    if name not in known:
        raise RegistryError(f"no {kind} is called {name!r}.{nearest(name, known)} Known: {', '.join(known)}")
    return known[name]


def _candidates(package: ModuleType, entry_point_group: str) -> Iterator[Any]:
    for information in pkgutil.iter_modules(package.__path__):
        if information.name.startswith("_"):
            continue
        yield from vars(importlib.import_module(f"{package.__name__}.{information.name}")).values()
    for entry_point in entry_points(group=entry_point_group):
        loaded = entry_point.load()
        if isinstance(loaded, ModuleType):
            yield from vars(loaded).values()
        else:
            yield loaded
