"""What there is to choose from: for `budgetlens list`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from budgetlens.corpora.corpus import CORPORA
from budgetlens.design.analysis import CUSTOM, Analysis
from budgetlens.design.catalogue import listed_analyses
from budgetlens.design.intervention import Intervention, available_interventions
from budgetlens.model.families import FAMILIES
from budgetlens.model.observation import available_probes
from budgetlens.registry.parameters import parameters_of
from budgetlens.runs.known_models import KNOWN_MODELS
from budgetlens.tables.terminal_text import visible, visible_lines


def inventory(kinds: Sequence[str]) -> dict[str, dict[str, str]]:
    """Name and a few lines of description of everything of the given kinds."""
    makers = {
        "analyses": lambda: {
            **{name: _analysis_line(analysis) for name, analysis in listed_analyses().items()},
            CUSTOM: "a design of your own: --factor, --knockout or --design (start from `budgetlens design exp08`)",
        },
        "interventions": lambda: _summaries(available_interventions()),
        "probes": lambda: _summaries(available_probes()),
        "models": lambda: {**KNOWN_MODELS, "any directory or hub name": _families_line()},
        "corpora": lambda: {**_corpora(), "FILE": "JSON, JSON Lines, CSV or Parquet with a known schema"},
    }
    return {kind: makers[kind]() for kind in kinds}


def print_inventory(listed: Mapping[str, Mapping[str, str]]) -> None:
    """Print one table per kind."""
    console = Console()
    for kind, entries in listed.items():
        table = Table(
            title=kind, title_justify="left", box=None, header_style="bold", show_header=False, padding=(0, 2)
        )
        for name, line in entries.items():
            table.add_row(Text(visible(name), "bold"), Text(visible_lines(line)))
        console.print(table)


def _analysis_line(analysis: Analysis) -> str:
    cells = ", ".join(
        f"{len(plan.design.cells)} cells {protocol}" for protocol, plan in analysis.plans.items()
    )
    reads = f"; reads a run of {analysis.reads} again: --from RUN" if analysis.reads else ""
    models = f"; a sweep over models, by default {', '.join(analysis.models)}" if analysis.models else ""
    return f"{analysis.title}: {analysis.question} ({cells}{reads}{models})"


def _summaries(things: Mapping[str, type]) -> dict[str, str]:
    """First line of the docstring, then parameters and, of interventions, levels."""
    return {name: "\n".join(_lines(thing)) for name, thing in things.items()}


def _lines(thing: type) -> list[str]:
    lines = [(thing.__doc__ or "").strip().splitlines()[0]]
    # Where an intervention parses levels itself, its fields are not what a user writes; its levels are.
    own = (
        issubclass(thing, Intervention)
        and getattr(thing.parse, "__func__", None) is not vars(Intervention)["parse"].__func__
    )
    parameters = ", ".join(map(str, parameters_of(thing))) if not own else ""
    if parameters:
        lines.append(f"parameters: {parameters}")
    if issubclass(thing, Intervention):
        lines.append(f"levels such as: {', '.join(level or repr(level) for level in thing.known_levels())}")
    return lines


def _corpora() -> dict[str, str]:
    entries = CORPORA.values() if isinstance(CORPORA, Mapping) else CORPORA
    return {known.name: known.description for known in entries}


def _families_line() -> str:
    return "of the families " + "; ".join(
        f"{family.name} ({', '.join(family.model_types)})" for family in FAMILIES
    )
