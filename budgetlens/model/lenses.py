"""Lenses: the answer read before the last layer, with what the model itself has behind its last layer."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from budgetlens.model.attention import Site
from budgetlens.model.batching import Batch, by_trial
from budgetlens.model.loaded import LoadedModel, at_path
from budgetlens.model.observation import AnswerLogits, LayerProbe, Observation
from budgetlens.model.stream import Head
from budgetlens.registry.names import name_of

#: Block of what is read from the residual stream behind a layer, and not from attention.
LAYER = "layer"


def behind_final_norm(
    model: LoadedModel, stack: str, states: Float[Tensor, "batch row width"]
) -> Float[Tensor, "batch row width"]:
    """States of any layer behind the final norm of their stack; the same where a stack has none."""
    path = model.family.stream.final_norms.get(stack)
    return states if path is None else at_path(model.model, path)(states)


def layer_logits(
    model: LoadedModel, states: Float[Tensor, "batch row width"]
) -> Float[Tensor, "batch row vocabulary"]:
    """Logits of the decoder's states behind any layer: final norm, scaling, head, bias and soft cap are the model's own.

    The operations and their order are those of the model's forward, so that its last layer gives its own logits.
    """
    normed = behind_final_norm(model, "decoder", states)
    scale = Head.of(model).scale
    logits = at_path(model.model, model.family.head)(normed if scale == 1 else normed * scale)
    bias = getattr(model.model, "final_logits_bias", None)
    if bias is not None:
        logits = logits + bias
    cap = getattr(model.model.config.get_text_config(decoder=True), "final_logit_softcapping", None)
    return logits if cap is None else (logits / cap).tanh() * cap


def layer_observation(probe: LayerProbe, layer: int, answer: AnswerLogits, batch: Batch) -> Observation:
    """What a probe reads of the answer at one layer: the mean over each trial's answer rows, in float64."""
    site = Site(probe.reads_stack, LAYER, layer)
    means = {}
    for name, values in probe.observe_layer(answer).items():
        rows = by_trial(values.double(), batch.answer)
        counts = rows.new_tensor([trial.answer_tokens for trial in batch.trials])
        means[name] = (rows.nansum(dim=1) / counts)[:, None, None].cpu().numpy()
    return Observation(
        name_of(probe), site, probe.declares.axis, probe.categories(site), averages_heads=True, values=means
    )
