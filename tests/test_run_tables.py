"""All tables of a whole run: which there are, how they print, and that they equal the records."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from budgetlens.runs.files import file_hash
from budgetlens.runs.manifest import sealed
from budgetlens.runs.run import Run
from budgetlens.statistics.tails import length_factor
from budgetlens.tables.complete import tables_of
from budgetlens.tables.extract import MOST_PRINTED, first_rows
from budgetlens.tables.presentation import Table
from tests.test_table_scale import write_run


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    run = write_run(tmp_path_factory.mktemp("tables") / "run", 30, layers=3, heads=2)
    return run, *tables_of(run)


def test_every_kind_of_table_is_there_with_a_caption(finished):
    _, frames, presented = finished
    assert {"effects", "anova", "strata", "trends", "heads", "entropies", "entropy_effects"} <= set(frames)
    shown = {"likelihood", "effects", "decomposition", "anova", "strata_baseline", "heads", "share_effects"}
    assert shown <= set(presented)
    for table in presented.values():
        for fact in ("Estimand", "unit", "n: ", "Family", "correction"):
            assert fact in table.caption
    for name in ("likelihood", "effects", "decomposition", "strata_mean", "entropies_decoder_merged"):
        assert "few examples for tails like these" in "".join(presented[name].footnotes.values())
        assert "a: few" in presented[name].to_terminal(160)


@pytest.mark.parametrize("width", [100, 160])
def test_tables_fit_the_terminal_and_lose_nothing(finished, width):
    for table in finished[2].values():
        text = table.to_terminal(width)
        assert max(len(line.rstrip()) for line in text.splitlines()) <= width
        assert "…" not in text
        assert "nan" not in text


def test_entropies_have_intervals_and_equal_the_records(finished):
    run, frames, _ = finished
    records = run.records("entropies")
    table = frames["entropies"]
    by_example = records.groupby(["cell", "layer", "part", "example"], observed=True)[
        ["mass", "entropy"]
    ].mean()
    for row in table.sample(12, random_state=1).itertuples():
        own = by_example.loc[(row.cell, row.layer, row.part)]
        assert row.mass == pytest.approx(own["mass"].mean(), abs=1e-6)
        assert row.entropy == pytest.approx(own["entropy"].mean(), abs=1e-6)
        assert row.entropy_sd == pytest.approx(own["entropy"].std(), abs=1e-6)
        half = stats.t.ppf(0.975, 29) * own["entropy"].std() / math.sqrt(30)
        assert row.entropy_high - row.entropy_low == pytest.approx(
            half * sum(factors(own["entropy"])), rel=1e-4
        )
        assert row.mass_low < row.mass < row.mass_high
    arrays = run.arrays("entropies", "part", ("mass", "entropy"))
    assert arrays["mass"][0].roles == ("all", "cross", "self")


def factors(values: pd.Series) -> tuple[float, float]:
    """How much longer than Student's an interval is below and above, by scipy's skewness."""
    asymmetry = stats.skew(values) / math.sqrt(len(values))
    return tuple(float(length_factor(np.array(sign * asymmetry), len(values))) for sign in (-1, 1))


def test_heads_are_the_headline_contrasts_of_shares(finished):
    run, frames, presented = finished
    heads = frames["heads"]
    assert len(heads) == heads["contrast"].nunique() * 3 * 2 * 8
    records = run.records("budgets")
    row = heads[(heads["layer"] == 1) & (heads["head"] == 1) & (heads["role"] == "answer")].iloc[0]
    effects = frames["share_effects"]
    assert row["contrast"] in set(effects["contrast"])
    own = records[(records["layer"] == 1) & (records["head"] == 1) & (records["role"] == "answer")]
    wide = own.pivot(index="example", columns="cell", values="share")
    difference = (
        wide["prefix=none|hidden=prefix+separator|prompt=none"]
        - wide["prefix=oracle|hidden=prefix+separator|prompt=none"]
    )
    assert row["contrast"] == "oracle prefix | prompt=none, BOS visible"
    statistic = stats.ttest_1samp(difference, 0).statistic
    needed = factors(difference)[int(statistic < 0)]
    assert row["p"] == pytest.approx(2 * stats.t.sf(abs(statistic) / needed, len(difference) - 1), rel=1e-3)
    assert "false discovery rate" in presented["heads"].caption


def test_shared_documents_reach_every_test_of_the_likelihood(tmp_path):
    directory = write_run(tmp_path / "run", 30, layers=1, heads=1).directory
    for path in (directory.path / "records" / "trials").glob("*.parquet"):
        trials = pd.read_parquet(path)
        trials["document"] = trials["example"].astype(str).str[1:].astype(int) // 3
        trials.to_parquet(path, index=False)
        marker = directory.path / "parts" / f"{path.stem}.json"
        files = json.loads(marker.read_text())
        files["files"][f"records/trials/{path.name}"] = file_hash(path)
        marker.write_text(json.dumps(sealed(files)))
    run = Run.open(directory.path)
    frames, presented = tables_of(run)
    assert (frames["effects"]["clusters"] == 10).all()
    assert "share a document" in presented["effects"].caption
    assert set(frames["anova"]["n"]) == {10}
    assert frames["trends"]["caution"].str.contains("document means").all()
    assert set(frames["trends"]["n"]) == {10}
    # Attention: the tests are those of the documents' means.
    records = run.records("budgets")
    row = frames["share_effects"].query("role == 'document'").iloc[0]
    contrast = next(own for own in run.plan.share_contrasts if own.name == row["contrast"])
    chosen = records[(records["role"] == "document") & (records["block"] == row["block"])]
    wide = chosen.pivot_table(index="example", columns="cell", values="share", observed=True)
    example = sum(wide[cell] * weight for cell, weight in contrast.weights.items())
    means = example.groupby(example.index.astype(str).str[1:].astype(int) // 3).mean()
    assert row["n"] == 10
    assert row["mean"] == pytest.approx(means.mean(), abs=1e-6)
    assert row["standard_error"] == pytest.approx(means.sem(), rel=1e-4)
    assert set(frames["shares"].query("n > 0")["n"]) == {10}
    assert set(frames["entropies"].query("n > 0")["n"]) == {10}
    assert "document where examples share one" in presented["share_effects"].caption
    assert "10 documents" in presented["anova"].caption


def test_one_example_is_one_example(tmp_path):
    frames, presented = tables_of(write_run(tmp_path / "run", 1, layers=2, heads=1))
    assert frames["effects"]["low"].isna().all()
    assert (frames["effects"]["reason"] != "").all()
    assert (frames["anova"]["reason"] != "").all()
    assert frames["heads"]["p"].isna().all()
    captions = " ".join(table.caption for table in presented.values())
    assert "1 example" in captions
    assert "1 examples" not in captions


def test_options_need_no_pandas():
    code = (
        "import sys, budgetlens.comparison.options, budgetlens.command.effects_options; "
        "sys.exit('pandas' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_long_table_is_printed_in_part_and_says_so():
    frame = pd.DataFrame({"contrast": [f"row {number:03d}" for number in range(MOST_PRINTED + 3)]})
    table = Table(frame, "T", "e", "u", "n", "none", "none", None)
    shown = first_rows(table)
    text = shown.to_terminal(100)
    assert f"row {MOST_PRINTED - 1:03d}" in text
    assert f"row {MOST_PRINTED:03d}" not in text
    assert f"{MOST_PRINTED} of {MOST_PRINTED + 3} rows are shown; the CSV file has all." in " ".join(
        text.split()
    )
    assert shown.frame is frame
    short = replace(table, frame=frame.head(MOST_PRINTED))
    assert first_rows(short) is short
