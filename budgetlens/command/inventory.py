"""What there is to choose from: for `budgetlens list`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from shlex import quote

from rich.console import Console
from rich.table import Table
from rich.text import Text

from budgetlens.corpora.known import CORPORA
from budgetlens.design.analysis import CUSTOM, Analysis
from budgetlens.design.catalogue import find_analysis, listed_analyses
from budgetlens.design.intervention import Intervention, available_interventions
from budgetlens.model.families import FAMILIES
from budgetlens.model.observation import available_probes
from budgetlens.registry.names import lookup
from budgetlens.registry.parameters import parameters_of
from budgetlens.runs.known_models import KNOWN_MODELS
from budgetlens.tables.terminal_text import visible, visible_lines

_SINGULARS = {"corpora": "corpus"}


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


def told_in_full(kind: str, name: str) -> str:
    """All that can be written of one thing: its description, parameters, and levels or commands to copy.

    Raises RegistryError for a name that the kind does not have, with the nearest one.
    """
    if kind == "analyses" and name != CUSTOM:
        return visible_lines(_analysis_in_full(find_analysis(name)))
    things: Mapping[str, type] = {
        "interventions": available_interventions,
        "probes": available_probes,
    }.get(kind, dict)()
    if name in things:
        return visible_lines(_class_in_full(name, things[name]))
    listed = inventory((kind,))[kind]
    return f"{visible(name)}: {visible_lines(lookup(_SINGULARS.get(kind, kind.removesuffix('s')), name, listed))}"


def _analysis_in_full(analysis: Analysis) -> str:
    lines = [f"{analysis.name}: {analysis.title}", analysis.question, ""]
    for protocol, plan in analysis.plans.items():
        lines.append(f"{protocol}: {len(plan.design.cells)} cells, {len(plan.contrasts)} contrasts; factors:")
        lines += [f"  {factor.name}: {', '.join(factor.levels)}" for factor in plan.design.factors]
        lines.append(f"  probes: {', '.join(plan.probes)}")
    lines += ["", f"budgetlens run {analysis.name}", f"budgetlens design {analysis.name}"]
    return "\n".join(lines)


def _class_in_full(name: str, thing: type) -> str:
    lines = [name, _plain(inspect.getdoc(thing) or ""), ""]
    if not _parses_by_itself(thing):
        lines += [f"parameter {parameter}" for parameter in parameters_of(thing)]
    if issubclass(thing, Intervention):
        lines += ["levels such as:"]
        lines += [f"  --factor {quote(f'{name}={level}')}" for level in thing.known_levels()]
    else:
        lines += ["such as:", f"  --probes {quote(name)}"]
        given = [own for own in parameters_of(thing) if own.default]
        lines += [f"  --probes {quote(f'{name}:{own.name}={own.default}')}" for own in given[:1]]
    return "\n".join(lines)


def _plain(docstring: str) -> str:
    """A docstring as it is read in a terminal: without marks, and without its examples in Python."""
    text = docstring.partition("\nExamples:")[0].rstrip()
    return re.sub(r"``([^`]*)``|:\w+:`~?([^`]*)`", lambda found: found[1] or found[2], text)


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
    parameters = "" if _parses_by_itself(thing) else ", ".join(map(str, parameters_of(thing)))
    if parameters:
        lines.append(f"parameters: {parameters}")
    if issubclass(thing, Intervention):
        lines.append(f"levels such as: {', '.join(level or repr(level) for level in thing.known_levels())}")
    return lines


def _parses_by_itself(thing: type) -> bool:
    """Whether an intervention parses levels itself: its fields are not what a user writes then; its levels are."""
    return (
        issubclass(thing, Intervention)
        and getattr(thing.parse, "__func__", None) is not vars(Intervention)["parse"].__func__
    )


def _corpora() -> dict[str, str]:
    entries = CORPORA.values() if isinstance(CORPORA, Mapping) else CORPORA
    return {known.name: known.description for known in entries}


def _families_line() -> str:
    return "of the families " + "; ".join(
        f"{family.name} ({', '.join(family.model_types)})" for family in FAMILIES
    )
