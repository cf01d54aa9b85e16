"""A sweep: any analysis over several models, one alive at a time, rows for all that work, failures told."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import weakref
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import budgetlens.runs.request as requests
from budgetlens.command.main import main
from budgetlens.design.catalogue import find_analysis
from budgetlens.design.custom import custom_analysis
from budgetlens.report.page import foreign
from budgetlens.runs.files import WriteError
from budgetlens.runs.manifest import Manifest, RunError
from budgetlens.runs.model_sweep import SweepError, labels_of, require_different, sweep
from budgetlens.runs.request import RunRequest
from budgetlens.runs.run import Run
from budgetlens.runs.running import RunOptions
from budgetlens.runs.storage import RunDirectory
from budgetlens.runs.swept import places_of_runs
from budgetlens.statistics.effects import effects_table
from budgetlens.statistics.tails import length_factor
from budgetlens.tables.complete import own_tables, tables_of
from budgetlens.tables.sweeps import sweep_tables
from tests.cautions import tables_without_caution
from tests.conftest import corpus_rows, save_tiny

ANALYSIS = custom_analysis({"factors": {"prefix": ["none", "oracle"], "prompt": ["none", "query"]}})
EXAMPLES = 8


def nothing(run: Run) -> None:
    """In the place of tables, figures and report."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, tiny_directory: Path) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("models")
    return {"t5gemma2": str(tiny_directory), "bart": str(save_tiny("bart", folder / "bart"))}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Answers of unequal lengths, one so long that the limit cuts it, and that BART's table of positions has no room."""
    rows = corpus_rows(EXAMPLES)
    rows[5]["answer"] = "the people of Lund " * 80
    path = tmp_path_factory.mktemp("sweep") / "towers.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def request_of(corpus: Path, models: Sequence[str], out: Path, **more: Any) -> RunRequest:
    given: dict[str, Any] = {"analysis": ANALYSIS, "corpus": str(corpus), "n": EXAMPLES, "device": "cpu"}
    given |= {"models": tuple(models), "out": out, "quiet": True, "options": RunOptions(batch_tokens=1_000)}
    return RunRequest(**(given | more))


@pytest.fixture(scope="module")
def swept(models: dict[str, str], corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A sweep of a design of one's own over two models."""
    out = tmp_path_factory.mktemp("swept") / "run"
    return sweep(request_of(corpus, list(models.values()), out), nothing, nothing)


@pytest.fixture(scope="module")
def tables(swept: Run) -> dict[str, pd.DataFrame]:
    return tables_of(swept)[0]


# What is asked.


def test_labels_are_the_last_parts_of_names() -> None:
    found = labels_of(["google/flan-t5-base", "./runs/checkpoint/", "reference", "..", "C:\\models\\own"], {})
    assert list(found.values()) == ["flan-t5-base", "checkpoint", "reference", "model", "own"]


def test_labels_that_would_agree_are_told_apart_whatever_the_order() -> None:
    same = labels_of(["one/checkpoint", "two/checkpoint"], {})
    assert len(set(same.values())) == 2
    assert all(label.startswith("checkpoint-") for label in same.values())
    assert labels_of(["two/checkpoint", "one/checkpoint"], {}) == same
    # Some file systems don't tell capitals apart.
    assert len({label.casefold() for label in labels_of(["a/T5", "b/t5"], {}).values()}) == 2
    # A run of exp06 has its run of exp01 beside it.
    assert labels_of(["x", "x-exp01"], {}, "exp01")["x-exp01"] != "x-exp01"


def test_a_model_keeps_the_label_it_has() -> None:
    taken = {"one/checkpoint": "checkpoint"}
    found = labels_of(["two/checkpoint", "one/checkpoint"], taken)
    assert found["one/checkpoint"] == "checkpoint"
    assert found["two/checkpoint"] != "checkpoint"


def test_a_model_is_given_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="--model a was given twice; give each model once"):
        require_different(["a", "b", "a"])
    with pytest.raises(ValueError, match=r"--model model was given twice, as model and as \./model/"):
        require_different(["model", "./model/"])
    with pytest.raises(ValueError, match="--model is empty"):
        require_different(["a", " "])


def test_several_models_are_a_sweep_and_so_is_a_list_of_one() -> None:
    assert not RunRequest(ANALYSIS).is_sweep
    assert RunRequest(ANALYSIS, models=("a", "b")).is_sweep
    listed = RunRequest(find_analysis("exp09"))
    assert listed.is_sweep
    assert listed.chosen_models == ("reference",)
    assert replace(listed, models=("a",)).chosen_models == ("a",)


