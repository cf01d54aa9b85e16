"""The explorer without a browser: what it reads, what it shows, how fast, and what it says when it can't."""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import time
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from transformers import PreTrainedModel

from budgetlens.design.catalogue import find_analysis
from budgetlens.design.intervention import Context
from budgetlens.explorer import command
from budgetlens.explorer.attention_view import attention_view, narrowed
from budgetlens.explorer.data import RunData, load_run, load_runs
from budgetlens.explorer.effects_view import effects_of, effects_view
from budgetlens.explorer.examples_view import example_table, examples_view
from budgetlens.explorer.live import LiveModel, OwnTexts
from budgetlens.explorer.state import (
    MEAN,
    NONE,
    State,
    from_fragment,
    from_store,
    own_cell_names,
    resolved,
    to_fragment,
    to_store,
)
from budgetlens.explorer.strata import levels_of, mask_of, strata_of
from budgetlens.explorer.tokens_view import own_view, tokens_view
from budgetlens.explorer.views import Link, NothingToShow
from budgetlens.model.trials import Example
from budgetlens.runs.manifest import RunError, sealed
from budgetlens.runs.records import Fed
from budgetlens.runs.run import Run
from budgetlens.runs.storage import RunDirectory
from budgetlens.runs.tokens import save_token_attention
from budgetlens.statistics.bands import share_table
from budgetlens.statistics.tails import length_factor
from tests.explorer_runs import HOSTILE, hostile_run, synthetic_run
from tests.precision import Float32, least_unit, measured, within

LAYERS, HEADS, EXAMPLES = 3, 4, 40
BARE = "prefix=none|hidden=prefix+separator|prompt=none"
ORACLE = "prefix=oracle|hidden=prefix+separator|prompt=query"


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> RunData:
    """A run of numbers alone: no texts, no model."""
    path = synthetic_run(
        tmp_path_factory.mktemp("numbers") / "run", examples=EXAMPLES, layers=LAYERS, heads=HEADS
    )
    return load_run(path)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory, tiny_directory: Path) -> Path:
    return hostile_run(tmp_path_factory.mktemp("hostile"), tiny_directory)


@pytest.fixture(scope="module")
def texts(hostile: Path) -> RunData:
    return load_run(hostile)


@pytest.fixture(scope="module")
def live(texts: RunData) -> LiveModel:
    model = LiveModel(texts)
    model.start()
    assert model.wait(120)
    assert model.state == "ready", model.reason
    return model


def chosen(data: RunData, **choices: object) -> State:
    state, notes = resolved(State(**choices), {data.key: data})  # type: ignore[arg-type]
    assert notes == []
    return state


# What is read.


def test_arrays_hold_the_records(numbers: RunData) -> None:
    records = numbers.run.outcomes
    pivoted = records.pivot(index="example", columns="cell", values="nll")
    np.testing.assert_array_equal(numbers.nll[pivoted.columns], pivoted)
    assert numbers.cells == numbers.manifest.cell_names
    assert numbers.layers == tuple(range(LAYERS))
    assert numbers.heads == tuple(range(HEADS))
    assert set(numbers.contrasts) == {c.name for c in find_analysis("exp08").plan("corrected").contrasts}


def test_an_unfinished_run_is_refused(numbers: RunData, tmp_path: Path) -> None:
    shutil.copytree(numbers.run.path, tmp_path / "cut")
    (tmp_path / "cut" / "parts" / "part-00000.json").unlink()
    with pytest.raises(RunError, match="is not finished"):
        load_run(tmp_path / "cut")
    with pytest.raises(RunError, match=r"holds no run\.json"):
        load_run(tmp_path)


def test_runs_of_one_name_get_different_keys(numbers: RunData, tmp_path: Path) -> None:
    shutil.copytree(numbers.run.path, tmp_path / "run")
    assert list(load_runs([numbers.run.path, tmp_path / "run"])) == ["run", "run-2"]


def test_texts_come_from_the_runs_corpus_only(texts: RunData, hostile: Path, tmp_path: Path) -> None:
    assert {example.query for example in texts.texts.values()} == {row["query"] for row in HOSTILE}
    moved = json.loads((hostile / "run.json").read_text())
    corpus = Path(moved["corpus"]["asked"]["corpus"])
    other = tmp_path / "other.jsonl"
    other.write_text(json.dumps({"query": "q", "document": "d", "answer": "a"}) + "\n")
    shutil.copytree(hostile, tmp_path / "run")
    moved["corpus"]["asked"]["corpus"] = str(other)
    (tmp_path / "run" / "run.json").write_text(json.dumps(sealed(moved)))
    refused = load_run(tmp_path / "run")
    assert refused.texts == {}
    assert "holds other texts than those of the run" in refused.no_texts
    assert load_run(tmp_path / "run", corpus=str(corpus)).texts == texts.texts


