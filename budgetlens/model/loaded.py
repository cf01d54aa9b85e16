"""A loaded model: its weights, its tokenizer, and where its attention is called."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from nnsight import NNsight
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from budgetlens.model.attention import Site
from budgetlens.model.families import Family
from budgetlens.model.tokenization import TrialTokenizer

#: What the identity of a model begins with whose name finds no files: a hash of what is in memory follows.
IN_MEMORY = "memory:"


class ModelError(ValueError):
    """A model that can't be loaded or used; the message says what to do."""


@dataclass(frozen=True)
class LoadedModel:
    """A model ready for capture.

    ``envoy`` is nnsight's wrapper of ``model``. ``identity`` says which weights these are: the hub's
    commit, or a hash of the local files. ``operations`` names, per site, the operation of the attention
    module's forward that calls the attention function. ``elsewhere`` is the kind of device on which others compute with
    the same model, where the weights here only tell what it is; empty where these compute.
    """

    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    trial_tokenizer: TrialTokenizer
    envoy: NNsight
    family: Family
    identity: str
    revision: str | None
    operations: dict[Site, str]
    elsewhere: str = ""

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.model.device

    @property
    def device_type(self) -> str:
        """Kind of the device that computes."""
        return self.elsewhere or self.device.type

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights."""
        return self.model.dtype

    @property
    def attention_implementation(self) -> str:
        """The attention implementation in use, ``sdpa`` or ``eager``."""
        return self.model.config._attn_implementation

    @property
    def is_stored(self) -> bool:
        """Whether its name finds it again, in a directory or on the hub; False of one that was in memory already."""
        return not self.identity.startswith(IN_MEMORY)

    @property
    def vocabulary_size(self) -> int:
        """Number of entries of the model's output."""
        return int(self.model.get_output_embeddings().weight.shape[0])

    @property
    def embedding_rows(self) -> dict[str, int]:
        """How many ids each stack can be given; what the decoder is given must stand in the model's output as well."""
        rows = {
            stack: int(own.get_input_embeddings().weight.shape[0])
            for stack, own in (("encoder", self.model.get_encoder()), ("decoder", self.model.get_decoder()))
        }
        return rows | {"decoder": min(rows["decoder"], self.vocabulary_size)}

    def sites(self, stack: str) -> tuple[Site, ...]:
        """The attention sites of a stack, in the order in which the forward reaches them."""
        return tuple(site for site in self.operations if site.stack == stack)

    def attention_envoy(self, site: Site) -> Any:
        """nnsight's wrapper of the attention module at ``site``."""
        return at_path(self.envoy, site_path(self.family, site))

    def attention_module(self, site: Site) -> nn.Module:
        """The attention module at ``site``."""
        return at_path(self.model, site_path(self.family, site))


def pad_token(model: LoadedModel) -> int:
    """The id that fills padding; any id that both stacks have will do, since padding is never seen."""
    own = model.tokenizer.pad_token_id or 0
    return own if own < min(model.embedding_rows.values()) else 0


def at_path(root: Any, path: str) -> Any:
    """The object at a dotted attribute path; digits index module lists."""
    for part in path.split("."):
        root = root[int(part)] if part.isdigit() else getattr(root, part)
    return root


def site_path(family: Family, site: Site) -> str:
    """Attribute path of the attention module at ``site``."""
    if site.stack == "encoder":
        return f"{family.encoder_layers}.{site.layer}.{family.encoder_attention}"
    if site.block == "cross":
        return f"{family.decoder_layers}.{site.layer}.{family.cross_attention}"
    return f"{family.decoder_layers}.{site.layer}.{family.self_attention}"


def declared_sites(model: nn.Module, family: Family) -> Iterator[Site]:
    """Every attention site that the family declares, in the order in which the forward reaches them.

    Raises ModelError where a declared path leads nowhere.
    """
    try:
        for layer in range(len(at_path(model, family.encoder_layers))):
            yield Site("encoder", "self", layer)
        for layer in range(len(at_path(model, family.decoder_layers))):
            if family.merged:
                yield Site("decoder", "merged", layer)
            else:
                yield Site("decoder", "self", layer)
                yield Site("decoder", "cross", layer)
    except (AttributeError, IndexError) as error:
        raise ModelError(
            f"{type(model).__name__} is not laid out as the family {family.name!r} declares: {error}. "
            "The installed transformers may have renamed a module; correct budgetlens/model/families.py."
        ) from error


def attention_operation(envoy: Any, site: Site) -> str:
    """The last operation called ``attention_interface_N`` in the forward of an attention module.

    Earlier ones of that name are assignments of the function, not its call; the contract check at load
    proves that this one is given query, key, value and mask. Raises ModelError where there is none.
    """
    labels = sorted(
        (int(match.group(1)), match.group(0))
        for match in re.finditer(r"\battention_interface_(\d+)\b", str(envoy.source))
    )
    if not labels:
        raise ModelError(
            f"no call of an attention function was found at {site}; the installed transformers or nnsight "
            "is not one this project knows (see constraints.txt)"
        )
    return labels[-1][1]
