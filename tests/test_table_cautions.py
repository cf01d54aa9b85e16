"""Every table that holds an interval or a test says where it may not keep its promise, by one rule."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analyses.studies import enrichment, enrichment_plans, knockout_plans, knockouts
from analyses.studies.sink_paths import Path as SinkPath
from analyses.studies.sink_paths import Point
from analyses.studies.sink_prediction import SinkReadings
from analyses.studies.sink_tables import audit_table, head_table, shift_table
from budgetlens.statistics.bands import head_map, share_differences, share_table
from budgetlens.statistics.budget_arrays import BudgetArray, empty_budget
from budgetlens.statistics.column_splits import means_of_columns
from budgetlens.statistics.contrasts import comparison
from budgetlens.statistics.effects import effects_table
from budgetlens.statistics.inference import Inference
from budgetlens.statistics.ratios import decomposition, ratio_of_means
from tests.cautions import TAILS, caution_of
from tests.test_effects_bands import SHARE

FEW = Inference(seed=1, resamples=199, smallest_difference=0.01)
HIDDEN = "prefix+separator"

#: As many units as need a caution, and as many as need none.
COUNTS = pytest.mark.parametrize(("n", "expected"), [(499, TAILS), (500, "")])
#: The same of ratios, whose intervals are those of differences between two effects, and of bands over layers.
OF_RATIOS = pytest.mark.parametrize(("n", "expected"), [(999, TAILS), (1_000, "")])


def light(seed: int, n: int) -> np.ndarray:
    """Differences without tails."""
    return np.random.default_rng(seed).normal(1.0, 0.2, n)


def heavy(seed: int, n: int) -> np.ndarray:
    """Differences with tails and skew."""
    return np.random.default_rng(seed).lognormal(0.0, 1.5, n)


def records(cells: dict[str, np.ndarray]) -> pd.DataFrame:
    return pd.concat(
        pd.DataFrame({"example": range(len(values)), "cell": cell, "nll": values, "answer_tokens": 2})
        for cell, values in cells.items()
    )


# Ratios and splits.


@OF_RATIOS
@pytest.mark.parametrize("bottom", [light, heavy])
def test_a_row_of_a_ratio_is_cautioned(bottom, n, expected) -> None:
    row = ratio_of_means(heavy(4, n), 2 + bottom(5, n), FEW).as_row()
    assert np.isfinite(row["ratio"])
    assert row["caution"] == expected
    assert "denominator_caution" not in row


def test_a_withheld_ratio_keeps_the_caution_of_what_withheld_it() -> None:
    around_zero = heavy(5, 400) - heavy(5, 400).mean()
    row = ratio_of_means(light(4, 400), around_zero, FEW).as_row()
    assert np.isnan(row["ratio"])
    assert row["caution"] == TAILS


@OF_RATIOS
def test_parts_of_a_split_are_cautioned(n, expected) -> None:
    cells = {"a": light(1, n) + heavy(2, n), "b": heavy(2, n), "c": np.zeros(n)}
    total, first, second = (
        comparison(baseline, treatment, "f", name=baseline + treatment)
        for baseline, treatment in ("ac", "ab", "bc")
    )
    table = decomposition(records(cells), total, [first, second], FEW).set_index("part")
    assert table["share"].notna().all()
    # The total has no ratio, and enough examples for its own interval.
    assert table["caution"].to_dict() == {"total": "", "ab": expected, "bc": expected}


# Copied states.


def patches() -> list[enrichment_plans.Patch]:
    return [
        enrichment_plans.Patch(direction, "document", "final", "none", HIDDEN)
        for direction in enrichment_plans.DIRECTIONS
    ]


@OF_RATIOS
def test_restoration_is_cautioned(n, expected) -> None:
    every = patches()
    bare, enriched = (
        enrichment_plans.patch_cell(prefix, HIDDEN, "none").name for prefix in ("none", "oracle")
    )
    effect, change = 1 + light(2, n), heavy(3, n) / 4
    cells = {bare: np.full(n, 9.0), enriched: 9.0 - effect}
    cells[every[0].cell.name] = 9.0 - change
    cells[every[1].cell.name] = 9.0 - effect + change
    table = enrichment.restoration_table(records(cells), every, FEW)
    assert table["share"].notna().all()
    assert table["caution"].tolist() == [expected, expected]


@COUNTS
def test_restored_shares_are_cautioned_alike(n, expected) -> None:
    patch = patches()[0]
    bare, enriched = (
        enrichment_plans.patch_cell(prefix, HIDDEN, "none").name for prefix in ("none", "oracle")
    )
    budget = empty_budget(
        "decoder",
        "merged",
        cells=[bare, enriched, patch.cell.name],
        examples=range(n),
        layers=[0, 1],
        heads=[0],
        roles=["document", "answer"],
    )
    effect = {"document": 0.1 * light(1, n), "answer": 0.01 * heavy(2, n)}
    done = {"document": 0.02 * light(3, n), "answer": 0.002 * light(4, n)}
    for place, role in enumerate(effect):
        budget.values[0, ..., place] = 0.5
        budget.values[1, ..., place] = (0.5 - effect[role])[:, None, None]
        budget.values[2, ..., place] = (0.5 - done[role])[:, None, None]
    table = enrichment.budget_restoration_table([budget], [patch], FEW)
    assert table["caution"].tolist() == [expected, expected]


@COUNTS
def test_knockouts_are_cautioned_as_their_effects_are(n, expected) -> None:
    base = knockout_plans.BaseCell("none", "visible", ("document", "eos", "bos"))
    every = knockout_plans.knockouts([base], {"predicting": ("all",)})
    rises = dict(
        zip((each.cell.name for each in every), (light(1, n), heavy(2, n), np.zeros(n)), strict=True)
    )
    cells = {base.cell().name: np.zeros(n), **rises}
    effects = effects_table(records(cells), [each.contrast for each in every], FEW)
    positions = {"document": 7, "eos": 3, "bos": 0}
    table = knockouts.knockout_table(effects, [], every, positions).set_index("keys")["caution"]
    assert table.to_dict() == {"document": expected, "eos": expected, "bos": ""}


# Attention.


def shares(n: int) -> BudgetArray:
    """Two cells, three layers and two heads: differences in two layers, in one head of fewer examples, none in the third."""
    budget = empty_budget(
        "decoder",
        "merged",
        cells=["bare", "treated"],
        examples=range(n),
        layers=[0, 1, 2],
        heads=[0, 1],
        roles=["document", "answer"],
    )
    budget.values[:] = 0.5
    for head in (0, 1):
        budget.values[1, :, 0, head, 0] -= 0.1 * light(10 + head, n)
        budget.values[1, :, 1, head, 0] -= 0.01 * heavy(20, n)
    return budget


@OF_RATIOS
def test_bands_are_cautioned_where_there_are_any(n, expected) -> None:
    table = share_differences(shares(n), [comparison("bare", "treated", "f")], FEW, SHARE)
    assert table.columns[-2:].tolist() == ["caution", "reason"]
    banded = table["band_low"].notna()
    assert banded.sum() == 2
    assert (table.loc[banded, "caution"] == expected).all()
    assert (table.loc[~banded, "caution"] == "").all()


def test_heads_are_cautioned_one_by_one() -> None:
    budget = shares(500)
    budget.values[1, 300:, 1, 1, 0] = np.nan
    table = head_map(budget, [comparison("bare", "treated", "f")])
    assert table.columns[-2:].tolist() == ["caution", "reason"]
    difference = budget.values[0] - budget.values[1]
    for row in table[table["p"].notna()].itertuples():
        assert row.caution == caution_of(difference[:, row.layer, row.head, 0])
    assert (table["caution"] != "").sum() == 1
    assert table.loc[table["p"].isna(), "caution"].eq("").all()


@COUNTS
def test_means_of_shares_are_cautioned(n, expected) -> None:
    table = share_table(shares(n), FEW).set_index(["cell", "layer", "role"])["caution"]
    assert table["treated", 0, "document"] == expected
    # Nothing varies there.
    assert table["bare", 0, "document"] == ""


# Columns with totals of their own.


def test_means_of_documents_are_cautioned_by_documents() -> None:
    # 700 examples of 400 documents are 400 units.
    values = np.column_stack([light(1, 700), heavy(2, 700)])
    documents = np.arange(700) % 400
    assert means_of_columns(values, FEW, clusters=documents).caution.tolist() == [TAILS, TAILS]
    assert means_of_columns(values, FEW).caution.tolist() == ["", ""]


def readings(n: int) -> tuple[SinkReadings, SinkPath]:
    """One layer and one head; the way from visible to hidden: a light step, then a heavy one."""
    first, second = 0.1 * light(1, n), 0.01 * heavy(2, n)
    points = {"none": np.full(n, 0.9), "bos": 0.9 - first}
    values = {("visible", removed): value for removed, value in points.items()}
    values["hidden", "none"] = 0.9 - first - second
    return SinkReadings(
        block="merged",
        examples=tuple(range(n)),
        layers=(0,),
        heads=(0,),
        quantities=("document",),
        values={key: value.reshape(n, 1, 1, 1).astype(np.float32) for key, value in values.items()},
        hidden={"visible": ("none",) * n, "hidden": ("bos",) * n},
    ), SinkPath(
        "shift", (Point("visible"), Point("visible", like="hidden"), Point("hidden")), ("sink", "rest")
    )


@COUNTS
def test_the_sink_audit_is_cautioned(n, expected) -> None:
    own, path = readings(n)
    shifts = shift_table(own, [path], FEW)
    heads = head_table(own, [path], FEW).set_index("part")["caution"]
    assert heads.to_dict() == dict.fromkeys(("total", "sink", "rest"), expected)
    assert set(shifts["caution"]) == {expected}
    audit = audit_table(own, [replace(path, name="hidden")], FEW)
    assert (audit["caution"] == expected).all()
