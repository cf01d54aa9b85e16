"""Attention token by token, against the model's own eager attention, closed forms and the run's budgets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from transformers import PreTrainedModel

from budgetlens.command.main import main
from budgetlens.model.capture import Capture, Probing, capture
from budgetlens.model.edits import EditError, HideKeys, ZeroValues
from budgetlens.model.loaded import LoadedModel
from budgetlens.model.loading import prepare_model
from budgetlens.model.observation import available_probes
from budgetlens.model.token_attention import COLUMNS, token_attention, token_texts
from budgetlens.model.tokenization import TokenizedTrial
from budgetlens.model.trials import Example, Trial
from budgetlens.runs.manifest_files import write_manifest
from budgetlens.runs.records import Fed
from budgetlens.runs.storage import RunDirectory
from budgetlens.runs.tokens import read_token_attention, save_token_attention, stored_examples
from figures.tokens import TOKEN_COLUMNS
from probes.budgets import Budgets
from tests import report_pages
from tests.conftest import SHAPES, batch_of, write_corpus
from tests.precision import Float32, least_unit, weights_of, within
from tests.reference import eager, tiny_models

Loaded = Callable[[str], LoadedModel]
Oracle = Callable[[str], PreTrainedModel]
Precision = Callable[[str], Float32]
#: One of every kind of position and softmax: merged, soft cap, relative, learned.
KINDS = ("t5gemma2", "t5gemma", "t5", "bart")
PREFIXED = "prefix and BOS hidden"


def trial_of(shape: str) -> TokenizedTrial:
    return SHAPES[shape].trial()


def cube(frame: pd.DataFrame, block: str, layer: int) -> np.ndarray:
    """Shares of one site, head × row × key, keys in ascending order."""
    part = frame[(frame["block"] == block) & (frame["layer"] == layer)].sort_values(["head", "row", "key"])
    return part["share"].to_numpy().reshape(part["head"].nunique(), part["row"].nunique(), -1)


def expected(
    weights: eager.Weights, trial: TokenizedTrial, rows: list[int]
) -> dict[tuple[str, int], np.ndarray]:
    """The oracle's weights of the chosen rows in the same order: the encoder's keys, then the decoder's."""
    found = {}
    for layer, (own, cross) in enumerate(zip(weights.own, weights.cross, strict=True)):
        if weights.merged:
            found["merged", layer] = np.concatenate([cross[:, rows], own[:, rows]], axis=2)
        else:
            found["self", layer], found["cross", layer] = own[:, rows], cross[:, rows]
    return found


@cache
def eager_model(family: str) -> LoadedModel:
    """The tiny model made ready in eager attention: its forward is the oracle's, bit by bit."""
    model = tiny_models.build(family, attention="eager")
    return prepare_model(model, tiny_models.tokenizer(), name=family, identity="tiny", check=False)


@pytest.mark.parametrize("rows", ["predicting", "holding"])
@pytest.mark.parametrize("shape", ["bare", PREFIXED, "moved"])
@pytest.mark.parametrize("family", KINDS)
def test_shares_are_the_models_own_attention(
    loaded: Loaded, oracle: Oracle, truth: Oracle, float32: Precision, family: str, shape: str, rows: str
) -> None:
    trial = trial_of(shape)
    count = trial.decoder_roles.count("answer")
    first = len(trial.decoder_ids) - count - (rows == "predicting")
    chosen = list(range(first, first + count))
    # Under the family's fast attention, the float noise of the layers below is in the queries and keys. In eager
    # attention they are the oracle's own: what is left is the softmax itself, which in no layer rounds more than all
    # of the first.
    for model, reference in ((eager_model(family), oracle(family)), (loaded(family), truth(family))):
        wanted = expected(weights_of(reference, trial), trial, chosen)
        frame = token_attention(model, trial, rows=rows)
        assert set(zip(frame["block"], frame["layer"], strict=True)) == set(wanted)
        for (block, layer), shares in wanted.items():
            own = float32(family).of("weight", "decoder", 0 if reference is oracle(family) else layer)
            within(cube(frame, block, layer), shares, of=own, what=(block, layer))


