"""A model that is in memory already: checked as at a load, and told from others by a hash of what it is now."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from budgetlens.model.loaded import IN_MEMORY, LoadedModel, ModelError
from budgetlens.model.loading import prepare_model
from budgetlens.model.sources import explained, require_vocabulary
from budgetlens.model.tokenization import Limits

#: Entries of a configuration that say where it came from and what saved it, and change no number.
_UNIMPORTANT = ("_name_or_path", "transformers_version", "architectures", "dtype", "torch_dtype")


def wrap_model(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, name: str, limits: Limits | None
) -> LoadedModel:
    """A model and its tokenizer made ready for capture; ``name`` empty takes the model's own.

    Raises ModelError for what is no encoder-decoder model or no fast tokenizer, and as
    :func:`budgetlens.model.loading.prepare_model` does.
    """
    if not isinstance(model, PreTrainedModel) or not isinstance(tokenizer, PreTrainedTokenizerBase):
        raise ModelError(
            "a transformers model and its tokenizer are needed, in this order; got "
            f"{type(model).__name__} and {type(tokenizer).__name__}"
        )
    name = name or model.name_or_path or type(model).__name__
    if not model.config.is_encoder_decoder:
        raise ModelError(
            f"{name} is a {model.config.model_type!r} model without an encoder; give an encoder-decoder model"
        )
    places = {parameter.device.type for parameter in model.parameters()}
    if "meta" in places or len({parameter.device for parameter in model.parameters()}) > 1:
        raise ModelError(
            f"the weights of {name} lie on {', '.join(sorted(places))}, and not all on one device; move it with "
            "model.to('cuda') or model.to('cpu')"
        )
    require_vocabulary(name, tokenizer)
    with explained(name, "model"):
        return prepare_model(
            model,
            tokenizer,
            name=name,
            identity=IN_MEMORY + memory_hash(model, tokenizer),
            limits=limits,
        )


def memory_hash(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> str:
    """SHA-256 over everything in memory that decides what a model computes and how it reads text."""
    digest = hashlib.sha256()
    for part in (
        _configuration(model.config),
        _configuration(model.generation_config),
        _vocabulary(tokenizer),
    ):
        digest.update(part.encode() + b"\0")
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
        # As bytes: numpy has no bfloat16.
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _configuration(own: Any) -> str:
    return json.dumps(_important(own.to_dict()), sort_keys=True, default=str)


def _important(value: Any) -> Any:
    """A configuration's value without what changes no number, in its parts as well."""
    if isinstance(value, dict):
        return {str(name): _important(part) for name, part in value.items() if name not in _UNIMPORTANT}
    return value


def _vocabulary(tokenizer: Any) -> str:
    special = json.dumps(
        {name: str(token) for name, token in tokenizer.special_tokens_map.items()}, sort_keys=True
    )
    return f"{tokenizer.backend_tokenizer.to_str()}\0{special}"
