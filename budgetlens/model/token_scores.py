"""Scores of a trial's encoder positions, by what the model itself says of them, and the selections that go by these.

A probe's score of a position is what the rows that predict the answer have of it as a key: the mean over these rows and
heads, and over layers; the sum over heads and layers where the probe adds up parts of a whole, the last layer where a layer
stands for all below it. In a layer with a softmax for each of self- and cross-attention it is that of both blocks together,
where the probe knows it, else that of cross-attention.

The gradient's score is Σ_w x_w ∂(Σ_t log p(answer token t))/∂x_w for the encoder's final states x, which are what the
decoder is given: to first order, what scaling a position's state away costs the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float

from budgetlens.model.attention import Site
from budgetlens.model.batching import make_batch
from budgetlens.model.capture import decode, encode
from budgetlens.model.declaration import Declaration
from budgetlens.model.keeping import GRADIENT, Keep
from budgetlens.model.loaded import LoadedModel, pad_token
from budgetlens.model.observation import chosen_probes
from budgetlens.model.sublayer import JOINT
from budgetlens.model.token_attention import values_by_site
from budgetlens.model.tokenization import TokenizedTrial
from budgetlens.model.trials import Trial
from budgetlens.registry.names import name_of

#: Blocks of a decoder layer that have the encoder's keys; the first that a probe knows is taken.
_BLOCKS = (JOINT, "merged", "cross")


def token_scores(
    model: LoadedModel, trial: TokenizedTrial, scores: Sequence[str]
) -> dict[str, Float[np.ndarray, " position"]]:
    """One number for every encoder position by each of ``scores``, names of probes or :data:`GRADIENT`; NaN where undefined.

    Raises RegistryError for an unknown name, ValueError for a probe that reads no keys of the encoder.
    """
    found = {}
    probes = chosen_probes([name for name in scores if name != GRADIENT])
    if probes:
        by_site = values_by_site(model, trial, probes, "decoder", None, "predicting", ())
        for probe in probes:
            own = {
                site: values[name_of(probe)] for site, values in by_site.items() if name_of(probe) in values
            }
            found[name_of(probe)] = _over_layers(own, probe.declares, name_of(probe), len(trial.encoder_ids))
    if GRADIENT in scores:
        found[GRADIENT] = gradient_scores(model, trial)
    return found


def gradient_scores(model: LoadedModel, trial: TokenizedTrial) -> Float[np.ndarray, " position"]:
    """The gradient of the answer's log-likelihood, in nats, times the encoder's final state, position by position."""
    batch = make_batch([trial], pad_token=pad_token(model), device=model.device)
    # A copy made here is no tensor of the inference mode, which would carry no gradient.
    states = encode(model, batch).clone()
    with torch.enable_grad():
        states.requires_grad_(True)
        answer = decode(model, batch, states)
        (gradient,) = torch.autograd.grad(-answer.losses[answer.real].sum(), states)
    own = int(batch.trial_pass[0])
    products = (gradient[own].double() * states.detach()[own].double()).sum(dim=-1)
    return products[: len(trial.encoder_ids)].cpu().numpy()


def placed(model: LoadedModel, trials: Sequence[TokenizedTrial]) -> list[TokenizedTrial]:
    """The trials with the positions chosen where the model is to be asked which; the others as they are.

    The model is asked once for trials that are alike but for what they choose, with all of the document there.
    """
    asked: list[tuple[Trial, dict[int, Keep]]] = []
    for number, trial in enumerate(trials):
        keep = trial.trial.keep
        if keep is None or not keep.asks:
            continue
        whole = replace(trial.trial, keep=None)
        alike = next((own for known, own in asked if known == whole), None)
        if alike is None:
            asked.append((whole, {number: keep}))
        else:
            alike[number] = keep
    found = list(trials)
    for whole, keeps in asked:
        tokenized = model.trial_tokenizer(whole)
        document = [place for place, role in enumerate(tokenized.encoder_roles) if role == "document"]
        scores = token_scores(model, tokenized, tuple(dict.fromkeys(keep.score for keep in keeps.values())))
        for number, keep in keeps.items():
            chosen = keep.placed(scores[keep.score][document].tolist())
            found[number] = model.trial_tokenizer(replace(whole, keep=chosen))
    return found


def _over_layers(
    by_site: dict[Site, Float[np.ndarray, "head row key"]], declared: Declaration, name: str, positions: int
) -> Float[np.ndarray, " position"]:
    layers = []
    for layer in sorted({site.layer for site in by_site}):
        blocks = {site.block: values for site, values in by_site.items() if site.layer == layer}
        values = next((blocks[block] for block in _BLOCKS if block in blocks), None)
        if values is not None:
            of_rows = values[..., :positions].astype(np.float64).mean(axis=1)
            layers.append(of_rows.sum(axis=0) if declared.adds_heads else of_rows.mean(axis=0))
    if not layers:
        raise ValueError(
            f"the probe {name!r} reads no keys of the encoder, so that positions can't be ranked by it"
        )
    if declared.cumulative:
        return layers[-1]
    return np.sum(layers, axis=0) if declared.adds_heads else np.mean(layers, axis=0)
