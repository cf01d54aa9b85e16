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
from budgetlens.explorer.attention_view import share_rows
from budgetlens.statistics.bands import head_map, share_differences
from budgetlens.statistics.budget_arrays import BudgetArray, empty_budget
from budgetlens.statistics.column_splits import means_of_columns
from budgetlens.statistics.contrasts import comparison
from budgetlens.statistics.effects import effects_table
from budgetlens.statistics.inference import Inference
from budgetlens.statistics.intervals import column_cautions, heavy_tails
from budgetlens.statistics.ratios import decomposition, ratio_of_means
from tests.cautions import SKEW, TAILS, caution_of, left_out_ratios, tails_of
from tests.test_effects_bands import SHARE

N = 400
FEW = Inference(seed=1, resamples=199, smallest_difference=0.01)
HIDDEN = "prefix+separator"


def light(seed: int, n: int = N) -> np.ndarray:
    """Differences that n examples bear."""
    return np.random.default_rng(seed).normal(1.0, 0.2, n)


def heavy(seed: int, n: int = N) -> np.ndarray:
    """Differences with more tails and skew than n examples bear."""
    return np.random.default_rng(seed).lognormal(0.0, 1.5, n)


def test_the_rule_tells_the_two_apart() -> None:
    assert caution_of(light(1)) == ""
    assert caution_of(heavy(1)) == f"{TAILS}; {SKEW}"


def test_columns_are_cautioned_as_scipy_s_moments_say() -> None:
    values = np.column_stack([light(1), heavy(2), heavy(3), np.ones(N), np.full(N, np.nan)])
    values[50:, 2] = np.nan
    found = column_cautions(values)
    assert found.tolist() == [*(caution_of(values[:, column]) for column in range(3)), "", ""]
    assert (found[:2] != "").tolist() == heavy_tails(values[:, :2]).tolist()


def records(cells: dict[str, np.ndarray]) -> pd.DataFrame:
    return pd.concat(
        pd.DataFrame({"example": range(len(values)), "cell": cell, "nll": values, "answer_tokens": 2})
        for cell, values in cells.items()
    )


# Ratios and splits.


@pytest.mark.parametrize(("top", "bottom"), [(light, light), (heavy, light), (light, heavy), (heavy, heavy)])
def test_a_row_of_a_ratio_is_cautioned_of_both_its_intervals(top, bottom) -> None:
    numerator, denominator = top(4), 2 + bottom(5)
    row = ratio_of_means(numerator, denominator, FEW).as_row()
    assert row["caution"] == tails_of(denominator, left_out_ratios(numerator, denominator))
    assert "denominator_caution" not in row


def test_a_withheld_ratio_keeps_the_caution_of_what_withheld_it() -> None:
    around_zero = heavy(5) - heavy(5).mean()
    row = ratio_of_means(light(4), around_zero, FEW).as_row()
    assert np.isnan(row["ratio"])
    assert row["caution"] == tails_of(around_zero) == TAILS


def test_parts_of_a_split_are_cautioned_of_their_shares() -> None:
    # The total's tails are in every share, and in the first part's mean not.
    cells = {"a": light(1) + heavy(2), "b": heavy(2), "c": np.zeros(N)}
    total, first, second = (
        comparison(baseline, treatment, "f", name=baseline + treatment)
        for baseline, treatment in ("ac", "ab", "bc")
    )
    table = decomposition(records(cells), total, [first, second], FEW).set_index("part")
    differences = {"total": cells["a"], "ab": light(1), "bc": cells["b"]}
    for part, values in differences.items():
        shares = [] if part == "total" else [left_out_ratios(values, cells["a"])]
        assert table.loc[part, "caution"] == tails_of(values, *shares)
    assert tails_of(differences["ab"]) == ""
    assert table.loc["ab", "caution"] == TAILS


# Copied states.


def patches() -> list[enrichment_plans.Patch]:
    return [
        enrichment_plans.Patch(direction, "document", "final", "none", HIDDEN)
        for direction in enrichment_plans.DIRECTIONS
    ]


