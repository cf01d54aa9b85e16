"""What an analysis is: designs for both protocols, a corpus, contrasts, and what its tables compare."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from analyses.designs.design import Design
from analyses.effects import Correction
from analyses.statistics.contrasts import Contrast
from probes.registry import discover, lookup, registered

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

    from analyses.running.run_request import RunRequest
    from analyses.storage.run_directory import RunDirectory
    from analyses.tables.presentation import Table

PROTOCOLS = ("corrected", "published")

#: Name of an analysis whose design came from the command line or a file.
CUSTOM = "custom"

#: How many contrasts are headlines where a plan names none.
DEFAULT_HEADLINES = 6


@dataclass(frozen=True)
class Split:
    """An effect on the mean that is the sum of parts."""

    total: Contrast
    parts: tuple[Contrast, ...]


@dataclass(frozen=True)
class Plan:
    """One protocol of an analysis: its cells and what is compared.

    ``rows`` says whose attention is read by default (predicting or holding); ``probes`` which attention
    probes. ``contrasts`` are tested on the likelihood, each in its family; ``share_contrasts`` on every
    role's share in every layer. ``splits`` are decomposed on means. ``correction`` is holm or bonferroni.
    ``interaction`` names the factors on the axis, lines and, if there is a third, panels of the interaction
    plot. ``headline`` names the contrasts that strata, seeds and head maps report; empty means the first of each
    family. ``allow_idle`` is for plans that ask which roles there are, and whose tables say where there are none:
    levels that change nothing are run all the same (:mod:`analyses.designs.reach`).
    """

    design: Design
    rows: str
    probes: tuple[str, ...]
    contrasts: tuple[Contrast, ...]
    share_contrasts: tuple[Contrast, ...] = ()
    splits: tuple[Split, ...] = ()
    correction: Correction = "holm"
    interaction: tuple[str, str] | tuple[str, str, str] | None = None
    headline: tuple[str, ...] = ()
    allow_idle: bool = False

    def __post_init__(self) -> None:
        known = {contrast.name for contrast in self.contrasts}
        unknown = [name for name in self.headline if name not in known]
        if unknown:
            raise ValueError(f"headline names contrasts that the plan does not have: {unknown}")

    @property
    def headline_contrasts(self) -> tuple[Contrast, ...]:
        """The contrasts of ``headline``; without any, the first of each family, six at most."""
        if self.headline:
            return tuple(contrast for contrast in self.contrasts if contrast.name in self.headline)
        first: dict[str, Contrast] = {}
        for contrast in self.contrasts:
            first.setdefault(contrast.family, contrast)
        return tuple(first.values())[:DEFAULT_HEADLINES]


@dataclass(frozen=True)
class Analysis:
    """A named question with its plans. ``corpus``, ``n`` and ``seed`` are the defaults of a run.

    ``tables`` gives further tables of a finished run, ``figures`` further figures from all tables by name and
    the setting that titles name. ``runner`` takes the place of the ordinary run where an analysis does not
    run one model over one design (a re-analysis, a sweep over models). ``has_records`` is False where a run
    directory holds no records of its own, only what ``tables`` gives. ``encoder_tokens`` is the longest
    encoder input by default. ``listed`` is False for the part of another analysis that nobody runs by itself.
    """

    name: str
    title: str
    question: str
    plans: Mapping[str, Plan]
    corpus: str = "reference"
    n: int = 500
    seed: int = 42
    tables: Callable[[RunDirectory, Plan], Mapping[str, Table]] | None = None
    figures: Callable[[Mapping[str, pd.DataFrame], str], Mapping[str, Figure]] | None = None
    runner: Callable[[RunRequest], RunDirectory] | None = None
    has_records: bool = True
    encoder_tokens: int | None = None
    listed: bool = True

    @property
    def protocol(self) -> str:
        """The protocol of a run that names none: corrected, or the only one that there is."""
        return PROTOCOLS[0] if PROTOCOLS[0] in self.plans else next(iter(self.plans))

    def plan(self, protocol: str) -> Plan:
        """The plan for a protocol; ValueError with the known ones otherwise."""
        if protocol not in self.plans:
            raise ValueError(f"{self.name} has no protocol {protocol!r}; it has {', '.join(self.plans)}")
        return self.plans[protocol]


def analysis(name: str) -> Callable[[Callable[[], Analysis]], Callable[[], Analysis]]:
    """Register a function that makes an analysis under ``name``."""
    return registered("analysis", name)


def available_analyses() -> Mapping[str, Callable[[], Analysis]]:
    """Every registered analysis by name: modules of :mod:`analyses` and the group ``budgetlens.analyses``."""
    import analyses

    return discover("analysis", analyses, "budgetlens.analyses")


def listed_analyses() -> dict[str, Analysis]:
    """The analyses to choose from, by name."""
    made = {name: maker() for name, maker in available_analyses().items()}
    return {name: analysis for name, analysis in made.items() if analysis.listed}


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
    return lookup(
        "analysis", name, {**{each: known[each] for each in listed_analyses()}, CUSTOM: _no_options}
    )()


def _no_options() -> Analysis:
    raise ValueError(f"{CUSTOM!r} is made from options or a file; use analyses.custom.custom_analysis")


def analysis_of(manifest: Mapping[str, Any]) -> Analysis:
    """The analysis that a run's manifest names.

    It is the registered one, with its own tables and figures, while that has the cells of the run, or where its
    runs have no records but read those of others, whose cells may be of an earlier version. A custom analysis, one
    whose code has other cells by now, and one whose distribution is gone are made again from the design in the
    manifest. Raises RegistryError for an unknown name where the manifest holds no design.
    """
    from analyses.custom import custom_analysis

    name, design = manifest["analysis"], manifest.get("design")
    if name == CUSTOM:
        return custom_analysis(design)
    known = available_analyses()
    if name in known or design is None:
        found = lookup("analysis", name, known)()
        if design is None or not found.has_records or _has_cells_of(found, manifest):
            return found
    return custom_analysis(design, name=name)


def _has_cells_of(analysis: Analysis, manifest: Mapping[str, Any]) -> bool:
    plan = analysis.plans.get(manifest["protocol"])
    cells = [cell["name"] for cell in manifest.get("cells", ())]
    return plan is not None and (not cells or cells == [cell.name for cell in plan.design.cells])
