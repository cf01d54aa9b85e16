"""Look and use: ledgers against the records themselves, agreement and cost by hand, the figure by its marks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import figures
from analyses.studies.look_and_use import (
    COST,
    LABELS,
    LEDGERS,
    comparisons,
    costs,
    rank_correlations,
    side_by_side,
)
from analyses.studies.look_and_use_plans import PLACES, SERVED, Place, instead, plan
from budgetlens.command.main import main
from budgetlens.runs.run import Run
from budgetlens.tables.build import build_tables
from budgetlens.tables.conclusions import conclusions_of
from tests.conftest import save_tiny, write_corpus

EXAMPLES = 4


@pytest.fixture(scope="module", params=["t5gemma2", pytest.param("t5", marks=pytest.mark.slow)])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run of a merged softmax, and one of separate ones."""
    folder = tmp_path_factory.mktemp(request.param)
    model = save_tiny(request.param, folder / "model")
    corpus = write_corpus(folder / "tiny.jsonl", EXAMPLES)
    given = ["run", "exp13", "--model", str(model), "--corpus", str(corpus), "--device", "cpu"]
    assert main([*given, "--quiet", "--no-report", "--out", str(folder / "run")]) == 0
    return Run.open(folder / "run")


def test_every_role_is_cut_where_something_is_left_to_see() -> None:
    cells = {cell.name: cell for cell in plan().design.cells}
    assert len(cells) == sum(1 + len(place.roles) for place in PLACES) == 24
    for place in PLACES:
        assert ("start" in place.roles) == ("prompt" in place.roles) == (place.prompt == "query")
        for role in place.roles:
            weights = place.cut(role).weights
            assert weights == {place.cell().name: 1, place.cell(role).name: -1}
            assert cells[place.cell(role).name].factors["knockout"] == f"predicting->{role}@all"


def test_ledgers_are_means_and_sums_of_the_records(run: Run) -> None:
    """By pandas, from what was recorded, one place and every measure."""
    place = SERVED
    found = side_by_side(run, place)
    assert found.keys() == {*(ledger.name for ledger in LEDGERS), COST}
    for ledger in LEDGERS:
        records = run.records(ledger.name)
        own = records[(records["cell"].astype(str) == place.cell().name) & (records["stack"] == "decoder")]
        own = own[own["role"].astype(str).isin(found[COST].columns)]
        if (own["block"] == "joint").any():
            own = own[own["block"] == "joint"]
        if ledger.layers == "last":
            own = own[own["layer"] == own["layer"].max()]
        keys = [own["example"].astype(str), own["role"].astype(str)]
        grouped = own[ledger.quantity].groupby(keys)
        expected = (grouped.sum() if ledger.layers == "sum" else grouped.mean()).unstack()
        values = found[ledger.name].rename(index=str)
        assert np.isfinite(values.to_numpy()).all()
        np.testing.assert_allclose(
            values, expected.loc[values.index, values.columns], rtol=1e-5, atol=1e-7, err_msg=ledger.name
        )


def test_costs_are_differences_of_nll_and_undefined_where_nothing_is_cut(run: Run) -> None:
    nll = run.outcomes.astype({"example": str, "cell": str}).pivot(
        index="example", columns="cell", values="nll"
    )
    lengths = run.trials.astype({"example": str}).groupby("example")["answer_tokens"].first()
    assert (lengths == 1).any()
    for place in PLACES:
        found = costs(run, place)
        assert tuple(found.columns) == place.roles
        for role in place.roles:
            expected = nll[place.cell(role).name] - nll[place.cell().name]
            if role == "answer":
                # The row that predicts an answer's only token sees none of it.
                expected = expected.mask(lengths == 1)
            np.testing.assert_array_equal(found[role], expected.loc[found.index.astype(str)])


def test_a_role_that_no_example_has_is_left_out(run: Run) -> None:
    tables = run.analysis.tables(run)  # type: ignore[misc]
    frame = tables["look_and_use"].frame
    assert set(frame["measure"]) == set(LABELS.values())
    assert set(frame.loc[frame["cell"] == Place("none", "none").words, "role"]) == {
        "bos",
        "document",
        "eos",
        "answer",
    }
    agreement = tables["agreement"].frame
    assert agreement["mean"].abs().max() <= 1
    assert agreement["low"].min() >= -1
    assert agreement["high"].max() <= 1
    sink = tables["sink"].frame
    shares = sink[sink["measure"] == LABELS["budgets"]].set_index("cell")["mean"]
    norms = sink[sink["measure"] == LABELS["norm"]].set_index("cell")
    np.testing.assert_allclose(norms["less_mean"], shares - norms["mean"], atol=1e-9)