@pytest.mark.parametrize("enriching", [light, heavy])
@pytest.mark.parametrize("patching", [light, heavy])
def test_restoration_is_cautioned_of_all_its_intervals(enriching, patching) -> None:
    every = patches()
    bare, enriched = (
        enrichment_plans.patch_cell(prefix, HIDDEN, "none").name for prefix in ("none", "oracle")
    )
    effect, change = 1 + enriching(2), patching(3) / 4
    cells = {bare: np.full(N, 9.0), enriched: 9.0 - effect}
    cells[every[0].cell.name] = 9.0 - change
    cells[every[1].cell.name] = 9.0 - effect + change
    table = enrichment.restoration_table(records(cells), every, FEW)
    expected = tails_of(change, effect, left_out_ratios(change, effect))
    assert table["caution"].tolist() == [expected, expected]
    assert (expected == "") == (enriching is light and patching is light)


def test_restored_shares_are_cautioned_alike() -> None:
    patch = patches()[0]
    bare, enriched = (
        enrichment_plans.patch_cell(prefix, HIDDEN, "none").name for prefix in ("none", "oracle")
    )
    budget = empty_budget(
        "decoder",
        "merged",
        cells=[bare, enriched, patch.cell.name],
        examples=range(N),
        layers=[0, 1],
        heads=[0],
        roles=["document", "answer"],
    )
    effect = {"document": 0.1 * light(1), "answer": 0.01 * heavy(2)}
    done = {"document": 0.02 * light(3), "answer": 0.002 * light(4)}
    for place, role in enumerate(effect):
        budget.values[0, ..., place] = 0.5
        budget.values[1, ..., place] = (0.5 - effect[role])[:, None, None]
        budget.values[2, ..., place] = (0.5 - done[role])[:, None, None]
    table = enrichment.budget_restoration_table([budget], [patch], FEW).set_index("role")
    for role in effect:
        ratios = left_out_ratios(done[role], effect[role])
        assert table.loc[role, "caution"] == tails_of(done[role], effect[role], ratios)
    assert table["caution"].tolist() == ["", TAILS]


def test_knockouts_are_cautioned_as_their_effects_are() -> None:
    base = knockout_plans.BaseCell("none", "visible", ("document", "eos", "bos"))
    every = knockout_plans.knockouts([base], {"predicting": ("all",)})
    rises = dict(zip((each.cell.name for each in every), (light(1), heavy(2), np.zeros(N)), strict=True))
    cells = {knockout_plans.knockout_cell(base).name: np.zeros(N), **rises}
    effects = effects_table(records(cells), [each.contrast for each in every], FEW)
    positions = {"document": 7, "eos": 3, "bos": 0}
    table = knockouts.knockout_table(effects, [], every, positions).set_index("keys")["caution"]
    assert table.to_dict() == {"document": "", "eos": caution_of(heavy(2)), "bos": ""}
    assert caution_of(heavy(2)) == f"{TAILS}; {SKEW}"


# Attention.


def shares() -> BudgetArray:
    """Two cells, three layers and two heads: the layers' differences are light, heavy, and none."""
    budget = empty_budget(
        "decoder",
        "merged",
        cells=["bare", "treated"],
        examples=range(N),
        layers=[0, 1, 2],
        heads=[0, 1],
        roles=["document", "answer"],
    )
    budget.values[:] = 0.5
    for head in (0, 1):
        budget.values[1, :, 0, head, 0] -= 0.1 * light(10 + head)
        budget.values[1, :, 1, head, 0] -= 0.01 * heavy(20)
    budget.values[1, 300:, 1, 1, 0] = np.nan
    return budget


def test_bands_are_cautioned_layer_by_layer() -> None:
    budget = shares()
    table = share_differences(budget, [comparison("bare", "treated", "f")], FEW, SHARE)
    assert table.columns[-2:].tolist() == ["caution", "reason"]
    # An example counts where it has every layer of the role.
    known = np.isfinite(budget.values[1, :, 1, 1, 0])
    differences = (budget.values[0] - budget.values[1])[known].mean(axis=2)
    for layer, expected in ((0, ""), (1, f"{TAILS}; {SKEW}")):
        row = table[(table["layer"] == layer) & (table["role"] == "document")].iloc[0]
        assert row["caution"] == caution_of(differences[:, layer, 0]) == expected
    assert (table.loc[(table["layer"] == 2) | (table["role"] == "answer"), "caution"] == "").all()


