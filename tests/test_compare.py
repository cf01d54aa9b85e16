"""Published beside measured, on small run directories written here."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analyses.compare import TOLERANCES, Measured, add_arguments, agreement, compare, main
from analyses.published import MAIN_MODEL, published_figures

SHORT = {"none": "bare", "oracle": "oracle_trunc"}
PROMPTS = {"none": "nq", "random": "random_q", "query": "q"}
# Published mean NLL by cell, as printed in the protocol's run summaries of exp08.
MEANS = {
    ("none", "none"): 3.6834375,
    ("none", "random"): 3.113513671875,
    ("none", "query"): 2.553734375,
    ("oracle", "none"): 2.99694140625,
    ("oracle", "random"): 3.0264482421875,
    ("oracle", "query"): 2.39665234375,
}


def write_run(
    path: Path,
    *,
    analysis: str = "exp08",
    model: str = MAIN_MODEL,
    corpus: str = "ms_marco",
    protocol: str = "published",
    hidden: str = "first-n",
    rows: str = "holding",
    block: str = "merged",
    n: int = 500,
    shift: float = 0.0,
) -> Path:
    """A run whose mean NLLs are the published ones, plus `shift` in every cell but the first."""
    generator = np.random.default_rng(3)
    base = generator.normal(0, 0.3, n)
    likelihood, budgets, entropies, cells = [], [], [], []
    for (prefix, prompt), mean in MEANS.items():
        if analysis == "exp07" and prompt == "random":
            continue
        name = f"prefix={prefix}|hidden={hidden}|prompt={prompt}"
        cells.append({"name": name, "alias": f"{SHORT[prefix]}_{PROMPTS[prompt]}", "factors": {}})
        noise = generator.normal(0, 0.2, n)
        # Centred, so that the sample mean is the published mean itself.
        nll = mean + shift * (name != cells[0]["name"]) + base - base.mean() + noise - noise.mean()
        keys = {"example": [f"e{i:03d}" for i in range(n)], "cell": name}
        likelihood.append(pd.DataFrame({**keys, "answer_tokens": 3, "nll": nll, "nll_sum": 3 * nll}))
        for layer in (0, 33):
            shares = generator.dirichlet([2, 1, 3, 4], size=(n, 2))
            for head in (0, 1):
                for role, own in zip(
                    ("start", "prompt", "answer", "document"), shares[:, head].T, strict=True
                ):
                    site = {"stack": "decoder", "block": block, "layer": layer, "head": head, "role": role}
                    budgets.append(pd.DataFrame({**keys, **site, "share": own}))
            site = {"stack": "decoder", "block": block, "layer": layer, "head": -1}
            for part in ("published_self", "published_cross"):
                values = {"part": part, "mass": 0.5, "entropy": generator.gamma(4, 0.3, n)}
                entropies.append(pd.DataFrame({**keys, **site, **values}))
    manifest = {
        "format": 1,
        "identity": {"rows": rows},
        "analysis": analysis,
        "protocol": protocol,
        "model": {"name": model, "revision": None, "hash": "0"},
        "corpus": {"name": corpus, "hash": "0", "n": n},
        "seed": 42,
        "cells": cells,
    }
    path.mkdir(parents=True)
    (path / "run.json").write_text(json.dumps(manifest))
    for kind, frames in {
        "likelihood": likelihood,
        "budgets": budgets,
        "published_entropies": entropies,
    }.items():
        folder = path / "records" / kind
        folder.mkdir(parents=True)
        records = pd.concat(frames, ignore_index=True)
        for name in ("example", "cell", "part"):
            if name in records:
                records[name] = records[name].astype("category")
        half = len(records) // 2
        records.iloc[:half].to_parquet(folder / "part-00000.parquet", index=False)
        records.iloc[half:].to_parquet(folder / "part-00001.parquet", index=False)
    return path


def test_a_like_run_is_compared_quantity_by_quantity(tmp_path):
    run = write_run(tmp_path / "run")
    table = compare(run, resamples=299)
    frame = table.frame
    assert len(frame) == len(published_figures("exp08"))
    nll = frame[frame["quantity"] == "mean NLL"]
    assert nll["published"].tolist() == list(MEANS.values())
    assert nll["difference"].to_numpy() == pytest.approx(0, abs=1e-12)
    assert (nll["agreement"] == "agrees").all()
    assert (nll["n"] == 500).all()
    assert (frame["unlike"] == "").all()
    assert (nll["difference_low"] < 0).all()
    assert (nll["difference_high"] > 0).all()
    for fact in ("measured - published", "published 500", "seed 42", "agrees where the difference is within"):
        assert fact in table.caption


def test_splits_of_published_means_are_reproduced(tmp_path):
    frame = compare(write_run(tmp_path / "run"), resamples=299).frame
    shares = frame[frame["quantity"] == "share of the whole"]
    # Protocol 4h: 50/50 for the bare encoder, 113/-13 for the interaction.
    assert (100 * shares["published"]).round().tolist() == [50, 50, -5, 105, 113, -13]
    assert shares["measured"].to_numpy() == pytest.approx(shares["published"].to_numpy())
    interaction = frame[
        (frame["quantity"] == "mean difference") & frame["baseline"].str.contains(" + ", regex=False)
    ]
    assert interaction["measured"].round(3).tolist() == [0.529, 0.599, -0.070]


def test_measured_figures_are_those_of_the_records(tmp_path):
    run = write_run(tmp_path / "run", n=80)
    frame = compare(run, resamples=99).frame
    records = pd.read_parquet(run / "records" / "likelihood")
    wide = records.astype({"cell": str, "example": str}).pivot(index="example", columns="cell", values="nll")
    first = frame[frame["quantity"] == "d_z"].iloc[0]
    difference = wide[first["baseline"]] - wide[first["treatment"]]
    assert first["measured"] == pytest.approx(difference.mean() / difference.std())
    budgets = pd.read_parquet(run / "records" / "budgets")
    share = frame[frame["quantity"] == "attention share"].iloc[0]
    own = budgets[
        (budgets["cell"] == share["baseline"]) & (budgets["layer"] == 33) & (budgets["role"] == "prompt")
    ]
    assert share["measured"] == pytest.approx(own["share"].mean(), abs=1e-7)


def test_totals_and_entropies_of_exp07(tmp_path):
    run = write_run(tmp_path / "run", analysis="exp07", n=60)
    frame = compare(run, resamples=99).frame
    shares = frame[(frame["quantity"] == "attention share") & (frame["layer"] == 33)]
    wide = shares.pivot(index="baseline", columns="part", values="measured")
    assert wide["self total"].to_numpy() == pytest.approx(
        wide[["start", "prompt", "answer"]].sum(axis=1).to_numpy()
    )
    assert (wide["self total"] + wide["cross total"]).to_numpy() == pytest.approx(1, abs=1e-6)
    entropies = pd.read_parquet(run / "records" / "published_entropies")
    row = frame[(frame["quantity"] == "published entropy") & (frame["layer"] == 0)].iloc[0]
    own = entropies[(entropies["cell"] == row["baseline"]) & (entropies["layer"] == 0)]
    own = own[own["part"] == f"published_{row['part']}"]
    assert row["measured"] == pytest.approx(own["entropy"].mean())
    absent = frame[frame["layer"] == 5]
    assert (absent["agreement"] == "not measured").all()
    assert absent["reason"].str.contains("no layer 5").all()
    assert frame[frame["n"] == 60]["reason"].str.contains("n 60, published 500").all()


def test_a_shifted_run_differs(tmp_path):
    frame = compare(write_run(tmp_path / "run", shift=0.4, n=100), resamples=299).frame
    nll = frame[frame["quantity"] == "mean NLL"]
    assert nll["agreement"].tolist() == ["agrees"] + ["differs"] * 5
    assert nll["difference"].iloc[1:].to_numpy() == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("published", "measured", "expected"),
    [
        (2.0, Measured(500, 2.04, 2.03, 2.05), "agrees"),
        (2.0, Measured(500, 2.06, 1.9, 2.3), "compatible"),
        (2.0, Measured(500, 2.06, 2.01, 2.3), "differs"),
        (2.0, Measured(500, 2.06), "differs"),
        (2.0, Measured(500, reason="no such cell"), "not measured"),
    ],
)
def test_agreement_by_rule(published, measured, expected):
    assert agreement("mean NLL", published, measured) == expected


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": "facebook/bart-large"}, "model facebook/bart-large, published google/t5gemma-2-4b-4b"),
        ({"corpus": "neural-bridge"}, "corpus neural-bridge, published ms_marco"),
        (
            {"protocol": "corrected", "hidden": "prefix+separator", "rows": "predicting"},
            "protocol corrected, published published; rows of attention predicting, published holding",
        ),
    ],
)
def test_unlike_runs_are_refused_and_when_forced_say_so_in_every_row(tmp_path, change, said):
    run = write_run(tmp_path / "run", n=20, **change)
    with pytest.raises(ValueError, match="--force") as refusal:
        compare(run)
    assert said in str(refusal.value)
    table = compare(run, force=True, resamples=99)
    assert (table.frame["unlike"] == said).all()
    assert said in table.caption
    assert "unlike" in table.shown().columns
    assert (table.frame["quantity"] == "mean NLL").sum() == 6
    renamed = table.frame[table.frame["quantity"] == "mean NLL"]["reason"]
    assert renamed.str.contains("own cells of the same published short name").all() == ("hidden" in change)
    assert table.frame["cells"].iloc[0] == "bare_nq"


def test_separate_softmaxes_are_not_compared_with_a_merged_budget(tmp_path):
    run = write_run(tmp_path / "run", n=20, model="facebook/bart-large", block="self")
    frame = compare(run, force=True, resamples=99).frame
    shares = frame[frame["quantity"] == "attention share"]
    assert (shares["agreement"] == "not measured").all()
    assert shares["reason"].str.contains("separate softmaxes").all()
    assert shares["measured"].isna().all()


def test_cells_and_records_that_a_run_lacks_have_a_reason(tmp_path):
    run = write_run(tmp_path / "run", n=20)
    for part in (run / "records" / "budgets").iterdir():
        part.unlink()
    manifest = json.loads((run / "run.json").read_text())
    manifest["cells"] = manifest["cells"][:-1]
    (run / "run.json").write_text(json.dumps(manifest))
    frame = compare(run, resamples=99).frame
    last = frame[frame["baseline"] == "prefix=oracle|hidden=first-n|prompt=query"].iloc[0]
    assert last["reason"] == "the run has no such cell"
    assert math.isnan(last["measured"])
    share = frame[frame["quantity"] == "attention share"].iloc[0]
    assert share["reason"] == "the run has no budgets"


def test_things_that_cannot_be_compared_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no run\.json"):
        compare(tmp_path)
    run = write_run(tmp_path / "run", n=5)
    manifest = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(manifest | {"analysis": "mine"}))
    with pytest.raises(ValueError, match="no published figures for analysis 'mine'"):
        compare(run)
    (run / "run.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="nothing was published for model"):
        compare(run, model="gpt")
    (run / "run.json").write_text(json.dumps({"analysis": "exp08"}))
    with pytest.raises(ValueError, match="has no 'protocol'"):
        compare(run)


def test_the_published_table_names_known_quantities_with_sources():
    for analysis in ("exp01", "exp03", "exp04", "exp05", "exp07", "exp08", "exp09"):
        figures = published_figures(analysis)
        assert set(figures["quantity"]) <= set(TOLERANCES)
        assert figures["value"].notna().all()
        assert figures["source"].str.len().gt(0).all()
        assert not figures.duplicated(["model", "quantity", "baseline", "treatment", "layer", "part"]).any()
    assert published_figures("exp09")["model"].nunique() == 5


def test_published_differences_agree_with_published_means():
    # The table was typed from two kinds of published figures: means and differences must fit each other.
    for analysis in ("exp01", "exp03", "exp04", "exp05"):
        figures = published_figures(analysis)
        means = figures[figures["quantity"] == "mean NLL"].set_index("baseline")["value"]
        differences = figures[
            (figures["quantity"] == "mean difference") & (figures["source"] == "run summary")
        ]
        assert len(differences) >= 4
        for row in differences.itertuples():
            assert row.value == pytest.approx(means[row.baseline] - means[row.treatment], abs=1e-9)


def test_the_command(tmp_path, capsys):
    run = write_run(tmp_path / "run", n=20, corpus="mine")
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    with pytest.raises(ValueError, match="--force"):
        main(parser.parse_args([str(run)]))
    assert main(parser.parse_args([str(run), "--force", "--format", "csv"])) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("quantity,baseline")
    assert "corpus mine, published ms_marco" in printed
    assert (
        main(parser.parse_args([str(run), "--force", "--format", "html", "--out", str(tmp_path / "t.html")]))
        == 0
    )
    assert "<caption>exp08: published and measured." in (tmp_path / "t.html").read_text(encoding="utf-8")
