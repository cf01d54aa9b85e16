"""Families: where each architecture keeps its attention, declared, never guessed.

One row per architecture. A model whose ``model_type`` is in no row is refused with the list of what is
known: a budget computed at a guessed site would look like a number and mean nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

#: Block of the feed-forward sublayer, beside those of attention (``self``, ``cross``, ``merged``).
MLP = "mlp"


@dataclass(frozen=True)
class ResidualStream:
    """Where the layers of a family read and write the residual stream, and through which norms.

    Paths from a layer are by block, those of the encoder's attention under ``encoder``. ``reads``: the module whose input
    is the stream as a sublayer of attention finds it. ``norms``: the module that norms what a sublayer writes; a block
    without one adds its output as it is. ``normed`` says what these act on: ``output``, on the sublayer's output alone
    (Gemma's post-norms), or ``stream``, on the stream and the output together (post-norm families: BART, Marian).
    ``feed_forward``: the module of a decoder layer whose output the feed-forward sublayer adds, normed already where
    ``normed`` is ``output``. Paths from the model: ``final_norms``, the norms behind the last layer by stack; a stack
    without one ends with its last layer.
    """

    reads: Mapping[str, str]
    feed_forward: str
    norms: Mapping[str, str] = field(default_factory=dict)
    normed: str = ""
    final_norms: Mapping[str, str] = field(default_factory=dict)


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
    ``stream`` says where layers read and write the residual stream. ``head_scaled`` names, by model type, the entry of the
    configuration that says whether the head's input is scaled by width^-½; without one it is not.
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
    stream: ResidualStream
    decoder_positions: str | None = None
    packs: bool = False
    head_scaled: Mapping[str, str] = field(default_factory=dict)

    @property
    def merged(self) -> bool:
        """Whether one softmax spans decoder and encoder keys."""
        return self.cross_attention is None


#: Both generations of T5Gemma: a norm before and a norm behind every sublayer, which acts on its output alone.
_GEMMA_STREAM = ResidualStream(
    reads=MappingProxyType(
        {
            "encoder": "pre_self_attn_layernorm",
            "self": "pre_self_attn_layernorm",
            "merged": "pre_self_attn_layernorm",
            "cross": "pre_cross_attn_layernorm",
        }
    ),
    norms=MappingProxyType(
        {
            "encoder": "post_self_attn_layernorm",
            "self": "post_self_attn_layernorm",
            "merged": "post_self_attn_layernorm",
            "cross": "post_cross_attn_layernorm",
        }
    ),
    normed="output",
    feed_forward="post_feedforward_layernorm",
    final_norms=MappingProxyType({"encoder": "model.encoder.norm", "decoder": "model.decoder.norm"}),
)

#: BART and Marian: one norm behind every sublayer, of the stream and the output together.
_POST_NORM_STREAM = ResidualStream(
    reads=MappingProxyType({"encoder": "self_attn", "self": "self_attn", "cross": "encoder_attn"}),
    norms=MappingProxyType(
        {
            "encoder": "self_attn_layer_norm",
            "self": "self_attn_layer_norm",
            "cross": "encoder_attn_layer_norm",
            MLP: "final_layer_norm",
        }
    ),
    normed="stream",
    feed_forward="fc2",
)

#: mBART and Pegasus: a norm before every sublayer, none behind, and one behind the last layer.
_PRE_NORM_STREAM = ResidualStream(
    reads=MappingProxyType(
        {
            "encoder": "self_attn_layer_norm",
            "self": "self_attn_layer_norm",
            "cross": "encoder_attn_layer_norm",
        }
    ),
    feed_forward="fc2",
    final_norms=MappingProxyType(
        {"encoder": "model.encoder.layer_norm", "decoder": "model.decoder.layer_norm"}
    ),
)

_BART = Family(
    name="bart",
    model_types=("bart", "marian"),
    encoder_layers="model.encoder.layers",
    decoder_layers="model.decoder.layers",
    encoder_attention="self_attn",
    self_attention="self_attn",
    cross_attention="encoder_attn",
    output="out_proj",
    head="lm_head",
    attention=("sdpa", "eager"),
    positions="table",
    stream=_POST_NORM_STREAM,
    decoder_positions="model.decoder.embed_positions",
)

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
        stream=replace(
            _GEMMA_STREAM,
            final_norms=MappingProxyType(
                {"encoder": "model.encoder.text_model.norm", "decoder": "model.decoder.norm"}
            ),
        ),
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
        stream=_GEMMA_STREAM,
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
        head_scaled=MappingProxyType({"t5": "scale_decoder_outputs", "umt5": "tie_word_embeddings"}),
        stream=ResidualStream(
            reads=MappingProxyType(
                {
                    "encoder": "layer.0.layer_norm",
                    "self": "layer.0.layer_norm",
                    "cross": "layer.1.layer_norm",
                }
            ),
            feed_forward="layer.2.DenseReluDense",
            final_norms=MappingProxyType(
                {"encoder": "encoder.final_layer_norm", "decoder": "decoder.final_layer_norm"}
            ),
        ),
    ),
    _BART,
    replace(_BART, name="mbart", model_types=("mbart", "pegasus"), stream=_PRE_NORM_STREAM),
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