@pytest.mark.parametrize("family", KINDS)
def test_rows_sum_to_one_and_hidden_keys_get_nothing(loaded: Loaded, float32: Precision, family: str) -> None:
    trial = trial_of(PREFIXED)
    frame = token_attention(loaded(family), trial)
    sums = frame.groupby(["block", "layer", "head", "row"])["share"].sum()
    within(sums, np.ones(len(sums)), of=float32(family).of("mass"))
    hidden = frame["role"].isin(["bos", "prefix", "separator"])
    assert hidden.any()
    assert (frame.loc[hidden, "share"] == 0).all()
    # Row 0 predicts the first answer token: it does not see the answer, and later rows do.
    answer = frame[(frame["role"] == "answer") & (frame["block"] != "cross")]
    assert (answer.loc[answer["row"] == 0, "share"] == 0).all()
    assert (answer.loc[answer["row"] == answer["row"].max(), "share"] > 0).any()


@pytest.mark.parametrize("family", ["t5gemma2", "t5"])
def test_sums_by_role_are_the_budgets_of_a_padded_and_packed_batch(
    loaded: Loaded, float32: Precision, family: str, trials: dict[str, TokenizedTrial]
) -> None:
    model, names = loaded(family), list(trials)
    batch = batch_of(list(trials.values()), pack=model.family.packs)
    together = capture(model, batch, Probing((Budgets(),)))
    for name in ("bare", PREFIXED, "long decoder, no BOS"):
        frame = token_attention(model, trials[name])
        sums = frame.groupby(["block", "layer", "head", "row", "role"])["share"].sum()
        means = sums.groupby(["block", "layer", "head", "role"]).mean()
        alone = capture(model, batch_of([trials[name]]), Probing((Budgets(),)))
        padded = by_role(together, names.index(name))
        for (block, layer, head, role), share in by_role(alone, 0).items():
            own = float32(family).of("share", "decoder", layer)
            within(share, padded[block, layer, head, role], of=own)
            within(means.get((block, layer, head, role), 0.0), share, of=least_unit(1.0))


def by_role(captured: Capture, trial: int) -> dict[tuple[str, int, int, str], float]:
    """Budgets of one trial by block, layer, head and role."""
    return {
        (observation.site.block, observation.site.layer, head, role): float(share)
        for observation in captured.observations
        for head, shares in enumerate(observation.values["share"][trial])
        for role, share in zip(observation.categories, shares, strict=True)
    }


def test_hiding_a_key_scales_the_others_of_the_first_layer(loaded: Loaded, float32: Precision) -> None:
    """A' = A / (1 - m): the first layer's queries and keys do not depend on what is hidden."""
    trial = trial_of("prefix visible")
    edit = HideKeys(frozenset({"prefix"}))
    before = token_attention(loaded("t5gemma2"), trial, layers=[0])
    after = token_attention(loaded("t5gemma2"), trial, layers=[0], edits=(edit,))
    own = replace(trial, trial=replace(trial.trial, edits=(edit,)))
    pd.testing.assert_frame_equal(after, token_attention(loaded("t5gemma2"), own, layers=[0]))
    prefix = (before["role"] == "prefix").to_numpy()
    mass = before[prefix].groupby(["head", "row"])["share"].sum()
    kept = 1 - mass.loc[list(zip(before["head"], before["row"], strict=True))].to_numpy()
    assert (after.loc[prefix, "share"] == 0).all()
    # Multiplied out: where nearly all mass is hidden, 1 - m has few digits left.
    own = float32("t5gemma2").of("weight", "decoder", 0)
    within((after["share"] * kept)[~prefix], before["share"][~prefix], of=own)


def test_an_edit_that_matches_nothing_is_refused(loaded: Loaded) -> None:
    with pytest.raises(EditError, match="matches no attention call"):
        token_attention(
            loaded("t5"), trial_of("bare"), edits=(HideKeys(frozenset({"start"}), layers=frozenset({99})),)
        )


def test_layers_are_chosen_and_unknown_ones_refused(loaded: Loaded) -> None:
    trial = trial_of("bare")
    whole = token_attention(loaded("t5"), trial)
    part = token_attention(loaded("t5"), trial, layers=[3, 1])
    assert set(part["layer"]) == {1, 3}
    pd.testing.assert_frame_equal(part, whole[whole["layer"].isin([1, 3])].reset_index(drop=True))
    with pytest.raises(ValueError, match=r"layers \[5\] were asked for; t5 has decoder layers 0 to 4"):
        token_attention(loaded("t5"), trial, layers=[5])