# The address.


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_an_address_restores_every_control(data: st.DataObject) -> None:
    text = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)
    values = {
        item.name: data.draw(
            st.lists(text, max_size=3).map(tuple) if item.type == "tuple[str, ...]" else text
        )
        for item in fields(State)
    }
    state = State(**values)  # type: ignore[arg-type]
    assert from_fragment(to_fragment(state)) == (state, [])
    assert from_store(json.loads(json.dumps(to_store(state)))) == state


def test_defaults_are_filled_in_and_strangers_named(numbers: RunData) -> None:
    runs = {numbers.key: numbers}
    state, notes = resolved(State(), runs)
    assert notes == []
    assert resolved(state, runs) == (state, [])
    assert (state.left, state.right) == (BARE, "prefix=oracle|hidden=prefix+separator|prompt=none")
    difference = (numbers.nll[state.left] - numbers.nll[state.right]).abs()
    assert state.example == difference.idxmax()
    asked = State(
        run="gone", view="x", contrast="y", cells=("z", BARE), example="w", layer="last", stratum="1 of 5"
    )
    replaced, notes = resolved(asked, runs)
    assert replaced == replace(state, cells=(BARE,))
    assert len(notes) == 6
    assert "There is no run 'gone' here; 'run' is shown." in notes
    _, notes = from_fragment("#run=a&colour=red")
    assert notes == ["The address has a part 'colour' that means nothing here; it was left out."]


def test_an_address_of_an_earlier_version_shows_the_same(numbers: RunData) -> None:
    """Then there was a view of one probe, which bore its name, and categories were called roles."""
    asked, notes = from_fragment("#run=run&view=budgets&map=ledger&roles=bos&roles=document&heads=1")
    state, more = resolved(asked, {numbers.key: numbers})
    assert [*notes, *more] == []
    assert (state.view, state.probe, state.map) == ("attention", "budgets", "layers")
    assert (state.categories, state.heads) == (("bos", "document"), ("1",))
    now = chosen(
        numbers, view="attention", probe="budgets", categories=("bos", "document"), heads=("1",), run="run"
    )
    assert state == now
    frame = attention_view(numbers, state).frame
    assert frame is not None
    assert set(frame["role"]) == {"bos", "document"}


# Strata.


def test_strata(numbers: RunData, texts: RunData) -> None:
    hard = numbers.nll.mean(axis=1)
    mask = mask_of(numbers, "hardness", "5 of 5")
    assert mask.sum() == EXAMPLES // 5
    assert hard[mask].min() > hard[~mask].max()
    document = numbers.counts["document_tokens"]
    assert document[mask_of(numbers, "document", "1 of 5")].max() <= document.median()
    words = {name: len(example.answer.split()) for name, example in texts.texts.items()}
    for label, low, high in (("1-2 words", 1, 2), ("3-5 words", 3, 5)):
        mask = mask_of(texts, "answer", label)
        assert set(texts.nll.index[mask]) == {name for name, count in words.items() if low <= count <= high}
    assert mask_of(numbers, "", "").all()
    assert levels_of(numbers, "answer") == [f"{number} of 5" for number in range(1, 6)]
    with pytest.raises(ValueError, match="can't be parted by 'colour'; known: answer, document, hardness"):
        strata_of(numbers, "colour")


# Effects.


def test_effects_of_a_stratum_are_those_of_its_examples(numbers: RunData) -> None:
    state = chosen(numbers, strata="document", stratum="2 of 5")
    mask = mask_of(numbers, "document", "2 of 5")
    table = effects_of(numbers, state).set_index("contrast")
    own = numbers.nll[mask]
    for contrast in numbers.contrasts.values():
        values = sum(weight * own[cell] for cell, weight in contrast.weights.items())
        row = table.loc[contrast.name]
        assert row["n"] == mask.sum()
        assert row["mean_difference"] == pytest.approx(values.mean(), abs=1e-12)
        assert row["p_t"] == pytest.approx(stats.ttest_1samp(values, 0).pvalue, rel=1e-9)
    view = effects_view(numbers, state)
    assert f"{mask.sum()} of {EXAMPLES} examples" in view.notes[0]


def test_a_stratum_with_too_few_examples_says_so(texts: RunData) -> None:
    with pytest.raises(NothingToShow, match="statistics need at least 5"):
        effects_view(texts, chosen(texts, strata="answer", stratum="3-5 words"))


