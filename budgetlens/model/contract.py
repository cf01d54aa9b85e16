"""The contract check: a loaded model must prove that it can be observed and changed.

Run at load on a handful of tokens. Without it, a renamed module or an ignored edit would give numbers
that look right.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor

from budgetlens.model.attention import RowAttention, Site
from budgetlens.model.batching import Batch, make_batch
from budgetlens.model.capture import Capture, Probing, capture
from budgetlens.model.declaration import Declaration
from budgetlens.model.edits import ScaleValues
from budgetlens.model.loaded import LoadedModel
from budgetlens.model.observation import AtSite, probe
from budgetlens.model.stream import Stream
from budgetlens.model.sublayer import JOINT, Sublayer, product
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


#: So many epsilons of the model's own type, times the sum of the sizes of all that is added up, may a sum of parts be from
#: what the model computed: each of the additions loses half an epsilon, up or down.
EPSILONS_OF_PARTS = 4


@probe("contract_sublayers")
@dataclass(frozen=True)
class _Sublayers:
    """How far the parts of a sublayer's output are from it, in what rounding allows, for the check alone."""

    declares = Declaration(
        title="Sums of sublayers", quantities=(Quantity("excess", "excess", "allowed"),), axis="part"
    )

    def categories(self, site: Site) -> tuple[str, ...]:
        """One, at every sublayer."""
        return () if site.block == JOINT else ("sum",)

    def observe_sublayers(self, sublayers: Sequence[Sublayer]) -> Mapping[str, Tensor]:
        """``excess``: batch × 1 × row × 1."""
        (sublayer,) = sublayers
        mixed, weight = sublayer.mixture.by_role, sublayer.mixture.values.weight
        total, size = (
            torch.einsum("brhud,hdw->brw", own, by)
            for own, by in ((mixed, weight), (mixed.abs(), weight.abs()))
        )
        if sublayer.bias is not None:
            total, size = total + sublayer.bias, size + sublayer.bias.abs()
        excess = ((total - sublayer.output).abs() / size.clamp_min(_TINY)).amax(dim=-1)
        return {"excess": rearrange(excess, "batch row -> batch 1 row 1")}


@probe("contract_stream")
@dataclass(frozen=True)
class _Stream:
    """How far the parts of the answer's logits are from these, in what rounding allows, for the check alone."""

    softcap: float | None = None

    declares = Declaration(
        title="Sums of the stream", quantities=(Quantity("excess", "excess", "allowed"),), axis="part"
    )

    def categories(self, site: Site) -> tuple[str, ...]:
        """One, of all layers together."""
        return ("sum",)

    def keep(self, sublayer: Sublayer) -> Tensor:
        """Nothing but the rows."""
        return sublayer.output[..., :1]

    def observe_stream(self, stream: Stream) -> Iterable[AtSite]:
        """``excess``: batch × 1 × row × 1."""
        wanted = stream.head.directions(stream.targets)
        total = stream.head.biases(stream.targets) + stream.final_shift(wanted)
        size = total.abs()
        first = stream.at_end(wanted)
        for step, behind, output, before in stream.backwards(wanted):
            first, shift = before, step.shift(behind)
            total = total + shift + product(step.output, output)
            size = size + shift.abs() + product(step.output.abs(), output.abs())
        total = total + product(stream.embedding, first)
        size = size + product(stream.embedding.abs(), first.abs())
        if self.softcap is not None:
            total = self.softcap * torch.tanh(total / self.softcap)
        logits = stream.logits.gather(-1, rearrange(stream.targets, "batch row -> batch row 1"))[..., 0]
        excess = (total - logits).abs() / size.clamp_min(_TINY)
        site = Site("decoder", LOGITS, 0)
        yield AtSite(site, ("sum",), False, {"excess": rearrange(excess, "batch row -> batch 1 row 1")})


#: Block of the logits, for the check alone.
LOGITS = "logits"
#: What a size is at least, so that 0 of 0 is no excess.
_TINY = 1e-30


class ContractError(ValueError):
    """A model whose attention can't be read or changed as its family declares."""


def check_contract(model: LoadedModel) -> None:
    """Every attention call is found and reached, rows sum to 1, and an edit at every site changes the logits.

    What sublayers and the stream are taken apart into adds up to what the model computes.

    Raises ContractError that names the site and what failed.
    """
    batch = _probe_batch(model)
    try:
        reference = capture(
            model, batch, Probing((_RoleShares(), _Sublayers(), _Stream(_softcap(model))), encoder=True)
        )
    except ContractError:
        raise
    except Exception as error:
        raise ContractError(
            f"{model.name}: its attention calls could not be read as the family {model.family.name!r} declares "
            f"({type(error).__name__}: {error})"
        ) from error
    shares = [own for own in reference.observations if "share" in own.values]
    seen = {observation.site for observation in shares}
    missing = [str(site) for site in model.operations if site not in seen]
    if missing:
        raise ContractError(f"{model.name}: no attention call was reached at {', '.join(missing)}")
    keys = batch.encoder_ids.shape[1] + batch.decoder_ids.shape[1]
    tolerance = EPSILONS_PER_KEY * keys * torch.finfo(torch.float32).eps
    for observation in shares:
        total = observation.values["share"].sum(axis=-1)
        if not abs(total - 1.0).max() <= tolerance:
            raise ContractError(
                f"{model.name}: shares at {observation.site} sum to {total.min():.6f}…{total.max():.6f}, not to 1"
            )
    _check_sums(model, reference)
    for site in model.operations:
        edited = capture(model, batch, Probing(), (ScaleValues(site, PROBED_FACTOR),))
        if not _differs(edited, reference):
            raise ContractError(
                f"{model.name}: an edit of the values at {site} left every answer loss as it was; edits there are discarded"
            )


def _check_sums(model: LoadedModel, reference: Capture) -> None:
    allowed = EPSILONS_OF_PARTS * torch.finfo(model.dtype).eps
    for observation in reference.observations:
        if "excess" not in observation.values:
            continue
        excess = float(observation.values["excess"].max())
        if not excess <= allowed:
            what = (
                "the answer's logits are no sum of what the layers put into the residual stream"
                if observation.site.block == LOGITS
                else f"the output at {observation.site} is no sum over its keys"
            )
            raise ContractError(
                f"{model.name}: {what} as the family {model.family.name!r} declares it: they are {excess:.1e} of the "
                f"sum's size apart, at most {allowed:.1e} from rounding"
            )


def _softcap(model: LoadedModel) -> float | None:
    """The soft cap of the final logits; None where there is none."""
    config = model.model.config
    return getattr(getattr(config, "decoder", config), "final_logit_softcapping", None)


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


def pad_token(model: LoadedModel) -> int:
    """The id that fills padding; any id that both stacks have will do, since padding is never seen."""
    own = model.tokenizer.pad_token_id or 0
    return own if own < min(model.embedding_rows.values()) else 0
