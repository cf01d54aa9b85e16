"""Families: where each architecture keeps its attention, declared, never guessed.

One row per architecture. A model whose ``model_type`` is in no row is refused with the list of what is
known: a budget computed at a guessed site would look like a number and mean nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """Where one architecture keeps what the probes read.

    Paths are attribute paths from the model (``encoder_layers``, ``decoder_layers``, ``head``,
    ``decoder_positions``) or from a layer (the attention modules). ``cross_attention`` is None where the
    decoder merges self- and cross-attention in one softmax. ``attention`` lists the attention
    implementations that compute this architecture exactly, the preferred one first. ``positions`` says
    how a decoder position can be moved: ``argument`` (the forward takes ``decoder_position_ids``),
    ``table`` (an embedding looked up by position), ``relative`` (only distances count, so that moving
    every position alike is the identity). ``output`` names the output projection of every attention module.
    ``packs`` says that the decoder takes ready-made masks by layer type, so that trials can share a lane.
    """

    name: str
    model_types: tuple[str, ...]
    encoder_layers: str
    decoder_layers: str
    encoder_attention: str
    self_attention: str
    cross_attention: str | None
    output: str
    head: str
    attention: tuple[str, ...]
    positions: str
    decoder_positions: str | None = None
    packs: bool = False

    @property
    def merged(self) -> bool:
        """Whether one softmax spans decoder and encoder keys."""
        return self.cross_attention is None


FAMILIES: tuple[Family, ...] = (
    Family(
        name="t5gemma2",
        model_types=("t5gemma2",),
        encoder_layers="model.encoder.text_model.layers",
        decoder_layers="model.decoder.layers",
        encoder_attention="self_attn",
        self_attention="self_attn",
        cross_attention=None,
        output="o_proj",
        head="lm_head",
        attention=("sdpa", "eager"),
        positions="argument",
        packs=True,
    ),
    Family(
        name="t5gemma",
        model_types=("t5gemma",),
        encoder_layers="model.encoder.layers",
        decoder_layers="model.decoder.layers",
        encoder_attention="self_attn",
        self_attention="self_attn",
        cross_attention="cross_attn",
        output="o_proj",
        head="lm_head",
        # The soft cap on the scores exists in the eager implementation only.
        attention=("eager",),
        positions="argument",
    ),
    Family(
        name="t5",
        model_types=("t5", "mt5", "umt5"),
        encoder_layers="encoder.block",
        decoder_layers="decoder.block",
        encoder_attention="layer.0.SelfAttention",
        self_attention="layer.0.SelfAttention",
        cross_attention="layer.1.EncDecAttention",
        output="o",
        head="lm_head",
        attention=("sdpa", "eager"),
        positions="relative",
    ),
    Family(
        name="bart",
        model_types=("bart", "mbart", "marian", "pegasus"),
        encoder_layers="model.encoder.layers",
        decoder_layers="model.decoder.layers",
        encoder_attention="self_attn",
        self_attention="self_attn",
        cross_attention="encoder_attn",
        output="out_proj",
        head="lm_head",
        attention=("sdpa", "eager"),
        positions="table",
        decoder_positions="model.decoder.embed_positions",
    ),
)


class UnknownFamilyError(ValueError):
    """A model of an architecture that no family declares."""


def family_of(model_type: str, families: Sequence[Family] = FAMILIES) -> Family:
    """The family that declares ``model_type``.

    Raises UnknownFamilyError with the known model types.
    """
    for family in families:
        if model_type in family.model_types:
            return family
    known = ", ".join(f"{family.name} ({', '.join(family.model_types)})" for family in families)
    raise UnknownFamilyError(
        f"no family declares the architecture {model_type!r}. Known: {known}. "
        "To add one, add a row to budgetlens/model/families.py; the contract check at load then proves it."
    )
