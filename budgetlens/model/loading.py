"""Loading a model: hub name or directory, to a model, its tokenizer and its attention sites."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeGuard

import torch
from nnsight import NNsight
from transformers import (
    AutoConfig,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from budgetlens.model.contract import check_contract
from budgetlens.model.devices import chosen_device, chosen_type
from budgetlens.model.families import Family, family_of
from budgetlens.model.loaded import (
    LoadedModel,
    ModelError,
    at_path,
    attention_operation,
    declared_sites,
    site_path,
)
from budgetlens.model.sources import (
    directory_hash,
    explained,
    hub_commit,
    require_source,
    require_vocabulary,
    unreported,
)
from budgetlens.model.tokenization import Limits, TrialTokenizer

#: More layers than any model has: a configuration that says so would be built for hours before its weights disagree.
_MOST_LAYERS = 1_000


def load_model(
    name: str,
    *,
    revision: str | None = None,
    device: str = "auto",
    dtype: str = "auto",
    limits: Limits | None = None,
    attention: str | None = None,
    check: bool = True,
    elsewhere: str = "",
) -> LoadedModel:
    """Load an encoder-decoder model by hub name or local directory and prove that it can be observed.

    ``device`` and ``dtype`` may be ``auto``: CUDA where there is one, else the CPU; the checkpoint's type
    on a GPU and float32 on a CPU. ``attention`` overrides the family's preferred implementation. ``elsewhere`` is the kind
    of device on which others will compute with the same model, and prove what they loaded: the weights here are of the
    type that ``auto`` means there, and are not run.

    Raises ModelError for anything that can't be loaded (wrong directory, unreachable or gated hub name,
    missing token, decoder-only model, damaged files, a tokenizer of another model), UnknownFamilyError for an
    architecture that is not declared, and ContractError where the loaded model fails the check
    (:mod:`budgetlens.model.contract`).
    """
    require_source(name, revision)
    place = chosen_device(device)
    # What a branch or tag stands for may change between two files: all are of one commit.
    commit = hub_commit(name, revision)
    config = _configuration(name, commit)
    family = family_of(config.model_type)
    with explained(name, "weights"), unreported():
        model, loading = AutoModelForSeq2SeqLM.from_pretrained(
            name,
            dtype=chosen_type(dtype, torch.device(elsewhere) if elsewhere else place),
            attn_implementation=_attention(attention, family),
            output_loading_info=True,
            **_at(commit),
        )
    _require_weights(name, model, loading)
    tokenizer = _tokenizer(name, commit)
    with explained(name, "files"):
        identity = commit or directory_hash(Path(name), tokenizer)
    with explained(name, "model"):
        loaded = prepare_model(
            model.to(place).eval(),
            tokenizer,
            name=name,
            identity=identity,
            revision=revision,
            limits=limits,
            check=check and not elsewhere,
        )
    return replace(loaded, elsewhere=elsewhere)


def load_trial_tokenizer(
    name: str, *, revision: str | None = None, limits: Limits | None = None
) -> TrialTokenizer:
    """The tokenizer of a model, without its weights. Raises ModelError as :func:`load_model` does."""
    require_source(name, revision)
    commit = hub_commit(name, revision)
    config = _configuration(name, commit)
    tokenizer = _tokenizer(name, commit)
    with explained(name, "model"):
        return _trial_tokenizer(name, tokenizer, config, _generation(name, commit), limits)


def _at(commit: str | None) -> dict[str, Any]:
    return {} if commit is None else {"revision": commit}


def _configuration(name: str, commit: str | None) -> Any:
    """The configuration of an encoder-decoder model of a known family; ModelError otherwise."""
    with explained(name, "configuration"):
        config = AutoConfig.from_pretrained(name, **_at(commit))
        if not getattr(config, "is_encoder_decoder", False):
            raise ModelError(
                f"{name} is a {config.model_type!r} model without an encoder; budgetlens compares what a decoder "
                "takes from its own tokens with what it takes from an encoder. Give an encoder-decoder model, "
                "for example google/t5gemma-2-270m-270m."
            )
        family_of(config.model_type)
        for stack, depth in declared_depths(config).items():
            if not 1 <= depth <= _MOST_LAYERS:
                raise ModelError(
                    f"the configuration of {name} says {depth} layers of the {stack}; expected 1 to {_MOST_LAYERS}: "
                    "its config.json is damaged or of another model"
                )
    return config


def _generation(name: str, commit: str | None) -> Any:
    """The generation configuration as the library gives it to a loaded model: its own file's, else config.json's."""
    try:
        return GenerationConfig.from_pretrained(name, **_at(commit))
    except OSError:
        return GenerationConfig.from_pretrained(
            name, config_file_name="config.json", _from_model_config=True, **_at(commit)
        )


def _tokenizer(name: str, commit: str | None) -> PreTrainedTokenizerBase:
    with explained(name, "tokenizer"), unreported():
        tokenizer = AutoTokenizer.from_pretrained(name, **_at(commit))
        require_vocabulary(name, tokenizer)
    return tokenizer


def _require_weights(name: str, model: PreTrainedModel, loading: Any) -> None:
    """Raise ModelError for tensors that are not in the checkpoint and that the library made up."""
    absent = sorted(key for key in loading["missing_keys"] if not _computes_itself(model, key))
    absent += sorted(str(key) for key in loading["mismatched_keys"])
    if absent:
        raise ModelError(
            f"the weights of {name} lack {len(absent)} tensor(s) of their architecture, or have them in another shape "
            f"({', '.join(absent[:3])}…); they would have been random. Give a complete checkpoint"
        )


def _computes_itself(model: PreTrainedModel, key: str) -> bool:
    """Whether a tensor is a table that its module computes and has computed, as sinusoidal positions are."""
    path, _, parameter = key.rpartition(".")
    module = model.get_submodule(path)
    create = getattr(module, "create_weight", None)
    if create is None or parameter != "weight":
        return False
    table = module.get_parameter(parameter)
    return torch.equal(table, create().to(table))


def prepare_model(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    name: str,
    identity: str,
    revision: str | None = None,
    limits: Limits | None = None,
    check: bool = True,
) -> LoadedModel:
    """A model and tokenizer that are in memory, made ready for capture.

    Raises as :func:`load_model` does once the weights are there.
    """
    family = family_of(model.config.model_type)
    if model.config._attn_implementation not in family.attention:
        raise ModelError(
            f"{name} runs with {model.config._attn_implementation!r} attention, but the family {family.name!r} is "
            f"exact with {' or '.join(family.attention)} only; load it with attn_implementation={family.attention[0]!r}"
        )
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    _require_causality(model, family)
    envoy = NNsight(model.eval())
    operations = {
        site: attention_operation(at_path(envoy, site_path(family, site)), site)
        for site in declared_sites(model, family)
    }
    loaded = LoadedModel(
        name=name,
        model=model,
        tokenizer=tokenizer,
        trial_tokenizer=_trial_tokenizer(name, tokenizer, model.config, model.generation_config, limits),
        envoy=envoy,
        family=family,
        identity=identity,
        revision=revision,
        operations=operations,
    )
    _require_ids(loaded)
    if check:
        check_contract(loaded)
    return loaded


def _require_causality(model: PreTrainedModel, family: Family) -> None:
    """Have a decoder's self-attention say that it is causal, where it says the contrary.

    SDPA is given no mask where nothing is hidden but what is later, and goes by that word. UMT5 in transformers before
    5.18 does not say it, and its decoder would see the answer that it is to predict.
    """
    for site in declared_sites(model, family):
        module = at_path(model, site_path(family, site))
        if site.stack == "decoder" and site.block == "self" and getattr(module, "is_causal", None) is False:
            module.is_causal = True


def limited(model: LoadedModel, limits: Limits) -> LoadedModel:
    """The same loaded model with other longest inputs."""
    own = _trial_tokenizer(
        model.name, model.tokenizer, model.model.config, model.model.generation_config, limits
    )
    return replace(model, trial_tokenizer=own)


def _trial_tokenizer(
    name: str, tokenizer: PreTrainedTokenizerBase, config: Any, generation: Any, limits: Limits | None
) -> TrialTokenizer:
    family = family_of(config.model_type)
    return TrialTokenizer(
        tokenizer,
        start_token(name, config, generation),
        model_limits(config, family, limits),
        forced_start=forced_start(name, generation),
        depths=declared_depths(config),
        position_table=family.positions == "table",
        decoder_positions=declared_positions(config, family),
    )


def _require_ids(loaded: LoadedModel) -> None:
    """Raise ModelError where a text or a frame can be given ids that the embeddings have no row for.

    Control tokens beyond the embeddings are no error: no text is ever given one.
    """
    own, tokenizer = loaded.trial_tokenizer, loaded.tokenizer
    text = set(tokenizer.get_vocab().values()) - own.plain_text.control.keys()
    unknown = () if tokenizer.unk_token_id is None else (tokenizer.unk_token_id,)
    for stack, frame in (("encoder", (*own.leading, *own.trailing)), ("decoder", own.start(forced=True))):
        rows = loaded.embedding_rows[stack]
        beyond = _beyond({*text, *unknown, *frame}, rows)
        if beyond:
            raise ModelError(
                f"the {stack} of {loaded.name} has embeddings for the ids 0 to {rows - 1}, and its tokenizer or its "
                f"start token gives {len(beyond)} other(s) ({', '.join(map(str, beyond[:3]))}…): they belong to another "
                "model; give the tokenizer and the configuration that the weights were saved with"
            )


def _beyond(ids: Iterable[int], rows: int) -> list[int]:
    return sorted(token for token in ids if not 0 <= token < rows)


def start_token(name: str, config: Any, generation: Any | None) -> int:
    """The token that a decoder input starts with.

    Raises ModelError where neither the generation nor the model configuration names one.
    """
    candidates = (
        getattr(generation, "decoder_start_token_id", None),
        getattr(config, "decoder_start_token_id", None),
        getattr(getattr(config, "decoder", None), "bos_token_id", None),
        getattr(config, "bos_token_id", None),
    )
    found = next((candidate for candidate in candidates if candidate is not None), None)
    if found is None or not _is_id(found):
        named = "no decoder start token" if found is None else f"{found!r} as its decoder start token"
        raise ModelError(
            f"{name} names {named}; set decoder_start_token_id to one id in its generation_config.json"
        )
    return found


def forced_start(name: str, generation: Any) -> int | None:
    """The token that generation forces behind the start token; None where it forces none.

    Raises ModelError for a value that is no id.
    """
    forced = getattr(generation, "forced_bos_token_id", None)
    if forced is not None and not _is_id(forced):
        raise ModelError(
            f"{name} forces {forced!r} as its decoder's first token; set forced_bos_token_id in its "
            "generation_config.json to one id, or to null"
        )
    return forced


def _is_id(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def model_limits(config: Any, family: Family, limits: Limits | None) -> Limits:
    """The longest inputs, no longer than a table of positions where the family looks them up."""
    limits = limits or Limits()
    if family.positions != "table":
        return limits
    return replace(limits, encoder=min(limits.encoder, int(config.max_position_embeddings)))


def declared_positions(config: Any, family: Family) -> int | None:
    """Length of the decoder's table of positions; None where the family looks none up."""
    return int(config.max_position_embeddings) if family.positions == "table" else None


def declared_depths(config: Any) -> dict[str, int]:
    """Number of layers of the encoder and of the decoder, from a model's configuration.

    Raises ModelError where the configuration names none.
    """
    encoder = getattr(config, "encoder", config)
    return {
        "encoder": _first_number(
            getattr(encoder, "text_config", encoder), "encoder_layers", "num_layers", "num_hidden_layers"
        ),
        "decoder": _first_number(
            getattr(config, "decoder", config), "decoder_layers", "num_decoder_layers", "num_hidden_layers"
        ),
    }


def _first_number(config: Any, *names: str) -> int:
    for name in names:
        value = getattr(config, name, None)
        if _is_id(value):
            return value
    raise ModelError(f"the configuration of {config.model_type!r} has none of {', '.join(names)}")


def _attention(asked: str | None, family: Family) -> str:
    if asked is None:
        return family.attention[0]
    if asked not in family.attention:
        raise ModelError(
            f"attention {asked!r} is not exact for the family {family.name!r}; give one of {', '.join(family.attention)}"
        )
    return asked
