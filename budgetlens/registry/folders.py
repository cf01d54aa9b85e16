"""The four folders beside the engine: imports of their names must find them and not someone else's packages."""

from __future__ import annotations

import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path

#: The packages of this distribution with names that others use as well.
FOLDERS = ("probes", "interventions", "analyses", "figures")


class HiddenFolderError(ModuleNotFoundError):
    """One of this distribution's packages that is hidden by another of its name, or is not there."""


def require_own_folders() -> None:
    """Raise HiddenFolderError where an import of one of FOLDERS would not find the one beside this engine.

    Nothing is imported: Python is only asked where it would import from, or did. Folders without an ``__init__.py`` do
    no harm where ours are on Python's path, since it prefers a package of that name that comes later there.
    """
    for name in FOLDERS:
        spec = importlib.util.find_spec(name)
        if not _is_own(spec):
            raise HiddenFolderError(_sentence(name, spec))


def _home() -> Path:
    """The folder that holds the engine's package, and should hold the others."""
    return Path(__file__).parents[2]


def _is_own(spec: ModuleSpec | None) -> bool:
    if spec is None or spec.origin is None:
        return False
    own = _home() / spec.name / "__init__.py"
    # A link on the way to one of the two makes no difference.
    return own.resolve() == Path(spec.origin).resolve()


def _sentence(name: str, spec: ModuleSpec | None) -> str:
    own = _home() / name
    other = _found(spec)
    if other is None or not own.is_dir() or other == own:
        return f"the package {name!r} of budgetlens is missing, expected in {own}; install budgetlens again"
    return (
        f"{other} hides the package {name!r} of budgetlens, which is {own}, because Python looks in {other.parent} "
        "first; rename it, or start from another directory, with that one off PYTHONPATH"
    )


def _found(spec: ModuleSpec | None) -> Path | None:
    """The folder or file that Python would import."""
    if spec is None:
        return None
    if spec.origin is not None:
        origin = Path(spec.origin)
        return origin.parent if origin.name == "__init__.py" else origin
    # A bare folder comes before ours only where ours is not on the path itself, as in setuptools' other editable modes.
    return next((Path(folder) for folder in spec.submodule_search_locations or ()), None)