def test_heads_are_cautioned_one_by_one() -> None:
    budget = shares()
    table = head_map(budget, [comparison("bare", "treated", "f")])
    assert table.columns[-2:].tolist() == ["caution", "reason"]
    difference = budget.values[0] - budget.values[1]
    for row in table[table["p"].notna()].itertuples():
        assert row.caution == caution_of(difference[:, row.layer, row.head, 0])
    assert (table["caution"] != "").sum() == 2
    assert table.loc[table["p"].isna(), "caution"].eq("").all()


def test_the_explorer_s_ledger_is_cautioned() -> None:
    budget = shares()
    table = share_rows(budget).set_index(["cell", "layer", "role"])["caution"]
    means = budget.values.mean(axis=3)
    assert table["treated", 0, "document"] == tails_of(means[1, :, 0, 0]) == ""
    assert table["treated", 1, "document"] == tails_of(means[1, :, 1, 0]) == TAILS
    assert table["bare", 0, "document"] == ""


# Columns with totals of their own.


def test_means_of_documents_are_cautioned_by_documents() -> None:
    # Two examples a document: its sum has the tails, whichever of the two brings them.
    values = np.column_stack([np.repeat(light(1), 2), np.stack([heavy(2), light(3)], axis=1).reshape(-1)])
    found = means_of_columns(values, FEW, clusters=np.repeat(np.arange(N), 2)).caution
    assert found.tolist() == [caution_of(values[:, column].reshape(N, 2).sum(axis=1)) for column in (0, 1)]
    assert found[0] == "" != found[1]


def readings() -> tuple[SinkReadings, SinkPath]:
    """One layer and one head; the way from visible to hidden: a light step, then a heavy one."""
    first, second = 0.1 * light(1), 0.01 * heavy(2)
    points = {"none": np.full(N, 0.9), "bos": 0.9 - first}
    values = {("visible", removed): value for removed, value in points.items()}
    values["hidden", "none"] = 0.9 - first - second
    return SinkReadings(
        block="merged",
        examples=tuple(range(N)),
        layers=(0,),
        heads=(0,),
        quantities=("document",),
        values={key: value.reshape(N, 1, 1, 1).astype(np.float32) for key, value in values.items()},
        hidden={"visible": ("none",) * N, "hidden": ("bos",) * N},
    ), SinkPath(
        "shift", (Point("visible"), Point("visible", like="hidden"), Point("hidden")), ("sink", "rest")
    )


def test_the_sink_audit_is_cautioned_where_it_tests_and_where_it_does_not() -> None:
    own, path = readings()
    points = [own.at(point)[:, 0, 0, 0].astype(np.float64) for point in path.points]
    steps = {
        "total": points[0] - points[2],
        "sink": points[0] - points[1],
        "rest": points[1] - points[2],
    }
    shifts = shift_table(own, [path], FEW)
    heads = head_table(own, [path], FEW).set_index("part")["caution"]
    assert heads.index.tolist() == list(steps)
    for part, values in steps.items():
        ratios = [] if part == "total" else [left_out_ratios(values, steps["total"])]
        expected = tails_of(values, *ratios)
        assert shifts.loc[shifts["part"] == part, "caution"].tolist() == [expected] * 2
        # The test's skew beside it, where there is any.
        assert heads[part] == (f"{expected}; {SKEW}" if SKEW in caution_of(values) else expected)
    assert heads["rest"] == f"{TAILS}; {SKEW}"
    audit = audit_table(own, [replace(path, name="hidden")], FEW)
    assert (audit["caution"] == tails_of(points[2], points[2] - points[1])).all()
    assert audit["caution"].iloc[0] == TAILS
