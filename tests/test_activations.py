"""Activations are those of a plain forward with torch's own hooks, bit by bit; in memory, in files and in a cache."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load
from torch import Tensor
from transformers import PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from budgetlens.face import caching
from budgetlens.face.activations import open_activations
from budgetlens.face.corpora import corpus as corpus_of
from budgetlens.face.model import Model
from budgetlens.model.activations import activations_of
from budgetlens.model.loaded import LoadedModel
from budgetlens.model.loading import prepare_model
from budgetlens.model.observation import ACTIVATIONS
from budgetlens.model.tokenization import TokenizedTrial
from budgetlens.runs.manifest import RunError
from tests.cells import KINDS, tokenized
from tests.conftest import SHAPES, corpus_rows
from tests.reference import hooks, tiny_models

Loaded = Callable[[str], LoadedModel]


@contextmanager
def watched(model: PreTrainedModel) -> Iterator[dict[tuple[str, str], Tensor]]:
    """What every module of the model puts out, and what its attention modules hand on, by path and kind."""
    seen: dict[tuple[str, str], Tensor] = {}
    paths = {module: path for path, module in model.named_modules()}

    def output_of(module: torch.nn.Module, arguments: Any, output: Any) -> None:
        states = output[0] if isinstance(output, tuple) else output
        if isinstance(states, Tensor):
            seen[paths[module], "residual"] = states.clone()

    def spy(original: Any) -> Any:
        def attend(
            module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, *rest: Any, **more: Any
        ) -> Any:
            for kind, tensor in (("query", query), ("key", key), ("value", value)):
                seen[paths[module], kind] = tensor.clone()
            return original(module, query, key, value, *rest, **more)

        return attend

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ALL_ATTENTION_FUNCTIONS, "sdpa", spy(ALL_ATTENTION_FUNCTIONS["sdpa"]))
        source = sys.modules[type(model).__module__]
        patch.setattr(source, "eager_attention_forward", spy(source.eager_attention_forward))
        handles = [module.register_forward_hook(output_of) for module in model.modules()]
        yield seen
        for handle in handles:
            handle.remove()


def plain(family: str, trial: TokenizedTrial) -> dict[str, Tensor]:
    """The activations of one trial by a plain forward of a model that the project has never touched."""
    model, paths = tiny_models.build(family), hooks.PATHS[family]
    with watched(model) as seen:
        states = hooks.encoder_states(model, trial.encoder_ids)
        hooks.answer_losses(
            model,
            states,
            visible=trial.visible,
            decoder_ids=trial.decoder_ids,
            answer_length=trial.answer_tokens,
        )
    found = {}
    for stack, layers, attentions in (
        ("encoder", paths.encoder, {"self": paths.encoder_attention}),
        ("decoder", paths.decoder, {"self": paths.self_attention, "cross": paths.cross_attention}),
    ):
        depth = {"encoder": tiny_models.ENCODER_LAYERS, "decoder": tiny_models.DECODER_LAYERS}[stack]
        for layer in range(depth):
            found[f"{stack}.{layer}.residual"] = seen[f"{layers}.{layer}", "residual"][0]
            for block, attention in attentions.items():
                if attention is None:
                    continue
                name = "merged" if stack == "decoder" and paths.cross_attention is None else block
                for kind in ("query", "key", "value"):
                    tensor = seen[f"{layers}.{layer}.{attention}", kind][0]
                    if name == "merged" and kind != "query":
                        count = len(trial.decoder_ids)
                        tensor = torch.cat([tensor[:, count:], tensor[:, :count]], dim=1)
                    found[f"{stack}.{layer}.{name}.{kind}"] = tensor
    return found


@pytest.mark.parametrize("shape", ["bare", "prefix and BOS hidden", "long decoder, no BOS"])
@pytest.mark.parametrize("family", KINDS)
def test_activations_are_those_of_a_plain_forward(loaded: Loaded, family: str, shape: str) -> None:
    trial = SHAPES[shape].trial()
    wanted = plain(family, trial)
    found = activations_of(loaded(family), trial, layers=None, what=ACTIVATIONS)
    assert set(found) == set(wanted)
    for name, tensor in wanted.items():
        assert torch.equal(found[name], tensor), name


@pytest.mark.parametrize("family", KINDS)
def test_under_a_knockout_and_a_patch_they_are_those_of_the_edited_model(loaded: Loaded, family: str) -> None:
    """States are kept behind their edits and calls before theirs: a knockout shows in the layers behind it."""
    model = loaded(family)
    bare = activations_of(model, tokenized(model), layers=None, what=ACTIVATIONS)
    cut = tokenized(model, levels={"knockout": "predicting->document@1"})
    changed = activations_of(model, cut, layers=None, what=ACTIVATIONS)
    block = "merged" if model.family.merged else "cross"
    same = {name for name, tensor in changed.items() if torch.equal(tensor, bare[name])}
    assert f"decoder.1.{block}.query" in same
    assert "decoder.0.residual" in same
    assert "decoder.1.residual" not in same
    assert {name for name in changed if name.startswith("encoder")} <= same
    zeroed = tokenized(model, levels={"state_replacement": "document<-zero@1"})
    states = activations_of(model, zeroed, layers=[1], what=["residual"])["encoder.1.residual"]
    document = torch.tensor([role == "document" for role in zeroed.encoder_roles])
    assert not states[document].any()
    assert torch.equal(states[~document], bare["encoder.1.residual"][~document])


def test_only_what_is_asked_for(loaded: Loaded) -> None:
    model, trial = loaded("t5"), SHAPES["bare"].trial()
    found = activations_of(model, trial, layers=[0, 4], what=["residual", "value"])
    # The encoder has three layers, the decoder five.
    assert sorted(found) == [
        "decoder.0.cross.value",
        "decoder.0.residual",
        "decoder.0.self.value",
        "decoder.4.cross.value",
        "decoder.4.residual",
        "decoder.4.self.value",
        "encoder.0.residual",
        "encoder.0.self.value",
    ]


@pytest.mark.parametrize(
    ("layers", "what", "words"),
    [
        ([5], ["residual"], r"layers \[5\] were asked for; t5 has layers 0 to 4 \(encoder 3, decoder 5\)"),
        ([-1], ["residual"], r"layers \[-1\]"),
        ([], ["residual"], "layers none"),
        (3, ["residual"], "layers are whole numbers in a list, or None for all; got 3"),
        (None, ["keys"], r"some of residual, query, key, value, in a list; got \['keys'\]"),
        (None, [], r"got \[\]"),
        (None, "residual", "got 'residual'"),
    ],
)
def test_unknown_layers_and_activations_are_told(loaded: Loaded, layers: Any, what: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        activations_of(loaded("t5"), SHAPES["bare"].trial(), layers=layers, what=what)


def read_one(model: Model, **more: Any) -> Any:
    row = corpus_rows(1)[0]
    return model.read(document=row["document"], query=row["query"], answer=row["answer"], probes=[], **more)


@pytest.mark.parametrize("family", KINDS)
def test_a_file_gives_back_tensors_tokens_and_roles(loaded: Loaded, family: str, tmp_path: Path) -> None:
    reading = read_one(Model(loaded(family)), prefix="a prefix")
    path = tmp_path / "one.safetensors"
    saved = reading.save_activations(str(path), layers=[1], what=["residual", "key"])
    wanted = activations_of(loaded(family), reading.trial, layers=[1], what=["residual", "key"])
    found = open_activations(path)
    assert found.names == saved.names == tuple(sorted(wanted))
    for name in wanted:
        assert torch.equal(found[name], wanted[name])
    assert torch.equal(found.tensor("residual", layer=1, side="encoder"), wanted["encoder.1.residual"])
    assert torch.equal(found.tensor("key", layer=1, side="encoder"), wanted["encoder.1.self.key"])
    if loaded(family).family.merged:
        assert torch.equal(found.tensor("key", layer=1), wanted["decoder.1.merged.key"])
        assert found.tensor("key", layer=1).shape[1] == len(found.encoder_roles) + len(found.decoder_roles)
    else:
        assert torch.equal(found.tensor("key", layer=1, block="cross"), wanted["decoder.1.cross.key"])
        with pytest.raises(KeyError, match="decoder.1.cross.key and decoder.1.self.key; say which block"):
            found.tensor("key", layer=1)
    assert found.encoder_roles == reading.trial.encoder_roles
    assert found.decoder_roles == reading.trial.decoder_roles
    tokens = loaded(family).tokenizer.convert_ids_to_tokens(list(reading.trial.encoder_ids))
    assert [token.strip() for token in found.encoder_tokens] == [
        token.replace("▁", " ").strip() for token in tokens
    ]
    assert (found.example, found.cell, found.layers) == ("given", "prefix=literal|prompt=query", (1,))
    with pytest.raises(KeyError, match=r"holds no 'decoder.0.residual'; it has decoder"):
        found["decoder.0.residual"]
    with pytest.raises(KeyError, match=r"holds no decoder.7.….key; it has"):
        found.tensor("key", layer=7)


def test_what_is_no_file_of_activations_is_told(loaded: Loaded, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is not there; save activations first"):
        open_activations(tmp_path / "nothing.safetensors")
    (tmp_path / "damaged.safetensors").write_bytes(b"12345678901")
    with pytest.raises(RunError, match="can't be read as activations"):
        open_activations(tmp_path / "damaged.safetensors")
    loaded("t5").model.save_pretrained(tmp_path / "model")
    with pytest.raises(RunError, match="holds no activations; give a file that save_activations wrote"):
        open_activations(tmp_path / "model" / "model.safetensors")
    with pytest.raises(RunError, match="holds no activations .activations.json.; give a directory"):
        open_activations(tmp_path / "model")


def test_a_write_that_fails_leaves_the_old_file(
    loaded: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, path = read_one(Model(loaded("t5"))), tmp_path / "one.safetensors"
    reading.save_activations(path, layers=[0], what=["residual"])
    before = path.read_bytes()

    def full(tensors: Any, file: Path, metadata: Any) -> None:
        file.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("budgetlens.face.activations.save_file", full)
    with pytest.raises(OSError, match="no space is left on its disk"):
        reading.save_activations(path, layers=[1], what=["residual"])
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def cached(model: LoadedModel, out: Path, **more: Any) -> Any:
    corpus = corpus_of(corpus_rows(3))
    return caching.cache_activations(
        Model(model), corpus, out, layers=[1], what=["residual"], prefix=["none", "oracle"], **more
    )


@pytest.mark.parametrize("family", ["t5gemma2", "bart"])
def test_a_corpus_in_cells_is_its_readings(loaded: Loaded, family: str, tmp_path: Path) -> None:
    cache = cached(loaded(family), tmp_path / "cache", prompt="query")
    assert list(cache) == [
        (f"row-{number}", f"prefix={prefix}|prompt=query")
        for number in (1, 2, 3)
        for prefix in ("none", "oracle")
    ]
    assert (cache.examples, len(cache.cells)) == (("row-1", "row-2", "row-3"), 2)
    row = corpus_rows(3)[1]
    reading = Model(loaded(family)).read(
        document=row["document"], query=row["query"], answer=row["answer"], prefix=row["query"], probes=[]
    )
    alone = reading.save_activations(tmp_path / "alone.safetensors", layers=[1], what=["residual"])
    again = open_activations(tmp_path / "cache")
    for name in alone.names:
        assert torch.equal(again["row-2", "prefix=oracle|prompt=query"][name], alone[name])
    assert again.left_out == {}
    with pytest.raises(KeyError, match=r"holds no example and cell \('row-9', 'prefix=none'\)"):
        again["row-9", "prefix=none"]


def test_a_cache_goes_on_where_it_was_and_is_told_from_others(
    loaded: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, written = tmp_path / "cache", []
    original = caching.save_trial

    def counted(model: LoadedModel, fed: Any, path: Path, **more: Any) -> Any:
        if len(written) == 4:
            raise KeyboardInterrupt
        written.append(path)
        return original(model, fed, path, **more)

    monkeypatch.setattr(caching, "save_trial", counted)
    with pytest.raises(KeyboardInterrupt):
        cached(loaded("t5"), out)
    with pytest.raises(RunError, match="is not finished"):
        open_activations(out)
    written[0].write_bytes(b"damaged")
    # Whole, and of something else than this call.
    read_one(Model(loaded("t5"))).save_activations(written[1], layers=[0], what=["residual"])
    first, written[:] = list(written), []
    monkeypatch.setattr(caching, "save_trial", original)
    before = {path: path.stat().st_mtime_ns for path in first[2:]}
    cache = cached(loaded("t5"), out)
    # What was whole is kept, what was damaged or missing is made.
    assert {path: path.stat().st_mtime_ns for path in first[2:]} == before
    assert len(cache) == 6
    assert cache["row-1", "prefix=none"]["decoder.1.residual"].isfinite().all()
    assert cache["row-1", "prefix=oracle"].layers == (1,)
    with pytest.raises(RunError, match="holds other activations: of another model, corpus, cells, layers"):
        cached(loaded("t5"), out, prompt="query")
    with pytest.raises(RunError, match="is not empty and holds no activations.json"):
        cached(loaded("t5"), tmp_path)


def test_a_file_that_was_altered_is_told(loaded: Loaded, tmp_path: Path) -> None:
    cache = cached(loaded("t5"), tmp_path / "cache")
    entry = cache["row-1", "prefix=none"]
    content = bytearray(entry.path.read_bytes())
    content[-1] ^= 1
    entry.path.write_bytes(bytes(content))
    with pytest.raises(RunError, match="not as it was written"):
        cache["row-1", "prefix=none"]
    cache["row-1", "prefix=oracle"].path.unlink()
    with pytest.raises(RunError, match="is not there"):
        cache["row-1", "prefix=oracle"]


def flip(path: Path) -> None:
    """Turn the last bit of a file's last tensor: safetensors itself takes it for whole."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("finished", [True, False])