def test_columns_roles_and_texts(loaded: Loaded) -> None:
    model = loaded("t5gemma2")
    query, document, answer = "who built it", "The old bridge was built by Orla Venn.", "Orla Venn"
    example = Example("x", query, document, answer)
    trial = model.trial_tokenizer(Trial.bare(example))
    frame = token_attention(model, trial, layers=[0], cell="prefix=none")
    assert tuple(frame.columns) == COLUMNS == (*TOKEN_COLUMNS, "share", "hidden")
    assert set(frame["cell"]) == {"prefix=none"}
    keys = frame.drop_duplicates("key").sort_values("key")
    assert tuple(keys["role"]) == (*trial.encoder_roles, *trial.decoder_roles)
    # The texts of the tokens, put together, are the texts that were given.
    for role, text in (("document", document), ("answer", answer)):
        assert "".join(keys.loc[keys["role"] == role, "key_token"]).strip() == text
    rows = frame.drop_duplicates("row").sort_values("row")
    assert "".join(rows["row_token"]).strip() == answer


def test_hidden_says_which_keys_the_trial_hides(loaded: Loaded) -> None:
    trial = trial_of(PREFIXED)
    keys = token_attention(loaded("t5gemma2"), trial, layers=[0]).drop_duplicates("key").sort_values("key")
    assert not all(trial.visible)
    assert keys["hidden"].tolist() == [not seen for seen in trial.visible] + [False] * len(trial.decoder_ids)


def test_texts_of_special_tokens_and_of_parts_of_characters() -> None:
    tokenizer = tiny_models.tokenizer()
    ids = [tiny_models.BEGIN, *tokenizer("a b\nc", add_special_tokens=False)["input_ids"], tiny_models.END]
    texts = token_texts(tokenizer, ids)
    assert (texts[0], texts[-1]) == ("<s>", "</s>")
    assert "".join(texts[1:-1]).replace(" \n", "\n") == " a b\n c"


#: All probes of contributions, as they are found.
MEASURES = {name: made() for name, made in available_probes().items() if made.declares.contributes}


@pytest.mark.parametrize("edited", [False, True], ids=["plain", "values zeroed"])
@pytest.mark.parametrize("family", ["t5gemma2", "t5", "bart"])
def test_every_measure_by_token_sums_to_its_records_by_role(
    loaded: Loaded, family: str, edited: bool
) -> None:
    """One capture tells tokens apart, the other adds them up; rows are averaged behind either. Twins of keys are one key."""
    model, trial = loaded(family), trial_of(PREFIXED)
    edits = (ZeroValues(frozenset({"document"}), rows=frozenset({"predicting"}), heads=frozenset({1})),)
    edits = edits if edited else ()
    frame = token_attention(model, trial, measures=tuple(MEASURES.values()), edits=edits)
    captured = capture(model, batch_of([trial]), Probing(tuple(MEASURES.values())), edits)
    compared = set()
    for observation in captured.observations:
        declared = MEASURES[observation.probe].declares
        values = observation.values[(declared.tested or declared.quantities[0]).name][0]
        own = frame[frame["layer"] == observation.site.layer]
        if observation.site.block != "joint":
            own = own[own["block"] == observation.site.block]
        elif not observation.probe.startswith("alti"):
            # Where each block has numbers of its own, those are shown.
            continue
        for head, by_category in enumerate(values):
            part = own[own["head"] == head]
            sums = part.groupby("role")[observation.probe].sum() / max(1, part["row"].nunique())
            shown = [
                (by_category[place], sums[role])
                for place, role in enumerate(observation.categories)
                if role in sums.index
            ]
            if shown:
                compared.add(observation.probe)
                records, tokens = zip(*shown, strict=True)
                # Sums of float32 products, taken over all keys of a role or key by key.
                within(tokens, records, of=4 * least_unit(values), what=observation.probe)
    assert compared == MEASURES.keys()


