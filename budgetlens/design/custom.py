"""Designs as data: an analysis made from a mapping, and the mapping of any analysis.

The mapping is what a design file and run.json hold. Only ``factors`` is needed:

* ``factors``: levels by factor, the baseline first; a factor is an intervention by name, and a level that ends in
  ``#1…#20`` stands for so many draws;
* ``cells``: only these cells, instead of all crossings; ``extra``: further ones; ``exclude``: crossings left
  out, each given by the levels of one or more factors. A cell is a table of levels or text
  ``factor=level|factor=level``;
* ``aliases``: short names of cells, for tables and for the contrasts below;
* ``contrasts``: tables with ``effect`` (by factor a pair of levels, baseline and treatment, or the level that is held;
  in a pair each may be a list of levels that are averaged, and ``[[level, level]]`` holds a factor at an average; factors
  that are not named are averaged over), or with ``baseline`` and
  ``treatment`` (a cell, or a list of cells to average), or with ``weights`` by cell; and with ``name``, ``family`` and
  ``order``. Without this key every main effect, interaction
  and simple effect is tested, in a large design as many kinds of them as there is room for
  (:func:`budgetlens.design.factorial_plan.automatic_contrasts`);
* ``share_contrasts``: the same for attention shares, or names of contrasts; ``splits``: ``total`` and ``parts``;
  ``headline``: names of contrasts; ``interaction``: two or three factors; ``correction``: holm or bonferroni;
* ``allow_idle``: true runs levels that change nothing anywhere, which are refused otherwise
* ``read_in``: names of the cells in which alone attention is read; all by default
  (:mod:`budgetlens.design.reach`);
* ``rows``, ``probes``, ``corpus``, ``n``, ``seed``, ``encoder_tokens``: defaults of a run, which options change;
* ``title``, ``question``, ``protocol`` (corrected or published): what captions say.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from budgetlens.design import schema
from budgetlens.design.analysis import CUSTOM, Analysis
from budgetlens.design.design import Cell, Design, Factor, crossed
from budgetlens.design.effects import Level, effect
from budgetlens.design.factorial_plan import SIMPLE, automatic_contrasts, interaction_axes
from budgetlens.design.plan import PROTOCOLS, Plan, Split
from budgetlens.design.random_heads import with_draws
from budgetlens.design.schema import DesignError
from budgetlens.model.observation import usual_probes
from budgetlens.model.roles import READ_ROWS
from budgetlens.registry.names import nearest
from budgetlens.statistics.adjustment import Correction
from budgetlens.statistics.contrasts import Contrast

ROWS = READ_ROWS
DEFAULT_FAMILY = "contrasts"

_TITLE, _QUESTION = "Custom design", "What do the factors of this design change?"


def custom_analysis(design: Any, name: str = CUSTOM) -> Analysis:
    """The analysis that a mapping describes, under ``name``.

    No intervention is looked up, so that a run whose plugin is gone can still be read. Raises DesignError that
    names the key for anything unknown, missing or of a wrong type.
    """
    design = schema.table(design, "the design")
    schema.known_keys(design, schema.KEYS, "")
    if "factors" not in design:
        raise DesignError(
            "the design has no factors; give at least one, such as factors.prefix = ['none', 'oracle']"
        )
    cells = _design(design)
    protocol = schema.one_of(design.get("protocol", PROTOCOLS[0]), "protocol", PROTOCOLS)
    defaults = Analysis("", "", "", {})
    return Analysis(
        name=name,
        title=schema.text(design.get("title", _TITLE), "title"),
        question=schema.text(design.get("question", _QUESTION), "question"),
        plans={protocol: _plan(design, cells)},
        corpus=schema.text(design.get("corpus", defaults.corpus), "corpus"),
        n=schema.whole(design.get("n", defaults.n), "n", least=1),
        seed=schema.whole(design.get("seed", defaults.seed), "seed", least=0),
        encoder_tokens=(
            schema.whole(design["encoder_tokens"], "encoder_tokens", least=1)
            if "encoder_tokens" in design
            else None
        ),
    )


def design_mapping(analysis: Analysis, protocol: str) -> dict[str, Any]:
    """One protocol of an analysis as a mapping, from which :func:`custom_analysis` makes the same cells and contrasts.

    Tables, figures and runners of the analysis's own are code and not part of it.
    """
    plan = analysis.plan(protocol)
    names = _short_names(plan.design)
    known = {contrast.name: contrast for contrast in plan.contrasts}

    def reference(contrast: Contrast) -> str | dict[str, Any]:
        return contrast.name if known.get(contrast.name) == contrast else _contrast_table(contrast, names)

    mapping: dict[str, Any] = {
        "title": analysis.title,
        "question": analysis.question,
        "protocol": protocol,
        "corpus": analysis.corpus,
        "n": analysis.n,
        "seed": analysis.seed,
        **({"encoder_tokens": analysis.encoder_tokens} if analysis.encoder_tokens else {}),
        "rows": plan.rows,
        "probes": list(plan.probes),
        "correction": plan.correction,
        **({"interaction": list(plan.interaction)} if plan.interaction else {}),
        **({"headline": list(plan.headline)} if plan.headline else {}),
        **({"allow_idle": True} if plan.allow_idle else {}),
        **({"read_in": list(plan.read_in)} if plan.read_in else {}),
        "factors": {factor.name: list(factor.levels) for factor in plan.design.factors},
        **_cells_part(plan.design),
    }
    aliases: dict[str, list[str]] = {}
    for cell in plan.design.cells:
        if cell.alias:
            aliases.setdefault(cell.alias, []).append(cell.name)
    if aliases:
        mapping["aliases"] = {alias: own[0] if len(own) == 1 else own for alias, own in aliases.items()}
    mapping["contrasts"] = [_contrast_table(contrast, names) for contrast in plan.contrasts]
    mapping["share_contrasts"] = [reference(contrast) for contrast in plan.share_contrasts]
    if plan.splits:
        mapping["splits"] = [
            {"total": reference(split.total), "parts": [reference(part) for part in split.parts]}
            for split in plan.splits
        ]
    return mapping


def _plan(design: Mapping[str, Any], cells: Design) -> Plan:
    if "contrasts" in design:
        contrasts = schema.items(
            design["contrasts"], "contrasts", lambda item, path: _contrast(item, path, cells)
        )
        shared = contrasts
    else:
        contrasts = automatic_contrasts(cells)
        shared = tuple(contrast for contrast in contrasts if contrast.family != SIMPLE)
    known = {contrast.name: contrast for contrast in contrasts}
    if len(known) < len(contrasts):
        names = [contrast.name for contrast in contrasts]
        doubled = next(name for name in names if names.count(name) > 1)
        raise DesignError(f"contrasts: two are called {doubled!r}; give each a name of its own")

    def reference(item: Any, path: str) -> Contrast:
        if not isinstance(item, str):
            return _contrast(item, path, cells)
        if item not in known:
            raise DesignError(f"{path}: no contrast is called {item!r}.{nearest(item, known)}")
        return known[item]

    def split(item: Any, path: str) -> Split:
        table = schema.table(item, path)
        schema.known_keys(table, schema.SPLIT_KEYS, path)
        _need(table, schema.SPLIT_KEYS, path)
        return Split(
            reference(table["total"], f"{path}.total"),
            schema.items(table["parts"], f"{path}.parts", reference),
        )

    headline = schema.items(design.get("headline", ()), "headline", reference)
    return Plan(
        design=cells,
        rows=schema.one_of(design.get("rows", ROWS[0]), "rows", ROWS),
        # What a run with a design of its own reads is in its run.json, whatever is registered when that is read.
        probes=schema.items(
            design["probes"] if "probes" in design else usual_probes(), "probes", schema.text
        ),
        contrasts=contrasts,
        share_contrasts=(
            schema.items(design["share_contrasts"], "share_contrasts", reference)
            if "share_contrasts" in design
            else shared
        ),
        splits=schema.items(design.get("splits", ()), "splits", split),
        correction=_correction(design.get("correction", "holm")),
        interaction=_interaction(design, cells),
        headline=tuple(contrast.name for contrast in headline),
        allow_idle=schema.yes_or_no(design.get("allow_idle", False), "allow_idle"),
        read_in=schema.items(
            design.get("read_in", ()),
            "read_in",
            lambda item, path: schema.one_of(item, path, tuple(cells.by_name)),
        ),
    )


def _correction(value: Any) -> Correction:
    known = get_args(Correction)
    return known[known.index(schema.one_of(value, "correction", known))]


def _interaction(design: Mapping[str, Any], cells: Design) -> tuple[str, str] | tuple[str, str, str] | None:
    if "interaction" not in design:
        # A file that tells its contrasts tells everything; one that does not gets what its factors allow.
        return None if "contrasts" in design else interaction_axes(cells)
    names = [factor.name for factor in cells.factors]
    axes = schema.items(
        design["interaction"], "interaction", lambda item, path: schema.one_of(item, path, names)
    )
    if len(axes) == 2:
        return axes[0], axes[1]
    if len(axes) == 3:
        return axes[0], axes[1], axes[2]
    raise DesignError(f"interaction: expected two or three factors (axis, lines, panels), got {list(axes)}")


def _design(design: Mapping[str, Any]) -> Design:
    factors = tuple(
        _factor(name, with_draws(schema.items(levels, f"factors.{name}", schema.level)))
        for name, levels in schema.table(design["factors"], "factors").items()
    )
    if not factors:
        raise DesignError("factors: expected one or more, got none")
    names = [factor.name for factor in factors]

    def cell(item: Any, path: str) -> tuple[str, ...]:
        levels = _levels(item, path, names)
        _need(levels, names, path)
        return tuple(levels[name] for name in names)

    if "cells" in design:
        clash = [key for key in ("extra", "exclude") if key in design]
        if clash:
            raise DesignError(
                f"cells lists every cell, so that {clash[0]} has no place beside it; leave one out"
            )
        chosen = schema.items(design["cells"], "cells", cell)
        cells = tuple(Cell(tuple(zip(names, levels, strict=True))) for levels in chosen)
    else:
        excluded = schema.items(
            design.get("exclude", ()), "exclude", lambda item, path: _levels(item, path, names)
        )
        crossing = crossed(factors).cells
        for position, levels in enumerate(excluded):
            if not any(levels.items() <= cell.factors.items() for cell in crossing):
                raise DesignError(f"exclude[{position}]: no crossing has the levels {levels}")
        extra = schema.items(design.get("extra", ()), "extra", cell)
        cells = (
            *(
                cell
                for cell in crossing
                if not any(levels.items() <= cell.factors.items() for levels in excluded)
            ),
            *(Cell(tuple(zip(names, levels, strict=True))) for levels in extra),
        )
    if not cells:
        raise DesignError("the design has no cell left; exclude fewer")
    return _aliased(Design(factors, cells), design.get("aliases", {}))


def _factor(name: str, levels: tuple[str, ...]) -> Factor:
    try:
        return Factor(name, levels)
    except ValueError as error:
        raise DesignError(f"factors.{name}: {error}") from error


def _levels(item: Any, path: str, names: Sequence[str]) -> dict[str, str]:
    """Levels by factor, of all factors or some, from a table or from ``factor=level|factor=level``."""
    if isinstance(item, str):
        pairs = [part.partition("=") for part in item.split("|")]
        if not all(equals for _, equals, _ in pairs) or len({name for name, _, _ in pairs}) < len(pairs):
            raise DesignError(
                f"{path}: expected factor=level|factor=level with distinct factors, got {item!r}"
            )
        table: Mapping[str, Any] = {name: level for name, _, level in pairs}
    else:
        table = schema.table(item, path)
    schema.known_keys(table, names, path)
    return {name: schema.level(level, f"{path}.{name}") for name, level in table.items()}


def _aliased(design: Design, value: Any) -> Design:
    by_name: dict[str, str] = {}
    for alias, given in schema.table(value, "aliases").items():
        path = f"aliases.{alias}"
        cells = (
            [given] if isinstance(given, str | Mapping) else schema.items(given, path, lambda item, _: item)
        )
        for item in cells:
            by_name[_cell_name(item, path, design)] = alias
    return Design(
        design.factors, tuple(Cell(cell.levels, by_name.get(cell.name, "")) for cell in design.cells)
    )


def _cell_name(item: Any, path: str, design: Design) -> str:
    """The name of a cell that is given by its name, a table of its levels or its alias."""
    names = design.by_name
    if isinstance(item, str):
        if item in names:
            return item
        aliased = [cell.name for cell in design.cells if cell.alias == item]
        if len(aliased) == 1:
            return aliased[0]
        if aliased:
            raise DesignError(
                f"{path}: {item!r} is the alias of {len(aliased)} cells; give a name: {', '.join(aliased)}"
            )
    if not isinstance(item, str) or "=" in item:
        levels = _levels(item, path, [factor.name for factor in design.factors])
        for name, cell in names.items():
            if cell.factors == levels:
                return name
    known = [*names, *(cell.alias for cell in design.cells if cell.alias)]
    raise DesignError(
        f"{path}: no cell is called {item!r}.{nearest(str(item), known)} Known: {', '.join(known)}"
    )


def _contrast(item: Any, path: str, design: Design) -> Contrast:
    table = schema.table(item, path)
    schema.known_keys(table, schema.CONTRAST_KEYS, path)
    sides = [key for key in ("baseline", "treatment") if key in table]
    forms = [bool(sides), "weights" in table, "effect" in table]
    if sum(forms) != 1 or len(sides) == 1:
        raise DesignError(
            f"{path}: expected one of effect, baseline and treatment, or weights; got {', '.join(table)}"
        )
    if "effect" in table:
        return _effect(table, path, design)
    weights: dict[str, float] = {}
    if sides:
        for key, sign in (("baseline", 1.0), ("treatment", -1.0)):
            given = table[key]
            cells = (
                (given,) if isinstance(given, str | Mapping) else schema.items(given, f"{path}.{key}", _as_is)
            )
            if not cells:
                raise DesignError(f"{path}.{key}: expected one or more cells, got none")
            for cell in cells:
                _add(weights, _cell_name(cell, f"{path}.{key}", design), sign / len(cells), f"{path}.{key}")
    else:
        for cell, weight in schema.table(table["weights"], f"{path}.weights").items():
            place = f"{path}.weights"
            _add(weights, _cell_name(cell, place, design), schema.number(weight, f"{place}.{cell}"), place)
    words = [
        " + ".join(cell for cell, weight in weights.items() if weight * sign > 0) for sign in (1.0, -1.0)
    ]
    try:
        return Contrast(
            schema.text(table.get("name", " → ".join(words)), f"{path}.name"),
            schema.text(table.get("family", DEFAULT_FAMILY), f"{path}.family"),
            weights,
            schema.whole(table.get("order", 0), f"{path}.order", least=0),
        )
    except DesignError:
        raise
    except ValueError as error:
        raise DesignError(f"{path}: {error}") from error


def _effect(table: Mapping[str, Any], path: str, design: Design) -> Contrast:
    """The contrast of ``effect = {prefix = ["none", "oracle"], prompt = "query"}``."""

    def level(value: Any, place: str) -> Level:
        return (
            list(schema.items(value, place, schema.level))
            if isinstance(value, list)
            else schema.level(value, place)
        )

    levels: dict[str, Level | tuple[Level, Level]] = {}
    for factor, value in schema.table(table["effect"], f"{path}.effect").items():
        place = f"{path}.effect.{factor}"
        if isinstance(value, list):
            ends = schema.items(value, place, level)
            if len(ends) == 1 and isinstance(ends[0], list):
                levels[factor] = ends[0]
            elif len(ends) == 2:
                levels[factor] = (ends[0], ends[1])
            else:
                raise DesignError(
                    f"{place}: expected a level, a pair [baseline, treatment], or [[level, level, ...]] to hold it at "
                    f"their average; got {len(ends)} {'entry' if len(ends) == 1 else 'entries'}"
                )
        else:
            levels[factor] = level(value, place)
    try:
        made = effect(**levels)
        name = schema.text(table.get("name", made.words), f"{path}.name")
        family = schema.text(table.get("family", DEFAULT_FAMILY), f"{path}.family")
        if table.get("order", made.order) != made.order:
            raise DesignError(f"{path}.order: an effect knows its order, {made.order}; leave it out")
        return made.named(name, family).contrast(design.cells)
    except DesignError:
        raise
    except ValueError as error:
        raise DesignError(f"{path}: {error}") from error


def _as_is(item: Any, path: str) -> Any:
    return item


def _add(weights: dict[str, float], cell: str, weight: float, path: str) -> None:
    if cell in weights:
        raise DesignError(f"{path}: the cell {cell!r} is there twice")
    weights[cell] = weight


def _need(given: Mapping[str, Any], needed: Sequence[str], path: str) -> None:
    missing = [name for name in needed if name not in given]
    if missing:
        raise DesignError(f"{path}: {', '.join(missing)} is missing; expected {', '.join(needed)}")


def _short_names(design: Design) -> dict[str, str]:
    """Every cell's alias where no other cell has it, and its name otherwise."""
    aliases = [cell.alias for cell in design.cells]
    return {
        cell.name: cell.alias if cell.alias and aliases.count(cell.alias) == 1 else cell.name
        for cell in design.cells
    }


