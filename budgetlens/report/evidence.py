"""What stands behind a run's answer: its main figure, the budgets of the deciding effect, three telling examples."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from markupsafe import Markup

from budgetlens.report.besides import Beside, besides_of
from budgetlens.report.card import foot_of
from budgetlens.report.intervals import Row, interval_pictures
from budgetlens.report.mirrored import Side, mirrored_pictures
from budgetlens.report.page import slug
from budgetlens.report.telling import Telling, telling_examples
from budgetlens.runs.run import Run
from budgetlens.statistics.contrasts import Contrast
from budgetlens.statistics.findings import findings
from budgetlens.statistics.quantities import Quantity
from budgetlens.tables.conclusions import Concluded

#: Effects that a picture of all of them has room for.
MOST_EFFECTS = 24
#: The stack whose budgets are mirrored.
DECODER = "decoder"


@dataclass(frozen=True)
class Picture:
    """A figure that is in the page as SVG, for every width: its name and title, and the anchor of its numbers."""

    name: str
    title: str
    table: str
    looks: tuple[Markup, ...]


@dataclass(frozen=True)
class Evidence:
    """Pictures, examples with the words of the effect that they are of, and names of figures to draw beside them."""

    pictures: tuple[Picture, ...] = ()
    telling: tuple[Telling, ...] = ()
    effect: str = ""
    figures: tuple[str, ...] = ()
    besides: tuple[Beside, ...] = ()


def evidence_of(
    run: Run, concluded: Sequence[Concluded], frames: Mapping[str, pd.DataFrame], words: Mapping[str, str]
) -> Evidence:
    """What the page shows open behind the answer; of a run without records its main figure alone."""
    hero = next((own.figure for own in concluded), "")
    if not run.has_records or not run.declarations:
        return Evidence(figures=(hero,))
    deciding = _deciding(run, concluded)
    carrying = {each.finding.effect for own in concluded for each in own.told}
    pictures = [*_all_effects(run, frames, words, hero, carrying), *_budgets(run, deciding, frames, words)]
    telling = telling_examples(run, deciding, words) if deciding is not None else ()
    drawn = [hero] if hero and all(picture.table != slug("table", hero) for picture in pictures) else []
    return Evidence(
        tuple(pictures),
        telling,
        words.get(deciding.name, deciding.name) if deciding is not None else "",
        (*drawn, "examples"),
        besides_of(run, frames, words),
    )


def _deciding(run: Run, concluded: Sequence[Concluded]) -> Contrast | None:
    """The first contrast among the effects that carry the answer, else the first headline."""
    contrasts = {contrast.name: contrast for contrast in run.plan.contrasts}
    told = [each.finding.effect for own in concluded for each in own.told if each.finding.effect in contrasts]
    headline = [contrast.name for contrast in run.plan.headline_contrasts]
    return next((contrasts[name] for name in (*told, *headline) if name in contrasts), None)


def _all_effects(
    run: Run,
    frames: Mapping[str, pd.DataFrame],
    words: Mapping[str, str],
    hero: str,
    carrying: Collection[str],
) -> list[Picture]:
    """The effects on what a probe of answers measured, where they are the main figure; of very many the main ones."""
    quantity = _tested(run).get(hero)
    if quantity is None or hero not in frames or frames[hero].empty:
        return []
    found = findings(frames[hero], quantity)
    every = len(found) <= MOST_EFFECTS
    main = {contrast.name for contrast in run.plan.headline_contrasts}
    shown = [own for own in found if every or own.effect in main or own.effect in carrying][:MOST_EFFECTS]
    rows = [Row(words.get(own.effect, own.effect), own) for own in shown]
    looks = interval_pictures(rows, run.manifest.question, foot_of(run.manifest))
    title = f"{'Every effect' if every else 'The main effects'} on {quantity.label}"
    return [Picture("effects", title, slug("table", hero), looks)] if rows else []


def _tested(run: Run) -> dict[str, Quantity]:
    """What each table of effects on answers is of, by its name."""
    found: dict[str, Quantity] = {}
    for name, declared in run.declarations.items():
        if not declared.axis:
            found |= declared.effects_of(name)
    return found | {run.declarations[run.outcome].table(run.outcome, "effects"): run.outcome_quantity}


def _budgets(
    run: Run, deciding: Contrast | None, frames: Mapping[str, pd.DataFrame], words: Mapping[str, str]
) -> list[Picture]:
    """The decoder's budgets on both sides of the deciding effect, of a probe whose records are parts of a whole by role."""
    if deciding is None or sorted(deciding.weights.values()) != [-1.0, 1.0]:
        return []
    sides = sorted(deciding.weights, key=lambda cell: -deciding.weights[cell])
    outcome = run.declarations[run.outcome]
    means = frames[outcome.table(run.outcome, "cells")].drop_duplicates("cell").set_index("cell")["mean"]
    unit = run.outcome_quantity.short_unit
    pair = tuple(
        Side(cell, words.get(cell, cell), f"{run.outcome_quantity.label}: {means[cell]:.3g} {unit}")
        for cell in sides
    )
    found = []
    for name, declared in run.declarations.items():
        key = declared.table(name, "cells") if declared.axis else ""
        if declared.drawn == "ledger" and declared.shown and key in frames:
            own = frames[key]
            own = own[own["stack"] == DECODER] if "stack" in own else own
            if set(sides) <= set(own["cell"]):
                looks = mirrored_pictures(
                    own, (pair[0], pair[1]), run.manifest.question, foot_of(run.manifest)
                )
                found.append(
                    Picture(
                        "attention",
                        "Where the answer’s attention goes, layer by layer",
                        slug("table", key),
                        looks,
                    )
                )
    return found[:1]
