"""The contract check: a loaded model must prove that it can be observed and changed.

Run at load on a handful of tokens. Without it, a renamed module or an ignored edit would give numbers
that look right.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from budgetlens.model.attention import RowAttention, Site
from budgetlens.model.batching import Batch, make_batch
from budgetlens.model.capture import Capture, Probing, capture
from budgetlens.model.declaration import Declaration
from budgetlens.model.edits import ScaleValues
from budgetlens.model.loaded import LoadedModel, pad_token
from budgetlens.model.observation import probe
from budgetlens.model.tokenization import TokenizedTrial
from budgetlens.model.trials import Example, Trial
from budgetlens.statistics.quantities import Quantity

#: Largest deviation of a row's sum from 1, in float32 epsilons for every key of the row: the exponentials are summed to
#: divide by them and their quotients are summed again, in an order that depends on the processor, and each of these
#: additions may lose half an epsilon, as each exponential and quotient may.
EPSILONS_PER_KEY = 2

#: What the values of a site are multiplied by. Negative, since a norm behind the attention, as Gemma has, undoes a positive
#: factor, all but its rounding; and whether rounding reaches a loss depends on the processor.
PROBED_FACTOR = -1.0


@probe("contract")
@dataclass(frozen=True)
class _RoleShares:
    """Share of each role's keys, for the check alone: the engine knows no probe by name."""

    declares = Declaration(
        title="Shares", quantities=(Quantity("share", "share", "fraction of attention"),), axis="role"
    )

    def categories(self, site: Site) -> tuple[str, ...]:
        """The roles that keys of this site can have."""
        return site.roles

    def observe(self, attention: RowAttention) -> Mapping[str, Tensor]:
        """``share``: batch × head × row × role."""
        return {"share": attention.mass(tuple((role,) for role in attention.site.roles))}


class ContractError(ValueError):
    """A model whose attention can't be read or changed as its family declares."""


def check_contract(model: LoadedModel) -> None:
    """Every attention call is found and reached, rows sum to 1, and an edit at every site changes the logits.

    Raises ContractError that names the site and what failed.
    """
    batch = _probe_batch(model)
    try:
        reference = capture(model, batch, Probing((_RoleShares(),), encoder=True))
    except ContractError:
        raise
    except Exception as error:
        raise ContractError(
            f"{model.name}: its attention calls could not be read as the family {model.family.name!r} declares "
            f"({type(error).__name__}: {error})"
        ) from error
    seen = {observation.site for observation in reference.observations}
    missing = [str(site) for site in model.operations if site not in seen]
    if missing:
        raise ContractError(f"{model.name}: no attention call was reached at {', '.join(missing)}")
    keys = batch.encoder_ids.shape[1] + batch.decoder_ids.shape[1]
    tolerance = EPSILONS_PER_KEY * keys * torch.finfo(torch.float32).eps
    for observation in reference.observations:
        total = observation.values["share"].sum(axis=-1)
        if not abs(total - 1.0).max() <= tolerance:
            raise ContractError(
                f"{model.name}: shares at {observation.site} sum to {total.min():.6f}…{total.max():.6f}, not to 1"
            )
    for site in model.operations:
        edited = capture(model, batch, Probing(), (ScaleValues(site, PROBED_FACTOR),))
        if not _differs(edited, reference):
            raise ContractError(
                f"{model.name}: an edit of the values at {site} left every answer loss as it was; edits there are discarded"
            )


def _differs(edited: Capture, reference: Capture) -> bool:
    return bool((abs(edited.token_losses - reference.token_losses) > 0).any())


def _probe_batch(model: LoadedModel) -> Batch:
    generator = torch.Generator().manual_seed(0)

    def ids(stack: str, count: int) -> tuple[int, ...]:
        # Each side by its own embeddings: Marian's decoder may know more ids than its encoder.
        vocabulary = model.embedding_rows[stack]
        low = min(100, vocabulary // 4)
        return tuple(torch.randint(low, vocabulary, (count,), generator=generator).tolist())

    example = Example("contract check", "", "", "")
    trials = []
    start = model.trial_tokenizer.start(forced=True)
    for document, prompt, answer in ((9, 3, 4), (6, 0, 3)):
        decoder = (*start, *ids("decoder", prompt + answer))
        trials.append(
            TokenizedTrial(
                trial=Trial.bare(example),
                encoder_ids=ids("encoder", document),
                encoder_roles=("document",) * document,
                visible=(True,) * document,
                decoder_ids=decoder,
                decoder_roles=(*("start",) * len(start), *("prompt",) * prompt, *("answer",) * answer),
                decoder_shift=0,
                document_intact=True,
                published_hidden=0,
                truncated=0,
            )
        )
    return make_batch(trials, pad_token=pad_token(model), device=model.device)
