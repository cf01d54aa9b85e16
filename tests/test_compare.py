"""Published beside measured, on small run directories written here."""

from __future__ import annotations

import argparse
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from budgetlens.comparison import compare as comparing
from budgetlens.comparison.compare import TOLERANCES, Measured, add_arguments, agreement, main
from budgetlens.comparison.published import MAIN_MODEL, own_cell_names, published_figures, short_cell_names
from budgetlens.comparison.runs_compared import compared_runs
from budgetlens.design.catalogue import find_analysis
from budgetlens.design.custom import design_mapping
from budgetlens.runs.manifest import Manifest, RunError, sealed
from budgetlens.runs.run import Run
from budgetlens.runs.storage import RunDirectory, part_name
from budgetlens.statistics.contrasts import parse_cell
from budgetlens.statistics.tails import length_factor
from budgetlens.tables.presentation import Table
from tests.cautions import SKEW, caution_of

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


def compare(path: Path, force: bool = False, **options: Any) -> Table:
    """The comparison of the run in a directory."""
    return comparing.compare(Run.open(path), force, **options)


def contents(analysis: str, cells: Sequence[Mapping[str, Any]], **more: Any) -> dict[str, Any]:
    """What run.json says beside its identity."""
    return {
        "analysis": analysis,
        "title": "t",
        "question": "q",
        "protocol": "published",
        "model": {"name": MAIN_MODEL},
        "corpus": {"name": "ms_marco", "n": 1},
        "seed": 42,
        "cells": [{"factors": {}, **cell} for cell in cells],
        **more,
    }


def cells_of(analysis: str, cells: Sequence[Mapping[str, Any]]) -> Manifest:
    """What the run.json of a run with these cells says."""
    return Manifest.parse(sealed({"identity": {}, **contents(analysis, cells)}))


def save_run(
    path: Path, rows: str, details: Mapping[str, Any], parts: Sequence[Mapping[str, pd.DataFrame]]
) -> None:
    """Write a run as the tool writes it: run.json, and its records part by part and kind by kind."""
    directory = RunDirectory(path)
    directory.begin({"rows": rows}, details)
    directory.plan_parts(len(parts), "[]")
    for number, part in enumerate(parts):
        write_part(directory, number, part)


def write_part(directory: RunDirectory, number: int, part: Mapping[str, pd.DataFrame]) -> None:
    records = {kind: pa.Table.from_pandas(frame, preserve_index=False) for kind, frame in part.items()}
    directory.write_part(part_name(number), records)


def rewrite_records(path: Path, kind: str, change: Callable[[pd.DataFrame], pd.DataFrame] | None) -> None:
    """Write every part of a run again, with changed records of one kind, or without them."""
    count = len(list((path / "parts").glob("part-*.json")))
    for number in range(count):
        files = {
            folder.name: folder / f"{part_name(number)}.parquet" for folder in (path / "records").iterdir()
        }
        part = {name: pd.read_parquet(file) for name, file in files.items() if file.is_file()}
        old = part.pop(kind)
        files[kind].unlink()
        write_part(RunDirectory(path), number, part if change is None else {**part, kind: change(old)})


