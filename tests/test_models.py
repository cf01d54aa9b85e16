"""Loading models: what is proven at load, and what is refused with a message that says what to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import numpy as np
import pytest
import torch
import transformers
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from budgetlens.model import contract
from budgetlens.model.attention import RowAttention, Site
from budgetlens.model.batching import make_batch
from budgetlens.model.capture import Probing, capture
from budgetlens.model.contract import ContractError, check_contract
from budgetlens.model.devices import chosen_device
from budgetlens.model.edits import ScaleValues
from budgetlens.model.families import FAMILIES, UnknownFamilyError, family_of
from budgetlens.model.loaded import LoadedModel, ModelError, at_path, attention_operation, declared_sites
from budgetlens.model.loading import (
    load_model,
    load_trial_tokenizer,
    prepare_model,
    start_token,
)
from budgetlens.model.sources import directory_hash
from budgetlens.model.sublayer import Mixture
from budgetlens.model.tokenization import Limits
from budgetlens.runs.known_models import model_path
from tests.conftest import Shape, save_tiny
from tests.reference import tiny_models

Models = Callable[[str], LoadedModel]


def prepared(family: str, **options: Any) -> LoadedModel:
    """A tiny model of its own, which a test may damage."""
    model = tiny_models.build(family)
    return prepare_model(model, tiny_models.tokenizer(), name=f"tiny {family}", identity="tiny", **options)


# What is proven.


@pytest.mark.parametrize("family", tiny_models.FAMILIES)
def test_every_family_keeps_its_contract(family: str) -> None:
    loaded = prepared(family)
    layers = {stack: {site.layer for site in loaded.sites(stack)} for stack in ("encoder", "decoder")}
    assert layers == {"encoder": {0, 1, 2}, "decoder": {0, 1, 2, 3, 4}}
    blocks = {site.block for site in loaded.sites("decoder")}
    assert blocks == ({"merged"} if family in tiny_models.MERGED else {"self", "cross"})
    assert loaded.attention_implementation == ("eager" if family in tiny_models.EAGER_ONLY else "sdpa")
    assert loaded.vocabulary_size == tiny_models.VOCABULARY
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())


def test_a_wrong_operation_is_noticed(loaded: Models) -> None:
    """The first ``attention_interface`` of a forward is the choice of the function, not its call."""
    sound = loaded("t5gemma2")
    site = Site("decoder", "merged", 3)
    assert sound.operations[site] != "attention_interface_0"
    broken = replace(sound, operations={**sound.operations, site: "attention_interface_0"})
    with pytest.raises(
        ContractError, match=r"t5gemma2: its attention calls could not be read as the family 't5gemma2'"
    ):
        check_contract(broken)
    missing = replace(sound, operations={**sound.operations, site: "attention_interface_9"})
    with pytest.raises(ContractError, match="could not be read"):
        check_contract(missing)


@pytest.mark.parametrize(
    ("family", "site", "projection"),
    [
        ("t5gemma2", Site("decoder", "merged", 2), "o_proj"),
        ("t5gemma2", Site("encoder", "self", 1), "o_proj"),
        ("t5", Site("decoder", "cross", 3), "o"),
        ("t5gemma", Site("decoder", "self", 4), "o_proj"),
    ],
)
def test_an_edit_without_effect_is_noticed(family: str, site: Site, projection: str) -> None:
    """A model that discards the attention's output at one site."""
    broken = prepared(family, check=False)
    with torch.no_grad():
        getattr(broken.attention_module(site), projection).weight.zero_()
    with pytest.raises(
        ContractError, match=rf"an edit of the values at {site} left every answer loss as it was"
    ):
        check_contract(broken)