def test_every_effect_leads_to_its_examples(numbers: RunData) -> None:
    listing = effects_view(numbers, chosen(numbers)).listing
    assert listing is not None
    links = [row[0] for row in listing.rows]
    assert [link.value for link in links if isinstance(link, Link)] == list(
        numbers.effects("likelihood")["contrast"]
    )


# Attention.


def test_shares_of_a_part_are_means_over_what_was_chosen(numbers: RunData) -> None:
    state = chosen(
        numbers,
        cells=(BARE, ORACLE),
        layers=("0", "2"),
        heads=("1", "3"),
        strata="hardness",
        stratum="1 of 5",
    )
    mask = mask_of(numbers, "hardness", "1 of 5")
    records = numbers.run.records("budgets")
    kept = records[
        records["cell"].isin([BARE, ORACLE])
        & records["layer"].isin([0, 2])
        & records["head"].isin([1, 3])
        & records["example"].isin(numbers.nll.index[mask])
    ]
    by_example = kept.groupby(["cell", "layer", "role", "example"], observed=True)["share"].mean()
    chosen_arrays = narrowed(numbers.arrays("budgets", "share")[0], numbers, state, mask)
    frame = share_table([chosen_arrays], numbers.run.inference)
    assert len(frame) == 2 * 2 * 8
    for row in frame.to_dict("records"):
        values = by_example.loc[row["cell"], row["layer"], row["role"]]
        # Student's interval, as much longer on either side as the tails of so few examples need.
        n = len(values)
        reach = stats.t.ppf(0.975, n - 1) * stats.sem(values)
        asymmetry = np.array([stats.skew(values) / np.sqrt(n)])
        low = values.mean() - reach * length_factor(-asymmetry, n)[0]
        high = values.mean() + reach * length_factor(asymmetry, n)[0]
        assert row["n"] == mask.sum()
        within([row["mean"], row["low"], row["high"]], [values.mean(), low, high], of=least_unit(1.0))


def test_maps_of_heads(numbers: RunData) -> None:
    records = numbers.run.records("budgets")
    state = chosen(numbers, view="attention", map="heads", cells=(BARE,), categories=("bos",))
    frame = attention_view(numbers, state).frame
    assert frame is not None
    own = records[(records["cell"] == BARE) & (records["role"] == "bos")]
    means = own.groupby(["layer", "head"], observed=True)["share"].mean()
    assert len(frame) == LAYERS * HEADS
    for row in frame.to_dict("records"):
        within(row["mean"], means.loc[row["layer"], row["head"]], of=least_unit(1.0))
    difference = attention_view(numbers, replace(state, map="contrast")).frame
    assert difference is not None
    treatment = records[(records["cell"] == state.right) & (records["role"] == "bos")]
    expected = means - treatment.groupby(["layer", "head"], observed=True)["share"].mean()
    for row in difference.to_dict("records"):
        within(row["mean"], expected.loc[row["layer"], row["head"]], of=least_unit(1.0))


# Examples.


def test_examples_of_a_contrast(numbers: RunData) -> None:
    name = next(name for name, contrast in numbers.contrasts.items() if len(contrast.weights) == 4)
    contrast = numbers.contrasts[name]
    table = example_table(numbers, contrast, "likelihood")
    values = sum(weight * numbers.nll[cell] for cell, weight in contrast.weights.items())
    np.testing.assert_allclose(table["difference"], values, atol=1e-12)
    state = chosen(numbers, view="examples", contrast=name)
    listing = examples_view(numbers, state).listing
    assert listing is not None
    order = table.sort_values("size", ascending=False)["example"].head(20)
    assert [row[0].value for row in listing.rows if isinstance(row[0], Link)] == list(order)
    assert (listing.page, listing.pages) == (1, 2)
    last = examples_view(numbers, replace(state, page="99", sort="baseline", order="up")).listing
    assert last is not None
    assert last.page == 2
    baseline = [float(str(row[3]).replace("−", "-")) for row in last.rows]
    assert baseline == sorted(baseline)


# Tokens.