def rewrite_manifest(path: Path, **changes: Any) -> None:
    """Write run.json again, whole and sealed, with changed entries."""
    content = json.loads((path / "run.json").read_text())
    (path / "run.json").write_text(json.dumps(sealed(content | changes)))


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
            site = {"block": block, "layer": layer, "head": -1}
            for part in ("published_self", "published_cross"):
                values = {"part": part, "mass": 0.5, "entropy": generator.gamma(4, 0.3, n)}
                entropies.append(pd.DataFrame({**keys, "stack": "decoder", **site, **values}))
            # The encoder's, which no published figure is about.
            values = {"part": "published_self", "mass": 1.0, "entropy": 9.0}
            entropies.append(pd.DataFrame({**keys, "stack": "encoder", **site, **values}))
    details = contents(
        analysis,
        cells,
        protocol=protocol,
        model={"name": model, "revision": None, "hash": "0"},
        corpus={"name": corpus, "hash": "0", "n": n},
    )
    trials = [frame[["example", "cell"]] for frame in likelihood]
    parts: list[dict[str, pd.DataFrame]] = [{}, {}]
    for kind, frames in {
        "likelihood": likelihood,
        "trials": trials,
        "budgets": budgets,
        "published_entropies": entropies,
    }.items():
        records = pd.concat(frames, ignore_index=True)
        for name in ("example", "cell", "part"):
            if name in records:
                records[name] = records[name].astype("category")
        half = len(records) // 2
        parts[0][kind], parts[1][kind] = records.iloc[:half], records.iloc[half:]
    save_run(path, rows, details, parts)
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
    frame = compare(run, resamples=1999).frame
    records = pd.read_parquet(run / "records" / "likelihood")
    wide = records.astype({"cell": str, "example": str}).pivot(index="example", columns="cell", values="nll")
    row = frame[frame["quantity"] == "mean NLL"].iloc[1]
    own = wide[row["baseline"]]
    reach = stats.t.ppf(0.975, 79) * stats.sem(own)
    asymmetry = stats.skew(own) / 80**0.5
    below, above = (float(length_factor(np.array(sign * asymmetry), 80)) for sign in (-1, 1))
    assert row["difference_low"] == pytest.approx(own.mean() - below * reach - row["published"])
    assert row["difference_high"] == pytest.approx(own.mean() + above * reach - row["published"])
    first = frame[frame["quantity"] == "d_z"].iloc[0]
    difference = wide[first["baseline"]] - wide[first["treatment"]]
    assert first["measured"] == pytest.approx(difference.mean() / difference.std())
    # Eighty examples give no interval of d_z.
    assert np.isnan(first["low"])
    assert first["caution"] == caution_of(difference)
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
    own = own[(own["part"] == f"published_{row['part']}") & (own["stack"] == "decoder")]
    assert row["measured"] == pytest.approx(own["entropy"].mean())
    parts = frame[(frame["quantity"] == "published entropy") & (frame["layer"] == 0)]
    assert set(parts["part"]) == {"self", "cross"}
    assert (parts["measured"] < 3).all()
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
    rewrite_records(run, "budgets", None)
    rewrite_manifest(run, cells=json.loads((run / "run.json").read_text())["cells"][:-1])
    frame = compare(run, resamples=99).frame
    last = frame[frame["baseline"] == "prefix=oracle|hidden=first-n|prompt=query"].iloc[0]
    assert last["reason"] == "the run has no such cell"
    assert math.isnan(last["measured"])
    share = frame[frame["quantity"] == "attention share"].iloc[0]
    assert share["reason"] == "the run has no budgets"


def test_things_that_cannot_be_compared_are_refused(tmp_path):
    with pytest.raises(RunError, match=r"no run\.json"):
        compare(tmp_path)
    run = write_run(tmp_path / "run", n=5)
    rewrite_manifest(run, analysis="mine", design=design_mapping(find_analysis("exp08"), "published"))
    with pytest.raises(ValueError, match="no published figures for analysis 'mine'"):
        compare(run)
    rewrite_manifest(run, analysis="exp08", design=None)
    with pytest.raises(ValueError, match="nothing was published for model"):
        compare(run, model="gpt")
    content = json.loads((run / "run.json").read_text())
    (run / "parts" / "run.json").unlink(missing_ok=True)
    for key in ("analysis", "protocol", "model", "corpus", "seed"):
        lacking = {name: value for name, value in content.items() if name != key}
        (run / "run.json").write_text(json.dumps(sealed(lacking)))
        with pytest.raises(RunError, match=rf"run\.json has no {key}"):
            compare(run)
    (run / "run.json").write_text(json.dumps(content))
    next((run / "records" / "likelihood").iterdir()).unlink()
    with pytest.raises(RunError, match=r"is not finished \(1 of 2 parts are whole\)"):
        compare(run)


def test_the_published_table_names_known_quantities_with_sources():
    keys = ["model", "stratum", "quantity", "layer", "part"]
    cells = ["baseline", "treatment", "whole_baseline", "whole_treatment"]
    for number in range(1, 10):
        analysis = f"exp{number:02d}"
        figures = published_figures(analysis)
        assert set(figures["quantity"]) <= set(TOLERANCES)
        assert figures["value"].notna().all()
        assert figures["source"].str.len().gt(0).all()
        assert not figures.duplicated([*keys, *cells]).any()
        known = set(short_cell_names(analysis))
        named = {cell for side in cells for joined in figures[side] for cell in joined.split(" + ") if cell}
        assert named <= known
    assert published_figures("exp09")["model"].nunique() == 5