@pytest.mark.parametrize("family", tiny_models.FAMILIES)
def test_the_edit_that_proves_a_site_is_no_rounding(family: str, loaded: Models) -> None:
    """By thousands of times what float32 keeps of a loss: no processor's rounding decides whether a model is sound."""
    model = loaded(family)
    batch = contract._probe_batch(model)
    reference = capture(model, batch, Probing()).token_losses
    least = 1_000 * np.finfo(np.float32).eps * np.nanmax(reference)
    for site in model.operations:
        edit = ScaleValues(site, contract.PROBED_FACTOR)
        edited = capture(model, batch, Probing(), (edit,)).token_losses
        assert np.nanmax(abs(edited - reference)) > least, site


@pytest.mark.parametrize(
    ("family", "other"),
    [("bart", "mbart"), ("mbart", "bart"), ("t5gemma2", "unnormed"), ("t5", "unscaled")],
)
def test_a_stream_that_adds_up_to_other_logits_is_noticed(loaded: Models, family: str, other: str) -> None:
    """A family that declares another's norms, none, or a head's input without its scale."""
    sound = loaded(family)
    own = sound.family
    declared = {
        "unnormed": lambda: replace(own, stream=replace(own.stream, norms={}, normed="")),
        "unscaled": lambda: replace(own, head_scaled={}),
    }.get(other, lambda: replace(own, stream=family_of(other).stream))()
    check_contract(sound)
    with pytest.raises(
        ContractError, match=rf"{family}: (the answer's logits are no sum of|its attention calls could not)"
    ):
        check_contract(replace(sound, family=declared))