def test_a_cache_makes_again_what_was_altered_or_lies_under_another_name(
    loaded: Loaded, tmp_path: Path, finished: bool
) -> None:
    out = tmp_path / "cache"
    cache = cached(loaded("t5"), out)
    # Read whole: a mapped file would change with what is written below.
    wanted = {path.name: load(path.read_bytes()) for path in out.glob("*.safetensors")}
    first, second = cache["row-1", "prefix=none"].path, cache["row-2", "prefix=none"].path
    if not finished:
        index = json.loads((out / "activations.json").read_text())
        (out / "activations.json").write_text(json.dumps({key: index[key] for key in ("format", "identity")}))
    flip(first)
    second.write_bytes(cache["row-3", "prefix=none"].path.read_bytes())
    again = cached(loaded("t5"), out)
    assert {kept.path.name: kept.example for kept in again.values()} == {
        kept.path.name: kept.example for kept in cached(loaded("t5"), tmp_path / "other").values()
    }
    for name, tensors in wanted.items():
        found = load((out / name).read_bytes())
        assert all(torch.equal(found[each], tensor) for each, tensor in tensors.items()), name


def test_a_single_file_that_was_altered_is_refused(loaded: Loaded, tmp_path: Path) -> None:
    path = tmp_path / "one.safetensors"
    read_one(Model(loaded("t5"))).save_activations(path, layers=[0], what=["residual"])
    whole = path.read_bytes()
    flip(path)
    with pytest.raises(RunError, match="not as it was written; save its activations again"):
        open_activations(path)
    # What is told of the tensors is covered as well.
    path.write_bytes(whole.replace(b"bos", b"eos"))
    assert path.read_bytes() != whole
    with pytest.raises(RunError, match="not as it was written"):
        open_activations(path)
    path.write_bytes(whole)
    assert open_activations(path).layers == (0,)


