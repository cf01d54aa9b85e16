"""Which analyses there are, and which one a run was made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from budgetlens.design.analysis import CUSTOM, Analysis
from budgetlens.design.custom import custom_analysis
from budgetlens.registry.discovery import discover
from budgetlens.registry.names import lookup


def available_analyses() -> Mapping[str, Callable[[], Analysis]]:
    """Every registered analysis by name: whatever the entry-point group ``budgetlens.analyses`` names."""
    return discover("analysis", "budgetlens.analyses")


def listed_analyses() -> dict[str, Analysis]:
    """The analyses to choose from, by name."""
    return {name: maker() for name, maker in available_analyses().items()}


def find_analysis(name: str) -> Analysis:
    """The analysis called ``name``; its module's name and its number alone do as well.

    Raises RegistryError with the nearest known name.
    """
    known = available_analyses()
    for registered_name, maker in known.items():
        module = maker.__module__.rpartition(".")[2]
        if name in (registered_name, module, registered_name.removeprefix("exp")):
            return maker()
    # The custom analysis is made from options, but its name may well be the one that was meant.
    return lookup("analysis", name, {**known, CUSTOM: _no_options})()


def _no_options() -> Analysis:
    raise ValueError(
        f"{CUSTOM!r} is made from options or a file; use budgetlens.design.custom.custom_analysis"
    )


def analysis_of(name: str, design: Mapping[str, Any] | None, protocol: str, cells: Sequence[str]) -> Analysis:
    """The analysis that made a run, of which run.json keeps its name, design, protocol and cell names.

    It is the registered one, with its own tables and figures, while that has the cells of the run, or where it reads
    the runs of another, whose cells may be of an earlier version. A custom analysis, one
    whose code has other cells by now, and one whose distribution is gone are made again from the design. Raises
    RegistryError for an unknown name without a design.
    """
    if name == CUSTOM:
        return custom_analysis(design)
    known = available_analyses()
    if name in known or design is None:
        found = lookup("analysis", name, known)()
        if design is None or found.reads or _has_cells(found, protocol, cells):
            return found
    return custom_analysis(design, name=name)


def _has_cells(analysis: Analysis, protocol: str, cells: Sequence[str]) -> bool:
    plan = analysis.plans.get(protocol)
    return plan is not None and (not cells or list(cells) == [cell.name for cell in plan.design.cells])
