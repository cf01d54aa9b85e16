"""Probes of another distribution: exact, and wherever the project's own are, without an edit.

In tables, effects, bands, head maps, figures, report, explorer and comparison.
"""

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

from budgetlens.command.inventory import inventory
from budgetlens.command.main import main
from budgetlens.explorer import layout
from budgetlens.explorer.attention_view import attention_view
from budgetlens.explorer.choices import changed, controlled
from budgetlens.explorer.data import RunData, load_run
from budgetlens.explorer.effects_view import effects_view
from budgetlens.explorer.examples_view import examples_view
from budgetlens.explorer.state import State, resolved, to_store
from budgetlens.explorer.views import Link
from budgetlens.model.capture import Probing, capture
from budgetlens.model.declaration import Declaration
from budgetlens.model.observation import available_probes, chosen_probes
from budgetlens.report.drawing import draw_figures
from budgetlens.runs.run import Run
from budgetlens.tables.complete import tables_of
from tests.cautions import tables_without_caution
from tests.conftest import SHAPES, batch_of, write_corpus
from tests.distributions import THIRD_PARTY, install
from tests.reference import eager, tiny_models
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


def run_by_path_alone(folder: Path, family: str, seed: int) -> Path:
    """A run with the strangers' probes, made by a process that finds them by the path alone."""
    model = folder / f"model-{seed}"
    tiny_models.build(family, seed).save_pretrained(model)
    tiny_models.tokenizer().save_pretrained(model)
    site, corpus = folder / "site", folder / "corpus.jsonl"
    if not site.is_dir():
        install(THIRD_PARTY, site)
        write_corpus(corpus, 6)
    given = ["run", "custom", "--factor", "prefix=none,oracle", "--factor", "prompt=none,query"]
    given += ["--probes", "budgets,distance,strongest:count=3,own_likelihood,certainty", "--encoder-rows"]
    given += ["--model", str(model), "--corpus", str(corpus), "--out", str(folder / f"run-{seed}")]
    done = subprocess.run(
        [sys.executable, "-m", "budgetlens", *given, "--quiet", "--device", "cpu"],
        env={**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return folder / f"run-{seed}"


@pytest.fixture(scope="module", params=["t5gemma2", "bart"])
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_by_path_alone(tmp_path_factory.mktemp(f"{request.param}-"), request.param, 0)


@pytest.fixture(scope="module")
def explored(finished: Path) -> RunData:
    return load_run(finished)


@pytest.mark.parametrize("family", ["t5gemma2", "t5gemma", "t5", "bart"])
@pytest.mark.parametrize("shape", ["bare", "prefix hidden", "long decoder, no BOS", "moved"])
def test_a_call_shows_positions_and_probabilities_as_eager_attention_has_them(
    installed: Path, family: str, shape: str, loaded: Callable[[str], Any], oracle: Callable[[str], Any]
) -> None:
    trial = SHAPES[shape].trial()
    model = loaded(family)
    captured = capture(model, batch_of([trial]), Probing(chosen_probes(("distance", "strongest"))))
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
    capture(loaded("t5gemma2"), batch, Probing((Spy(),)))
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
    assert tables_without_caution(finished / "tables") == []
    means = pd.read_csv(finished / "tables" / "distance.csv")["mean"]
    shown = np.concatenate(
        [np.ravel(trace.z).astype(float) for trace in drawn.data if trace.type == "heatmap"]
    )
    assert np.sort(shown[np.isfinite(shown)]) == pytest.approx(np.sort(means.to_numpy()), abs=1e-9)
    page = (finished / "report.html").read_text(encoding="utf-8")
    assert "Attention distance by reach" in page
    assert "Differences in share of the strongest keys over layers" in page


def wide_of(run: Run, probe: str, stack: str) -> pd.DataFrame:
    """Values per example, layer and category by cell, heads averaged, straight from the records."""
    records = run.records(probe)
    axis = run.declarations[probe].axis
    own = records[records["stack"] == stack].astype({"cell": str, "example": str, axis: str})
    quantity = run.declarations[probe].quantities[0].name
    means = own.groupby(["example", "block", "layer", axis, "cell"])[quantity].mean()
    return means.unstack("cell")


def test_encoder_rows_are_treated_like_the_decoders(finished: Path) -> None:
    run = Run.open(finished)
    frames, presented = tables_of(run)
    for name in ("strongest", "strongest_effects", "strongest_heads"):
        assert set(frames[name]["stack"]) == {"decoder", "encoder"}, name
    effects = frames["strongest_effects"]
    own = effects[(effects["stack"] == "encoder") & (effects["contrast"] == "prefix none→oracle")]
    weights = contrast_of(run, "prefix none→oracle")
    wide = wide_of(run, "strongest", "encoder")
    values = sum(wide[cell] * weight for cell, weight in weights.items())
    assert len(own) == wide.index.unique("layer").size
    for row in own.to_dict("records"):
        assert row["mean"] == pytest.approx(values.xs(row["layer"], level="layer").mean(), abs=1e-5)
    assert set(presented["strongest_effects"].frame["stack"]) == {"decoder", "encoder"}
    figures = draw_figures(run, frames)
    assert {"strongest_encoder", "strongest_differences_encoder", "strongest_heads_encoder_strongest"} <= set(
        figures
    )
    # A probe that reads no encoder rows says nothing of them.
    assert set(frames["distance_effects"]["stack"]) == {"decoder"}
    assert not any("encoder" in name for name in figures if name.startswith("distance"))


def shown(data: RunData, **choices: object) -> State:
    state, notes = resolved(State(**choices), {data.key: data})  # type: ignore[arg-type]
    assert notes == []
    return state


def test_the_explorer_shows_what_a_probe_of_attention_saw(explored: RunData) -> None:
    """By layer, head by head, and the difference that a contrast makes; of either stack where it read both."""
    options = layout.options_of(explored, shown(explored, view="attention"), ())
    assert [option["value"] for option in options["probe"]] == ["budgets", "distance", "strongest"]
    for probe, side in (("distance", "decoder"), ("strongest", "decoder"), ("strongest", "encoder")):
        state = shown(explored, view="attention", probe=probe, side=side)
        view = attention_view(explored, state)
        assert view.figure is not None
        assert view.frame is not None
        axis = explored.probes[probe].axis
        wide = wide_of(explored.run, probe, side)
        for row in view.frame.to_dict("records"):
            expected = wide.xs((row["block"], row["layer"], row[axis]), level=("block", "layer", axis))[
                row["cell"]
            ]
            assert row["mean"] == pytest.approx(expected.mean(), abs=1e-5)
        contrast = "prefix none→oracle"
        heads = shown(explored, view="attention", probe=probe, side=side, map="contrast", contrast=contrast)
        frame = attention_view(explored, heads).frame
        assert frame is not None
        by_layer = frame.groupby(["block", "layer"])["mean"].mean()
        values = sum(wide[cell] * weight for cell, weight in contrast_of(explored.run, contrast).items())
        for (block, layer), mean in values.groupby(level=["block", "layer"]).mean().items():
            assert by_layer[block, layer] == pytest.approx(mean, abs=1e-5)
    words = attention_view(explored, shown(explored, view="attention", probe="distance")).lead
    assert words.startswith("Attention distance: mean distance of the answer's rows, by layer and reach.")


def test_a_click_on_a_strangers_map_leads_to_the_layer_and_head(explored: RunData) -> None:
    runs = {explored.key: explored}
    state = shown(
        explored, view="attention", probe="distance", map="heads", layers=("1",), cells=(explored.cells[0],)
    )
    click = {"points": [{"x": 2, "y": 0, "customdata": [0.1, 0.2, 6]}]}
    after, _ = changed(runs, state, "figure.clickData", click, {})
    assert (after.view, after.layer, after.head) == ("tokens", "1", "2")
    # Another probe has other categories, heads and layers.
    values = {**to_store(state), "probe": "budgets"}
    after, _ = controlled(state, values)
    assert (after.probe, after.layers, after.quantity) == ("budgets", (), "")


def test_the_explorer_shows_effects_on_what_any_probe_measured(explored: RunData) -> None:
    options = layout.options_of(explored, shown(explored), ())
    assert [option["value"] for option in options["tested"]] == [
        "likelihood",
        "budgets",
        "distance",
        "strongest",
        "own_likelihood",
        "certainty",
    ]
    certain = effects_view(explored, shown(explored, tested="certainty"))
    frames = tables_of(explored.run)[0]
    assert certain.frame is not None
    pd.testing.assert_series_equal(
        certain.frame["mean_difference"], frames["certainty_effects"]["mean_difference"]
    )
    assert "the treatment hurts" in certain.lead
    attended = effects_view(explored, shown(explored, tested="strongest"))
    assert attended.frame is not None
    whole = frames["strongest_effects"].set_index(["contrast", "stack", "block", "layer", "keys"])["mean"]
    for row in attended.frame.to_dict("records"):
        key = tuple(row[name] for name in whole.index.names)
        assert row["mean"] == pytest.approx(whole[key], abs=1e-6)
    assert attended.listing is not None
    (link, *_) = attended.listing.rows[0]
    assert isinstance(link, Link)
    place = list(explored.contrasts).index(link.value)
    pressed = {"what": "contrast", "place": place}
    after, _ = changed(
        {explored.key: explored}, shown(explored, tested="strongest"), "chosen.data", pressed, {}
    )
    assert (after.view, after.probe, after.map, after.contrast) == (
        "attention",
        "strongest",
        "contrast",
        link.value,
    )


def test_the_explorer_shows_a_probe_of_answers_example_by_example(explored: RunData) -> None:
    contrast = "prefix none→oracle"
    view = examples_view(explored, shown(explored, view="examples", tested="certainty", contrast=contrast))
    records = explored.run.records("certainty").astype({"cell": str, "example": str})
    wide = records.pivot(index="example", columns="cell", values="certainty")
    weights = contrast_of(explored.run, contrast)
    expected = sum(wide[cell] * weight for cell, weight in weights.items())
    assert view.frame is not None
    found = view.frame.set_index("example")["difference"]
    pd.testing.assert_series_equal(found.sort_index(), expected.sort_index(), check_names=False)


@pytest.mark.slow
def test_two_runs_are_compared_by_every_probe_that_both_recorded(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    family = finished.parent.name.rpartition("-")[0]
    other = run_by_path_alone(finished.parent, family, 1)
    assert main(["compare", str(finished), str(other)]) == 0
    printed = capsys.readouterr().out
    for title in ("Answer NLL", "Attention shares", "Attention distance", "Strongest keys", "Certainty"):
        assert f"{title}: run-1 (baseline) and run-0 (treatment)" in printed
    first, second = Run.open(finished), Run.open(other)
    for probe, stack in (("distance", "decoder"), ("strongest", "encoder")):
        own, theirs = (wide_of(run, probe, stack) for run in (first, second))
        table = first.table(f"beside_run-1_{probe}")
        table = table[table["stack"] == stack]
        assert len(table) == CELLS * len(own.groupby(level=[1, 2, 3]))
        for row in table.to_dict("records"):
            key = (row["block"], row["layer"], row["category"])
            ours, other_s = (side.xs(key, level=(1, 2, 3))[row["cell"]] for side in (own, theirs))
            assert row["run"] == pytest.approx(ours.mean(), abs=1e-5)
            assert row["other"] == pytest.approx(other_s.mean(), abs=1e-5)
            assert row["difference"] == pytest.approx((other_s - ours).mean(), abs=1e-5)
        assert (first.path / "figures" / f"beside_run-1_{probe}.html").is_file()
    table = first.table("beside_run-1_certainty").set_index("cell")
    values = [
        run.records("certainty").astype({"cell": str}).groupby("cell")["certainty"].mean()
        for run in (second, first)
    ]
    np.testing.assert_allclose(table["difference"], (values[0] - values[1])[table.index], atol=1e-9)
    assert set(table["smallest_effect"]) == {0.01}


def test_a_listed_probe_tells_its_parameters(installed: Path) -> None:
    listed = inventory(("probes",))["probes"]
    assert "parameters: count: int = 5" in listed["strongest"]
    assert listed["distance"].startswith("Mean distance in tokens")


def test_a_declaration_survives_run_json(installed: Path) -> None:
    for made in available_probes().values():
        assert Declaration.from_mapping(made.declares.to_mapping()) == made.declares