@pytest.mark.parametrize("name", ["../one.safetensors", "/one.safetensors", "..\\one", "..", "", 5, None])
def test_an_index_that_leads_elsewhere_or_has_another_form_is_refused(
    loaded: Loaded, tmp_path: Path, name: Any
) -> None:
    index = {"format": "budgetlens-activations-1", "identity": "", "left_out": {}}
    entry = {"example": "row-1", "cell": "prefix=none", "hash": "0"}
    for files in ([entry | {"file": name}], [entry], 5, ["a"]):
        (tmp_path / "activations.json").write_text(json.dumps(index | {"files": files}))
        with pytest.raises(RunError, match="was altered: a cache's files are a list"):
            open_activations(tmp_path)
        with pytest.raises(RunError, match="was altered: a cache's files are a list"):
            cached(loaded("t5"), tmp_path)


def test_half_precision_stays_what_it_is(tmp_path: Path) -> None:
    half = prepare_model(
        tiny_models.build("t5").to(torch.bfloat16),
        tiny_models.tokenizer(),
        name="half",
        identity="half",
        check=False,
    )
    trial = SHAPES["bare"].trial()
    assert {
        tensor.dtype for tensor in activations_of(half, trial, layers=[0], what=ACTIVATIONS).values()
    } == {torch.bfloat16}
