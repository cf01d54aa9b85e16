"""The sink audit: predictions against weights that the library gives, splits against hand arithmetic."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import PreTrainedModel

from analyses import exp10_sink_audit as exp10
from analyses.studies.sink_paths import Path as SinkPath
from analyses.studies.sink_paths import Point
from analyses.studies.sink_prediction import SinkReadings, _hidden_sets, read_sinks
from analyses.studies.sink_tables import audit_table, entropy_table, exactness_table, head_table, shift_table
from budgetlens.command.main import main
from budgetlens.model.capture import Probing, capture
from budgetlens.model.loaded import LoadedModel
from budgetlens.model.tokenization import TokenizedTrial
from budgetlens.runs.run import Run
from budgetlens.statistics.column_splits import means_of_columns, split_of_columns
from budgetlens.statistics.inference import Inference
from budgetlens.statistics.ratios import ratio_of_means
from budgetlens.tables.extract import Extract
from budgetlens.tables.presentation import Table
from probes.renormalised import REMOVED, Renormalised
from tests.cautions import tables_without_caution
from tests.conftest import PREFIXED, Shape, batch_of, write_corpus
from tests.precision import TIMES, Float32, least_unit, numbers, unit, units_apart, weights_of, within

FAMILIES = ("t5gemma2", "t5gemma", "t5", "bart")
ROLES = ("bos", "prefix", "separator", "document", "eos", "start", "prompt", "answer")
VISIBLE = replace(PREFIXED, prompt=4, answer=3)


Oracle = Callable[[str], PreTrainedModel]
Key = tuple[str, str, str, str, int, int, str]


def renormalised(model: PreTrainedModel, trial: TokenizedTrial) -> dict[Key, float]:
    """What the probe must read of a trial, from weights that the library computes eagerly."""
    weights = weights_of(model, trial)
    rows = list(trial.answer_rows("predicting"))
    block = "merged" if weights.merged else "cross"
    found: dict[Key, float] = {}
    for layer, (own, cross) in enumerate(zip(weights.own, weights.cross, strict=True)):
        both = np.concatenate([own, cross], axis=-1) if weights.merged else cross
        roles = np.array(
            [*trial.decoder_roles, *trial.encoder_roles] if weights.merged else trial.encoder_roles
        )
        for head, removed in itertools.product(range(both.shape[0]), REMOVED):
            keep = ~np.isin(roles, list(REMOVED[removed]))
            lone = both[head][rows] * keep
            lone = lone / lone.sum(axis=-1, keepdims=True)
            encoder = lone * np.isin(roles, ROLES[:5])
            encoder = encoder / encoder.sum(axis=-1, keepdims=True)
            terms = np.where(encoder > 0, encoder * np.log(np.where(encoder > 0, encoder, 1.0)), 0.0)
            expected = {role: lone[:, roles == role].sum(axis=-1).mean() for role in set(roles)}
            expected["cross_entropy"] = -terms.sum(axis=-1).mean()
            expected["removed_mass"] = (both[head][rows] * ~keep).sum(axis=-1).mean()
            for quantity, value in expected.items():
                found["renormalised", quantity, "decoder", block, layer, head, removed] = float(value)
    return found


def units(narrow: dict[Key, float], wide: dict[Key, float]) -> dict[tuple[int, bool], float]:
    """How far float32 is from float64 by layer, of entropies and of shares: dividing by what is left takes digits."""
    kinds: dict[tuple[int, bool], list[Key]] = {}
    for key in wide:
        kinds.setdefault(unit_of(key), []).append(key)
    return {
        kind: unit([narrow[key] for key in keys], [wide[key] for key in keys]) for kind, keys in kinds.items()
    }


def unit_of(key: Key) -> tuple[int, bool]:
    return key[4], key[1] == "cross_entropy"


# The probe, against weights that the library computes eagerly.


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("shape", [VISIBLE, replace(VISIBLE, hidden=("prefix", "separator"))])
def test_predictions_are_those_of_a_softmax_without_the_keys(
    family: str, shape: Shape, loaded: Callable[[str], LoadedModel], oracle: Oracle, truth: Oracle
) -> None:
    trial = shape.trial()
    found = numbers(capture(loaded(family), batch_of([trial]), Probing((Renormalised(),))), 0)
    expected = renormalised(truth(family), trial)
    of = units(renormalised(oracle(family), trial), expected)
    assert len(expected) > 100
    for key, value in expected.items():
        within(found[key], value, of=of[unit_of(key)], what=key)


def test_nothing_is_left_where_all_attention_is_taken_away() -> None:
    """A row that saw the BOS alone has no share without it: NaN, not 0."""
    from budgetlens.model.attention import RowAttention, Site, role_members

    scores = torch.zeros(1, 1, 1, 2)
    members = role_members(torch.tensor([[0, 3]]))
    attention = RowAttention.from_scores(
        Site("decoder", "cross", 0), scores, torch.tensor([False, True]), members
    )
    observed = Renormalised().observe(attention)
    without = list(REMOVED).index("bos")
    assert torch.isnan(observed["document"][..., without]).all()
    assert float(observed["bos"][..., list(REMOVED).index("none")]) == 1.0


@pytest.mark.parametrize("family", FAMILIES)
def test_hiding_follows_the_prediction_exactly_in_the_first_layer_and_not_later(
    family: str, loaded: Callable[[str], LoadedModel], oracle: Oracle, truth: Oracle
) -> None:
    hidden = ("bos", "prefix", "separator")
    pair = [VISIBLE.trial(), replace(VISIBLE, hidden=hidden).trial()]
    captured = capture(loaded(family), batch_of(pair), Probing((Renormalised(),)))
    before, after = numbers(captured, 0), numbers(captured, 1)
    of = units(*(renormalised(model(family), pair[0]) for model in (oracle, truth)))
    apart: dict[int, float] = {}
    for key, value in before.items():
        _, quantity, _, _, layer, _, removed = key
        if removed == "bos+prefix+separator" and quantity != "removed_mass":
            own = units_apart(value, after[(*key[:-1], "none")], of[unit_of(key)])
            apart[layer] = max(apart.get(layer, 0.0), own)
    assert apart[0] <= TIMES
    assert min(value for layer, value in apart.items() if layer) > 10 * TIMES


# Splits, against the project's scalar statistics and by hand.


def test_a_column_is_split_as_the_ratio_of_means_says() -> None:
    generator = np.random.default_rng(3)
    first = generator.normal(1.0, 0.4, (60, 3))
    middle, last = first - generator.normal(0.3, 0.2, (60, 3)), generator.normal(0.2, 0.4, (60, 3))
    last[:, 2] = first[:, 2] + generator.normal(0.0, 1.0, 60)
    split = split_of_columns([first, middle, last], ["a", "b"], Inference(seed=5, resamples=499))
    for column in range(3):
        total = first[:, column] - last[:, column]
        for name, part in (("a", first - middle), ("b", middle - last)):
            ratio = ratio_of_means(part[:, column], total, Inference(seed=5, resamples=499))
            ours = (split.share[name][column], split.share_low[name][column], split.share_high[name][column])
            np.testing.assert_allclose(ours, (ratio.ratio, ratio.low, ratio.high), rtol=1e-9)
            assert split.share_reason[name][column].startswith("withheld") == ratio.reason.startswith(
                "withheld"
            )
        np.testing.assert_allclose(split.total.low[column], ratio.denominator_low, rtol=1e-9)
    assert np.isnan(split.share["a"][2])
    assert not np.isnan(split.share["a"][:2]).any()


def test_examples_without_a_value_are_left_out_of_their_column_alone() -> None:
    generator = np.random.default_rng(4)
    values = generator.normal(0.5, 0.1, (20, 2))
    values[3, 1] = np.nan
    found = means_of_columns(values, Inference(seed=1))
    assert found.n.tolist() == [20, 19]
    assert found.mean[1] == pytest.approx(np.delete(values[:, 1], 3).mean())
    assert found.reason.tolist() == ["", "1 examples left out: not defined"]


def test_rounding_is_no_effect() -> None:
    noise = np.random.default_rng(5).normal(0, 1e-8, (30, 1))
    split = split_of_columns([noise, np.zeros_like(noise)], ["whole"], Inference(seed=1))
    assert np.isnan(split.total.low[0])
    assert "rounding" in split.total.reason[0]
    assert np.isnan(split.share["whole"][0])


def test_points_and_steps_must_fit() -> None:
    with pytest.raises(ValueError, match="one step fewer"):
        split_of_columns([np.ones((2, 2))] * 2, ["a", "b"], Inference(seed=1))
    with pytest.raises(ValueError, match="one step fewer"):
        SinkPath("x", (Point("a"), Point("b")), ())


# Constructed readings: everything explained, nothing explained, half of it.


def constructed(end: np.ndarray) -> tuple[SinkReadings, SinkPath]:
    """Readings of two cells, 40 examples, 2 layers, 3 heads; predicted from the first: the document gains."""
    generator = np.random.default_rng(6)
    shape = (40, 2, 3)
    sink = generator.uniform(0.2, 0.4, shape)
    document = generator.uniform(0.1, 0.5, shape)
    answer = 1 - sink - document
    start = np.stack([sink, document, answer], axis=-1)
    alone = np.stack([np.zeros(shape), document / (1 - sink), answer / (1 - sink)], axis=-1)
    values = {
        ("visible", "none"): start,
        ("visible", "bos"): alone,
        ("hidden", "none"): alone + end * (start - alone),
    }
    readings = SinkReadings(
        block="merged",
        examples=tuple(range(40)),
        layers=(0, 1),
        heads=(0, 1, 2),
        quantities=("bos", "document", "answer"),
        values={key: value.astype(np.float32) for key, value in values.items()},
        hidden={"visible": ("none",) * 40, "hidden": ("bos",) * 40},
    )
    path = SinkPath(
        "shift", (Point("visible"), Point("visible", like="hidden"), Point("hidden")), ("sink", "rest")
    )
    return readings, path


@pytest.mark.parametrize(("left", "explained"), [(0.0, 1.0), (0.5, 2.0), (-1.0, 0.5)])
def test_the_explained_share_of_constructed_shifts(left: float, explained: float) -> None:
    """With everything explained the rest is 0; a shift that goes half back is explained twice; one that goes
    as far again is explained by half."""
    readings, path = constructed(np.array(left))
    table = shift_table(readings, [path], Inference(seed=1))
    for role, layer in itertools.product(("bos", "document", "answer"), ("0", "1", "all")):
        own = table[(table["role"] == role) & (table["layer"] == layer)].set_index("part")
        assert own.loc["sink", "share"] == pytest.approx(explained, rel=1e-5)
        assert own.loc["rest", "share"] == pytest.approx(1 - explained, abs=1e-5)
        assert own.loc["sink", "mean_difference"] + own.loc["rest", "mean_difference"] == pytest.approx(
            own.loc["total", "mean_difference"], abs=1e-9
        )
    heads = head_table(readings, [path], Inference(seed=1))
    known = heads[heads["part"] == "sink"]
    np.testing.assert_allclose(known["share"], explained, rtol=1e-4)
    assert len(known) == 2 * 3 * 3
    # Forty examples: the p are small, and no head is called discovered under 200.
    assert (known["q"] <= 0.05).all()
    assert not known["discovered"].any()
    whole = heads[(heads["part"] == "total") & (heads["role"] == "bos")]
    readings_at = readings.at(Point("visible")) - readings.at(Point("hidden"))
    np.testing.assert_allclose(
        whole["mean_difference"], readings_at[..., 0].mean(axis=0).reshape(-1), rtol=1e-5
    )


def test_nothing_is_explained_where_the_prediction_changes_nothing() -> None:
    readings, path = constructed(np.array(0.0))
    unchanged = replace(
        readings, values={**readings.values, ("visible", "bos"): readings.values["visible", "none"]}
    )
    own = shift_table(unchanged, [path], Inference(seed=1)).set_index(["role", "layer", "part"])["share"]
    assert own["document", "all", "sink"] == pytest.approx(0.0, abs=1e-6)
    assert own["document", "all", "rest"] == pytest.approx(1.0, abs=1e-6)


def test_audit_and_exactness_by_hand() -> None:
    readings, path = constructed(np.array(0.25))
    pair = replace(path, name="hidden")
    audit = audit_table(readings, [pair], Inference(seed=1)).set_index(["role", "layer"])
    visible, predicted, measured = (readings.at(point)[..., 1] for point in pair.points)
    row = audit.loc[("document", "1")]
    assert row["visible"] == pytest.approx(visible[:, 1].mean(), rel=1e-5)
    assert row["predicted"] == pytest.approx(predicted[:, 1].mean(), rel=1e-5)
    assert row["mean"] == pytest.approx(measured[:, 1].mean(), rel=1e-5)
    assert row["difference"] == pytest.approx((measured - predicted)[:, 1].mean(), rel=1e-4)
    assert row["difference_low"] < row["difference"] < row["difference_high"]
    assert row["largest"] == pytest.approx(np.abs(measured - predicted)[:, 1].max(), rel=1e-5)
    exact = exactness_table(readings, [pair])
    assert not exact["holds"].any()
    assert exactness_table(constructed(np.array(0.0))[0], [pair])["holds"].all()


def test_entropies_have_the_means_of_both_ends() -> None:
    readings, path = constructed(np.array(0.5))
    renamed = replace(readings, quantities=("cross_entropy", "document", "answer"))
    table = entropy_table(renamed, [path], Inference(seed=1))
    own = table[(table["layer"] == "0") & (table["part"] == "total")].iloc[0]
    assert own["first"] == pytest.approx(readings.at(path.points[0])[:, 0, :, 0].mean(), rel=1e-5)
    assert own["first"] - own["last"] == pytest.approx(own["mean_difference"], rel=1e-5)


# What is hidden, example by example.


def trials_frame(hidden: list[int], **tokens: int) -> pd.DataFrame:
    counts = {f"{role}_tokens": tokens.get(role, 0) for role in ROLES}
    return pd.DataFrame(
        [
            {
                "example": str(i),
                "cell": "prefix=oracle|hidden=first-n|prompt=none",
                "hidden_tokens": n,
                **counts,
            }
            for i, n in enumerate(hidden)
        ]
    )


def test_first_positions_are_named_by_the_roles_that_they_cover() -> None:
    examples = tuple(str(i) for i in range(5))
    with_bos = trials_frame([0, 1, 5, 6, 3], bos=1, prefix=4, separator=1)
    assert _hidden_sets(with_bos, examples) == ("none", "bos", "bos+prefix", "bos+prefix+separator", "")
    without = trials_frame([4, 0, 4, 4, 4], prefix=4)
    found = _hidden_sets(without, examples)
    assert [REMOVED[name] - {"bos", "separator"} for name in found] == [{"prefix"}, set(), *[{"prefix"}] * 3]


def test_a_part_of_a_role_has_no_prediction() -> None:
    readings, path = constructed(np.array(0.0))
    partly = replace(readings, hidden={**readings.hidden, "hidden": ("bos",) * 39 + ("",)})
    assert np.isnan(partly.at(path.points[1])[39]).all()
    assert np.isfinite(partly.at(path.points[1])[:39]).all()


# A run, end to end.


@pytest.fixture(scope="module", params=["corrected", pytest.param("published", marks=pytest.mark.slow)])
def audited(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny_directory: Path
) -> Path:
    """A finished run of 10 on a tiny T5Gemma 2."""
    folder = tmp_path_factory.mktemp(f"sink-{request.param}")
    corpus = write_corpus(folder / "tiny.jsonl", 6)
    given = ["run", "exp10", "--model", str(tiny_directory), "--corpus", str(corpus), "--device", "cpu"]
    out = folder / "run"
    assert main([*given, "--protocol", request.param, "--quiet", "--out", str(out)]) == 0
    return out


def test_a_run_of_the_audit(audited: Path) -> None:
    tables = {path.stem: pd.read_csv(path) for path in (audited / "tables").glob("*.csv")}
    assert tables_without_caution(audited / "tables") == []
    exact = tables["sink_exactness"]
    assert exact.loc[exact["layer"] == 0, "holds"].all()
    assert not exact.loc[exact["layer"] > 1, "holds"].any()
    assert set(exact["cell"]) == {pair.name for prompt in exp10.PROMPTS for pair in exp10.audit_pairs(prompt)}
    figures = {path.stem for path in (audited / "figures").glob("*.html")}
    assert figures >= {"sink_audit", "sink_propagation", "sink_layers", "sink_heads", "effects"}
    shifts = tables["sink_shifts"][lambda rows: rows["role"] == "cross total"]
    assert set(tables["sink_layers"]["layer"]) == set(range(5))
    budgets = Run.open(audited).records("budgets").astype({"cell": str, "role": str})
    cross = budgets[(budgets["stack"] == "decoder") & budgets["role"].isin(ROLES[:5])]
    means = cross.groupby("cell")["share"].sum() / (6 * 5 * 6)
    for path in (path for prompt in exp10.PROMPTS for path in exp10.sink_paths(prompt)):
        own = shifts[shifts["shift"] == path.name].set_index("part")["mean_difference"]
        ends = [means[point.cell] for point in (path.points[0], path.points[-1])]
        # The same records, averaged in another order.
        within(own["total"], ends[0] - ends[1], of=least_unit(1.0), what=path.name)
        assert own[list(path.steps)].sum() == pytest.approx(own["total"], abs=1e-9)


def test_measured_entropies_are_the_entropies_of_the_run(
    audited: Path, float32: Callable[[str], Float32]
) -> None:
    run = Run.open(audited)
    if json.loads((audited / "run.json").read_text())["protocol"] == "published":
        assert "published_entropies" in run.kinds
        assert "entropies" not in run.kinds
        return
    readings = read_sinks(run, exp10.sink_paths("query"))
    entropies = run.records("entropies").astype({"cell": str, "part": str, "example": str})
    for cell in {point.cell for path in exp10.sink_paths("query") for point in path.points}:
        own = entropies[(entropies["cell"] == cell) & (entropies["part"] == "cross")]
        expected = own.pivot(index="example", columns=["layer", "head"], values="entropy").sort_index(axis=1)
        values = readings.only(["cross_entropy"]).at(Point(cell)).reshape(6, -1)
        within(values, expected.to_numpy(), of=float32("t5gemma2").of("entropy", "decoder"))


def test_plans_compare_what_they_name() -> None:
    analysis = exp10.exp10()
    for protocol, rows, correction in (
        ("corrected", "predicting", "holm"),
        ("published", "holding", "bonferroni"),
    ):
        plan = analysis.plan(protocol)
        assert (plan.rows, plan.correction, len(plan.design.cells)) == (rows, correction, 12)
        names = {cell.name for cell in plan.design.cells}
        assert all(set(contrast.weights) <= names for contrast in plan.contrasts)
        for split in plan.splits:
            weights: dict[str, float] = {}
            for part in split.parts:
                for cell, weight in part.weights.items():
                    weights[cell] = weights.get(cell, 0.0) + weight
            assert {cell: weight for cell, weight in weights.items() if weight} == dict(split.total.weights)


# Long tables of which a part is shown.


def test_an_extract_shows_some_rows_and_saves_all() -> None:
    frame = pd.DataFrame({"name": list("abcd"), "value": [1.0, 2.0, 3.0, 4.0], "reason": ["", "x", "", "y"]})
    table = Extract(frame, "T", "e", "u", "4", "none", "none", None, shown_rows=(3, 1))
    assert table.shown()["name"].tolist() == ["d", "b"]
    assert list(table.footnotes.values()) == ["y", "x"]
    assert "2 of 4 rows are shown" in table.caption
    assert table.to_csv() == Table(frame, "T", "e", "u", "4", "none", "none", None).to_csv()
    assert "x" in table.to_terminal(80)
    assert "4 rows" in table.to_terminal(80)
