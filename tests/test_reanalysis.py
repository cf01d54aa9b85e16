"""The re-analysis by answer length (06): against pandas, and end to end from a run of 01 without a model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy
import pandas as pd
import pytest

from analyses.studies.prefix_ratios import RatioOf
from analyses.studies.reanalysis import (
    BINS,
    SPLIT,
    Records,
    effects_by_stratum,
    likelihood_by_stratum,
    ratios_by_stratum,
    shares_by_stratum,
    trends,
)
from budgetlens.command.main import main
from budgetlens.design.catalogue import analysis_of, find_analysis
from budgetlens.runs.manifest import CellFacts, content_digest, sealed
from budgetlens.runs.run import Run
from budgetlens.statistics.budget_arrays import BudgetArray
from budgetlens.statistics.inference import Inference
from tests.cautions import tables_without_caution
from tests.test_analyses import long_corpus

PLAN = find_analysis("exp01").plan("published")
CELLS = [CellFacts(cell.name, cell.alias, cell.factors) for cell in PLAN.design.cells]
NAME = {cell.alias: cell.name for cell in PLAN.design.cells}
ORACLE = "oracle prefix | prompt=query"
#: The published bins, written out by hand.
BIN_OF = {
    1: "1-2",
    2: "1-2",
    3: "3-5",
    5: "3-5",
    6: "6-10",
    10: "6-10",
    11: "11-20",
    20: "11-20",
    21: "21+",
    90: "21+",
}


@pytest.fixture(scope="module")
def records() -> Records:
    generator = numpy.random.default_rng(7)
    words = pd.Series(
        [list(BIN_OF)[i % len(BIN_OF)] for i in range(80)],
        index=[f"e{i:02d}" for i in range(80)],
        name="answer_words",
    )
    base = generator.gamma(2.0, 1.0, size=80)
    nll = pd.DataFrame(
        {
            cell.name: base + 0.2 * number * (1 + words.to_numpy() / 20) + generator.normal(0, 0.1, 80)
            for number, cell in enumerate(PLAN.design.cells)
        },
        index=words.index,
    )
    budget = BudgetArray(
        "decoder",
        "merged",
        tuple(nll.columns),
        tuple(nll.index),
        (0, 1),
        (0, 1, 2),
        ("document", "answer"),
        generator.dirichlet((1, 2), size=(len(nll.columns), 80, 2, 3)).astype(numpy.float32),
    )
    return Records(nll, words, (budget,))


def bins(records: Records) -> pd.Series:
    return records.answer_words.map(BIN_OF)


def oracle(records: Records) -> pd.Series:
    return records.nll[NAME["bare"]] - records.nll[NAME["oracle_trunc"]]


def test_effects_by_stratum_against_pandas(records: Records) -> None:
    table = effects_by_stratum(records, PLAN, Inference(seed=1, correction=PLAN.correction))
    own = table[table["contrast"] == ORACLE].set_index(["by", "stratum"])
    expected = oracle(records).groupby(bins(records)).agg(["mean", "size"])
    for stratum, row in expected.iterrows():
        assert own.loc[(BINS, stratum), "mean_difference"] == pytest.approx(row["mean"])
        assert own.loc[(BINS, stratum), "n"] == row["size"]
    assert list(own.loc[BINS].index) == ["1-2", "3-5", "6-10", "11-20", "21+"]
    short = oracle(records)[records.answer_words <= 5]
    assert own.loc[(SPLIT, "1-5"), "mean_difference"] == pytest.approx(short.mean())
    assert own.loc[(SPLIT, "1-5"), "d_z"] == pytest.approx(short.mean() / short.std())
    assert own.loc[(SPLIT, "6+"), "n"] == (records.answer_words > 5).sum()
    # Bonferroni over the six comparisons with bare in five bins.
    row = own.loc[(BINS, "3-5")]
    assert row["p_bonferroni"] == pytest.approx(min(1.0, 30 * row["p_t"]))


def test_trends_and_the_difference_of_short_and_long(records: Records) -> None:
    table = trends(records, PLAN, Inference(seed=1)).set_index(["by", "contrast"])
    effect = oracle(records)
    place = bins(records).map({"1-2": 0, "3-5": 1, "6-10": 2, "11-20": 3, "21+": 4})
    assert table.loc[(BINS, ORACLE), "slope"] == pytest.approx(numpy.polyfit(place, effect, 1)[0])
    short = records.answer_words <= 5
    assert table.loc[(SPLIT, ORACLE), "slope"] == pytest.approx(effect[~short].mean() - effect[short].mean())
    # The prefixes differ the more, the longer the answer.
    assert table.loc[(BINS, "oracle prefix | prompt=none"), "p_holm"] < 0.05


def test_likelihood_by_stratum_against_pandas(records: Records) -> None:
    table = likelihood_by_stratum(records, CELLS, Inference(seed=1)).set_index(["by", "stratum", "alias"])
    expected = records.nll.groupby(bins(records)).mean()
    for stratum in expected.index:
        for alias, name in NAME.items():
            assert table.loc[(BINS, stratum, alias), "mean"] == pytest.approx(expected.loc[stratum, name])
    words = records.answer_words.groupby(bins(records)).mean()
    assert table.loc[(BINS, "21+", "bare"), "mean_answer_words"] == pytest.approx(words["21+"])


def test_ratios_by_stratum_against_pandas(records: Records) -> None:
    ratio = RatioOf("structure", "random prefix | prompt=query", ORACLE)
    table = ratios_by_stratum(records, PLAN, (ratio,), Inference(seed=1)).set_index("stratum")
    random = records.nll[NAME["bare"]] - records.nll[NAME["random_trunc"]]
    top, bottom = (values.groupby(bins(records)).mean() for values in (random, oracle(records)))
    for stratum in top.index:
        assert table.loc[
            stratum, "numerator_mean" if numpy.isnan(table.loc[stratum, "ratio"]) else "ratio"
        ] == (
            pytest.approx(top[stratum] / (1 if numpy.isnan(table.loc[stratum, "ratio"]) else bottom[stratum]))
        )
    assert table.loc["all", "ratio"] == pytest.approx(random.mean() / oracle(records).mean())
    assert table["ratio"].notna().sum() >= 5


def test_shares_by_stratum_against_numpy(records: Records) -> None:
    table = shares_by_stratum(records, CELLS, Inference(seed=1))
    short = (records.answer_words <= 5).to_numpy()
    for stratum, members in (("1-5", short), ("6+", ~short)):
        own = table[(table["stratum"] == stratum) & (table["layer"] == 1) & (table["role"] == "answer")]
        expected = records.budgets[0].values[:, members][:, :, 1, :, 1].mean(axis=(1, 2), dtype=float)
        assert own["mean"].tolist() == pytest.approx(expected.tolist(), abs=1e-6)


# End to end.


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, tiny_directory: Path) -> Path:
    """A re-analysis that made its run of 01 first: below this directory, RUN and RUN-exp01."""
    folder = tmp_path_factory.mktemp("reanalysis")
    corpus = long_corpus(folder / "towers.jsonl", 8)
    given = ["--model", str(tiny_directory), "--corpus", str(corpus), "--protocol", "published", "--quiet"]
    assert main(["run", "exp06", *given, "--layers", "0,1", "--out", str(folder / "run")]) == 0
    return folder


@pytest.mark.slow
def test_without_a_source_01_is_run_first(runs: Path) -> None:
    assert json.loads((runs / "run-exp01" / "run.json").read_text())["analysis"] == "exp01"
    assert not (runs / "run" / "records").exists()
    assert tables_without_caution(runs / "run" / "tables") == []
    tables = {path.stem for path in (runs / "run" / "tables").glob("*.csv")}
    assert tables == {
        "strata_likelihood",
        "strata_effects",
        "strata_ratios",
        "strata_trends",
        "strata_shares",
    }
    assert len(list((runs / "run" / "figures").glob("*.html"))) == 3


@pytest.mark.slow
def test_a_run_is_analysed_again_without_a_model(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_model(*arguments: object, **options: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("budgetlens.runs.request.load_model", no_model)
    monkeypatch.setattr("budgetlens.runs.request.load_trial_tokenizer", no_model)
    again = tmp_path / "again"
    command = ["run", "exp06", "--from", str(runs / "run-exp01"), "--out", str(again)]
    assert main(command) == 0
    for path in sorted((runs / "run" / "tables").glob("*.csv")):
        assert (again / "tables" / path.name).read_bytes() == path.read_bytes()
    run = Run.open(again)
    assert not run.has_records
    assert run.source is not None
    assert run.source.path == (runs / "run-exp01").resolve()
    # The same command again, and tables alone, find their source by themselves.
    assert main(command) == 0
    assert main(["tables", str(again)]) == 0
    with pytest.raises(SystemExit):
        main(["run", "exp06", "--from"])


@pytest.mark.slow
def test_tables_of_strata_are_those_of_the_records_by_pandas(runs: Path) -> None:
    """From the parquet files themselves, with the published bins, written out by hand."""
    records = {
        kind: pd.concat(
            map(pd.read_parquet, sorted((runs / "run-exp01" / "records" / kind).glob("*.parquet")))
        )
        for kind in ("likelihood", "trials")
    }
    nll = records["likelihood"].pivot(index="example", columns="cell", values="nll")
    words = records["trials"].groupby("example", observed=True)["answer_words"].first()
    stratum = pd.cut(words, [0, 2, 5, 10, 20, 10_000], labels=["1-2", "3-5", "6-10", "11-20", "21+"])
    effects = nll[NAME["bare"]] - nll[NAME["oracle_trunc"]]
    expected = effects.groupby(stratum, observed=True).agg(["mean", "size"])
    assert len(expected) >= 2
    table = pd.read_csv(runs / "run" / "tables" / "strata_effects.csv")
    own = table[(table["by"] == BINS) & (table["contrast"] == ORACLE)].set_index("stratum")
    assert own.loc[expected.index, "mean_difference"].tolist() == pytest.approx(expected["mean"].tolist())
    assert own.loc[expected.index, "n"].tolist() == expected["size"].tolist()
    means = pd.read_csv(runs / "run" / "tables" / "strata_likelihood.csv")
    short = means[(means["by"] == SPLIT) & (means["stratum"] == "1-5")].set_index("cell")["mean"]
    for cell, mean in nll[words <= 5].mean().items():
        assert short[cell] == pytest.approx(mean)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--n", "5"], "leave n (--n) out"),
        (["--corpus", "reference"], "leave corpus (--corpus) out"),
        (["--model", "reference"], "leave model (--model) out"),
    ],
)
def test_a_source_is_taken_as_it_is(
    more: list[str], message: str, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["run", "exp06", "--from", str(runs / "run-exp01"), "--out", str(tmp_path / "out")]
    assert main([*given, *more]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_sources_that_are_none(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(tmp_path / "out")]
    assert main(["run", "exp06", "--from", str(tmp_path / "nowhere"), *out]) == 2
    assert "holds no run.json" in capsys.readouterr().err
    assert main(["run", "exp06", "--from", str(runs / "run-exp01"), "--out", str(runs / "run-exp01")]) == 2
    assert "give another directory" in capsys.readouterr().err

    copy = tmp_path / "copy"
    shutil.copytree(runs / "run-exp01", copy)
    # It would be restored from there.
    (copy / "parts" / "run.json").unlink()
    manifest = json.loads((copy / "run.json").read_text())
    (copy / "run.json").write_text(json.dumps({**manifest, "analysis": "exp08"}))
    assert main(["run", "exp06", "--from", str(copy), *out]) == 2
    assert "was altered after it was written" in capsys.readouterr().err
    other = {**manifest, "analysis": "exp08", "identity": {**manifest["identity"], "analysis": "exp08"}}
    foreign = tmp_path / "foreign"
    shutil.copytree(copy, foreign)
    (foreign / "run.json").write_text(json.dumps(sealed(other)))
    for marker in (foreign / "parts").glob("*.json"):
        content = {**json.loads(marker.read_text()), "run": content_digest(other["identity"])}
        marker.write_text(json.dumps(sealed(content)))
    assert main(["run", "exp06", "--from", str(foreign), *out]) == 2
    assert "is a run of exp08; exp06 re-analyses runs of exp01" in capsys.readouterr().err

    (copy / "run.json").write_text(json.dumps(manifest))
    next((copy / "records" / "likelihood").glob("*.parquet")).unlink()
    assert main(["run", "exp06", "--from", str(copy), *out]) == 2
    assert "is not finished" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_source_that_went_away(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    shutil.copytree(runs / "run-exp01", source)
    assert main(["run", "exp06", "--from", str(source), "--out", str(out)]) == 0
    source.rename(tmp_path / "moved")
    assert main(["tables", str(out)]) == 2
    assert "where no run is any more" in capsys.readouterr().err


def test_a_reanalysis_of_cells_of_an_earlier_version_is_still_one() -> None:
    found = analysis_of("exp06", {}, "corrected", ["prefix=none|hidden=bos|prompt=query"])
    assert found.reads == "exp01"
    assert found.name == "exp06"
