"""The sweep over models (09): one model alive at a time, rows for all that work, failures told."""

from __future__ import annotations

import json
import weakref
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import budgetlens.runs.model_sweep as model_sweep
from budgetlens.command.main import main
from budgetlens.runs.model_sweep import labels_of
from budgetlens.runs.run import Run
from tests.conftest import save_tiny
from tests.test_analyses import long_corpus

EXAMPLES = 6


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, tiny_directory: Path) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("models")
    return {"t5gemma2": str(tiny_directory), "bart": str(save_tiny("bart", folder / "bart"))}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(long_corpus(tmp_path_factory.mktemp("sweep") / "towers.jsonl", EXAMPLES))


def command(out: Path, corpus: str, *names: str) -> list[str]:
    chosen = [part for name in names for part in ("--model", name)]
    return ["run", "exp09", *chosen, "--corpus", corpus, "--out", str(out), "--device", "cpu", "--quiet"]


def test_labels() -> None:
    assert labels_of(["google/flan-t5-base", "./runs/checkpoint/", "reference"]) == {
        "google/flan-t5-base": "flan-t5-base",
        "./runs/checkpoint/": "checkpoint",
        "reference": "reference",
    }
    same = labels_of(["one/checkpoint", "two/checkpoint"])
    assert len(set(same.values())) == 2
    assert all(label.startswith("checkpoint-") for label in same.values())
    # A label does not depend on the order in which models are given.
    assert labels_of(["two/checkpoint", "one/checkpoint"]) == same
    with pytest.raises(ValueError, match="--model a was given twice"):
        labels_of(["a", "b", "a"])


@pytest.mark.slow
def test_one_row_per_model_and_one_model_at_a_time(
    models: dict[str, str],
    corpus: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    load, alive = model_sweep.load_model, []

    def watched(*arguments: Any, **options: Any) -> Any:
        assert [reference() for reference in alive] == [None] * len(alive), "an earlier model is still alive"
        model = load(*arguments, **options)
        alive.append(weakref.ref(model.model))
        return model

    monkeypatch.setattr(model_sweep, "load_model", watched)
    out = tmp_path / "sweep"
    assert main(command(out, corpus, *models.values())) == 0
    assert len(alive) == 2
    assert "Models" in capsys.readouterr().out

    table = pd.read_csv(out / "tables" / "models.csv").set_index("model")
    assert list(table.index) == list(models.values())
    for path in models.values():
        run = Run.open(out / "models" / Path(path).name)
        assert run.manifest.analysis == "exp09"
        alias = {cell.name: cell.alias for cell in run.manifest.cells}
        records = run.outcomes.astype({"cell": str})
        nll = records.assign(alias=records["cell"].map(alias)).pivot(
            index="example", columns="alias", values="nll"
        )
        row = table.loc[path]
        assert row["n"] == EXAMPLES
        assert row["nll_bare"] == pytest.approx(nll["bare"].mean())
        assert row["oracle_mean"] == pytest.approx((nll["bare"] - nll["oracle_trunc"]).mean())
        assert row["query_prompt_mean"] == pytest.approx((nll["bare_nq"] - nll["bare"]).mean())
        draws = nll[["random_trunc", "random_trunc_draw_2", "random_trunc_draw_3"]].mean(axis=1)
        random = nll["bare"] - draws
        assert row["random_mean"] == pytest.approx(random.mean())
        oracle = nll["bare"] - nll["oracle_trunc"]
        d = (random.mean() / random.std()) / (oracle.mean() / oracle.std())
        assert row["ratio_of_d"] == pytest.approx(d)
    assert {path.stem for path in (out / "figures").glob("*.html")} == {"model_effects", "model_likelihood"}
    shares = pd.read_csv(out / "tables" / "model_shares.csv")
    assert set(shares["block"]) == {"merged", "self", "cross"}


@pytest.mark.slow
def test_a_failing_model_leaves_the_others_and_can_be_tried_again(
    models: dict[str, str], corpus: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, broken = tmp_path / "sweep", tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text("{}")
    given = command(out, corpus, str(broken), models["t5gemma2"])
    assert main(given) == 2
    printed = capsys.readouterr()
    assert "1 of 2 models failed" in printed.err
    assert str(broken) in printed.err
    assert "Models" in printed.out
    table = pd.read_csv(out / "tables" / "models.csv").set_index("model")
    assert list(table.index) == [str(broken), models["t5gemma2"]]
    assert pd.isna(table.loc[str(broken), "oracle_mean"])
    assert table.loc[str(broken), "failure"]
    assert table.loc[models["t5gemma2"], "n"] == EXAMPLES

    parts = sorted((out / "models" / "t5gemma2" / "parts").glob("part-*.json"))
    stamps = [path.stat().st_mtime_ns for path in parts]
    broken.joinpath("config.json").unlink()
    broken.rmdir()
    save_tiny("t5gemma2", broken)
    assert main(given) == 0
    # What was finished is not done again.
    assert [path.stat().st_mtime_ns for path in parts] == stamps
    table = pd.read_csv(out / "tables" / "models.csv").set_index("model")
    numbers = ["oracle_mean", "random_mean", "query_prompt_mean", "nll_bare"]
    first, second = (table.loc[name, numbers].astype(float) for name in (str(broken), models["t5gemma2"]))
    assert first.tolist() == pytest.approx(second.tolist())
    assert table["failure"].isna().all()


@pytest.mark.slow
def test_a_model_can_be_added_later_and_other_options_are_refused(
    models: dict[str, str], corpus: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "sweep"
    assert main(command(out, corpus, models["t5gemma2"])) == 0
    assert main(command(out, corpus, models["bart"])) == 0
    swept = json.loads((out / "sweep.json").read_text())["models"]
    assert [one["name"] for one in swept] == list(models.values())
    assert len(pd.read_csv(out / "tables" / "models.csv")) == 2
    assert main(["tables", str(out)]) == 0
    capsys.readouterr()
    assert main([*command(out, corpus, models["bart"]), "--seed", "7"]) == 2
    assert "holds another run" in capsys.readouterr().err


def test_what_a_sweep_refuses(corpus: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = command(tmp_path / "sweep", corpus, "a", "b")
    assert main([*given, "--from", str(tmp_path)]) == 2
    assert "leave --from out" in capsys.readouterr().err
    assert main([*given, "--revision", "main"]) == 2
    assert "--revision is of one model" in capsys.readouterr().err
    assert not (tmp_path / "sweep").exists()
