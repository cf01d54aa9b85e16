"""The faithfulness bench: the gradient by finite differences, positions by their scores, areas by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from analyses.studies.faithfulness import areas_table, curves_table
from analyses.studies.faithfulness_plans import AMOUNTS, DRAWS, LABELS, MODES, RANDOM, REMOVE, plan
from budgetlens.command.main import main
from budgetlens.corpora.corpus import read_corpus
from budgetlens.design.design import Cell, Design, Factor
from budgetlens.design.generable import require_generable
from budgetlens.model.batching import make_batch
from budgetlens.model.decoding import GenerationError
from budgetlens.model.keeping import GRADIENT, Keep
from budgetlens.model.observation import chosen_probes
from budgetlens.model.token_attention import token_attention
from budgetlens.model.token_scores import gradient_scores, placed
from budgetlens.runs.run import Run
from budgetlens.tables.build import build_tables
from tests.cells import Models, tokenized
from tests.conftest import save_tiny, write_corpus
from tests.precision import TIMES
from tests.reference import hooks

CELL = {"prefix": "oracle", "hidden": "prefix+separator", "prompt": "query"}
#: Step of the finite differences, in parts of a state: their error is of its square.
STEP = 1e-4


def log_likelihood(model: PreTrainedModel, states: torch.Tensor, trial) -> torch.Tensor:
    """By the plain model on given states: Σ log p of the answer's tokens."""
    logits = model(
        encoder_outputs=BaseModelOutput(last_hidden_state=states[None]),
        attention_mask=torch.tensor([trial.visible]).long(),
        decoder_input_ids=torch.tensor([trial.decoder_ids]),
        use_cache=False,
    ).logits[0]
    rows = list(trial.answer_rows("predicting"))
    targets = torch.tensor(trial.decoder_ids)[[row + 1 for row in rows]]
    return logits[rows].log_softmax(dim=-1).gather(1, targets[:, None]).sum()


@pytest.mark.parametrize("family", ["t5gemma2", "t5", "bart"])
def test_gradient_times_input_is_the_slope_of_the_likelihood(
    family: str,
    loaded: Models,
    oracle: Callable[[str], PreTrainedModel],
    truth: Callable[[str], PreTrainedModel],
) -> None:
    """By finite differences of the eager model in float64, position by position, as near as its own float32 gradient."""
    trial = tokenized(loaded(family), 0, CELL)
    found = gradient_scores(loaded(family), trial)
    wide = hooks.encoder_states(truth(family), trial.encoder_ids).double()
    expected = []
    with torch.no_grad():
        for position in range(len(wide)):
            moved = [wide.clone(), wide.clone()]
            for sign, states in zip((1, -1), moved, strict=True):
                states[position] *= 1 + sign * STEP
            up, down = (float(log_likelihood(truth(family), states, trial)) for states in moved)
            expected.append((up - down) / (2 * STEP))
    narrow = hooks.encoder_states(oracle(family), trial.encoder_ids).float().clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(log_likelihood(oracle(family), narrow, trial), narrow)
    own = (gradient.double() * narrow.detach().double()).sum(dim=-1).numpy()
    deviation = np.abs(own - expected).max()
    assert 0 < deviation < 1e-2 * np.abs(expected).max()
    np.testing.assert_allclose(found, expected, atol=TIMES * deviation, rtol=0)
    hidden = [place for place, seen in enumerate(trial.visible) if not seen]
    assert hidden
    assert (found[hidden] == 0).all()


@pytest.mark.parametrize("family", ["t5gemma2", "bart"])
def test_the_positions_that_have_most_are_chosen(family: str, loaded: Models) -> None:
    """Of a probe by the token view's columns and pandas: means over rows, heads and layers; the margin adds up."""
    model = loaded(family)
    measures = ("budgets", "weighted", "logit", "alti")
    trial = tokenized(model, 0, CELL)
    table = token_attention(model, trial, measures=chosen_probes(measures))
    document = [place for place, role in enumerate(trial.encoder_roles) if role == "document"]
    own = table[table["key"].isin(document) & (table["block"] != "self")]
    by_layer = own.groupby(["layer", "key"])[list(measures)].mean()
    heads = own["head"].nunique()
    expected = {
        "budgets": by_layer["budgets"].groupby("key").mean(),
        "weighted": by_layer["weighted"].groupby("key").mean(),
        "logit": (by_layer["logit"] * heads).groupby("key").sum(),
        "alti": by_layer["alti"].loc[by_layer.index.get_level_values("layer").max()],
    }
    levels = [{"keep": f"{name}:4"} for name in measures] + [{"remove": f"{name}:4"} for name in measures]
    asked = [tokenized(model, 0, {**CELL, **level}) for level in levels]
    assert all(one.asks and one.visible == trial.visible for one in asked)
    chosen = placed(model, [trial, *asked])
    assert chosen[0] is trial
    for place, name in enumerate(measures):
        best = set(expected[name].nlargest(4).index)
        kept, removed = chosen[1 + place], chosen[1 + len(measures) + place]
        assert {key for key in document if kept.visible[key]} == best, name
        assert {key for key in document if not removed.visible[key]} == best, name
        assert not kept.asks
    assert len({chosen[1 + place].visible for place in range(len(measures))}) > 1
    # Nothing else is hidden by it.
    for one in chosen:
        for key, seen in enumerate(one.visible):
            assert key in document or seen == trial.visible[key]


