"""The figures of a run, drawn from its tables and, example by example, from its records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from plotly.graph_objects import Figure

from budgetlens.design.plan import Plan
from budgetlens.model.declaration import Declaration
from budgetlens.report.probe_drawing import probe_figures
from budgetlens.report.readable import words_of
from budgetlens.report.sweep_drawing import sweep_figures
from budgetlens.runs.manifest import CellFacts
from budgetlens.runs.run import Run
from budgetlens.statistics.contrasts import Contrast
from budgetlens.statistics.quantities import Quantity
from budgetlens.tables.conclusions import conclusions_of
from figures import effects_forest, example_scatter, interaction_plot, split_bars
from figures.labels import readable, reading

#: A forest has at most this many rows; of more effects the headline ones are drawn first, then the others, by family.
MOST_ROWS = 45
#: How many of the headline contrasts are drawn example by example.
MOST_SCATTERS = 3


def draw_figures(run: Run, tables: Mapping[str, pd.DataFrame]) -> dict[str, Figure]:
    """Every figure that the run's tables allow, by name: the analysis' own first, then those of every run."""
    with reading(words_of(run)):
        return _drawn(run, tables)


def _drawn(run: Run, tables: Mapping[str, pd.DataFrame]) -> dict[str, Figure]:
    if run.manifest.is_sweep:
        return sweep_figures(run, tables)
    plan, setting = run.plan, run.manifest.setting
    own = {} if run.analysis.figures is None else dict(run.analysis.figures(run, tables))
    common: dict[str, Figure] = {}
    if run.has_records:
        outcome = run.outcome
        concluded = conclusions_of(run, tables)
        drawn = Drawn(outcome, run.declarations[outcome], plan, setting)
        common |= headline_figures(drawn, run.manifest.cells, tables)
        common |= example_figures(run, drawn, [own.finding.effect for each in concluded for own in each.told])
        common |= outcome_figures(run, tables)
        common |= probe_figures(run, tables)
        common |= further_effects(drawn, tables)
    doubled = sorted(own.keys() & common.keys())
    if doubled:
        raise ValueError(f"{run.analysis.name} names figures that every run has: {doubled}; rename them")
    return own | common


@dataclass(frozen=True)
class Drawn:
    """The outcome whose effects a run's own figures show: its name, what it declares, and the run's plan and setting."""

    name: str
    declared: Declaration
    plan: Plan
    setting: str

    @property
    def quantity(self) -> Quantity:
        """What is drawn."""
        (quantity,) = self.declared.quantities
        return quantity

    def table(self, kind: str) -> str:
        """The name of one of the outcome's tables."""
        return self.declared.table(self.name, kind)


def headline_figures(
    drawn: Drawn, cells: Sequence[CellFacts], tables: Mapping[str, pd.DataFrame]
) -> dict[str, Figure]:
    """Effects on the outcome, the interaction of the plan's factors, splits."""
    figures: dict[str, Figure] = {}
    plan, setting, what = drawn.plan, drawn.setting, drawn.declared.label.sentence
    means, effects = drawn.table("cells"), drawn.table("effects")
    if effects in tables:
        first, others = main_effects(plan, tables[effects])
        of = f", the {len(first)} main ones of {len(first) + len(others)}" if len(others) else ""
        figures[effects] = effects_forest(
            first,
            quantity=what,
            unit=drawn.quantity.unit,
            better=drawn.quantity.better,
            title=f"Paired effects{of}: {setting}",
        )
    if plan.interaction and means in tables:
        x, line, facet = (*plan.interaction, None)[:3]
        table, held = _held(tables[means], cells, plan.interaction)
        figures["interaction"] = interaction_plot(
            table,
            x=x,
            line=line,
            facet=facet,
            order=_levels(cells, plan.interaction, table),
            quantity=f"mean {what}",
            unit=drawn.quantity.unit,
            title=f"{drawn.declared.label.long}{held}: {setting}",
        )
    return figures | split_figures(drawn, tables)


def split_figures(drawn: Drawn, tables: Mapping[str, pd.DataFrame]) -> dict[str, Figure]:
    """The plan's first split, which is that of its question, in one panel; all others in a further figure."""
    if "decomposition" not in tables:
        return {}
    rows = tables["decomposition"]
    first = rows["contrast"] == rows["contrast"].iloc[0]
    named = {
        "splits": ("Split of an effect", rows[first]),
        "splits_2": ("Further splits of effects", rows[~first]),
    }
    return {
        name: split_bars(
            own,
            quantity=drawn.declared.label.sentence,
            unit=drawn.quantity.unit,
            title=f"{title}: {drawn.setting}",
        )
        for name, (title, own) in named.items()
        if len(own)
    }


def outcome_figures(run: Run, tables: Mapping[str, pd.DataFrame]) -> dict[str, Figure]:
    """The effects on what every probe of answers measured, the outcome left out, which has figures of its own."""
    figures = {}
    for name, declared in run.declarations.items():
        if declared.axis or declared.outcome:
            continue
        for key, tested in declared.effects_of(name).items():
            if key in tables:
                first, _ = main_effects(run.plan, tables[key])
                figures[key] = effects_forest(
                    first,
                    quantity=tested.label,
                    unit=tested.unit,
                    better=tested.better,
                    title=f"Paired effects on {tested.label}: {run.manifest.setting}",
                )
    return figures


