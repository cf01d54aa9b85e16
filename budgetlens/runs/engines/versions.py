"""What must be the same wherever parts of one run are computed: versions, plugins, and the code itself."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, distributions, version
from importlib.util import find_spec
from pathlib import Path

#: Packages whose version can change a number.
NUMERIC_PACKAGES = ("torch", "transformers", "nnsight", "tokenizers", "numpy")

#: Groups of entry points by which other distributions add what takes part in a capture.
_GROUPS = ("budgetlens.interventions", "budgetlens.probes")

#: The packages of this project whose code computes a part.
_CODE = ("budgetlens", "interventions", "probes")


def own_version() -> str:
    """The version of budgetlens, or that it is not installed."""
    try:
        return version("budgetlens")
    except PackageNotFoundError:
        return "not installed"


@cache
def versions_here() -> Mapping[str, str]:
    """Versions of Python (without the last number), of packages and of plugins, and a digest of this project's code.

    Classes travel by their names, those of a notebook as byte code: both need the same here and there.
    """
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    plugins = {
        f"plugin {distribution.name}": distribution.version
        for distribution in distributions()
        if distribution.name != "budgetlens"
        and any(entry_point.group in _GROUPS for entry_point in distribution.entry_points)
    }
    return {
        "Python": python,
        "budgetlens": own_version(),
        "code of budgetlens": _digest_of_code(),
        **{name: version(name) for name in NUMERIC_PACKAGES},
        **dict(sorted(plugins.items())),
    }


def _digest_of_code() -> str:
    """Of two checkouts of one version nothing else tells that a line differs."""
    digest = hashlib.sha256()
    for package in _CODE:
        specification = find_spec(package)
        for place in specification.submodule_search_locations or () if specification else ():
            folder = Path(place)
            for path in sorted(folder.rglob("*.py")):
                digest.update(f"{package}/{path.relative_to(folder).as_posix()}\0".encode())
                # Line ends are those of the system that checked the code out.
                digest.update(path.read_bytes().replace(b"\r\n", b"\n") + b"\0")
    return digest.hexdigest()[:12]


def differences(theirs: Mapping[str, str], ours: Mapping[str, str]) -> str:
    """What differs, in words: ``torch 2.12.0 there, 2.13.0 here``; empty where nothing does."""
    names = [name for name in {**ours, **theirs} if theirs.get(name) != ours.get(name)]
    return "; ".join(
        f"{name} {theirs.get(name, 'missing')} there, {ours.get(name, 'missing')} here" for name in names
    )