def test_the_highest_are_chosen_and_the_first_of_equal_ones() -> None:
    keep = Keep("weighted", 2)
    assert keep.asks
    assert keep.of(4) == {0, 1, 2, 3}
    own = keep.placed([0.5, 2.0, 0.5, float("nan")])
    assert not own.asks
    assert own.of(4) == {0, 1}
    assert replace(own, removes=True).of(4) == {2, 3}
    assert Keep("last", 1, removes=True).of(3) == {0, 1}
    # 34 % of three positions are two.
    assert Keep("weighted", 34, percent=True).placed([1.0, 3.0, 2.0]).of(3) == {1, 2}


def test_what_the_model_is_to_choose_is_fed_by_nobody_who_has_not_asked(loaded: Models) -> None:
    model = loaded("t5gemma2")
    with pytest.raises(ValueError, match="to be chosen by the model"):
        make_batch([tokenized(model, 0, {"keep": f"{GRADIENT}:3"})], pad_token=0)


def test_generation_has_no_answer_to_rank_by(loaded: Models, tmp_path: Path) -> None:
    design = Design((Factor("keep", ("weighted:3",)),), (Cell((("keep", "weighted:3"),)),))
    corpus = read_corpus(str(write_corpus(tmp_path / "tiny.jsonl", 3)), n=3)
    with pytest.raises(GenerationError, match="keep=weighted:3"):
        require_generable(design, corpus, loaded("t5gemma2").trial_tokenizer, 5)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("bench")
    model = save_tiny("t5gemma2", folder / "model")
    corpus = write_corpus(folder / "tiny.jsonl", 3)
    given = ["run", "exp16", "--model", str(model), "--corpus", str(corpus), "--device", "cpu"]
    assert main([*given, "--quiet", "--no-report", "--out", str(folder / "run")]) == 0
    return Run.open(Path(folder / "run"))


@pytest.mark.slow
def test_areas_are_means_over_the_curve_and_the_effects_are_their_differences(run: Run) -> None:
    """By pandas from the likelihood of every cell, whose names are taken apart here."""
    nll = run.outcomes.astype({"example": str, "cell": str})
    nll[["keep", "remove"]] = nll["cell"].str.extract(r"keep=([^|]*)\|remove=([^|]*)")
    whole = nll[(nll["keep"] == "none") & (nll["remove"] == "none")].set_index("example")["nll"]
    table = areas_table(run).set_index(["mode", "measure"])
    curves = curves_table(run).set_index(["mode", "measure", "percent"])
    areas: dict[tuple[str, str], float] = {}
    for mode in MODES:
        own = nll[nll[mode.factor] != "none"].copy()
        own[["measure", "percent"]] = own[mode.factor].str.extract(r"^(\w+):(\d+)%")
        own["cost"] = own["nll"].to_numpy() - whole.loc[own["example"]].to_numpy()
        means = own.groupby(["measure", "percent"])["cost"].mean()
        for measure, words in LABELS.items():
            draws = DRAWS if measure == RANDOM else 1
            assert (own["measure"] == measure).sum() == draws * len(AMOUNTS) * len(whole)
            for amount in AMOUNTS:
                np.testing.assert_allclose(
                    curves.loc[(mode.words, words, amount), "mean"], means[measure, str(amount)], atol=1e-9
                )
            areas[mode.words, measure] = float(means[measure].mean())
            assert table.loc[(mode.words, words), "mean"] == pytest.approx(areas[mode.words, measure])
            if measure != RANDOM:
                assert table.loc[(mode.words, words), "random_mean"] == pytest.approx(
                    areas[mode.words, measure] - float(means[RANDOM].mean())
                )
    effects = build_tables(run)["effects"].set_index("contrast")["mean_difference"]
    for mode in MODES:
        for measure in LABELS:
            assert effects[mode.cost(measure).name] == pytest.approx(-areas[mode.words, measure])
    name = REMOVE.beside("norm", RANDOM).name
    assert effects[name] == pytest.approx(areas[REMOVE.words, RANDOM] - areas[REMOVE.words, "norm"])
    best = table.loc[REMOVE.words].sort_values("rank").index[0]
    assert best == max(LABELS.values(), key=lambda words: table.loc[(REMOVE.words, words), "mean"])


def test_every_cell_has_one_choice_and_the_plan_all_of_them() -> None:
    cells = [cell.factors for cell in plan().design.cells]
    assert len(cells) == 1 + 2 * (len(LABELS) - 1 + DRAWS) * len(AMOUNTS)
    assert sum(own["keep"] == own["remove"] == "none" for own in cells) == 1
    assert all("none" in (own["keep"], own["remove"]) for own in cells)