def test_every_cell_of_the_published_plans_is_known_to_the_published_table():
    """The cells that the analyses make under the published protocol are those the figures are about."""
    for number in (1, 2, 3, 4, 5, 7, 8):
        plan = find_analysis(f"exp{number:02d}").plan("published")
        cells = [{"name": cell.name, "alias": cell.alias} for cell in plan.design.cells]
        matched = own_cell_names(cells_of(f"exp{number:02d}", cells))
        assert set(matched) == set(short_cell_names(f"exp{number:02d}"))
        # By their levels, not only by their short names.
        unnamed = [{"name": cell["name"]} for cell in cells]
        assert own_cell_names(cells_of(f"exp{number:02d}", unnamed)) == matched


def test_levels_match_in_any_order_and_none_does_nothing():
    cells = [
        {"name": "prompt=query|padding=none|prefix=oracle"},
        {"name": "prompt=query|prefix=none|hidden=none", "alias": "bare"},
    ]
    matched = own_cell_names(cells_of("exp01", cells))
    assert matched["prefix=oracle|hidden=none|prompt=query"] == cells[0]["name"]
    assert matched["prefix=none|hidden=first-n|prompt=query"] == cells[1]["name"]
    assert len(matched) == 2


def write_cells(
    path: Path, analysis: str, means: dict[str, float], *, n: int = 40, tokens: dict[str, int] | None = None
) -> tuple[Path, pd.DataFrame]:
    """A run of cells with these mean NLLs, answers of 1 to 25 words; and its NLLs, example by cell."""
    generator = np.random.default_rng(8)
    short = short_cell_names(analysis)
    wide = pd.DataFrame({cell: mean + generator.gamma(1, 0.5, n) for cell, mean in means.items()})
    wide.index = pd.Index([f"e{i:03d}" for i in range(n)], name="example")
    words = 1 + np.arange(n) % 25
    part = {}
    for kind in ("likelihood", "trials"):
        frames = []
        for cell in means:
            own = pd.DataFrame({"example": wide.index, "cell": cell})
            if kind == "likelihood":
                frames.append(own.assign(answer_tokens=2, nll=wide[cell].to_numpy()))
            else:
                count = (tokens or {}).get(cell, 100) + np.arange(n) % 3
                frames.append(own.assign(answer_words=words, document_tokens=count))
        part[kind] = pd.concat(frames, ignore_index=True)
    cells = [{"name": cell, "alias": short[cell]} for cell in means]
    details = contents(analysis, cells, corpus={"name": "ms_marco", "n": n})
    save_run(path, "holding", details, [part])
    return path, wide


def test_lengths_of_exp02_are_cells_of_their_own(tmp_path):
    figures = published_figures("exp02")
    nll = figures[figures["quantity"] == "mean NLL"]
    means = dict(zip(nll["baseline"], nll["value"], strict=True))
    assert len(means) == 36
    tokens = {cell: int(parse_cell(cell)["padding"].replace("none", "98")) for cell in means}
    run, wide = write_cells(tmp_path / "run", "exp02", means, tokens=tokens)
    frame = compare(run, resamples=99).frame
    assert len(frame) == len(figures)
    assert (frame["agreement"] != "not measured").all()
    by_length = frame[frame["quantity"] == "document tokens"]
    assert by_length["published"].round().tolist() == [98, 256, 512, 1024, 2048, 4096]
    assert (by_length["agreement"] == "agrees").all()
    row = frame[(frame["quantity"] == "p (t)") & frame["cells"].eq("bare@1024 → oracle_trunc@1024")].iloc[0]
    assert row["measured"] == pytest.approx(
        stats.ttest_rel(wide[row["baseline"]], wide[row["treatment"]]).pvalue
    )
    assert row["published"] == pytest.approx(6.951442797194334e-21)
    assert math.isnan(row["tolerance"])