def test_stored_tokens_are_shown_without_a_model(texts: RunData, live: LiveModel, tmp_path: Path) -> None:
    state = chosen(texts, view="tokens", layer="1", right=NONE)
    shutil.copytree(texts.run.path, tmp_path / "run")
    absent = LiveModel(texts, str(tmp_path / "no model"))
    absent.start()
    assert absent.wait(60)
    assert absent.state == "absent"
    with pytest.raises(
        NothingToShow, match="can't be computed now. The model .* is not at hand: .*is not a directory"
    ):
        tokens_view(texts, state, absent)
    computed = tokens_view(texts, state, live)
    assert "computed now" in computed.lead
    place = texts.places[state.example]
    corpus = texts.corpus
    assert corpus is not None
    model = live.model
    context = Context(place, corpus.examples, model.trial_tokenizer, model.tokenizer.vocab_size, 42)
    cell = next(cell for cell in texts.plan.design.cells if cell.name == state.left)
    trial = model.trial_tokenizer(cell.trial(corpus.examples[place], context))
    save_token_attention(RunDirectory(tmp_path / "run"), model, [Fed(cell.name, trial)])
    stored = tokens_view(replace(texts, run=Run.open(tmp_path / "run")), state, absent)
    assert "from the run's stored records" in stored.lead
    assert stored.frame is not None
    assert computed.frame is not None
    pd.testing.assert_frame_equal(
        stored.frame.reset_index(drop=True), computed.frame.reset_index(drop=True), check_dtype=False
    )


def test_live_tokens_add_up_to_the_runs_budgets(
    texts: RunData, live: LiveModel, float32: Callable[[str], Float32]
) -> None:
    state = chosen(texts, view="tokens", layer="2", left=ORACLE, right=NONE)
    frame = tokens_view(texts, state, live).frame
    assert frame is not None
    sums = frame.groupby(["head", "row", "role"])["share"].sum().groupby(["head", "role"]).mean()
    records = texts.run.records("budgets")
    own = records[
        (records["example"] == state.example) & (records["cell"] == ORACLE) & (records["layer"] == 2)
    ]
    assert len(own)
    for row in own.to_dict("records"):
        own_share = sums.get((row["head"], row["role"]), 0.0)
        within(own_share, row["share"], of=float32("t5gemma2").of("share", "decoder", 2))


def test_heads_are_averaged_or_chosen(texts: RunData, live: LiveModel) -> None:
    state = chosen(texts, view="tokens", layer="1", left=ORACLE, right=NONE)
    for head in (MEAN, "3"):
        view = tokens_view(texts, replace(state, head=head), live)
        assert view.second is not None
        assert view.frame is not None
        frame = view.frame if head == MEAN else view.frame[view.frame["head"] == 3]
        matrix = next(trace for trace in view.second.data if (trace.meta or {}).get("what") == "matrix")
        expected = frame.pivot_table(index="row", columns="key", values="share")
        within(matrix.z, expected, of=least_unit(1.0))


def test_a_head_or_row_that_is_not_there_is_told(texts: RunData, live: LiveModel) -> None:
    view = tokens_view(texts, chosen(texts, view="tokens", head="77", row="99"), live)
    assert "There is no head 77 here (0 to 5); the mean is shown." in view.notes
    assert any(note.startswith("There is no row 99 here (0 to ") for note in view.notes)
    with pytest.raises(ValueError, match=r"layers \[40\] were asked for"):
        tokens_view(texts, chosen(texts, view="tokens", layer="40"), live)


def test_own_texts_are_measured_in_every_cell(
    texts: RunData,
    live: LiveModel,
    truth: Callable[[str], PreTrainedModel],
    float32: Callable[[str], Float32],
) -> None:
    own = OwnTexts("who built the mill", "The mill by the river was built by Oss.", "the miller", "Oss")
    records = live.own_records(own, "budgets")
    names = own_cell_names(texts, own.prefix)
    assert len(names) == 17 + 8
    likelihood = records["likelihood"].set_index("cell")["nll"]
    assert set(likelihood.index) == set(names)
    fed = {item.cell: item.trial for item in live._own(own)}
    for name in (names[0], BARE, ORACLE):
        expected = measured(truth("t5gemma2"), fed[name]).nll_mean
        within(likelihood[name], expected, of=float32("t5gemma2").losses)
    prefix = [segment.text for segment in fed[names[0]].trial.encoder if segment.role == "prefix"]
    assert prefix == ["the miller"]
    state = chosen(
        texts, view="own", query=own.query, document=own.document, answer=own.answer, prefix=own.prefix
    )
    view = own_view(texts, state, live)
    assert view.listing is not None
    assert len(view.listing.rows) == len(names)
    with pytest.raises(NothingToShow, match="Type a document and an answer, then measure"):
        own_view(texts, replace(state, document=" ", answer=""), live)


def test_other_weights_are_refused(texts: RunData, tmp_path: Path, tiny_directory: Path) -> None:
    shutil.copytree(tiny_directory, tmp_path / "other")
    content = json.loads((tmp_path / "other" / "config.json").read_text())
    (tmp_path / "other" / "config.json").write_text(json.dumps(content | {"note": "changed"}))
    model = LiveModel(texts, str(tmp_path / "other"))
    model.start()
    assert model.wait(120)
    assert "holds other weights than those that the run measured" in model.words
    with pytest.raises(NothingToShow, match="other weights"):
        _ = model.model


