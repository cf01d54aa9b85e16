"""Discovery: whatever is registered in the packages, modules and classes that entry points name.

An entry point names a package to scan, a module, or one class or function. The folders `probes`, `interventions`
and `analyses` of this project are named in its own setup.cfg like those of any other distribution, so that a file
dropped into them is found, and the engine imports none of them. What a notebook or script defines is found as well.
Nothing is kept between calls but Python's module cache.
"""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from types import FunctionType, MappingProxyType, ModuleType
from typing import Any

from budgetlens.registry.folders import require_own_folders
from budgetlens.registry.names import MARK, RegistryError

#: The name of this project's own distribution.
DISTRIBUTION = "budgetlens"

_PLURALS: Mapping[str, str] = MappingProxyType({"analysis": "analyses"})

#: What a class of a kind must have, besides being a frozen dataclass. Kinds not named here are functions.
REQUIRED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "intervention": ("apply", "parse", "files", "sample_levels", "identity_levels"),
        "probe": ("declares", "categories", "observe"),
    }
)
#: What it may have instead: a probe of answers, of sublayers, of the residual stream, of generated answers, of candidates,
#: of passages.
_ALTERNATIVES: Mapping[str, tuple[tuple[str, ...], ...]] = MappingProxyType(
    {
        "probe": (
            ("declares", "observe_answer"),
            ("declares", "categories", "observe_sublayers"),
            ("declares", "categories", "keep", "observe_stream"),
            ("declares", "decoding", "observe_generated"),
            ("declares", "observe_candidates"),
            ("declares", "observe_passages"),
            ("declares", "categories", "observe_mixing"),
            ("declares", "categories", "reads_stack", "observe_layer"),
        )
    }
)


def discover(kind: str, group: str) -> Mapping[str, Any]:
    """Everything registered as ``kind`` in what the entry points of ``group`` name, and in the notebook or script, by name.

    Raises RegistryError where nothing names the group (budgetlens is not installed), where two different things share
    a name, where a thing can't be one of its kind, and for an entry point that can't be loaded or holds nothing of
    the kind; the message names the distribution. HiddenFolderError where another package hides one of our own.
    """
    found = installed(kind, group)
    _collect(kind, _of_notebook(kind, found), found)
    return MappingProxyType(dict(sorted(found.items())))


def installed(kind: str, group: str) -> dict[str, Any]:
    """Everything registered as ``kind`` in what the entry points of ``group`` name, by name. Raises as :func:`discover`."""
    found: dict[str, Any] = {}
    named = entry_points(group=group)
    if not named:
        raise RegistryError(
            f"no installed distribution names its {_plural(kind)} under {group!r}, not even {DISTRIBUTION}; install it "
            "again with `pip install -e .` in its folder"
        )
    # Our own first: of two things of one name the other one is told to be the newcomer.
    for entry_point in sorted(named, key=lambda entry_point: not _is_own(entry_point)):
        if not _collect(kind, _things(entry_point, kind), found):
            raise RegistryError(
                f"{_origin(entry_point)} holds nothing registered as {kind}; mark its class or function with "
                f'@{kind}("name"), or correct the group {group!r}'
            )
    return found


def plugin_of(thing: Any, group: str) -> tuple[str, str] | None:
    """Name and version of the other distribution that a registered thing comes from; None where it is one of ours."""
    top = thing.__module__.partition(".")[0]
    for entry_point in entry_points(group=group):
        if entry_point.module.partition(".")[0] == top and entry_point.dist is not None:
            return None if _is_own(entry_point) else (entry_point.dist.name, entry_point.dist.version)
    return None


def _plural(kind: str) -> str:
    return _PLURALS.get(kind, f"{kind}s")


def _is_own(entry_point: EntryPoint) -> bool:
    return entry_point.dist is not None and entry_point.dist.name == DISTRIBUTION


def _collect(kind: str, things: Iterable[Any], found: dict[str, Any]) -> int:
    """Add what is registered as ``kind`` to ``found``; how many things that were."""
    count = 0
    for thing in list(things):
        mark = getattr(thing, MARK, None)
        if not isinstance(mark, tuple) or mark[0] != kind or mark[2] != getattr(thing, "__qualname__", None):
            continue
        count += 1
        name = mark[1]
        other = found.setdefault(name, thing)
        if other is not thing:
            raise RegistryError(
                f"two {_PLURALS.get(kind, f'{kind}s')} are called {name!r}: {place(other)} and {place(thing)}; "
                "rename one of them"
            )
        require(kind, name, thing)
    return count


def require(kind: str, name: str, thing: Any) -> None:
    """Raise RegistryError where ``thing`` can't be one of its kind."""
    if kind not in REQUIRED:
        if isinstance(thing, type) or not callable(thing):
            raise RegistryError(
                f"{kind} {name!r} ({place(thing)}) is no function; register a function that makes it"
            )
        return
    expected = f"expected a frozen dataclass with {', '.join(REQUIRED[kind])}"
    if not isinstance(thing, type):
        raise RegistryError(f"{kind} {name!r} ({place(thing)}) is no class; {expected}")
    # The parameters of the class itself: a plain subclass of a frozen dataclass inherits its parent's.
    settings = vars(thing).get("__dataclass_params__")
    if settings is None or not settings.frozen:
        raise RegistryError(
            f"{kind} {name!r} ({place(thing)}) is not frozen; {expected}: write @dataclass(frozen=True) under "
            f"@{kind}"
        )
    fields = {field.name for field in dataclasses.fields(thing)}
    absent = [part for part in REQUIRED[kind] if part not in fields and not hasattr(thing, part)]
    for instead in _ALTERNATIVES.get(kind, ()):
        if all(part in fields or hasattr(thing, part) for part in instead):
            absent = []
    absent += sorted(getattr(thing, "__abstractmethods__", frozenset()))
    if absent:
        raise RegistryError(f"{kind} {name!r} ({place(thing)}) has no {', '.join(absent)}; {expected}")


def place(thing: Any) -> str:
    """Where a class or function is defined."""
    return f"{thing.__module__}.{thing.__qualname__}"


def _things(entry_point: EntryPoint, kind: str) -> Iterator[Any]:
    """What an entry point names: itself, or all that its module or the modules of its package hold."""
    loaded = _loaded(entry_point, kind)
    if not isinstance(loaded, ModuleType):
        yield loaded
        return
    yield from vars(loaded).values()
    if hasattr(loaded, "__path__"):
        for module in _modules(loaded):
            yield from vars(module).values()


def _of_notebook(kind: str, found: Mapping[str, Any]) -> Iterator[Any]:
    """What the notebook or script that is run defines or has imported, under the names of the things themselves.

    A name that history keeps (``_12``, ``Old``) may hold a class as it was before its cell was run again. Where the
    script is itself one of the modules that entry points name, its things are found already, as of that module.
    """
    main = sys.modules["__main__"]
    path = getattr(main, "__file__", None)
    for name, thing in list(vars(main).items()):
        if not isinstance(thing, type | FunctionType) or thing.__name__ != name:
            continue
        mark = getattr(thing, MARK, None)
        other = found.get(mark[1]) if isinstance(mark, tuple) and mark[0] == kind else None
        if other is None or path is None or path != getattr(sys.modules[other.__module__], "__file__", None):
            yield thing


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
    if _is_own(entry_point):
        require_own_folders()
    try:
        return entry_point.load()
    # A plugin's module may fail in any way while it is imported.
    except Exception as error:
        raise RegistryError(
            f"{_origin(entry_point)} can't be loaded as {kind}: {type(error).__name__}: {error}. "
            "Correct or uninstall that distribution"
        ) from error