def main_effects(plan: Plan, effects: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The effects of the first forest, and those that it has no room for.

    All that there are, where one forest holds them; else the headline contrasts, or the first families.
    """
    if len(effects) <= MOST_ROWS:
        return effects, effects.iloc[:0]
    headline = {contrast.name for contrast in plan.headline_contrasts}
    chosen = effects["contrast"].isin(headline)
    if not 0 < chosen.sum() <= MOST_ROWS:
        chosen = effects.index.isin(forest_pages(effects)[0].index)
    return effects[chosen], effects[~chosen]


def forest_pages(effects: pd.DataFrame) -> list[pd.DataFrame]:
    """Effects in parts of at most `MOST_ROWS`, families whole where they fit into one."""
    pages: list[pd.DataFrame] = []
    for family, rows in effects.groupby("family", sort=False):
        parts = -(-len(rows) // MOST_ROWS)
        for part in range(parts):
            own = rows.iloc[part * MOST_ROWS : (part + 1) * MOST_ROWS]
            if parts > 1:
                own = own.assign(family=f"{family} ({part + 1} of {parts})")
            if pages and len(pages[-1]) + len(own) <= MOST_ROWS:
                pages[-1] = pd.concat([pages[-1], own])
            else:
                pages.append(own)
    return pages


def further_effects(drawn: Drawn, tables: Mapping[str, pd.DataFrame]) -> dict[str, Figure]:
    """Forests of the effects that the first one has no room for."""
    key = drawn.table("effects")
    if key not in tables:
        return {}
    _, others = main_effects(drawn.plan, tables[key])
    pages = forest_pages(others)
    return {
        f"{key}_{number}": effects_forest(
            page,
            quantity=drawn.declared.label.sentence,
            unit=drawn.quantity.unit,
            better=drawn.quantity.better,
            title=f"Paired effects, further ones ({number - 1} of {len(pages)}): {drawn.setting}",
        )
        for number, page in enumerate(pages, start=2)
    }


def example_figures(run: Run, drawn: Drawn, carrying: Sequence[str]) -> dict[str, Figure]:
    """The first contrasts of two cells, a point per example, with its text where that is at hand.

    Those that carry the answer come first, then the headlines.

    Texts of hub corpora are not copied into a page that may be passed on; `budgetlens explore` shows them.
    """
    by_name = {contrast.name: contrast for contrast in drawn.plan.contrasts}
    wanted = [*(by_name[name] for name in carrying if name in by_name), *drawn.plan.headline_contrasts]
    pairs = [
        contrast
        for contrast in {own.name: own for own in wanted}.values()
        if sorted(contrast.weights.values()) == [-1.0, 1.0]
    ]
    if not pairs:
        return {}
    aliases = {cell.name: cell.alias for cell in run.manifest.cells}
    records = run.outcomes[["example", "cell", drawn.quantity.name]]
    records = records.astype({"example": str, "cell": str})
    records["alias"] = records["cell"].map(aliases)
    corpus, _ = run.texts(hub=False)
    text: tuple[str, ...] = ()
    if corpus is not None:
        text = ("query", "answer")
        for name in text:
            records[name] = records["example"].map(
                {example.identifier: getattr(example, name) for example in corpus.examples}
            )
    figures = {}
    for number, contrast in enumerate(pairs[:MOST_SCATTERS], start=1):
        baseline, treatment = _sides(contrast)
        figures["examples" if number == 1 else f"examples_{number}"] = example_scatter(
            records,
            baseline,
            treatment,
            value=drawn.quantity.name,
            quantity=drawn.declared.label.sentence,
            unit=drawn.quantity.unit,
            text=text,
            title=f"Every example, {readable(contrast.name)}: {drawn.setting}",
        )
    return figures


def _sides(contrast: Contrast) -> tuple[str, str]:
    """Baseline and treatment of a contrast of two cells."""
    first, second = contrast.weights
    return (first, second) if contrast.weights[first] > 0 else (second, first)


def _held(
    table: pd.DataFrame, cells: Sequence[CellFacts], factors: Sequence[str]
) -> tuple[pd.DataFrame, str]:
    """The cells at the first level of every factor that the plot has no room for, and words that name these levels."""
    first = cells[0].factors
    held = {
        factor: first[factor] for factor in first if factor not in factors and table[factor].nunique() > 1
    }
    for factor, level in held.items():
        table = table[table[factor] == level]
    words = ", ".join(f"{readable(factor)} {readable(level)}" for factor, level in held.items())
    return table, f" at {words}" if words else ""


def _levels(cells: Sequence[CellFacts], factors: Sequence[str], means: pd.DataFrame) -> dict[str, list[str]]:
    """The levels of each factor in the design's order, *none* first and the position control after it.

    Of the factor by line (the second), only levels that have a line: two places along the axis in some panel.
    """
    levels = {factor: list(dict.fromkeys(cell.factors[factor] for cell in cells)) for factor in factors}
    for found in levels.values():
        if "none" in found:
            first = [level for level in ("none", "position") if level in found]
            found[:] = first + [level for level in found if level not in first]
    x, line, *facet = factors
    places = means.groupby([line, *facet], observed=True)[x].nunique().groupby(level=0).max()
    drawn = [level for level in levels[line] if places.get(level, 0) > 1]
    return levels | {line: drawn or levels[line]}