# The server and the command.


def test_nothing_comes_from_another_host(numbers: RunData) -> None:
    from budgetlens.explorer.app import make_app

    app = make_app({"run": numbers}, hosts=command.LOCAL)
    client = app.server.test_client()
    page = client.get("/", headers={"Host": "127.0.0.1:8050"})
    assert page.status_code == 200
    assert "http://" not in page.text
    assert "https://" not in page.text
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    assert client.get("/", headers={"Host": "evil.example:8050"}).status_code == 403
    assert client.get("/_dash-layout", headers={"Host": "[::1]:8050"}).status_code == 200


def test_the_port_is_free_or_the_error_says_so() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(
            OSError, match=f"port {port} of 127.0.0.1 can't be used|port {port} of 127.0.0.1 can be used"
        ):
            command.free_port("127.0.0.1", port)
    assert command.free_port("127.0.0.1", None) in command.PORTS


def test_options() -> None:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    options = parser.parse_args(["a", "b", "--port", "9000", "--no-browser"])
    assert (options.run, options.port, options.host) == ([Path("a"), Path("b")], 9000, "127.0.0.1")


# Speed.


def seconds_of(show: Callable[[], object]) -> float:
    """Seconds of this process's own time, which a busy machine does not change."""
    before = time.process_time()
    show()
    return time.process_time() - before


@pytest.mark.slow
def test_every_view_of_500_examples_takes_less_than_a_second(tmp_path: Path) -> None:
    data = load_run(synthetic_run(tmp_path / "large", examples=500, layers=26, heads=8))
    views = {
        "effects": (effects_view, {}),
        "effects of a stratum": (effects_view, {"strata": "hardness", "stratum": "3 of 5"}),
        "budgets": (attention_view, {}),
        "budgets of a stratum": (
            attention_view,
            {"strata": "document", "stratum": "1 of 5", "heads": ("1", "2")},
        ),
        "heads": (attention_view, {"map": "heads"}),
        "difference": (attention_view, {"map": "contrast"}),
        "examples": (examples_view, {}),
        "lines": (examples_view, {"drawing": "slopes"}),
    }
    taken = {}
    for name, (view, choices) in views.items():
        state = chosen(data, **choices)
        taken[name] = min(seconds_of(lambda view=view, state=state: view(data, state)) for _ in range(2))
    assert max(taken.values()) < 1.0, taken
    print({name: round(seconds, 3) for name, seconds in taken.items()})


def test_a_state_is_checked_against_the_run_in_no_time(numbers: RunData) -> None:
    state = chosen(numbers)
    assert state.head == MEAN
    assert seconds_of(lambda: resolved(state, {numbers.key: numbers})) < 0.2


def test_examples_have_the_fields_that_are_shown() -> None:
    assert {"query", "document", "answer"} <= {item.name for item in fields(Example)}


@pytest.mark.parametrize("name", ["norm", "logit"])
def test_tokens_are_shaded_by_what_rows_take_from_them(texts: RunData, live: LiveModel, name: str) -> None:
    """One control: the numbers are those of the token view in Python, added over heads where heads add up."""
    assert next(iter(texts.measures)) == "share"
    assert {"weighted", "norm", "projection", "logit", "alti"} <= set(texts.measures)
    state = chosen(texts, view="tokens", layer="1", left=ORACLE, right=NONE, shading=name)
    view = tokens_view(texts, state, live)
    assert view.second is not None
    assert view.frame is not None
    assert view.listing is not None
    by_key = view.frame.groupby(["row", "key"])[name]
    expected = (by_key.sum() if name == "logit" else by_key.mean()).unstack()
    matrix = next(trace for trace in view.second.data if (trace.meta or {}).get("what") == "matrix")
    np.testing.assert_allclose(np.asarray(matrix.z, dtype=float), expected, rtol=1e-5, atol=1e-7)
    # Signed numbers lie around 0 in the middle of their scale, and are told as they are.
    bar = view.second.layout.coloraxis
    assert (bar.cmin < 0) == (name == "logit")
    assert view.listing.rows[0][1].endswith("%") == (name == "norm")
    assert from_fragment(to_fragment(state))[0].shading == name
    asked, notes = resolved(replace(state, shading="unheard of"), {texts.key: texts})
    assert asked.shading == "share"
    assert any("unheard of" in note for note in notes)