def test_strata_of_exp06_are_by_words_of_the_answer(tmp_path):
    cells = list(short_cell_names("exp06"))
    run, wide = write_cells(tmp_path / "run", "exp06", dict.fromkeys(cells, 2.0), n=200)
    frame = compare(run, resamples=99).frame.set_index(["stratum", "quantity", "cells"])
    words = 1 + np.arange(200) % 25
    for stratum, (low, high) in {
        "answer words 1-5": (1, 5),
        "answer words 6+": (6, 99),
        "answer words 3-5": (3, 5),
        "answer words 21+": (21, 99),
        "": (1, 99),
    }.items():
        own = wide[(words >= low) & (words <= high)]
        assert frame.loc[(stratum, "examples", "bare"), "measured"] == len(own)
        bare, oracle = cells[0], cells[1]
        assert frame.loc[(stratum, "mean NLL", "bare"), "measured"] == pytest.approx(own[bare].mean())
        difference = own[bare] - own[oracle]
        d_z = frame.loc[(stratum, "d_z", "bare → oracle_trunc"), "measured"]
        assert d_z == pytest.approx(difference.mean() / difference.std())
        key = (stratum, "ratio of d_z", "bare → random_trunc, over bare → oracle_trunc")
        ratio = frame.loc[key]
        other = own[bare] - own["prefix=random|hidden=first-n|prompt=query"]
        assert ratio["measured"] == pytest.approx(other.mean() / other.std() / d_z)
        assert math.isnan(ratio["low"])
        assert "unstable" in ratio["reason"]
    # Published: 130 + 80 + 63 + 100 + 127 examples, which are 210 + 290.
    counts = published_figures("exp06").query("quantity == 'examples'").set_index("stratum")["value"]
    assert counts["answer words 1-2"] + counts["answer words 3-5"] == counts["answer words 1-5"] == 210
    rewrite_records(run, "trials", lambda trials: trials.drop(columns="answer_words"))
    again = compare(run, resamples=99).frame
    untold = again[again["stratum"] != ""]
    assert (untold["agreement"] == "not measured").all()
    assert untold["reason"].str.contains("do not count the words").all()


def test_differences_of_d_are_shown_for_what_they_are(tmp_path):
    cells = list(short_cell_names("exp05"))
    run, wide = write_cells(tmp_path / "run", "exp05", dict.fromkeys(cells, 2.0), n=60)
    frame = compare(run, resamples=99).frame
    own = frame[frame["quantity"] == "difference of d_z"].set_index("cells")
    # Protocol 4h: the published "interaction" is the simple effect of overlap within sentences.
    simple = own.loc["bare → surr_first_sent, minus bare → surr_wrong_first_sent"]
    assert simple["published"] == pytest.approx(-0.361, abs=5e-4)
    short = {name: cell for cell, name in short_cell_names("exp05").items()}

    def d_z(name: str) -> float:
        difference = wide[short["bare"]] - wide[short[name]]
        return difference.mean() / difference.std()

    assert simple["measured"] == pytest.approx(d_z("surr_first_sent") - d_z("surr_wrong_first_sent"))
    main_effect = own.loc[
        "bare → surr_first_sent + surr_wrong_first_sent, minus bare → surr_shuffled_sent + surr_wrong_kw10"
    ]
    expected = (
        d_z("surr_first_sent")
        + d_z("surr_wrong_first_sent")
        - d_z("surr_shuffled_sent")
        - d_z("surr_wrong_kw10")
    )
    assert main_effect["measured"] == pytest.approx(expected / 2)
    assert own["reason"].str.contains("does not add up").all()
    # The published figures of d give the published differences.
    d = published_figures("exp05").query("quantity == 'd_z'").set_index("treatment")["value"]
    by_hand = d[short["surr_first_sent"]] - d[short["surr_wrong_first_sent"]]
    assert simple["published"] == pytest.approx(by_hand, abs=1e-9)


def test_spreads_over_examples(tmp_path):
    run = write_run(tmp_path / "run", analysis="exp07", n=60)
    frame = compare(run, resamples=99).frame
    row = frame[(frame["quantity"] == "sd of attention share") & (frame["layer"] == 33)].iloc[0]
    budgets = pd.read_parquet(run / "records" / "budgets")
    own = budgets[
        (budgets["cell"] == row["baseline"]) & (budgets["layer"] == 33) & (budgets["role"] == "start")
    ]
    by_example = own.groupby("example", observed=True)["share"].mean()
    assert row["measured"] == pytest.approx(by_example.std(), abs=1e-6)
    assert math.isnan(row["low"])
    # One example has no spread; several that are equal have one of 0.
    alone = compare(write_run(tmp_path / "one", analysis="exp07", n=1), resamples=99).frame
    alone = alone[alone["quantity"].str.startswith("sd of") & (alone["layer"] == 33)]
    assert (alone["agreement"] == "not measured").all()
    assert (alone["reason"] != "").all()
    rewrite_records(run, "budgets", lambda shares: shares.assign(share=0.25))
    equal = compare(run, resamples=99).frame
    equal = equal[(equal["quantity"] == "sd of attention share") & (equal["layer"] == 33)]
    assert (equal["measured"] == 0).all()