def test_comparisons_are_paired_differences_of_agreement_and_of_what_the_sink_gets(run: Run) -> None:
    ledgers = side_by_side(run, SERVED)
    tables = comparisons(run, ledgers)
    rho = {name: rank_correlations(ledgers[name], ledgers[COST]) for name in ("budgets", "norm", "alti")}
    frame = tables["agreement_effects"].frame.set_index("contrast")["mean_difference"]
    assert np.isfinite(rho["budgets"]).all()
    for one in ("norm", "alti"):
        assert frame[instead(one, "budgets")] == pytest.approx((rho["budgets"] - rho[one]).mean())
        assert frame[instead(one, "none")] == pytest.approx(-rho[one].mean())
    sink = tables["sink_effects"].frame.set_index("contrast")["mean_difference"]
    expected = (ledgers["budgets"]["bos"] - ledgers["norm"]["bos"]).mean()
    assert sink[instead("norm", "budgets")] == pytest.approx(expected)
    assert (
        len(
            conclusions_of(run, build_tables(run) | {name: own.frame for name, own in tables.items()})[0].told
        )
        > 3
    )


def test_measures_are_read_in_the_places_alone_and_the_likelihood_in_every_cell(run: Run) -> None:
    places = {place.cell().name for place in PLACES}
    for ledger in LEDGERS:
        assert set(run.records(ledger.name)["cell"].astype(str)) == places
    assert set(run.outcomes["cell"].astype(str)) == {cell.name for cell in plan().design.cells}
    assert run.manifest.identity["read_in"] == [place.cell().name for place in PLACES]


def test_rank_correlations_by_hand() -> None:
    """1 − 6 Σ d² / (n (n² − 1)) without ties: d of (0, 0, 0, 0), (3, 1, 1, 3) and (1, 1, 0, 0)."""
    one = pd.DataFrame([[1.0, 2, 3, 4]] * 5)
    other = pd.DataFrame(
        [[10.0, 20, 30, 40], [4, 3, 2, 1], [2, 1, 3, 4], [5, 5, 5, 5], [1, 2, np.nan, np.nan]]
    )
    found = rank_correlations(one, other)
    np.testing.assert_allclose(found[:3], [1, -1, 1 - 6 * 2 / 60])
    # No order in a level, and two roles have none worth the name.
    assert np.isnan(found[3:]).all()


def test_the_figure_holds_every_measure_and_the_cost_by_role() -> None:
    rows = [
        {
            "cell": cell,
            "role": role,
            "measure": measure,
            "n": 9,
            "mean": mean,
            "low": mean - 0.1,
            "high": mean + 0.2,
        }
        for cell in ("one", "two")
        for role, mean in (("bos", 0.6), ("document", 0.3), ("answer", -0.1))
        for measure in ("share", "norm", "cost")
    ]
    for narrow in (False, True):
        figure = figures.look_and_use(
            pd.DataFrame(rows), measures=("share", "norm", "absent"), cost="cost", narrow=narrow
        )
        drawn = {(trace.meta["cell"], trace.meta["measure"]): trace for trace in figure.data}
        assert set(drawn) == {(cell, what) for cell in ("one", "two") for what in ("share", "norm", "cost")}
        for trace in drawn.values():
            assert list(trace.x) == [0.6, 0.3, -0.1]
            np.testing.assert_allclose(trace.error_x.array, 0.2)
            np.testing.assert_allclose(trace.error_x.arrayminus, 0.1)
            assert list(np.round(np.asarray(trace.y, dtype=float))) == [0, 1, 2]
        # The marks of a role stand apart.
        assert drawn["one", "share"].y[0] < drawn["one", "norm"].y[0]
    with pytest.raises(ValueError, match="measure"):
        figures.look_and_use(pd.DataFrame(rows), measures=("share",), cost="unknown")
