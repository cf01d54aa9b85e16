"""Probes of another distribution: exact, and in tables, effects, bands, head maps, figures and report without an edit."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from budgetlens.command.finishing import tables_of
from budgetlens.command.inventory import inventory
from budgetlens.model.capture import Reading, capture
from budgetlens.model.declaration import Declaration
from budgetlens.model.observation import available_probes, chosen_probes
from budgetlens.report.drawing import draw_figures
from budgetlens.runs.run import Run
from tests.conftest import SHAPES, batch_of, save_tiny, write_corpus
from tests.distributions import THIRD_PARTY, install
from tests.reference import eager
from tests.test_structure import ROOT

CELLS = 4


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The distribution on the path of this process."""
    target = install(THIRD_PARTY, tmp_path / "site")
    monkeypatch.syspath_prepend(str(target))
    importlib.invalidate_caches()
    yield target
    for name in ("budgetlens_reach", "budgetlens_shout"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="module", params=["t5gemma2", "bart"])
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with the strangers' probes, made by a process that finds them by the path alone."""
    folder = tmp_path_factory.mktemp(request.param)
    model = save_tiny(request.param, folder / "model")
    site, corpus = install(THIRD_PARTY, folder / "site"), write_corpus(folder / "corpus.jsonl", 6)
    given = ["run", "custom", "--factor", "prefix=none,oracle", "--factor", "prompt=none,query"]
    given += [
        "--probes",
        "budgets,distance,strongest:count=3,own_likelihood,certainty",
        "--model",
        str(model),
        "--corpus",
        str(corpus),
    ]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "budgetlens",
            *given,
            "--out",
            str(folder / "run"),
            "--quiet",
            "--device",
            "cpu",
        ],
        env={**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return folder / "run"


@pytest.mark.parametrize("family", ["t5gemma2", "t5gemma", "t5", "bart"])
@pytest.mark.parametrize("shape", ["bare", "prefix hidden", "long decoder, no BOS", "moved"])
def test_a_call_shows_positions_and_probabilities_as_eager_attention_has_them(
    installed: Path, family: str, shape: str, loaded: Callable[[str], Any], oracle: Callable[[str], Any]
) -> None:
    trial = SHAPES[shape].trial()
    model = loaded(family)
    captured = capture(model, batch_of([trial]), Reading(chosen_probes(("distance", "strongest"))))
    positions = list(range(trial.decoder_shift, trial.decoder_shift + len(trial.decoder_ids)))
    weights = eager.attention_weights(
        oracle(family),
        encoder_ids=trial.encoder_ids,
        visible=trial.visible,
        decoder_ids=trial.decoder_ids,
        decoder_position_ids=positions,
    )
    rows = list(trial.answer_rows("predicting"))
    places = np.array(positions)
    for observation in captured.observations:
        site = observation.site
        own, cross = weights.own[site.layer][:, rows], weights.cross[site.layer][:, rows]
        if observation.probe == "distance":
            far = np.abs(places[rows][:, None] - places[None, :])
            expected = ((own * far).sum(axis=-1) / own.sum(axis=-1)).mean(axis=-1)
        else:
            whole = {"merged": np.concatenate([own, cross], axis=-1), "self": own, "cross": cross}[site.block]
            expected = np.sort(whole, axis=-1)[..., -5:].sum(axis=-1).mean(axis=-1)
        (found,) = observation.values.values()
        # Float32 weights of at most 60 keys: a thousandth of a token is far above their rounding, far below a token.
        np.testing.assert_allclose(found[0, :, 0], expected, rtol=1e-3, atol=1e-3)


def test_every_row_of_a_call_has_the_ids_that_were_fed(loaded: Callable[[str], Any]) -> None:
    """Packed and padded: each chosen row's id is the token that its trial holds there."""
    seen: list[list[int]] = []

    class Spy:
        declares = Declaration("Spy", (), "part")

        def categories(self, site: Any) -> tuple[str, ...]:
            return ("all",) if site.stack == "decoder" and site.layer == 0 else ()

        def observe(self, attention: Any) -> dict[str, Any]:
            tokens = attention.call.tokens
            seen.append(tokens.row_ids.gather(1, attention.rows).flatten().tolist())
            assert attention.call.projection.weight.shape[0] > 0
            assert tokens.key_ids.shape == attention.members.shape[:2]
            return {"ones": attention.probabilities.sum(dim=-1, keepdim=True)}

    Spy.__registered_as__ = ("probe", "spy", Spy.__qualname__)  # type: ignore[attr-defined]
    trials = [SHAPES[name].trial() for name in ("bare", "other document")]
    batch = batch_of(trials, pack=True)
    capture(loaded("t5gemma2"), batch, Reading((Spy(),)))
    (ids,) = seen
    real = (batch.chosen.owner >= 0).flatten().tolist()
    expected = [trial.decoder_ids[row] for trial in trials for row in trial.answer_rows("predicting")]
    assert sorted(token for token, is_real in zip(ids, real, strict=True) if is_real) == sorted(expected)


def test_tables_effects_bands_and_heads_follow_from_the_declaration(finished: Path) -> None:
    run = Run.open(finished)
    assert set(run.declarations) == {
        "likelihood",
        "budgets",
        "distance",
        "strongest",
        "own_likelihood",
        "certainty",
    }
    # The distribution is not in this process: what its probes declared is read from the run.
    assert "distance" not in available_probes()
    frames, presented = tables_of(run)
    records = run.records("distance").astype({"cell": str, "example": str})
    by_cell = (
        records.groupby(["cell", "layer", "example"])["distance"].mean().groupby(["cell", "layer"]).mean()
    )
    table = frames["distance"].set_index(["cell", "layer"])
    assert len(table) == len(by_cell) == CELLS * records["layer"].nunique()
    for key, mean in by_cell.items():
        assert table.loc[key, "mean"] == pytest.approx(mean, abs=1e-5)
    assert set(table["reach"]) == {"own tokens"}
    effects = frames["distance_effects"]
    assert {
        "contrast",
        "reach",
        "layer",
        "mean",
        "band_low",
        "band_high",
        "p_simultaneous",
        "verdict",
    } <= set(effects)
    assert set(effects["smallest_effect"]) == {0.5}
    wide = records.groupby(["example", "layer", "cell"])["distance"].mean().unstack()
    row = effects[effects["contrast"] == "prefix none→oracle"].iloc[0]
    own = wide.xs(row["layer"], level="layer")
    expected = sum(own[cell] * weight for cell, weight in contrast_of(run, row["contrast"]).items()).mean()
    assert row["mean"] == pytest.approx(expected, abs=1e-5)
    heads = frames["strongest_heads"]
    assert {"contrast", "keys", "layer", "head", "mean", "p", "q", "discovered"} <= set(heads)
    title = next(own.title for name, own in presented.items() if name.startswith("distance_decoder"))
    assert title.startswith("Attention distance by reach, decoder, ")
    bands = presented["distance_effects"]
    assert bands.title == "Differences in mean distance over layers"
    assert "no change, changes alike within ±0.5 tokens: in no layer" in bands.caption
    assert presented["strongest_heads"].title == "Heads whose share of the strongest keys differs"
    percent = next(own for name, own in presented.items() if name.startswith("strongest_decoder"))
    assert percent.unit == "percent"


def contrast_of(run: Run, name: str) -> dict[str, float]:
    return next(dict(each.weights) for each in run.plan.contrasts if each.name == name)


def test_a_probe_of_answers_has_effects_in_its_own_direction(finished: Path) -> None:
    run = Run.open(finished)
    frames, presented = tables_of(run)
    # The stranger's likelihood is the project's, computed in float64 from a softmax: its effects are the same.
    effects, own = (
        frames["effects"].set_index("contrast"),
        frames["own_likelihood_effects"].set_index("contrast"),
    )
    for column in ("mean_difference", "low", "high", "d_z", "p_sign_flip", "p_holm"):
        np.testing.assert_allclose(own[column], effects[column], rtol=1e-4, atol=1e-5)
    assert own["verdict"].tolist() == effects["verdict"].tolist()
    by_cell = frames["own_likelihood"].set_index("cell")["mean"]
    assert by_cell.to_numpy() == pytest.approx(
        frames["likelihood"].set_index("cell")["mean"][by_cell.index], abs=1e-5
    )
    # Higher is better: where baseline − treatment is positive, the treatment hurts.
    certain = frames["certainty_effects"]
    records = run.records("certainty").astype({"cell": str, "example": str})
    wide = records.pivot(index="example", columns="cell", values="certainty")
    row = certain.iloc[0]
    expected = sum(wide[cell] * weight for cell, weight in contrast_of(run, row["contrast"]).items()).mean()
    assert row["mean_difference"] == pytest.approx(expected)
    assert "positive: the treatment hurts" in presented["certainty_effects"].caption
    assert "no effect within ±1 point" in presented["certainty_effects"].caption
    figures = draw_figures(run, frames)
    assert {"own_likelihood_effects", "certainty_effects"} <= set(figures)
    assert "Paired effects on certainty" in (finished / "report.html").read_text(encoding="utf-8")


def test_figures_and_report_follow_from_the_declaration(finished: Path) -> None:
    run = Run.open(finished)
    figures = draw_figures(run, tables_of(run)[0])
    names = [name for name in figures if name.startswith(("distance", "strongest"))]
    assert {"distance_decoder", "distance_differences"} <= set(names)
    assert any(
        name.startswith("strongest_heads_") or name.startswith("strongest_differences") for name in names
    )
    for name in names:
        assert (finished / "figures" / f"{name}.html").is_file()
    drawn = figures["distance_decoder"]
    means = pd.read_csv(finished / "tables" / "distance.csv")["mean"]
    shown = np.concatenate(
        [np.ravel(trace.z).astype(float) for trace in drawn.data if trace.type == "heatmap"]
    )
    assert np.sort(shown[np.isfinite(shown)]) == pytest.approx(np.sort(means.to_numpy()), abs=1e-9)
    page = (finished / "report.html").read_text(encoding="utf-8")
    assert "Attention distance by reach" in page
    assert "Differences in share of the strongest keys over layers" in page


def test_a_listed_probe_tells_its_parameters(installed: Path) -> None:
    listed = inventory(("probes",))["probes"]
    assert "parameters: count: int = 5" in listed["strongest"]
    assert listed["distance"].startswith("Mean distance in tokens")


def test_a_declaration_survives_run_json(installed: Path) -> None:
    for made in available_probes().values():
        assert Declaration.from_mapping(made.declares.to_mapping()) == made.declares
