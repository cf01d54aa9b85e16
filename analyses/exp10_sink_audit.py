"""10: how much of a shift in attention is the missing sink?"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from analyses.studies.sink_paths import Path, Point
from budgetlens.design.analysis import Analysis, analysis
from budgetlens.design.conclusions import Conclusion, Evidence
from budgetlens.design.design import Cell, Design, Factor
from budgetlens.design.effects import Effect, place
from budgetlens.design.plan import Plan, Split
from budgetlens.model.trials import FIRST_POSITIONS
from budgetlens.statistics.adjustment import Correction
from budgetlens.statistics.contrasts import Contrast

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

    from budgetlens.runs.run import Run
    from budgetlens.tables.presentation import Table

PROMPTS = ("none", "query")
EXACT, BOTH = "prefix+separator", "bos+prefix+separator"

#: (prefix, hidden) and the short name; bare has nothing else to hide, so a full crossing would repeat cells.
_CELLS = {
    ("none", "none"): "bare",
    ("none", "bos"): "bare_bos_hidden",
    ("oracle", "none"): "oracle_full",
    ("oracle", EXACT): "oracle_trunc",
    ("oracle", BOTH): "oracle_trunc_bos_hidden",
    ("oracle", FIRST_POSITIONS): "oracle_first_n",
}
_PROMPTS = {"none": "nq", "query": "q"}

SHIFT, SHIFT_PREFIX_FIRST, TRUNCATION = (
    "bare → oracle first-n",
    "bare → oracle first-n, prefix first",
    "oracle → first-n",
)
DIRECT, PROPAGATED = "hidden BOS, A/(1 − m)", "hidden BOS, propagated"


def _name(prefix: str, hidden: str, prompt: str) -> str:
    return f"prefix={prefix}|hidden={hidden}|prompt={prompt}"


def sink_paths(prompt: str) -> tuple[Path, ...]:
    """The shifts that are audited, and their splits: the sink hidden first, the prefix first, truncation."""
    bare, bare_hidden, full, exact, both, first = (_name(*levels, prompt) for levels in _CELLS)
    at = f" | prompt={prompt}"
    return (
        Path(
            SHIFT + at,
            (Point(bare), Point(bare, like=bare_hidden), Point(bare_hidden), Point(both), Point(first)),
            (DIRECT, PROPAGATED, "prefix, BOS hidden", "separator left visible"),
        ),
        Path(
            SHIFT_PREFIX_FIRST + at,
            (Point(bare), Point(exact), Point(exact, like=both), Point(both), Point(first)),
            ("prefix, BOS visible", DIRECT, PROPAGATED, "separator left visible"),
        ),
        Path(
            TRUNCATION + at,
            (Point(full), Point(full, like=first), Point(first)),
            ("hidden, A/(1 − m)", "hidden, propagated"),
        ),
    )


def audit_pairs(prompt: str) -> tuple[Path, ...]:
    """Every cell that hides roles beside the same encoder pass with all of them visible."""
    bare, bare_hidden, full, *others = (_name(*levels, prompt) for levels in _CELLS)
    pairs = ((bare, bare_hidden), *((full, other) for other in others))
    return tuple(
        Path(hidden, (Point(visible), Point(visible, like=hidden), Point(hidden)), ("predicted", "deviation"))
        for visible, hidden in pairs
    )


def _effects(prompt: str) -> tuple[list[Effect], list[tuple[Effect, tuple[Effect, ...]]]]:
    """What is compared under a prompt, and the two splits of the published shift."""
    bare, bare_hidden, full, exact, both, first = (
        place(prefix=prefix, hidden=hidden, prompt=prompt) for prefix, hidden in _CELLS
    )
    at = f" | prompt={prompt}"
    shift = (bare - first).named(SHIFT + at, "published shift")
    visible = (bare - exact).named(f"oracle prefix, BOS visible{at}", "prefix at equal sink")
    hidden = (bare_hidden - both).named(f"oracle prefix, BOS hidden{at}", "prefix at equal sink")
    sink_bare = (bare - bare_hidden).named(f"hiding BOS, bare{at}", "sink")
    sink_oracle = (exact - both).named(f"hiding BOS, oracle_trunc{at}", "sink")
    separator = (both - first).named(f"separator left visible{at}", "separator")
    effects = [
        shift,
        visible,
        hidden,
        sink_bare,
        sink_oracle,
        (full - exact).named(f"hiding prefix and separator{at}", "truncation"),
        separator,
        (visible - hidden).named(f"oracle prefix × hiding BOS{at}", "interaction"),
    ]
    return effects, [
        (shift, (sink_bare, hidden, separator)),
        (shift.named(f"{SHIFT_PREFIX_FIRST}{at}"), (visible, sink_oracle, separator)),
    ]


def _plan(rows: str, probes: tuple[str, ...], correction: Correction) -> Plan:
    cells = tuple(
        Cell(
            (("prefix", prefix), ("hidden", hidden), ("prompt", prompt)),
            f"{short}_{_PROMPTS[prompt]}",
        )
        for (prefix, hidden), short in _CELLS.items()
        for prompt in PROMPTS
    )
    factors = (
        Factor("prefix", ("none", "oracle")),
        Factor("hidden", tuple(dict.fromkeys(hidden for _, hidden in _CELLS))),
        Factor("prompt", PROMPTS),
    )
    contrasts: list[Contrast] = []
    splits: list[Split] = []
    for prompt in PROMPTS:
        effects, parts = _effects(prompt)
        contrasts += [own.contrast(cells) for own in effects]
        splits += [
            Split(whole.contrast(cells), tuple(own.contrast(cells) for own in steps))
            for whole, steps in parts
        ]
    audited = ("published shift", "prefix at equal sink", "sink")
    return Plan(
        design=Design(factors, cells),
        rows=rows,
        probes=probes,
        contrasts=tuple(contrasts),
        share_contrasts=tuple(contrast for contrast in contrasts if contrast.family in audited),
        splits=tuple(splits),
        correction=correction,
        headline=tuple(contrast.name for contrast in contrasts if contrast.family in audited[:2]),
        # Where inputs have no BOS, there is no sink to hide, and that is the audit's result.
        allow_idle=True,
    )


def _tables(run: Run) -> Mapping[str, Table]:
    from analyses.studies.sink_presentation import sink_tables

    return sink_tables(
        run,
        paths=[path for prompt in PROMPTS for path in sink_paths(prompt)],
        pairs=[pair for prompt in PROMPTS for pair in audit_pairs(prompt)],
        headline=sink_paths("query")[0],
    )


def _figures(run: Run, tables: Mapping[str, pd.DataFrame]) -> Mapping[str, Figure]:
    from analyses.studies.sink_presentation import sink_figures

    bare_hidden, *_, first = (pair.name for pair in audit_pairs("query"))
    return sink_figures(
        tables,
        run.manifest.setting,
        paths=[path for prompt in PROMPTS for path in sink_paths(prompt)[:2]],
        headline=sink_paths("query")[0],
        audited=[*(audit_pairs("none")[place].name for place in (0, -1)), bare_hidden, first],
    )


def conclusion(protocol: str) -> Conclusion:
    """Whether the prefix shifts attention once the sink is treated alike; beside it, the shift and the sink's own."""
    at = " | prompt=query"
    names = (f"oracle prefix, BOS hidden{at}", SHIFT + at, f"hiding BOS, bare{at}")
    shares = [
        Evidence(name, "share_effects", {"role": "cross total"}, of="all encoder positions") for name in names
    ]
    return Conclusion(
        tuple(shares),
        {
            "positive": "With the sink hidden on both sides the prefix still lowers the share of attention that goes to "
            "the encoder, in some layer at least",
            "negative": "With the sink hidden on both sides the prefix still raises the share of attention that goes to "
            "the encoder, in some layer at least",
            "none": "With the sink hidden on both sides the prefix shifts no share of attention that matters",
            "undecided": "Whether the prefix shifts attention once the sink is hidden on both sides is open",
        },
        "sink_layers",
        # Without a BOS there is no sink to hide.
        needs=(shares[-1],),
    )


@analysis("exp10")
def exp10() -> Analysis:
    """{bare, oracle} × what is hidden {nothing, BOS, prefix, both, first positions} × {no prompt, query}."""
    return Analysis(
        name="exp10",
        title="Sink audit",
        question="How much of a shift in attention is explained by hiding the encoder's BOS, an attention sink?",
        plans={
            "corrected": _plan("predicting", ("budgets", "entropies", "renormalised", "norm"), "holm"),
            "published": _plan(
                "holding", ("budgets", "published_entropies", "renormalised", "norm"), "bonferroni"
            ),
        },
        n=500,
        tables=_tables,
        figures=_figures,
        conclusion=conclusion,
    )


if __name__ == "__main__":
    from budgetlens.command.main import main

    sys.exit(main(["run", "exp10", *sys.argv[1:]]))
