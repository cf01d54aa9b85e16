"""Choosing a document's positions by what the model does with them: how much rows look at each, or take from it.

The scores are those of the very cell: the same encoder states, everything visible that the cell shows, every edit in force.
The decoder runs once more for them, on the prompt alone unless the rows that predict the answer are asked, so that the
right answer has no part in them. Of a row, ``attention`` is the share that a key gets in its softmax, ``norm`` the share of
a key in the lengths ‖Σ_h α W_O v‖ of what the sublayer takes; both are averaged over rows, heads (of norms there is one)
and layers, each counting alike. Where self- and cross-attention have a softmax each, it is that of cross-attention.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from budgetlens.model.attention import RowAttention, Site
from budgetlens.model.batching import Batch, make_batch, marked_rows
from budgetlens.model.declaration import Declaration
from budgetlens.model.edits import EditError
from budgetlens.model.keeping import ATTENTION, NORM, Keep
from budgetlens.model.loaded import LoadedModel, pad_token
from budgetlens.model.observation import Observation, Probing, probe
from budgetlens.model.passes import run_decoder, run_encoder
from budgetlens.model.roles import ROLE_CODES
from budgetlens.model.sublayer import Sublayer
from budgetlens.model.tokenization import TokenizedTrial
from budgetlens.model.trials import Edit
from budgetlens.registry.names import name_of
from budgetlens.statistics.quantities import Quantity


def _declared(title: str) -> Declaration:
    return Declaration(title=title, quantities=(Quantity("score", "score", "fraction of 1"),), axis="key")


@dataclass(frozen=True)
class _OfKeys:
    """Reads the encoder's keys one by one, of which a batch has ``width`` with padding."""

    width: int

    def categories(self, site: Site) -> tuple[str, ...]:
        """The encoder's positions, where rows of the decoder see them."""
        seen = site.stack == "decoder" and site.block in ("cross", "merged")
        return tuple(map(str, range(self.width))) if seen else ()


@probe("key_shares")
@dataclass(frozen=True)
class _KeyShares(_OfKeys):
    """Share of attention of every key of the encoder."""

    declares = _declared("Shares of keys")

    def observe(self, attention: RowAttention) -> Mapping[str, Tensor]:
        """``score``: batch × head × row × key."""
        # In a merged softmax the decoder's own keys stand in front.
        return {"score": attention.probabilities[..., -self.width :]}


@probe("key_norms")
@dataclass(frozen=True)
class _KeyNorms(_OfKeys):
    """Share of every key of the encoder in the lengths of what a sublayer takes."""

    declares = _declared("Norms of keys")

    def observe_sublayers(self, sublayers: Sequence[Sublayer]) -> Mapping[str, Tensor]:
        """``score``: batch × 1 × row × key."""
        (sublayer,) = sublayers
        lengths = rearrange(sublayer.key_norms, "batch row key -> batch 1 row key")
        return {"score": (lengths / lengths.sum(dim=-1, keepdim=True))[..., -self.width :]}


_PROBES: Mapping[str, type[_KeyShares] | type[_KeyNorms]] = {ATTENTION: _KeyShares, NORM: _KeyNorms}


def selected(
    model: LoadedModel,
    batch: Batch,
    states: Float[Tensor, "encoder_pass encoder_position width"],
    edits: Sequence[Edit] = (),
) -> Batch:
    """The batch in which every trial's decoder sees the positions that the model itself has chosen.

    ``states`` are the batch's, ``edits`` are in force besides the trials' own. A batch in which nothing is left to choose
    is handed back. Raises EditError for heads that the model lacks, and as the decoder's pass does.
    """
    by_rows: dict[str, list[int]] = {}
    for number, trial in enumerate(batch.trials):
        if trial.chooses is not None:
            by_rows.setdefault(trial.chooses.readers.rows, []).append(number)
    if not by_rows:
        return batch
    trials, visible = list(batch.trials), batch.visible.clone()
    with torch.inference_mode():
        for numbers in by_rows.values():
            for number, kept in _kept(model, batch, numbers, states, tuple(edits)):
                trials[number] = trials[number].keeping(kept)
                seen = torch.tensor(trials[number].visible, device=visible.device)
                visible[number, : len(seen)] = seen.to(visible.dtype)
    return replace(batch, trials=tuple(trials), visible=visible)