def test_an_output_that_is_no_sum_over_its_keys_is_noticed(
    loaded: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a hundred thousandth of its parts."""
    sound, mixed = loaded("t5"), Mixture.by_role.func
    monkeypatch.setattr(Mixture, "by_role", property(lambda self: mixed(self) * (1 + 1e-5)))
    with pytest.raises(ContractError, match="t5: the output at encoder self layer 0 is no sum over its keys"):
        check_contract(sound)


def test_rows_that_sum_to_less_than_one_are_noticed(loaded: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    """By more than float32 can lose over the keys of a row: 6e-6 of 17 keys, of which rounding takes 1e-7."""
    sound, mass = loaded("t5"), RowAttention.mass
    monkeypatch.setattr(RowAttention, "mass", lambda self, groups: mass(self, groups) * (1 - 6e-6))
    with pytest.raises(
        ContractError, match=r"t5: shares at encoder self layer 0 sum to 0\.99999.*, not to 1"
    ):
        check_contract(sound)


def test_a_layer_that_is_never_reached_is_noticed() -> None:
    broken = prepared("bart", check=False)
    layer = broken.model.get_decoder().layers[1]
    layer.self_attn.forward = lambda hidden_states, **options: (hidden_states, None)
    with pytest.raises(ContractError, match="could not be read|was reached at"):
        check_contract(broken)


@pytest.mark.parametrize(
    ("path", "value"),
    [("decoder_layers", "model.decoder.blocks"), ("encoder_layers", "model.encoder.layers")],
)
def test_a_wrong_path_of_layers_names_the_family(loaded: Models, path: str, value: str) -> None:
    family = replace(loaded("t5gemma2").family, **cast(dict[str, Any], {path: value}))
    with pytest.raises(
        ModelError,
        match="not laid out as the family 't5gemma2' declares: .*correct budgetlens/model/families.py",
    ):
        list(declared_sites(loaded("t5gemma2").model, family))


def test_a_module_without_an_attention_call_is_refused(loaded: Models) -> None:
    site = Site("decoder", "merged", 0)
    with pytest.raises(
        ModelError, match="no call of an attention function was found at decoder merged layer 0"
    ):
        attention_operation(at_path(loaded("t5gemma2").envoy, "model.decoder.layers.0.mlp"), site)


def test_attention_that_is_not_exact_is_refused(tmp_path: Path) -> None:
    """T5Gemma's soft cap does not exist under SDPA."""
    model = tiny_models.build("t5gemma")
    model.config._attn_implementation = "sdpa"
    with pytest.raises(
        ModelError, match=r"runs with 'sdpa' attention.*exact with eager only.*attn_implementation='eager'"
    ):
        prepare_model(model, tiny_models.tokenizer(), name="tiny", identity="tiny")
    model.save_pretrained(tmp_path)
    tiny_models.tokenizer().save_pretrained(tmp_path)
    with pytest.raises(
        ModelError, match="attention 'sdpa' is not exact for the family 't5gemma'; give one of eager"
    ):
        load_model(str(tmp_path), attention="sdpa")
    assert load_model(str(tmp_path), check=False).attention_implementation == "eager"


def test_a_decoder_that_does_not_say_that_it_is_causal_is_so_all_the_same() -> None:
    """UMT5 before transformers 5.18: under SDPA nothing hides what is later, and a likelihood knows the answer."""
    ids = torch.tensor([[7, 9, 11, 5, 1]])

    def logits(model: PreTrainedModel) -> torch.Tensor:
        with torch.inference_mode():
            return model(input_ids=ids, decoder_input_ids=ids).logits

    right, wrong = tiny_models.build("umt5"), tiny_models.build("umt5")
    for block in wrong.decoder.block:
        block.layer[0].SelfAttention.is_causal = False
    assert not torch.equal(logits(wrong), logits(right))
    prepare_model(wrong, tiny_models.tokenizer(), name="umt5", identity="tiny")
    assert torch.equal(logits(wrong), logits(right))


# Families.


def test_every_declared_type_is_a_type_of_the_library() -> None:
    types = [model_type for family in FAMILIES for model_type in family.model_types]
    assert len(set(types)) == len(types)
    for model_type in types:
        assert family_of(model_type).name in {family.name for family in FAMILIES}
        config = transformers.AutoConfig.for_model(model_type)
        assert config.is_encoder_decoder
        assert type(config) in transformers.AutoModelForSeq2SeqLM._model_mapping


def test_unknown_families_list_what_is_known() -> None:
    with pytest.raises(
        UnknownFamilyError,
        match=r"no family declares the architecture 'fsmt'\. Known: t5gemma2 \(t5gemma2\), .*pegasus",
    ):
        family_of("fsmt")


# Loading.


def test_a_saved_model_is_the_model(tiny_directory: Path, loaded: Models) -> None:
    saved = load_model(str(tiny_directory))
    assert saved.family.name == "t5gemma2"
    assert saved.attention_implementation == "sdpa"
    assert (saved.device.type, saved.dtype) == (
        "cpu" if not torch.cuda.is_available() else "cuda",
        torch.float32,
    )
    assert saved.identity == directory_hash(tiny_directory, saved.tokenizer)
    batch = make_batch([Shape(prompt=3).trial()], pad_token=0)
    one = capture(saved, batch, Probing()).token_losses
    assert (one == capture(loaded("t5gemma2"), batch, Probing()).token_losses).all()


@pytest.mark.parametrize("family", sorted(set(tiny_models.FAMILIES) - {"t5gemma2"}))
def test_every_family_is_loaded_whole(family: str, tmp_path: Path, loaded: Models) -> None:
    """Tied heads and fixed position tables are not in the files, and are not missed."""
    saved = load_model(str(save_tiny(family, tmp_path)), device="cpu", check=False)
    batch = make_batch([Shape(prompt=3).trial()], pad_token=0)
    one = capture(saved, batch, Probing()).token_losses
    assert (one == capture(loaded(family), batch, Probing()).token_losses).all()


def test_types_of_the_weights(tiny_directory: Path) -> None:
    assert load_model(str(tiny_directory), dtype="bfloat16", device="cpu").dtype == torch.bfloat16
    limited = load_model(str(tiny_directory), limits=Limits(encoder=9), check=False)
    assert limited.trial_tokenizer.limits.encoder == 9


def test_a_tokenizer_without_its_weights(tiny_directory: Path, loaded: Models) -> None:
    alone, whole = (
        load_trial_tokenizer(str(tiny_directory)),
        load_model(str(tiny_directory), check=False).trial_tokenizer,
    )
    assert alone.start_token == whole.start_token == loaded("t5gemma2").trial_tokenizer.start_token == 2
    assert alone.query_ids("who built the wall") == whole.query_ids("who built the wall")


def test_start_tokens() -> None:
    """The generation's, else the configuration's, else the decoder's BOS."""
    none = SimpleNamespace(decoder_start_token_id=None)
    decoder = SimpleNamespace(bos_token_id=7)
    assert (
        start_token("m", SimpleNamespace(decoder_start_token_id=5), SimpleNamespace(decoder_start_token_id=3))
        == 3
    )
    assert start_token("m", SimpleNamespace(decoder_start_token_id=5), none) == 5
    assert start_token("m", SimpleNamespace(decoder=decoder), none) == 7
    assert start_token("m", SimpleNamespace(bos_token_id=9), None) == 9
    with pytest.raises(
        ModelError,
        match="m names no decoder start token; set decoder_start_token_id to one id in its generation_config",
    ):
        start_token("m", SimpleNamespace(), None)
    for wrong in ([5], "5", True):
        with pytest.raises(
            ModelError, match="as its decoder start token; set decoder_start_token_id to one id"
        ):
            start_token("m", SimpleNamespace(decoder_start_token_id=wrong), none)


# What is refused.


def directory(path: Path, **files: str) -> str:
    """A directory with these files; the last ``_`` in a name stands for a dot."""
    for name, content in files.items():
        stem, _, suffix = name.rpartition("_")
        (path / f"{stem}.{suffix}").write_text(content)
    return str(path)


@pytest.mark.parametrize("load", [load_model, load_trial_tokenizer], ids=["model", "tokenizer"])
def test_wrong_directories(load: Callable[[str], Any], tmp_path: Path) -> None:
    with pytest.raises(
        ModelError, match="nowhere is not a directory; give a directory with config.json, or a hub name"
    ):
        load(str(tmp_path / "nowhere"))
    file = tmp_path / "model.safetensors"
    file.write_text("weights")
    with pytest.raises(ModelError, match=r"model.safetensors is not a directory"):
        load(str(file))
    with pytest.raises(ModelError, match=r"holds no config.json \(found: model.safetensors\)"):
        load(str(tmp_path))
    file.unlink()
    with pytest.raises(ModelError, match=r"holds no config.json \(found: nothing\)"):
        load(str(tmp_path))
    with pytest.raises(
        ModelError, match=r"holds no weights \(\*.safetensors or \*.bin\); save the model there first"
    ):
        load(directory(tmp_path, config_json="{}"))
    with pytest.raises(ModelError, match=r"holds no tokenizer \(tokenizer.json, \*.model, or vocab.json and"):
        load(directory(tmp_path, config_json="{}", model_safetensors=""))
    with pytest.raises(
        ModelError, match=r"holds an adapter \(adapter_config.json\), whose base model lies else"
    ):
        load(directory(tmp_path, **{"adapter_config_json": "{}"}))


@pytest.mark.parametrize("load", [load_model, load_trial_tokenizer], ids=["model", "tokenizer"])
@pytest.mark.parametrize("name", ["", " ", "\n"])
def test_an_empty_name_is_no_directory(load: Callable[[str], Any], name: str) -> None:
    """As an unset variable of a shell leaves it; a path of it would be the current directory."""
    with pytest.raises(ModelError, match="the name of the model is empty; give a hub name, a directory or"):
        load(name)
    with pytest.raises(ValueError, match="--model is empty"):
        model_path(name)


def saved_config(config: transformers.PreTrainedConfig, path: Path) -> str:
    return directory(
        path, config_json=json.dumps(config.to_dict()), model_safetensors="", tokenizer_json="{}"
    )


def test_a_decoder_only_model_is_refused(tmp_path: Path) -> None:
    name = saved_config(transformers.GPT2Config(n_layer=1), tmp_path)
    with pytest.raises(
        ModelError, match=r"is a 'gpt2' model without an encoder; .*for example google/t5gemma-2-270m-270m"
    ):
        load_model(name)


@pytest.mark.parametrize(
    "config", [transformers.M2M100Config, transformers.FSMTConfig, transformers.ProphetNetConfig]
)
def test_an_undeclared_encoder_decoder_model_is_refused(config: type, tmp_path: Path) -> None:
    made = config()
    with pytest.raises(
        UnknownFamilyError, match=rf"no family declares the architecture '{made.model_type}'. Known: t5gemma2"
    ):
        load_model(saved_config(made, tmp_path))


def test_damaged_weights_and_configurations_are_refused(tiny_directory: Path, tmp_path: Path) -> None:
    for file in tiny_directory.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelError, match="the weights of .* are damaged .*; download or save them again"):
        load_model(str(tmp_path))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelError, match="could not be loaded"):
        load_model(str(tmp_path))