@pytest.mark.parametrize(
    ("published", "measured", "expected"),
    [(1e-9, 0.04, "agrees"), (0.2, 0.9, "agrees"), (0.04, 0.06, "differs")],
)
def test_p_values_agree_on_the_same_side_of_the_level(published, measured, expected):
    assert agreement("p (t)", published, Measured(500, measured)) == expected


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_undefined_records_are_not_measured(tmp_path, value):
    run, _ = write_cells(tmp_path / "run", "exp01", dict.fromkeys(short_cell_names("exp01"), 2.0))
    records = Run.open(run).outcomes
    records.loc[0, "nll"] = value
    rewrite_records(run, "likelihood", lambda _: records)
    frame = compare(run, resamples=99).frame
    bare = records.loc[0, "cell"]
    touched = frame[(frame["baseline"] == bare) & ~frame["quantity"].isin(["ratio of d_z"])]
    assert (touched["agreement"] == "not measured").all()
    assert touched["reason"].str.contains("NaN or infinite").all()


def test_one_example_is_not_compared_by_spread(tmp_path):
    run, _ = write_cells(tmp_path / "run", "exp01", dict.fromkeys(short_cell_names("exp01"), 2.0), n=1)
    frame = compare(run, resamples=99).frame
    for quantity in ("d_z", "p (t)", "ratio of d_z"):
        own = frame[frame["quantity"] == quantity]
        assert (own["agreement"] == "not measured").all()
        assert (own["reason"] != "").all()


def test_wins_have_wilson_s_interval(tmp_path):
    cells = list(short_cell_names("exp01"))
    run, wide = write_cells(tmp_path / "run", "exp01", dict(zip(cells, (2.2, 2.0, 1.7, 2.1), strict=False)))
    frame = compare(run, resamples=99).frame
    won = frame[(frame["quantity"] == "win %") & frame["measured"].notna()].iloc[0]
    wins = int((wide[won["baseline"]] > wide[won["treatment"]]).sum())
    assert wins not in (0, 20, 40)
    low, high = proportion_confint(wins, 40, method="wilson")
    found = [won["measured"], won["low"], won["high"]]
    assert found == pytest.approx([100 * wins / 40, 100 * low, 100 * high])


def test_measured_figures_carry_the_caution_of_what_they_are(tmp_path):
    run, wide = write_cells(tmp_path / "run", "exp01", dict.fromkeys(short_cell_names("exp01"), 2.0))
    frame = compare(run, resamples=99).frame
    tested = 0
    for row in frame[frame["measured"].notna()].itertuples():
        if row.quantity in ("mean difference", "d_z"):
            assert row.caution == caution_of(wide[row.baseline] - wide[row.treatment])
        elif row.quantity == "mean NLL":
            assert row.caution == caution_of(wide[row.baseline])
        elif row.quantity == "p (t)":
            assert row.caution == (
                # Of a t test, which knows no tails.
                SKEW if len(wide) < 5_000 else ""
            )
            tested += bool(row.caution)
        elif row.quantity == "win %":
            assert row.caution == ""
    assert tested
    assert "caution" in compare(run, resamples=99).shown()


def test_only_the_chosen_model_s_figures_are_compared(tmp_path, capsys):
    run, _ = write_cells(tmp_path / "run", "exp09", dict.fromkeys(short_cell_names("exp09"), 2.0))
    figures = published_figures("exp09")
    for model, own in figures.groupby("model"):
        frame = compare(run, force=True, model=str(model), resamples=99).frame
        assert frame["published"].tolist() == own["value"].tolist()
        assert (frame["unlike"] == "").all() == (model == MAIN_MODEL)
    rewrite_manifest(run, model={"name": "google/flan-t5-xl"})
    frame = compare(run, resamples=99).frame
    assert len(frame) == (figures["model"] == "google/flan-t5-xl").sum()
    assert (frame["unlike"] == "").all()
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    command = [str(run), "--force", "--format", "csv", "--published-model", "google/flan-t5-base"]
    assert main(parser.parse_args(command)) == 0
    assert "model google/flan-t5-xl, published google/flan-t5-base" in capsys.readouterr().out


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
    assert printed.startswith("stratum,quantity,baseline")
    assert "corpus mine, published ms_marco" in printed
    assert (
        main(parser.parse_args([str(run), "--force", "--format", "html", "--out", str(tmp_path / "t.html")]))
        == 0
    )
    assert "<caption>exp08: published and measured." in (tmp_path / "t.html").read_text(encoding="utf-8")


