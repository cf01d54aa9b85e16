"""Analysis 14 from end to end on a tiny model: its cells are those of 01, its table arithmetic on the records."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from statsmodels.stats.contingency_tables import mcnemar

from budgetlens.command.main import main
from budgetlens.design.catalogue import find_analysis
from budgetlens.design.plan import PROTOCOLS
from budgetlens.runs.run import Run
from budgetlens.tables.complete import tables_of
from tests.conftest import write_corpus

EXAMPLES = 5


@pytest.fixture(scope="module")
def finished(tiny_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("answers")
    corpus = write_corpus(folder / "corpus.jsonl", EXAMPLES)
    out = folder / "run"
    arguments = [
        "run",
        "exp14",
        "--model",
        str(tiny_directory),
        "--corpus",
        str(corpus),
        "--protocol",
        "published",
    ]
    assert main([*arguments, "--probes", "generation:tokens=6", "--out", str(out), "--no-report"]) == 0
    return Run.open(out)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_its_cells_and_effects_are_those_of_01(protocol: str) -> None:
    own, other = (find_analysis(name).plan(protocol) for name in ("exp14", "exp01"))
    assert own.design == other.design
    assert own.contrasts == other.contrasts
    assert own.probes == ("generation",)


def wide(run: Run, probe: str, quantity: str) -> pd.DataFrame:
    records = run.records(probe).astype({"example": str, "cell": str})
    return records.pivot(index="example", columns="cell", values=quantity)


def test_effects_on_answers_stand_beside_those_on_likelihood(finished: Run) -> None:
    frame = tables_of(finished)[0]["answers"]
    assert list(frame["quantity"].unique()) == [
        "answer's NLL",
        "exact match of the generated answer",
        "F1 of the generated answer",
        "recall of the right answer's words",
    ]
    contrasts = {own.name: own.weights for own in finished.plan.contrasts}
    nll, f1 = wide(finished, "likelihood", "nll"), wide(finished, "generation", "f1")
    for name in frame["contrast"].unique():
        own = frame[frame["contrast"] == name].set_index("quantity")
        gain = sum(nll[cell] * weight for cell, weight in contrasts[name].items())
        assert own.loc["answer's NLL", "mean"] == pytest.approx(gain.mean())
        assert own.loc["answer's NLL", "agreement"] == pytest.approx(1.0)
        # Higher is better: what the treatment has more is the gain.
        more = -sum(f1[cell] * weight for cell, weight in contrasts[name].items())
        assert own.loc["F1 of the generated answer", "mean"] == pytest.approx(more.mean())
        told = own.loc["F1 of the generated answer", "agreement"]
        expected = gain.rank().corr(more.rank()) if more.nunique() > 1 else float("nan")
        assert told == pytest.approx(expected, nan_ok=True)


def test_every_tested_quantity_has_a_table_of_effects(finished: Run) -> None:
    tables = tables_of(finished)[0]
    assert {"generation", "generation_effects", "generation_f1_effects", "generation_recall_effects"} <= set(
        tables
    )
    assert "generation_length_effects" not in tables
    recall = wide(finished, "generation", "recall")
    effects = tables["generation_recall_effects"].set_index("contrast")
    exact = tables["generation_effects"].set_index("contrast")
    right = wide(finished, "generation", "exact_match")
    for contrast in finished.plan.contrasts:
        difference = sum(recall[cell] * weight for cell, weight in contrast.weights.items())
        assert effects.loc[contrast.name, "mean_difference"] == pytest.approx(difference.mean())
        if sorted(contrast.weights.values()) == [-1, 1]:
            (one, other) = (
                right[cell] for cell, _ in sorted(contrast.weights.items(), key=lambda each: -each[1])
            )
            table = [[sum((one == a) & (other == b)) for b in (1, 0)] for a in (1, 0)]
            assert exact.loc[contrast.name, "p"] == pytest.approx(min(1.0, mcnemar(table, exact=True).pvalue))
    assert set(exact["smallest_effect"]) == {0.01}