def test_measures_are_kept_beside_shares_where_a_run_reads_them(loaded: Loaded, tmp_path: Path) -> None:
    model, trial = loaded("t5"), trial_of("bare")
    directory = RunDirectory(tmp_path / "run")
    directory.path.mkdir()
    write_manifest(directory.path, report_pages.manifest().content)
    measure = MEASURES["norm"]
    (path,) = save_token_attention(directory, model, [Fed("one", trial)], layers=[1], measures=(measure,))
    found = read_token_attention(path, cells=["one"], layer=1)
    assert {*COLUMNS, "norm", "example"} == set(found.columns)
    # A sublayer's norms add heads before: every head's rows have the same.
    assert found.groupby(["block", "row", "key"])["norm"].nunique().max() == 1
    whole = found[found["head"] == 0].groupby(["block", "row"])["norm"].sum()
    np.testing.assert_allclose(whole, 1, atol=1e-6)


def test_the_probe_is_not_offered_to_runs() -> None:
    assert "token_shares" not in available_probes()


def test_records_are_kept_with_the_run(loaded: Loaded, tmp_path: Path) -> None:
    model = loaded("t5gemma2")
    names = ("../../odd/<b>name</b>", "b" * 300, "שלום")
    fed = []
    for number, name in enumerate(names):
        own = trial_of("bare" if number else PREFIXED)
        own = replace(own, trial=replace(own.trial, example=Example(name, "", "", "")))
        fed += [Fed("one", own), Fed("two", own)]
    directory = RunDirectory(tmp_path / "run")
    directory.path.mkdir()
    write_manifest(directory.path, report_pages.manifest().content)
    paths = save_token_attention(directory, model, fed, layers=[0, 2])
    assert {path.parent for path in paths} == {tmp_path / "run" / "tokens"}
    assert stored_examples(directory) == dict(zip(names, paths, strict=True))
    found = read_token_attention(paths[1], cells=["two"], layer=2)
    pd.testing.assert_frame_equal(
        found[list(COLUMNS)], token_attention(model, fed[3].trial, layers=[2], cell="two"), check_dtype=False
    )
    assert set(found["example"]) == {names[1]}
    assert read_token_attention(paths[1], cells=["two"], layer=1).empty
    paths[2].write_bytes(paths[2].read_bytes()[:-1])
    assert set(stored_examples(directory)) == set(names[:2])
    assert save_token_attention(directory, model, fed[4:], layers=[0]) == [paths[2]]
    assert set(stored_examples(directory)) == set(names)


def test_the_command_keeps_the_examples_that_are_named(
    tiny_directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    given = ["run", "custom", "--factor", "prefix=none,oracle", "--model", str(tiny_directory), "--n", "4"]
    given += ["--corpus", str(write_corpus(tmp_path / "rows.jsonl", 4)), "--out", str(out), "--quiet"]
    assert main([*given, "--tokens", "row-9,row-1"]) == 2
    assert "no example of rows is called 'row-9'. Did you mean 'row-" in capsys.readouterr().err
    assert not out.exists()
    assert main([*given, "--tokens", "row-3, row-1"]) == 0
    assert set(stored_examples(RunDirectory(out))) == {"row-3", "row-1"}
    kept = {path: path.stat().st_mtime_ns for path in stored_examples(RunDirectory(out)).values()}
    # Those that are there stay; a number asks for the first.
    assert main([*given, "--tokens", "4"]) == 0
    found = stored_examples(RunDirectory(out))
    assert set(found) == {"row-1", "row-2", "row-3", "row-4"}
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    for example, path in found.items():
        frame = read_token_attention(path, cells=["prefix=none", "prefix=oracle"], layer=2)
        assert set(frame["example"]) == {example}
    for wrong in (",", "row-1,,row-2", "-1"):
        with pytest.raises(SystemExit):
            main([*given, f"--tokens={wrong}"])
        assert "--tokens" in capsys.readouterr().err


def test_show_takes_an_identifier(
    tiny_directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = str(write_corpus(tmp_path / "rows.jsonl", 4))
    given = ["show", "exp08", "--model", str(tiny_directory), "--corpus", corpus]
    assert main([*given, "--example", "row-3"]) == 0
    by_name = capsys.readouterr().out
    assert "(row-3) of rows" in by_name
    place = int(by_name.split("example ")[1].split()[0])
    assert main([*given, "--example", str(place)]) == 0
    assert capsys.readouterr().out == by_name
    assert main([*given, "--example", "row-7"]) == 2
    assert "no example of rows is called 'row-7'" in capsys.readouterr().err