def test_the_command_keeps_the_comparison_with_the_run(tmp_path, capsys):
    run = write_run(tmp_path / "run", n=20, corpus="mine")
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert main(parser.parse_args([str(run), "--force", "--format", "csv"])) == 0
    printed = pd.read_csv(io.StringIO(capsys.readouterr().out))
    kept = pd.read_csv(run / "tables" / "published_beside_measured.csv")
    pd.testing.assert_frame_equal(kept[list(printed)], printed)
    page = (run / "figures" / "published_beside_measured.html").read_text(encoding="utf-8")
    assert "exp08: published and measured" in page
    for published in kept["published"].head(3):
        assert str(published) in page


# Two runs.


def beside(tmp_path: Path, *given: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args([str(tmp_path / "run"), *given])


def test_a_run_beside_another_one_of_the_same_examples(tmp_path, capsys):
    run, other = write_run(tmp_path / "run", n=40), write_run(tmp_path / "a b", n=40, shift=0.25)
    assert main(beside(tmp_path, str(other))) == 0
    first, *others = MEANS
    table = Run.open(run).table("beside_a_b_likelihood")
    # The same but for the shift: every example differs by exactly that, so that there is nothing to test.
    assert table["difference"].to_numpy() == pytest.approx([0.0, *(0.25 for _ in others)])
    assert table["n"].eq(40).all()
    assert table["other"].to_numpy() == pytest.approx(
        [MEANS[first], *(MEANS[name] + 0.25 for name in others)]
    )
    assert table["smallest_effect"].to_numpy() == pytest.approx(0.05 * table["other"].to_numpy())
    shares = Run.open(run).table("beside_a_b_budgets")
    assert len(shares) == len(MEANS) * 2 * 4
    assert shares["difference"].to_numpy() == pytest.approx(0, abs=1e-7)
    assert not (run / "tables" / "published_beside_measured.csv").exists()
    assert "Attention shares: a b (baseline) and run (treatment)" in capsys.readouterr().out


def test_runs_that_can_not_be_paired_are_refused(tmp_path):
    run = write_run(tmp_path / "run", n=40)
    other = write_run(tmp_path / "other", n=40)
    rewrite_manifest(other, corpus={"name": "mine", "hash": "1", "n": 40})
    with pytest.raises(ValueError, match="read different examples .*compare runs of one corpus"):
        main(beside(tmp_path, str(other)))
    hidden = write_run(tmp_path / "hidden", n=40, hidden="none")
    with pytest.raises(ValueError, match="have no cell in common; compare runs of one design"):
        main(beside(tmp_path, str(hidden)))
    with pytest.raises(ValueError, match="leave one of them out"):
        main(beside(tmp_path, str(run), "--published-model", MAIN_MODEL))


def test_probes_of_other_parameters_are_left_out_and_told(tmp_path):
    """Five keys and three are different things, whatever the name."""

    def asked(name: str, shift: float, *probes: str) -> Run:
        run = Run.open(write_run(tmp_path / name, n=40, shift=shift))
        return replace(
            run, manifest=replace(run.manifest, identity={**run.manifest.identity, "probes": probes})
        )

    tables = compared_runs(asked("run", 0.0, "budgets"), asked("other", 0.25, "budgets:layers=3"))
    assert "likelihood" in tables
    assert "budgets" not in tables
    told = "left out: budgets, which the runs recorded with other parameters"
    assert all(told in table.notes for table in tables.values())
    same = compared_runs(asked("run_2", 0.0, "budgets"), asked("other_2", 0.25, "budgets"))
    assert "budgets" in same
    assert not any(told in table.notes for table in same.values())


def test_a_sweep_is_no_run_to_set_beside_another(tmp_path, monkeypatch):
    run, other = (Run.open(write_run(tmp_path / name, n=40)) for name in ("run", "sweep"))
    monkeypatch.setattr(Manifest, "is_sweep", property(lambda own: own is other.manifest))
    vars(other)["swept"] = ()
    for pair in ((other, run), (run, other)):
        with pytest.raises(
            ValueError, match="sweep is a sweep over models; compare the run of one of them: none"
        ):
            compared_runs(*pair)