def test_weights_that_are_not_there_are_not_made_up(tiny_directory: Path, tmp_path: Path) -> None:
    """The library would fill a missing tensor with random numbers and go on."""
    for file in tiny_directory.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    tensors = load_file(tmp_path / "model.safetensors")
    name = "model.decoder.layers.3.self_attn.k_proj.weight"
    del tensors[name]
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=name.replace(".", r"\.")):
        load_model(str(tmp_path))


def test_an_unreachable_hub_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with HF_HUB_OFFLINE=1, which the library reads when it is first imported."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(
        ModelError, match=r"nobody/no-such-model is not in the local cache and the hub could not be reached"
    ):
        load_model("nobody/no-such-model")


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (
            GatedRepoError,
            403,
            r"a/b is gated: accept its terms on its page, then give a token with read access",
        ),
        (
            RepositoryNotFoundError,
            404,
            r"the hub knows no model 'a/b' that this token may read; check the spelling",
        ),
    ],
)
def test_what_the_hub_refuses(error: Any, status: int, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    response = httpx.Response(status, request=httpx.Request("GET", "https://hub.invalid/a/b"))

    def refuse(name: str, file: str, **options: Any) -> None:
        raise OSError("You are trying to access something") from error("refused", response=response)

    monkeypatch.setattr("budgetlens.model.sources.cached_file", refuse)
    with pytest.raises(ModelError, match=message):
        load_model("a/b")


def test_unknown_types_and_devices(tiny_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = str(tiny_directory)
    with pytest.raises(
        ModelError, match="unknown dtype 'float8'; give one of float32, bfloat16, float16 or auto"
    ):
        load_model(name, dtype="float8")
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    for device in ("gpu", "", "mps", "xla", "vulkan", "meta", "mkldnn", "hpu", "privateuseone", "lazy:1"):
        with pytest.raises(
            ModelError, match=rf"unknown device '{device}': this torch computes on cpu; give cpu"
        ):
            load_model(name, device=device)
    for device in ("cpu:1", "cpu:99", "cpu:-1", "cpu:x", "cpu:"):
        with pytest.raises(ModelError, match=rf"device '{device}' .*here.*; give cpu or auto"):
            load_model(name, device=device)
    assert load_model(name, device="cpu:0", check=False).device.type == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(
        ModelError,
        match="device 'cuda:0' was asked for, but this torch sees no CUDA device; give --device cpu",
    ):
        load_model(name, device="cuda:0")


def test_a_device_that_adds_no_float64_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Apple's: the sums of a capture are of float64."""
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("mps"))

    def ones(*size: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
        raise TypeError(f"Cannot convert a {device.type.upper()} Tensor to float64")

    monkeypatch.setattr(torch, "ones", ones)
    with pytest.raises(
        ModelError, match=r"'mps' can't be used here \(Cannot convert a MPS .* float64\); give cpu"
    ):
        chosen_device("mps")
