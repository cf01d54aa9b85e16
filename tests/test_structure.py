"""The way of the house: imports go one direction only, and each package stands on what ARCHITECTURE.md says it may."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("probes", "interventions", "analyses", "figures")

#: From the ground up: a module may import from its own line and from the lines above it.
FLOORS = (
    ("probes", "figures"),
    ("interventions",),
    ("analyses.statistics", "analyses.storage", "analyses.corpora"),
    ("analyses.effects", "analyses.designs"),
    ("analyses.analysis",),
    ("analyses.custom", "analyses.tables"),
    ("analyses.running", "analyses.report", "analyses.comparison"),
    ("analyses.finishing",),
    ("analyses.plans", "analyses.commands", "analyses.explorer"),
    ("analyses.command",),
    ("analyses.exp",),
)

#: Found by name in the registry and by `python -m`, from nowhere else: the trainer of the built-in model.
APART = "analyses.reference"


def floor_of(module: str) -> int:
    for number, names in enumerate(FLOORS):
        for name in names:
            inside = module.startswith(name) if name.endswith(".exp") else f"{module}.".startswith(f"{name}.")
            if inside:
                return number
    raise AssertionError(f"{module} stands on no floor: add it to FLOORS and to ARCHITECTURE.md")


def imports_at_load(path: Path) -> Iterator[str]:
    """Our own modules that a module imports when it is loaded; not those of one function or for annotations."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = (
                [node.module] if "." in node.module else [f"{node.module}.{part.name}" for part in node.names]
            )
        elif isinstance(node, ast.Import):
            names = [part.name for part in node.names]
        yield from (name for name in names if name.split(".")[0] in PACKAGES)


def modules() -> list[str]:
    found = []
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            if path.name != "__init__.py" and not f"{name}.".startswith(f"{APART}."):
                found.append(name)
    return found


def test_there_are_modules_to_look_at() -> None:
    assert len(modules()) > 150


@pytest.mark.parametrize("module", modules())
def test_imports_go_one_way(module: str) -> None:
    path = ROOT / Path(*module.split(".")).with_suffix(".py")
    above = [name for name in imports_at_load(path) if floor_of(name) > floor_of(module)]
    assert above == []
    alone = module.partition(".")[0]
    if alone in ("figures", "probes"):
        assert [name for name in imports_at_load(path) if not name.startswith(f"{alone}.")] == []


def test_every_package_is_installed() -> None:
    """A package that setup.cfg forgets works in this checkout and is missing from what others install."""
    settings = ConfigParser()
    settings.read(ROOT / "setup.cfg", encoding="utf-8")
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for package in PACKAGES
        for path in (ROOT / package).rglob("__init__.py")
    }
    assert set(settings["options"]["packages"].split()) == found


@pytest.mark.parametrize("package", ["figures", "analyses.statistics"])
def test_no_torch_below_the_model(package: str) -> None:
    folder = ROOT / Path(*package.split("."))
    for path in folder.rglob("*.py"):
        loaded = [
            alias.name if isinstance(node, ast.Import) else str(node.module)
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        ]
        assert [
            name for name in loaded if name.split(".")[0] in ("torch", "transformers", "nnsight")
        ] == [], path