def _contrast_table(contrast: Contrast, names: Mapping[str, str]) -> dict[str, Any]:
    table: dict[str, Any] = {"name": contrast.name, "family": contrast.family}
    sides = [[cell for cell, weight in contrast.weights.items() if weight * sign > 0] for sign in (1.0, -1.0)]
    averaged = {
        cell: sign / len(side) for side, sign in zip(sides, (1.0, -1.0), strict=True) for cell in side
    }
    if averaged == dict(contrast.weights):
        for key, side in zip(("baseline", "treatment"), sides, strict=True):
            cells = [names[cell] for cell in side]
            table[key] = cells[0] if len(cells) == 1 else cells
    else:
        table["weights"] = {names[cell]: weight for cell, weight in contrast.weights.items()}
    if contrast.order:
        table["order"] = contrast.order
    return table


def _cells_part(design: Design) -> dict[str, Any]:
    """``extra`` where the cells are the crossing and further ones, ``cells`` where they are not."""
    names = list(design.by_name)
    size = math.prod(len(factor.levels) for factor in design.factors)
    # A crossing of many factors is not to be made where a few cells are listed.
    if len(names) < size or names[:size] != list(crossed(design.factors).by_name):
        return {"cells": names}
    return {"extra": names[size:]} if len(names) > size else {}
