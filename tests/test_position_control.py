"""The encoder's position control: where a prefix can't move anything, by computation, and what a report then says."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest

from budgetlens.design.catalogue import find_analysis
from budgetlens.design.design import Cell
from budgetlens.model.tokenization import TokenizedTrial, TrialTokenizer
from budgetlens.report.caveats import caveats
from budgetlens.report.drawing import Drawn, headline_figures
from budgetlens.runs.manifest import CellFacts
from probes.likelihood import Likelihood
from tests import report_pages
from tests.cells import EXAMPLES, Models, captured, context_of
from tests.precision import Float32, beyond, within
from tests.reference import tiny_models

HIDDEN = "prefix+separator"


def trials_of(model: object, level: str, prefix: str, *, begin: bool) -> list[TokenizedTrial]:
    own = model.trial_tokenizer  # type: ignore[attr-defined]
    tokenizer = TrialTokenizer(
        tiny_models.tokenizer(begin=begin),
        own.start_token,
        depths=own.depths,
        position_table=own.position_table,
    )
    cell = Cell((("prefix", prefix), ("hidden", HIDDEN), ("prefix_attention", level)))
    return [
        tokenizer(cell.trial(example, context_of(model, index)))  # type: ignore[arg-type]
        for index, example in enumerate(EXAMPLES[:3])
    ]


@pytest.mark.parametrize("family", ["t5", "t5gemma", "t5gemma2", "bart"])
@pytest.mark.parametrize("begin", [True, False])
def test_without_bos_a_prefix_moves_nothing_where_positions_are_relative(
    family: str, begin: bool, loaded: Models, float32: Callable[[str], Float32]
) -> None:
    model = loaded(family)
    losses = {
        name: captured(model, trials_of(model, level, prefix, begin=begin)).token_losses
        for name, (prefix, level) in {
            "bare": ("none", "none"),
            "masked": ("oracle", "masked"),
            "unshifted": ("oracle", "unshifted"),
            "whole": ("oracle", "none"),
        }.items()
    }
    own = float32(family).losses
    compare = within if family != "bart" and not begin else beyond
    compare(losses["bare"], losses["masked"], of=own)
    compare(losses["unshifted"], losses["whole"], of=own)
    beyond(losses["bare"], losses["unshifted"], of=own)


def told(family: str, bos: float, level: str) -> bool:
    cells = [{"name": each, "factors": {"prefix_attention": each}} for each in dict.fromkeys(("none", level))]
    manifest = report_pages.manifest(model={"family": family}, cells=cells)
    trials = report_pages.table(pd.DataFrame({"condition": ["a", "b"], "mean_bos_tokens": [bos, bos]}), "t")
    return any("a prefix moves nothing" in caveat for caveat in caveats(manifest, {"trials": trials}))


def test_the_report_says_where_it_is_so() -> None:
    assert told("t5", 0.0, "masked")
    assert told("t5gemma2", 0.0, "unshifted")
    assert not told("t5", 1.0, "masked")
    assert not told("bart", 0.0, "masked")
    assert not told("t5", 0.0, "none")


def test_the_interaction_plot_has_the_cells_that_are_not_taken_apart() -> None:
    """Three points of one panel would stand at one place otherwise: whole, masked and unshifted."""
    plan = find_analysis("exp01").plan("corrected")
    cells = [CellFacts(cell.name, cell.alias, cell.factors) for cell in plan.design.cells]
    table = pd.DataFrame(
        [
            {"cell": cell.name, "alias": cell.alias, **cell.factors, "n": 9}
            | {"mean": number, "low": number - 0.5, "high": number + 0.5, "reason": ""}
            for number, cell in enumerate(cells)
        ]
    )
    outcome = Drawn("likelihood", Likelihood.declares, plan, "t")
    figure = headline_figures(outcome, cells, {"likelihood": table})["interaction"]
    drawn = sorted(float(y) for trace in figure.data if trace.y is not None for y in trace.y)
    apart = [
        number for number, cell in enumerate(plan.design.cells) if cell.factors["prefix_attention"] != "none"
    ]
    assert len(apart) == 4
    assert drawn
    assert not set(apart) & set(drawn)