@pytest.mark.parametrize(
    ("analysis", "more", "told"),
    [
        ("exp09", ["--from", "x"], "leave source=… (--from) out"),
        ("exp08", ["--revision", "main"], "--revision is of one model"),
        (
            "exp06",
            ["--from", "x"],
            "source=… (--from) re-analyses one run as it is; leave model (--model) out",
        ),
        ("exp08", ["--model", "a"], "--model a was given twice"),
        ("exp08", ["--probes", "nosuch"], "nosuch"),
    ],
)
def test_what_concerns_all_models_is_refused_before_anything(
    analysis: str, more: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "sweep"
    assert main(["run", analysis, "--model", "a", "--model", "b", "--out", str(out), *more]) == 2
    assert told in capsys.readouterr().err
    assert not out.exists()


# What is left.


def test_each_model_s_run_is_an_ordinary_one(swept: Run, models: dict[str, str], corpus: Path) -> None:
    assert [one.name for one in swept.swept] == list(models.values())
    for one in swept.swept:
        run = swept.of_models[one.name]
        assert isinstance(run, Run)
        assert run.path == swept.path / "models" / one.label
        assert run.has_records
        parts = sorted((run.path / "parts").glob("part-*.json"))
        stamps = [path.stat().st_mtime_ns for path in parts]
        # The command for this model alone continues it, which is nothing to do here.
        alone = requests.execute(request_of(corpus, [one.name], run.path))
        assert alone.manifest.identity == run.manifest.identity
        assert [path.stat().st_mtime_ns for path in parts] == stamps


def test_the_effects_are_those_of_the_single_runs(swept: Run, tables: dict[str, pd.DataFrame]) -> None:
    # Each with the examples that it can be fed.
    assert tables["models"]["n"].tolist() == [EXAMPLES, EXAMPLES - 1]
    for name in tables["models"]["model"]:
        run = swept.of_models[name]
        assert isinstance(run, Run)
        single = tables_of(run)[0]
        own = tables["model_effects"].query("model == @name").reset_index(drop=True)
        pd.testing.assert_frame_equal(own[single["effects"].columns], single["effects"])
        own = tables["model_likelihood"].query("model == @name").reset_index(drop=True)
        pd.testing.assert_frame_equal(own[single["likelihood"].columns], single["likelihood"])


def test_p_is_corrected_over_models(tables: dict[str, pd.DataFrame]) -> None:
    effects = tables["model_effects"]
    assert set(effects["family"]) == {"main effects", "interactions", "simple effects"}
    for _, own in effects.groupby("family"):
        ordered = own["p"].sort_values()
        # Holm (1979), by hand: the k-th smallest of m is taken m - k times, and none is below the one before it.
        expected = (ordered * np.arange(len(ordered), 0, -1)).cummax().clip(upper=1)
        assert own["p_over_models"][expected.index].tolist() == pytest.approx(expected.tolist())
    assert (effects["p_over_models"] >= effects["p_holm"] - 1e-12).all()
    assert (effects["p_over_models"] > effects["p_holm"]).any()


def test_effects_per_character_are_tested_over_models(swept: Run, tables: dict[str, pd.DataFrame]) -> None:
    """Each model's p of its rates, then Holm (1979) by hand over the rows of a family in all models."""
    own = []
    for name, run in swept.of_models.items():
        assert isinstance(run, Run)
        characters = run.trials.groupby("example", observed=True)["answer_characters"].first()
        records = run.outcomes
        rates = records.assign(nll=records["nll_sum"] / records["example"].map(characters).astype(float))
        known = effects_table(rates[rates["nll"].notna()], run.plan.contrasts, run.inference)
        own.append(known[["contrast", "family", "p"]].assign(model=name))
    raw = pd.concat(own).set_index(["model", "contrast"])
    effects = tables["model_effects"].set_index(["model", "contrast"])
    for _, family in raw.groupby("family"):
        ordered = family["p"].sort_values()
        expected = (ordered * np.arange(len(ordered), 0, -1)).cummax().clip(upper=1)
        found = effects.loc[expected.index, "per_character_p"]
        assert found.tolist() == pytest.approx(expected.tolist())
    outside = (effects["per_character_low"] > 0) | (effects["per_character_high"] < 0)
    decided = effects["per_character_kind"].isin(("positive", "negative"))
    assert (decided <= (outside & (effects["per_character_p"] < 0.05))).all()
    assert (effects["per_character_verdict"] != "").all()
    assert (effects["per_character_caution"] == "tails").all()


def test_likelihoods_per_character_are_those_of_the_texts(
    swept: Run, tables: dict[str, pd.DataFrame], corpus: Path
) -> None:
    texts, why = Run.open(swept.swept[0].place(swept.path), corpus=str(corpus)).texts()
    assert texts is not None, why
    characters = pd.Series({example.identifier: len(example.answer) for example in texts.examples})
    for name, run in swept.of_models.items():
        assert isinstance(run, Run)
        records = run.outcomes.astype({"example": str, "cell": str})
        cut = set(run.trials.query("answer_cut > 0")["example"].astype(str))
        assert len(cut) == (0 if run.manifest.left_out else 1)
        whole = records[~records["example"].isin(cut)]
        rates = whole.assign(rate=whole["nll_sum"] / whole["example"].map(characters)).pivot(
            index="example", columns="cell", values="rate"
        )
        likelihood = tables["model_likelihood"].query("model == @name").set_index("cell")
        for cell in rates:
            assert likelihood.loc[cell, "per_character"] == pytest.approx(rates[cell].mean())
        row = tables["models"].set_index("model").loc[name]
        assert row["per_character_prefix=none|prompt=none"] == pytest.approx(
            rates["prefix=none|prompt=none"].mean()
        )
        assert row["nll_prefix=none|prompt=none"] == pytest.approx(
            records.query("cell == 'prefix=none|prompt=none'")["nll"].mean()
        )
        assert row["n"] == EXAMPLES - len(run.manifest.left_out)
        told = f"likelihoods per character are of {EXAMPLES - 1} examples: the answers of the others were cut"
        assert (told in row["reason"]) == bool(cut)
        effects = tables["model_effects"].query("model == @name").set_index("contrast")
        effect = effects.loc["prefix none→oracle | prompt=none"]
        difference = rates["prefix=none|prompt=none"] - rates["prefix=oracle|prompt=none"]
        assert effect["per_character"] == pytest.approx(difference.mean())
        # Student's interval, each side as much longer as so few examples need.
        half = stats.t.interval(0.95, len(difference) - 1)[1] * difference.sem()
        asymmetry = stats.skew(difference) / math.sqrt(len(difference))
        sides = (length_factor(np.array(sign * asymmetry), len(difference)) for sign in (-1, 1))
        width = effect["per_character_high"] - effect["per_character_low"]
        assert width == pytest.approx(half * sum(sides))
        assert effect["baseline_per_character"] == pytest.approx(rates["prefix=none|prompt=none"].mean())
        interaction = effects[effects["order"] == 2].iloc[0]
        assert pd.isna(interaction["baseline_nll"])


def test_records_that_count_no_characters_say_so(swept: Run, tmp_path: Path) -> None:
    """Those of earlier versions."""
    name = swept.swept[0].name
    run = swept.of_models[name]
    assert isinstance(run, Run)
    old = replace(run)
    vars(old)["trials"] = run.trials.drop(columns="answer_characters")
    one = replace(swept)
    vars(one)["of_models"] = {**swept.of_models, name: old}
    frames, _ = sweep_tables(one, own_tables)
    row = frames["models"].set_index("model").loc[name]
    assert "did not count the answers' characters" in row["reason"]
    effects = frames["model_effects"]
    assert effects.loc[effects["model"] == name, "per_character"].isna().all()
    assert (effects.loc[effects["model"] == name, "per_character_verdict"] == "").all()
    assert effects.loc[effects["model"] != name, "per_character"].notna().all()


def test_shares_are_of_each_softmax(swept: Run, tables: dict[str, pd.DataFrame]) -> None:
    shares = tables["model_shares"]
    assert set(shares["block"]) == {"merged", "self", "cross"}
    numbers = shares.drop(columns=["model", "alias", "block"]).replace("", "0").astype(float)
    assert numbers.sum(axis=1).tolist() == pytest.approx([100] * len(shares), abs=0.4)
    bart = swept.of_models[swept.swept[1].name]
    assert isinstance(bart, Run)
    records = bart.records("budgets").query("stack == 'decoder' and block == 'cross' and role == 'document'")
    expected = records.groupby("cell", observed=True)["share"].mean()
    own = shares[(shares["model"] == swept.swept[1].name) & (shares["block"] == "cross")].set_index("alias")
    for cell, share in expected.items():
        assert float(own.loc[cell, "document"]) == pytest.approx(100 * share, abs=0.05 + 1e-9)


# Kills and failures.


class Killed(BaseException):
    """Stands for the end of a process."""


def test_a_killed_sweep_is_continued(
    swept: Run,
    tables: dict[str, pd.DataFrame],
    models: dict[str, str],
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    request = request_of(corpus, list(models.values()), tmp_path / "run")
    write, written = RunDirectory.write_part, []

    def killing(directory: RunDirectory, part: str, *given: Any) -> None:
        # In the midst of the second model's run.
        if directory.path.name == "bart" and part != "part-00000":
            raise Killed
        write(directory, part, *given)
        written.append((directory.path.name, part))

    monkeypatch.setattr(RunDirectory, "write_part", killing)
    with pytest.raises(Killed):
        sweep(request, nothing, nothing)
    first, half = Run.open(tmp_path / "run"), written.copy()
    assert ("bart", "part-00000") in half
    told, _ = tables_of(first)
    row = told["models"].set_index("model").loc[models["bart"]]
    assert "is not finished" in row["failure"]
    assert set(told["model_effects"]["model"]) == {models["t5gemma2"]}

    written.clear()

    def noting(directory: RunDirectory, part: str, *given: Any) -> None:
        write(directory, part, *given)
        written.append((directory.path.name, part))

    monkeypatch.setattr(RunDirectory, "write_part", noting)
    again = sweep(request, nothing, nothing)
    assert written
    assert not set(half) & set(written)
    for name, frame in tables_of(again)[0].items():
        pd.testing.assert_frame_equal(frame, tables[name])


def test_a_sweep_tells_which_models_are_to_come(
    models: dict[str, str], corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killing(*given: Any) -> None:
        raise Killed

    monkeypatch.setattr(RunDirectory, "write_part", killing)
    with pytest.raises(Killed):
        sweep(request_of(corpus, list(models.values()), tmp_path / "run"), nothing, nothing)
    begun = Run.open(tmp_path / "run")
    assert [one.name for one in begun.swept] == list(models.values())
    assert all(isinstance(run, RunError) for run in begun.of_models.values())


def test_a_model_that_fails_leaves_the_others_and_can_be_tried_again(
    models: dict[str, str], corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finished: list[Run] = []
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text("{}")
    request = request_of(corpus, [str(broken), models["t5gemma2"]], tmp_path / "run")
    with pytest.raises(SweepError, match="1 of 2 models failed: .*broken.* the same command tries") as told:
        sweep(request, nothing, finished.append)
    assert "\n" not in str(told.value)
    assert f"model {broken} failed: " in capsys.readouterr().err
    # The tables over the models are made all the same.
    (half,) = finished
    frames, presented = tables_of(half)
    row = frames["models"].set_index("model").loc[str(broken)]
    assert row["failure"]
    assert pd.isna(row["n"])
    assert presented["models"].shown()["failure"].tolist() == [row["failure"], ""]
    assert set(frames["model_effects"]["model"]) == {models["t5gemma2"]}

    broken.joinpath("config.json").unlink()
    broken.rmdir()
    save_tiny("t5gemma2", broken)
    again = sweep(request, nothing, nothing)
    effects = tables_of(again)[0]["model_effects"]
    first, second = (effects.loc[effects["model"] == name, "mean_difference"] for name in request.models)
    assert first.tolist() == pytest.approx(second.tolist())


def test_a_full_disk_ends_the_sweep(
    models: dict[str, str], corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No other model could be written either."""

    def full(*given: Any) -> None:
        raise WriteError("no space is left")

    monkeypatch.setattr(RunDirectory, "write_part", full)
    request = request_of(corpus, list(models.values()), tmp_path / "run")
    with pytest.raises(WriteError, match="no space is left"):
        sweep(request, nothing, nothing)
    assert not (tmp_path / "run" / "models" / "bart").exists()


def test_where_no_model_works_nothing_is_said_of_others(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    request = request_of(corpus, [str(tmp_path / "a"), str(tmp_path / "b")], tmp_path / "run")
    with pytest.raises(SweepError, match="2 of 2 models failed") as told:
        sweep(request, nothing, nothing)
    assert "What the others gave" not in str(told.value)
    with pytest.raises(RunError, match="of which none is finished; give the command that made it again"):
        tables_of(Run.open(tmp_path / "run"))


def test_one_model_is_alive_at_a_time(
    models: dict[str, str], corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = requests.load_model
    alive: list[weakref.ref[Any]] = []

    def watched(*arguments: Any, **options: Any) -> Any:
        assert [reference() for reference in alive] == [None] * len(alive), "an earlier model is still alive"
        model = load(*arguments, **options)
        alive.append(weakref.ref(model.model))
        return model

    monkeypatch.setattr(requests, "load_model", watched)
    sweep(request_of(corpus, list(models.values()), tmp_path / "run", n=3), nothing, nothing)
    assert len(alive) == 2


def test_a_model_is_added_later_and_another_run_is_refused(
    models: dict[str, str], corpus: Path, tmp_path: Path
) -> None:
    listed = replace(ANALYSIS, models=("reference",))
    request = request_of(corpus, [models["t5gemma2"]], tmp_path / "run", n=3, analysis=listed)
    sweep(request, nothing, nothing)
    again = sweep(replace(request, models=(models["bart"],)), nothing, nothing)
    assert [one.name for one in again.swept] == list(models.values())
    with pytest.raises(RunError, match="holds another run .*seed: 42 there, 7 now"):
        sweep(replace(request, options=RunOptions(batch_tokens=1_000, seed=7)), nothing, nothing)
    # Nor does a run of one model begin in its place.
    with pytest.raises(RunError, match="holds another run"):
        requests.execute(request)


def test_a_damaged_list_of_models_is_told(swept: Run, tmp_path: Path) -> None:
    for content in ("{", "{}", '{"models": [{"name": "a", "label": "../../x", "failure": ""}]}'):
        path = tmp_path / "sweep.json"
        RunDirectory(tmp_path).begin(swept.manifest.identity, swept.manifest.content)
        path.write_text(content)
        with pytest.raises(
            RunError, match=r"sweep.json is damaged or altered; remove it and give the `run` command"
        ):
            _ = Run.open(tmp_path).swept


def test_a_sweep_of_format_1_is_read() -> None:
    content = {
        **{"format": 1, "analysis": "exp09-sweep", "title": "t", "question": "q", "protocol": "corrected"},
        **{"seed": 1, "model": {"name": "several models"}, "corpus": {"name": "c", "n": 3}, "cells": []},
        "identity": {"analysis": "exp09-sweep"},
    }
    manifest = Manifest.parse(content)
    assert manifest.analysis == "exp09"
    assert manifest.is_sweep


# The command.


def command(corpus: Path, out: Path, names: Sequence[str]) -> list[str]:
    factors = ["--factor", "prefix=none,oracle", "--factor", "prompt=none,query"]
    chosen = [part for name in names for part in ("--model", name)]
    given = ["--corpus", str(corpus), "--out", str(out), "--device", "cpu", "--quiet"]
    return ["run", "custom", *factors, *chosen, *given]


@pytest.mark.slow
def test_the_command_leaves_tables_figures_and_a_report(
    models: dict[str, str], corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert main([*command(corpus, out, [*models.values(), str(tmp_path / "nowhere")]), "--full"]) == 2
    printed = capsys.readouterr()
    assert "1 of 3 models failed" in printed.err
    assert "Effects by model" in printed.out
    written = {path.stem for path in (out / "tables").glob("*.csv")}
    assert written == {"models", "model_effects", "model_likelihood", "model_shares"}
    assert {path.stem for path in (out / "figures").glob("*.html")} == {"model_effects", "model_likelihood"}
    page = (out / "report.html").read_text()
    assert f"<dt>models</dt><dd>{foreign(Run.open(out).manifest.model.name)}</dd>" in page
    # In the picture of the answer, each model beside its effect; which effect it is stands below.
    picture = page[page.index("<svg") : page.index("</svg>")]
    assert models["bart"] in picture
    assert "The query as prefix, with an average over 2 levels of prompt." in page
    assert 'href="#table-model-effects"' in page
    assert 'id="table-model-effects"' in page
    for label in ("t5gemma2", "bart"):
        own = out / "models" / label
        assert (own / "report.html").is_file()
        effects = pd.read_csv(own / "tables" / "effects.csv")
        over = pd.read_csv(out / "tables" / "model_effects.csv")
        over = over[over["model"] == models[label]].reset_index(drop=True)
        # A column in which one model has nothing is read as numbers.
        pd.testing.assert_frame_equal(over[effects.columns], effects, check_dtype=False)

    # What else a directory of a run is given to.
    before = {path.name: path.read_bytes() for path in (out / "tables").glob("*.csv")}
    assert main(["tables", str(out)]) == 0
    assert {path.name: path.read_bytes() for path in (out / "tables").glob("*.csv")} == before
    assert main(["report", str(out)]) == 0
    capsys.readouterr()
    assert main(["compare", str(out)]) == 2
    assert f"compare the run of one of them: {out / 'models' / 't5gemma2'}, " in capsys.readouterr().err
    assert places_of_runs(out) == [out / "models" / "t5gemma2", out / "models" / "bart"]
    assert places_of_runs(out / "models" / "bart") == [out / "models" / "bart"]
    assert main(["run", "exp06", "--from", str(out), "--out", str(tmp_path / "again")]) == 2
    assert (
        f"is a sweep over models; give one of its runs with source=… or --from, such as {out}"
        in capsys.readouterr().err
    )


@pytest.mark.slow
def test_a_process_that_is_killed_is_continued_by_the_same_command(
    models: dict[str, str], corpus: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    given = [sys.executable, "-m", "budgetlens", *command(corpus, out, list(models.values()))]
    process = subprocess.Popen(given, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert process.stderr is not None
    # When the second model is announced, the first one is done.
    for line in process.stderr:
        if line.startswith(f"model {models['bart']}"):
            process.send_signal(signal.SIGKILL)
            break
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    parts = sorted((out / "models" / "t5gemma2" / "parts").glob("part-*.json"))
    stamps = [path.stat().st_mtime_ns for path in parts]
    done = subprocess.run(given, capture_output=True, env=os.environ, check=False)
    assert done.returncode == 0
    assert [path.stat().st_mtime_ns for path in parts] == stamps
    assert len(pd.read_csv(out / "tables" / "models.csv")) == 2


@pytest.mark.slow
def test_exp09_is_an_ordinary_analysis_with_a_list_of_models(
    models: dict[str, str], corpus: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    chosen = [part for name in models.values() for part in ("--model", name)]
    assert main(["run", "exp09", *chosen, "--corpus", str(corpus), "--out", str(out), "--quiet"]) == 0
    effects = pd.read_csv(out / "tables" / "model_effects.csv").set_index(["model", "contrast"])
    ratios = pd.read_csv(out / "tables" / "model_ratios.csv").set_index("model")
    assert tables_without_caution(out / "tables") == []
    for label, path in models.items():
        run = Run.open(out / "models" / label)
        assert run.manifest.analysis == "exp09"
        alias = {cell.name: cell.alias for cell in run.manifest.cells}
        records = run.outcomes.astype({"cell": str})
        nll = records.assign(alias=records["cell"].map(alias)).pivot(
            index="example", columns="alias", values="nll"
        )
        oracle = nll["bare"] - nll["oracle_trunc"]
        draws = nll[["random_trunc", "random_trunc_draw_2", "random_trunc_draw_3"]].mean(axis=1)
        random = nll["bare"] - draws
        own = effects.loc[path]["mean_difference"]
        assert own["oracle prefix | prompt=query"] == pytest.approx(oracle.mean())
        assert own["pool prefix | prompt=query"] == pytest.approx(random.mean())
        assert own["query prompt | bare"] == pytest.approx((nll["bare_nq"] - nll["bare"]).mean())
        d = (random.mean() / random.std()) / (oracle.mean() / oracle.std())
        assert ratios.loc[path, "ratio_of_d"] == pytest.approx(d)


@pytest.mark.slow
def test_exp06_over_models_reads_a_run_of_01_of_each(
    models: dict[str, str], corpus: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    chosen = [part for name in models.values() for part in ("--model", name)]
    given = [
        "--corpus",
        str(corpus),
        "--protocol",
        "published",
        "--layers",
        "0",
        "--out",
        str(out),
        "--quiet",
    ]
    assert main(["run", "exp06", *chosen, *given]) == 0
    strata = pd.read_csv(out / "tables" / "model_strata_effects.csv", dtype=str)
    assert set(strata["model"]) == set(models.values())
    for label, path in models.items():
        assert Run.open(out / "models" / f"{label}-exp01").manifest.analysis == "exp01"
        own = pd.read_csv(out / "models" / label / "tables" / "strata_effects.csv", dtype=str)
        found = strata[strata["model"] == path].drop(columns="model").reset_index(drop=True)
        pd.testing.assert_frame_equal(found, own)