def selected_trial(model: LoadedModel, trial: TokenizedTrial, edits: Sequence[Edit] = ()) -> TokenizedTrial:
    """One trial with the positions that the model chooses for it; itself where there is nothing to choose."""
    if trial.chooses is None:
        return trial
    batch = make_batch([trial], pad_token=pad_token(model), device=model.device)
    with torch.inference_mode():
        states, _ = run_encoder(model, batch, Probing(), tuple(edits))
    return selected(model, batch, states, edits).trials[0]


def _kept(
    model: LoadedModel, batch: Batch, numbers: Sequence[int], states: Tensor, edits: tuple[Edit, ...]
) -> Iterator[tuple[int, frozenset[int]]]:
    """For some trials of a batch, whose readers are the same rows, the document's positions that are kept."""
    keeps = {number: keep for number in numbers if (keep := batch.trials[number].chooses) is not None}
    # Cells that differ in what they keep alone have the same scores, and are asked once.
    asked: dict[TokenizedTrial, int] = {}
    owners = {number: asked.setdefault(_asked(model, batch.trials[number]), number) for number in keeps}
    own = make_batch(list(asked), pad_token=pad_token(model), device=model.device, pack=model.family.packs)
    firsts = [own.trial_pass.tolist().index(place) for place in range(own.decoded)]
    passes = batch.trial_pass[[list(asked.values())[first] for first in firsts]]
    rows = own.predicting
    if next(iter(keeps.values())).readers.rows == "prompt":
        rows = own.decoder_roles == ROLE_CODES["prompt"]
    own = replace(own, chosen=marked_rows(rows, own.decoder_trial, len(asked)))
    width = own.encoder_ids.shape[1]
    scores = dict.fromkeys(keep.score for keep in keeps.values())
    reading = Probing(tuple(_PROBES[score](width) for score in scores))
    _, visitor = run_decoder(model, own, states[passes, :width], reading, edits)
    observations = visitor.observations(None)
    places = {number: place for place, number in enumerate(asked.values())}
    for number, keep in keeps.items():
        document = batch.trials[number].positions("encoder", {"document"})
        found = _scores(keep, observations, places[owners[number]])[document]
        yield number, frozenset(document[place] for place in keep.best(found))


def _asked(model: LoadedModel, trial: TokenizedTrial) -> TokenizedTrial:
    """What is fed to score a trial's positions: the trial, with a placeholder for an answer that nobody may see."""
    assert trial.chooses is not None
    bare = replace(trial, trial=replace(trial.trial, keep=None))
    if trial.chooses.readers.see_the_answer:
        return bare
    given = len(trial.decoder_ids) - trial.answer_tokens
    # The row behind the prompt is read by nobody, and no row before it sees it.
    return replace(
        bare,
        decoder_ids=(*trial.decoder_ids[:given], pad_token(model)),
        decoder_roles=(*trial.decoder_roles[:given], "answer"),
    )


def _scores(keep: Keep, observations: Iterable[Observation], owner: int) -> Float[np.ndarray, " position"]:
    """The score of every position of the encoder: the mean over rows, heads and layers."""
    readers = keep.readers
    by_layer = []
    for own in observations:
        if own.probe != name_of(_PROBES[keep.score]) or (
            readers.layers and own.site.layer not in readers.layers
        ):
            continue
        values = own.values["score"][owner].astype(np.float64)
        if readers.heads is not None:
            beyond = sorted(head for head in readers.heads if head >= len(values))
            if beyond:
                raise EditError(
                    f"{own.site} has heads 0 to {len(values) - 1}; {keep.level} names {beyond}: name others"
                )
            values = values[sorted(readers.heads)]
        by_layer.append(values.mean(axis=0))
    return np.mean(by_layer, axis=0)
