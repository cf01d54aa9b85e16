"""The way of the house: imports go one direction only, without circles, and each package stands where ARCHITECTURE.md says.

Every import counts: those inside functions and those for annotations as well. That a module's parent package is
imported before it does not.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from configparser import ConfigParser
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("budgetlens", "probes", "interventions", "analyses", "figures")

#: From the ground up: a module may import from its own package and from the floors below it.
FLOORS = (
    ("figures", "budgetlens.registry"),
    ("budgetlens.statistics",),
    ("budgetlens.model",),
    ("budgetlens.corpora",),
    ("budgetlens.design",),
    ("budgetlens.runs",),
    ("budgetlens.tables",),
    ("budgetlens.report", "budgetlens.comparison", "budgetlens.explorer"),
    ("budgetlens.face",),
    ("budgetlens.reference",),
    ("budgetlens.command",),
    ("budgetlens.__main__",),
    ("probes", "interventions"),
    ("analyses.studies",),
    ("analyses",),
)

#: What the engine is without: it discovers them by entry points.
DISCOVERED = ("probes", "interventions", "analyses")


def package_of(module: str) -> str:
    """The package of FLOORS that a module is in; the face of the engine is none."""
    found = [name for names in FLOORS for name in names if f"{module}.".startswith(f"{name}.")]
    if not found:
        raise AssertionError(f"{module} stands on no floor: add it to FLOORS and to ARCHITECTURE.md")
    return max(found, key=len)


def floor_of(module: str) -> int:
    return next(number for number, names in enumerate(FLOORS) if package_of(module) in names)


@cache
def modules() -> dict[str, Path]:
    """Every module of the house, by name; packages that hold nothing are left out."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            found[name] = path
    return found


def imported(path: Path) -> Iterator[str]:
    """Every name of a module that the file imports anywhere, dotted."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{part.name}" for part in node.names)
        elif isinstance(node, ast.Import):
            yield from (part.name for part in node.names)


@cache
def graph() -> dict[str, frozenset[str]]:
    """What every module of the house imports of the house: the longest prefix of each name that is a module."""
    edges = {}
    for module, path in modules().items():
        own = set()
        for name in imported(path):
            parts = name.split(".")
            prefixes = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
            own.add(next((prefix for prefix in prefixes if prefix in modules()), module))
        edges[module] = frozenset(own - {module})
    return edges


def test_there_are_modules_to_look_at() -> None:
    assert len(modules()) > 150
    assert sum(len(edges) for edges in graph().values()) > 700


def test_no_import_goes_in_a_circle() -> None:
    try:
        TopologicalSorter(graph()).prepare()
    except CycleError as error:
        raise AssertionError(" -> ".join(reversed(error.args[1]))) from None


@pytest.mark.parametrize("module", [name for name in modules() if name != "budgetlens"])
def test_imports_go_one_way(module: str) -> None:
    wrong = [
        name
        for name in sorted(graph()[module])
        if name != "budgetlens"
        and package_of(name) != package_of(module)
        and floor_of(name) >= floor_of(module)
    ]
    assert wrong == []


def test_the_engine_knows_no_probe_intervention_or_analysis() -> None:
    for module, edges in graph().items():
        if module.partition(".")[0] in ("budgetlens", "figures"):
            assert [name for name in edges if name.partition(".")[0] in DISCOVERED] == [], module
    assert [
        name for name in graph() if name.startswith("figures") and graph()[name] - set(of("figures"))
    ] == []


def of(package: str) -> list[str]:
    return [name for name in modules() if f"{name}.".startswith(f"{package}.")]


def test_every_package_is_installed() -> None:
    """A package that setup.cfg forgets works in this checkout and is missing from what others install."""
    settings = ConfigParser()
    settings.read(ROOT / "setup.cfg", encoding="utf-8")
    found = {name for name, path in modules().items() if path.name == "__init__.py"}
    assert set(settings["options"]["packages"].split()) == found
    folders = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for name in PACKAGES
        for path in (ROOT / name).rglob("*.py")
    }
    assert folders == found


@pytest.mark.parametrize("package", ["figures", "budgetlens.registry", "budgetlens.statistics"])
def test_no_torch_below_the_model(package: str) -> None:
    for name in of(package):
        heavy = [
            each
            for each in imported(modules()[name])
            if each.split(".")[0] in ("torch", "transformers", "nnsight")
        ]
        assert heavy == [], name
