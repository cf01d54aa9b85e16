"""The published way of working, which a run is timed and held against: every trial by itself, all attention returned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from budgetlens.model.declaration import Declaration
from budgetlens.model.loaded import LoadedModel
from budgetlens.model.roles import DECODER_ROLES, ENCODER_ROLES
from budgetlens.model.tokenization import TokenizedTrial
from budgetlens.runs.capturing import Unit

if TYPE_CHECKING:
    import pandas as pd


def published_job(model: LoadedModel, units: Sequence[Unit]) -> dict[tuple[str, str], dict[str, Any]]:
    """The published way of working: one trial at a time, eager, all attention returned, full logits.

    Gives quantities of a run by their names: per trial the NLL, and by layer, category and head the shares of roles and
    the entropies of parts, over the predicting rows.
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for unit in units:
        for fed in unit.fed:
            found[fed.example, fed.cell] = _published_trial(model, fed.trial)
    return found


def _published_trial(model: LoadedModel, trial: TokenizedTrial) -> dict[str, Any]:
    from transformers.modeling_outputs import BaseModelOutput

    ids, decoder_ids, visible, positions = (
        torch.tensor([values], device=model.device)
        for values in (
            trial.encoder_ids,
            trial.decoder_ids,
            list(map(int, trial.visible)),
            range(trial.decoder_shift, trial.decoder_shift + len(trial.decoder_ids)),
        )
    )
    with torch.inference_mode():
        states = model.model.get_encoder()(
            input_ids=ids, attention_mask=torch.ones_like(ids), output_attentions=True
        ).last_hidden_state
        output = model.model(
            encoder_outputs=BaseModelOutput(last_hidden_state=states),
            attention_mask=visible,
            decoder_input_ids=decoder_ids,
            decoder_attention_mask=torch.ones_like(decoder_ids),
            decoder_position_ids=positions,
            output_attentions=True,
            use_cache=False,
        )
    rows = list(trial.answer_rows("predicting"))
    log_probabilities = torch.log_softmax(output.logits[0].float(), dim=-1)
    losses = -log_probabilities[rows, decoder_ids[0, [row + 1 for row in rows]]]
    roles = np.array([*trial.decoder_roles, *trial.encoder_roles])
    own = len(trial.decoder_roles)
    layers = []
    for within, across in zip(output.decoder_attentions, output.cross_attentions, strict=True):
        attention = torch.cat([within[0], across[0]], dim=-1)[:, rows].float().cpu().numpy()
        shares = {
            role: attention[:, :, roles == role].sum(-1).mean(1) for role in (*DECODER_ROLES, *ENCODER_ROLES)
        }
        entropies = {}
        for part, chosen in (("self", slice(None, own)), ("cross", slice(own, None)), ("all", slice(None))):
            mass = attention[:, :, chosen].sum(-1)
            normalised = attention[:, :, chosen] / mass[..., None]
            logarithms = np.log(normalised, out=np.zeros_like(normalised), where=normalised > 0)
            entropies[part] = -(normalised * logarithms).sum(-1).mean(1)
        layers.append({"share": shares, "entropy": entropies})
    return {"nll": float(losses.mean()), "layers": layers}


def largest_deviation(
    ours: Mapping[str, tuple[Declaration, pd.DataFrame]], published: dict[tuple[str, str], dict[str, Any]]
) -> float:
    """The largest absolute difference between the records of a run and the published way's numbers of that name.

    ``ours`` holds what each probe declares and its records.
    """
    worst = 0.0
    for declared, records in ours.values():
        for quantity in (own.name for own in declared.quantities):
            if not declared.axis:
                for row in records.to_dict("records"):
                    worst = max(worst, abs(row[quantity] - published[row["example"], row["cell"]][quantity]))
                continue
            columns = ("example", "cell", "layer", "head", declared.axis, quantity)
            for example, cell, layer, head, name, value in zip(
                *(records[key] for key in columns), strict=True
            ):
                found = published[example, cell]["layers"][layer].get(quantity)
                if found is not None:
                    worst = max(worst, abs(value - found[name][head]))
    return worst


def rounding(units: Sequence[Unit], layers: int) -> float:
    """How far two right computations in float32 may be apart: an epsilon for every key of the longest row, per layer.

    A row's sums run over its keys, in an order that depends on the processor and on padding; what a layer loses, the
    next one reads.
    """
    keys = max(len(fed.trial.encoder_ids) + len(fed.trial.decoder_ids) for unit in units for fed in unit.fed)
    return keys * layers * float(np.finfo(np.float32).eps)
