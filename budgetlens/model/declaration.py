"""What a probe says of its records, so that tables, effects, figures and pages follow without knowing it.

No torch: a run can be read, and its probes listed, where no model is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from budgetlens.registry.labels import Label
from budgetlens.statistics.choices import Smallest
from budgetlens.statistics.quantities import Quantity

#: What a mean is of where a probe does not say it in words of its own.
OF_ROWS = "mean over examples and heads of what {rows} have"
OF_ANSWERS = "mean over examples of the mean over an answer's tokens"


@dataclass(frozen=True)
class Declaration:
    """The records of a probe: one row per example, cell, stack, block, layer, head and category.

    A probe of answers has one row per example and cell; its ``axis`` is empty.

    ``quantities`` are the columns of numbers, ``axis`` is the column of categories (``role``, ``part``, …) and
    ``categories`` the order in which those are shown; others follow. ``title`` heads its tables and figures;
    ``estimand`` says what a mean is of, with ``{rows}`` where the rows are named. ``averages_heads`` says that its
    quantities come from the average over heads (``head`` is then -1). ``sums`` names totals of categories in the
    blocks that have all of them. ``every_contrast`` tests every contrast of a plan and not its headlines alone;
    ``head_maps`` are the categories that are mapped head by head, and False maps none. ``undefined`` tells why a value
    may not be there. ``names`` are names of tables where they are not made of the probe's: cells, totals,
    effects, heads. ``labels`` are words for categories, and ``wholes`` the categories that are the whole of something,
    of which a part of it is no news. ``drawn`` says how means are drawn: ``map`` (layer × category, a panel per cell),
    ``ledger`` (parts of a whole by role, one stack of bands a panel) or ``mass`` (an entropy against the mass that it
    is of). ``heading`` and ``plural`` are the short form of its label and the one within a sentence. ``shown`` is False
    for records that only the tables of one study read. ``usual`` probes are read by designs that name none, those of a
    ``task`` by all of its runs (:mod:`budgetlens.corpora.tasks`). ``of_answers`` says that its quantities judge what the
    model answers by itself: a conclusion about the outcome then tells whether its effect shows in them.

    ``adds_heads`` says that a value over heads is their sum and no mean; what no head writes has the head -1.
    ``contributes`` says that its records are what rows take from each role and from what is no key: readings show those of
    all such probes together. ``cumulative`` says that a layer's records are of all layers up to it. ``beside`` names a probe
    of the same axis beside whose differences its own are told; where a run reads that one too, both test the same contrasts.

    Of a probe of answers, ``outcome`` says that every run reads it, whatever its plan names, and that the run's own
    contrasts, splits, strata and seeds are about it: one probe is. ``by_token`` says that a value is a mean over the
    answer's tokens; its records then hold ``answer_tokens`` and the sum ``NAME_sum`` of every quantity, its table by cell
    the token-weighted mean.

    A value per example is the mean over the rows that are read, then the mean over heads, or their sum.

    Raises:
        ValueError: an outcome with an axis, without a tested quantity, or with several quantities.

    Examples:
        >>> from budgetlens import Declaration, Quantity
        >>> share = Quantity("share", "share", "fraction of attention", smallest_difference=0.01)
        >>> Declaration(title="Strongest key", quantities=(share,), axis="key").tested.name
        'share'
    """

    title: str
    quantities: tuple[Quantity, ...]
    axis: str = ""
    estimand: str = ""
    categories: tuple[str, ...] = ()
    averages_heads: bool = False
    adds_heads: bool = False
    contributes: bool = False
    cumulative: bool = False
    beside: str = ""
    sums: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    every_contrast: bool = False
    head_maps: tuple[str, ...] | bool = True
    undefined: str = "no example has this observation"
    names: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    wholes: tuple[str, ...] = ()
    drawn: Literal["map", "ledger", "mass"] = "map"
    draws_differences: bool = True
    heading: str = ""
    plural: str = ""
    shown: bool = True
    outcome: bool = False
    by_token: bool = False
    usual: bool = False
    task: str = ""
    of_answers: bool = False

    def __post_init__(self) -> None:
        if self.outcome and (self.axis or self.tested is None or len(self.quantities) != 1):
            raise ValueError(
                f"the probe of {self.title!r} can't be a run's outcome: expected one quantity with a smallest difference "
                f"and no axis, got {[quantity.name for quantity in self.quantities]} by {self.axis!r}"
            )
        object.__setattr__(self, "estimand", self.estimand or (OF_ROWS if self.axis else OF_ANSWERS))

    @property
    def label(self) -> Label:
        """What readers see instead of the probe's name: ``heading`` (or else the title), ``title``, and ``plural``."""
        return Label(self.heading or self.title, self.title, self.plural or self.title.lower())

    @property
    def tested(self) -> Quantity | None:
        """The quantity whose differences are tested: the first with a smallest difference."""
        return next((each for each in self.quantities if each.smallest_difference is not None), None)

    def with_smallest(self, smallest: Smallest) -> Declaration:
        """The declaration with another smallest difference of what is tested. Raises ValueError for points of no whole."""
        tested = self.effects_of("").values()
        changed = tuple(smallest.of(each) if each in tested else each for each in self.quantities)
        return replace(self, quantities=changed)

    def effects_of(self, probe: str) -> dict[str, Quantity]:
        """The tables of effects by name, with what each compares: the tested quantity's first.

        A probe of answers has one for every quantity with a smallest difference, ``PROBE_QUANTITY_effects``.
        """
        tested = self.tested
        if tested is None:
            return {}
        others = () if self.axis else self.quantities
        return {
            self.table(probe, "effects"): tested,
            **{
                f"{probe}_{each.name}_effects": each
                for each in others
                if each is not tested and each.smallest_difference is not None
            },
        }

    def table(self, probe: str, kind: str) -> str:
        """The name of one of the probe's tables: ``cells``, ``totals``, ``effects`` or ``heads``."""
        return self.names.get(kind, probe if kind == "cells" else f"{probe}_{kind}")

    def ordered(self, found: set[str]) -> list[str]:
        """Categories in the order in which they are shown."""
        known = [category for category in (*self.categories, *self.sums) if category in found]
        return [*known, *sorted(found - set(known))]

    def to_mapping(self) -> dict[str, Any]:
        """The declaration as run.json keeps it."""
        return asdict(self)

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Declaration:
        """What :meth:`to_mapping` gave. Raises TypeError or KeyError for anything else."""
        values = dict(mapping)
        values["quantities"] = tuple(Quantity(**each) for each in values["quantities"])
        for name in ("categories", "wholes"):
            values[name] = tuple(values.get(name, ()))
        values["sums"] = {name: tuple(parts) for name, parts in values.get("sums", {}).items()}
        maps = values.get("head_maps", True)
        values["head_maps"] = maps if isinstance(maps, bool) else tuple(maps)
        return cls(**values)
