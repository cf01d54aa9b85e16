"""What readers see in place of the ids of cells, contrasts, levels and factors."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping

from budgetlens.design.labels import Labels
from budgetlens.model.roles import ROLE_LABELS
from budgetlens.runs.run import Run

#: Characters that ids have and words have not.
INTERNAL = frozenset("_#=|+@→")
#: What a table calls an effect in standard deviations of its differences.
STATISTICS = {"d_z": "dz"}


def in_words(words: Mapping[str, str]) -> Callable[[str], str]:
    """What puts words in place of every id that a text is or holds; of ids that look like words, only a whole text's."""
    within = sorted((name for name in words if INTERNAL & set(name)), key=len, reverse=True)
    if not within:
        return lambda text: words.get(text, text)
    ids = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, within))})(?!\w)")

    def told(text: str) -> str:
        return words.get(text) or ids.sub(lambda found: words[found.group()], text)

    return told


def words_of(run: Run) -> dict[str, str]:
    """Words by id; of a sweep those of all its models.

    Levels have words of their own where their id could be taken for nothing else.
    """
    runs = [own for own in run.of_models.values() if isinstance(own, Run)] if run.manifest.is_sweep else [run]
    found = dict(STATISTICS)
    for own in runs:
        found |= _of_one(own.source or own)
    return found


def _of_one(run: Run) -> dict[str, str]:
    labels = Labels({cell.name: cell.factors for cell in run.manifest.cells})
    names = [cell.name for cell in run.manifest.cells]
    cells = _told_apart({name: (labels.cell(name).long, name) for name in names})
    aliases = {cell.alias: cells[cell.name] for cell in run.manifest.cells if cell.alias}
    plan = run.plan
    compared = [*plan.contrasts, *plan.share_contrasts]
    compared += [own for split in plan.splits for own in (split.total, *split.parts)]
    contrasts = {own.name: (labels.effect(own).long, frozenset(own.weights.items())) for own in compared}
    told = {pair: label.long for pair, label in labels.levels.items()}
    levels = {level: words for (_, level), words in told.items() if INTERNAL & set(level)}
    factors = {factor: factor.replace("_", " ") for factor, _ in told if "_" in factor}
    pairs = {f"{factor}={level}": words for (factor, level), words in told.items()}
    paired = in_words(pairs)
    families = {own.family: paired(own.family).replace(" | ", " · ") for own in compared}
    families = {family: words for family, words in families.items() if words != family}
    measured = [quantity for declared in run.declarations.values() for quantity in declared.quantities]
    quantities = {own.name: own.label for own in measured if INTERNAL & set(own.name)}
    roles = {role: label.short for role, label in ROLE_LABELS.items() if label.short != role}
    return {
        **roles,
        **quantities,
        **factors,
        **levels,
        **pairs,
        **families,
        **_told_apart(contrasts),
        **aliases,
        **cells,
    }


def _told_apart(words: Mapping[str, tuple[str, Hashable]]) -> dict[str, str]:
    """Words that are of several things, such as draws of one level, with a number behind them."""
    things: dict[str, list[Hashable]] = {}
    for told, thing in words.values():
        own = things.setdefault(told, [])
        own.extend([thing] if thing not in own else [])
    return {
        name: told if len(things[told]) == 1 else f"{told} ({things[told].index(thing) + 1})"
        for name, (told, thing) in words.items()
    }
