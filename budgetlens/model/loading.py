"""Loading a model: hub name or directory, to a model, its tokenizer and its attention sites."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from nnsight import NNsight
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from budgetlens.model.contract import check_contract
from budgetlens.model.families import Family, family_of
from budgetlens.model.loaded import (
    LoadedModel,
    ModelError,
    at_path,
    attention_operation,
    declared_sites,
    site_path,
)
from budgetlens.model.tokenization import Limits, TrialTokenizer

#: Files that decide what a local model computes and how it reads text.
_IDENTITY_FILES = ("config.json", "*.safetensors", "*.bin", "tokenizer.json", "*.model")


def load_model(
    name: str,
    *,
    revision: str | None = None,
    device: str = "auto",
    dtype: str = "auto",
    limits: Limits | None = None,
    attention: str | None = None,
    check: bool = True,
) -> LoadedModel:
    """Load an encoder-decoder model by hub name or local directory and prove that it can be observed.

    ``device`` and ``dtype`` may be ``auto``: CUDA where there is one, else the CPU; the checkpoint's type
    on a GPU and float32 on a CPU. ``attention`` overrides the family's preferred implementation.

    Raises ModelError for anything that can't be loaded (wrong directory, unreachable or gated hub name,
    missing token, decoder-only model), UnknownFamilyError for an architecture that is not declared, and
    ContractError where the loaded model fails the check (:mod:`budgetlens.model.contract`).
    """
    _require_source(name, revision)
    config = _from_hub(AutoConfig.from_pretrained, name, revision=revision)
    if not getattr(config, "is_encoder_decoder", False):
        raise ModelError(
            f"{name} is a {config.model_type!r} model without an encoder; budgetlens compares what a decoder "
            "takes from its own tokens with what it takes from an encoder. Give an encoder-decoder model, "
            "for example google/t5gemma-2-270m-270m."
        )
    family = family_of(config.model_type)
    chosen_device = _device(device)
    model, loading = _from_hub(
        AutoModelForSeq2SeqLM.from_pretrained,
        name,
        revision=revision,
        dtype=_dtype(dtype, chosen_device),
        attn_implementation=_attention(attention, family),
        output_loading_info=True,
    )
    absent = sorted([*loading["missing_keys"], *(str(key) for key in loading["mismatched_keys"])])
    if absent:
        raise ModelError(
            f"the weights of {name} lack {len(absent)} tensor(s) of their architecture, or have them in another shape "
            f"({', '.join(absent[:3])}…); they would have been random. Give a complete checkpoint"
        )
    tokenizer = _from_hub(AutoTokenizer.from_pretrained, name, revision=revision)
    identity = getattr(config, "_commit_hash", None) or directory_hash(Path(name))
    return prepare_model(
        model.to(chosen_device).eval(),
        tokenizer,
        name=name,
        identity=identity,
        revision=revision,
        limits=limits,
        check=check,
    )


def load_trial_tokenizer(
    name: str, *, revision: str | None = None, limits: Limits | None = None
) -> TrialTokenizer:
    """The tokenizer of a model, without its weights. Raises ModelError as :func:`load_model` does."""
    _require_source(name, revision)
    config = _from_hub(AutoConfig.from_pretrained, name, revision=revision)
    family = family_of(config.model_type)
    try:
        generation = GenerationConfig.from_pretrained(name, revision=revision or "main")
    except OSError:
        # Older checkpoints keep generation settings in config.json, where start_token also looks.
        generation = None
    tokenizer = _from_hub(AutoTokenizer.from_pretrained, name, revision=revision)
    return TrialTokenizer(
        tokenizer,
        start_token(name, config, generation),
        model_limits(config, family, limits),
        depths=declared_depths(config),
        position_table=family.positions == "table",
        decoder_positions=declared_positions(config, family),
    )


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
    envoy = NNsight(model.eval())
    operations = {
        site: attention_operation(at_path(envoy, site_path(family, site)), site)
        for site in declared_sites(model, family)
    }
    loaded = LoadedModel(
        name=name,
        model=model,
        tokenizer=tokenizer,
        trial_tokenizer=TrialTokenizer(
            tokenizer,
            start_token(name, model.config, model.generation_config),
            model_limits(model.config, family, limits),
            depths=declared_depths(model.config),
            position_table=family.positions == "table",
            decoder_positions=declared_positions(model.config, family),
        ),
        envoy=envoy,
        family=family,
        identity=identity,
        revision=revision,
        operations=operations,
    )
    if check:
        check_contract(loaded)
    return loaded


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
    for candidate in candidates:
        if isinstance(candidate, int):
            return candidate
    raise ModelError(
        f"{name} names no decoder start token; set decoder_start_token_id in its generation_config.json"
    )


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
        if isinstance(value, int):
            return value
    raise ModelError(f"the configuration of {config.model_type!r} has none of {', '.join(names)}")


def directory_hash(directory: Path) -> str:
    """SHA-256 over the names and contents of the files that decide what a local model computes."""
    digest = hashlib.sha256()
    for path in sorted({path for pattern in _IDENTITY_FILES for path in directory.glob(pattern)}):
        digest.update(path.name.encode() + b"\0")
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _require_source(name: str, revision: str | None) -> None:
    """Raise ModelError where ``name`` is a path that holds no model, or has a revision as only hub names do."""
    directory = Path(name)
    if not directory.exists() and not name.startswith((".", "/", "~")):
        return
    _require_model_directory(directory)
    if revision is not None:
        raise ModelError(f"a revision is of a hub model, and {name} is a directory; leave --revision out")


def _require_model_directory(directory: Path) -> None:
    if not directory.is_dir():
        raise ModelError(f"{directory} is not a directory; give a directory with config.json, or a hub name")
    if not (directory / "config.json").is_file():
        found = ", ".join(sorted(path.name for path in directory.iterdir())[:8]) or "nothing"
        raise ModelError(
            f"{directory} holds no config.json (found: {found}); give the directory of a saved model"
        )
    for required, pattern in (
        ("weights", ("*.safetensors", "*.bin")),
        ("a fast tokenizer", ("tokenizer.json", "*.model")),
    ):
        if not any(list(directory.glob(one)) for one in pattern):
            raise ModelError(
                f"{directory} holds no {required} ({' or '.join(pattern)}); save the model there first"
            )


def _from_hub(loader: Any, name: str, **options: Any) -> Any:
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        return loader(name, **{key: value for key, value in options.items() if value is not None})
    except (SafetensorError, UnpicklingError, EOFError, RuntimeError) as error:
        raise ModelError(
            f"the weights of {name} are damaged ({_first_line(error)}); download or save them again"
        ) from error
    except (OSError, ValueError) as error:
        chain = _causes(error)
        if any(isinstance(cause, GatedRepoError) for cause in chain) or "gated repo" in str(error):
            raise ModelError(
                f"{name} is gated: accept its terms on its page, then give a token with read access "
                "(the variable HF_TOKEN, or `hf auth login`)"
            ) from error
        if any(isinstance(cause, RepositoryNotFoundError) for cause in chain):
            raise ModelError(
                f"the hub knows no model {name!r} that this token may read; check the spelling, and give a token "
                "(the variable HF_TOKEN) if it is private"
            ) from error
        if any(
            isinstance(cause, LocalEntryNotFoundError | HfHubHTTPError | ConnectionError) for cause in chain
        ) or (not Path(name).exists() and isinstance(error, OSError)):
            raise ModelError(
                f"{name} is not in the local cache and the hub could not be reached ({_first_line(error)}); "
                "check the network, the name, the revision and that HF_HUB_OFFLINE is not set, accept a gated model's "
                "terms and give a token (HF_TOKEN), or give a local directory"
            ) from error
        raise ModelError(f"{name} could not be loaded: {_first_line(error)}") from error


def _causes(error: BaseException) -> list[BaseException]:
    chain: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in chain:
        chain.append(current)
        current = current.__cause__ or current.__context__
    return chain


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _device(device: str) -> torch.device:
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ModelError(f"unknown device {device!r}; give cpu, cuda, cuda:N, mps or auto") from error
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ModelError(
            f"device {device!r} was asked for, but this torch sees no CUDA device; give --device cpu"
        )
    return chosen


def _dtype(dtype: str, device: torch.device) -> Any:
    if dtype == "auto":
        return "auto" if device.type == "cuda" else torch.float32
    known = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if dtype not in known:
        raise ModelError(f"unknown dtype {dtype!r}; give one of {', '.join(known)} or auto")
    return known[dtype]


def _attention(asked: str | None, family: Family) -> str:
    if asked is None:
        return family.attention[0]
    if asked not in family.attention:
        raise ModelError(
            f"attention {asked!r} is not exact for the family {family.name!r}; give one of {', '.join(family.attention)}"
        )
    return asked
