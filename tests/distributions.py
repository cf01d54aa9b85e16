"""Distributions for tests: installed by hand, as an installer would, into a folder for a Python path."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Mapping
from pathlib import Path

THIRD_PARTY = Path(__file__).parent / "third_party"


def install(source: Path, target: Path) -> Path:
    """Install the modules that a ``pyproject.toml`` names, with their entry points, into ``target``; no network."""
    project = tomllib.loads((source / "pyproject.toml").read_text(encoding="utf-8"))
    described = project["project"]
    for module in project["tool"]["setuptools"]["py-modules"]:
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / f"{module}.py", target)
    write_metadata(target, described["name"], described["version"], described["entry-points"])
    return target


def write_metadata(
    target: Path, name: str, version: str, entry_points: Mapping[str, Mapping[str, str]]
) -> None:
    """The ``dist-info`` of a distribution: its name, version and entry points by group."""
    folder = target / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = []
    for group, points in entry_points.items():
        lines += [f"[{group}]", *(f"{point} = {value}" for point, value in points.items())]
    (folder / "entry_points.txt").write_text("\n".join(lines) + "\n")
