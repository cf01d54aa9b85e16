"""From tokenized trials to padded tensors, with a role for every position.

Trials that feed the encoder the same ids share one encoder pass. Where the family allows, they also share
one decoder row, a *lane*: their sequences stand one after the other, and masks keep each to itself, so
that the cached states are projected to keys and values once and not once per trial. Donors of state edits are
passes that no lane is decoded from. Nothing here changes a number: padding has no role, is hidden from every
real position and is never a chosen row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from budgetlens.model.roles import GENERATED, PADDING, PREDICTING, ROLE_CODES, ROLES
from budgetlens.model.tokenization import EncoderKey, TokenizedTrial
from budgetlens.model.trials import Edit, StateEdit


@dataclass(frozen=True)
class Rows:
    """Chosen rows of padded sequences, lane by lane.

    ``index`` lane × row: positions in the lane's sequence; ``owner`` lane × row: the number of the trial
    that a row belongs to, -1 at padding; ``count`` is the number of owners.
    """

    index: Int[Tensor, "lane row"]
    owner: Int[Tensor, "lane row"]
    count: int


@dataclass(frozen=True)
class StateChange:
    """A state edit with its place in a batch.

    ``row`` is the pass or lane whose states change. For every role with positions there: ``positions`` in
    that row, and for each donor its pass and the role's positions in it.
    """

    edit: StateEdit
    row: int
    positions: tuple[Int[Tensor, " position"], ...]
    donors: tuple[tuple[tuple[int, Int[Tensor, " donor_position"]], ...], ...]


@dataclass(frozen=True)
class Batch:
    """Padded tensors of some trials; padding is on the right.

    ``encoder_ids``, ``encoder_mask``, ``pass_roles``: pass × encoder position, one row per distinct encoder
    input; the first ``decoded`` are what trials are decoded from, the others are donors. ``pass_edits`` and
    ``lane_edits``: the edits of attention that a pass or lane runs under. ``state_changes`` stand in an order
    in which donors are complete before they are taken from. ``trial_pass``: trial → its pass. ``visible``:
    trial × encoder position, what its decoder may see.
    ``lane_pass``: lane → its pass. ``decoder_ids``, ``decoder_roles``, ``decoder_positions``,
    ``decoder_trial`` (the trial that a position belongs to, -1 at padding): lane × decoder position.
    ``answer``: the rows whose logits predict the ``targets`` (lane × row); ``chosen``: the decoder rows whose
    attention is read. ``encoder_rows``: the encoder's rows that are read, of passes; ``encoder_owners``: trial → the
    owner among them whose average it gets, None where that is the trial's pass. ``packed`` tells whether any lane holds
    more than one trial, ``generates`` that the rows to be read are those of the answers that the model generates.
    """

    trials: tuple[TokenizedTrial, ...]
    encoder_ids: Int[Tensor, "encoder_pass encoder_position"]
    encoder_mask: Int[Tensor, "encoder_pass encoder_position"]
    pass_roles: Int[Tensor, "encoder_pass encoder_position"]
    trial_pass: Int[Tensor, " trial"]
    visible: Int[Tensor, "trial encoder_position"]
    lane_pass: Int[Tensor, " lane"]
    decoder_ids: Int[Tensor, "lane decoder_position"]
    decoder_roles: Int[Tensor, "lane decoder_position"]
    decoder_positions: Int[Tensor, "lane decoder_position"]
    decoder_trial: Int[Tensor, "lane decoder_position"]
    answer: Rows
    chosen: Rows
    encoder_rows: Rows
    targets: Int[Tensor, "lane row"]
    packed: bool
    shifted: bool
    generates: bool
    decoded: int
    pass_edits: tuple[tuple[Edit, ...], ...]
    lane_edits: tuple[tuple[Edit, ...], ...]
    state_changes: tuple[StateChange, ...] = ()
    encoder_owners: Int[Tensor, " owner"] | None = None

    @property
    def lane_roles(self) -> Int[Tensor, "lane encoder_position"]:
        """Roles of the encoder positions that each lane sees."""
        return self.pass_roles[self.lane_pass]

    @property
    def predicting(self) -> Bool[Tensor, "lane decoder_position"]:
        """Which decoder positions' logits predict an answer token."""
        marked = torch.zeros_like(self.decoder_ids, dtype=torch.bool)
        lane, row = (self.answer.owner >= 0).nonzero(as_tuple=True)
        marked[lane, self.answer.index[lane, row]] = True
        return marked


def encoder_key(trial: TokenizedTrial) -> EncoderKey:
    """What two trials must share to share an encoder pass."""
    return trial.encoder_key


def with_donors(trial: TokenizedTrial) -> tuple[TokenizedTrial, ...]:
    """The trial and all trials whose encoder states it takes from, those of its donors included."""
    return (trial, *(one for donors in trial.donors for donor in donors for one in with_donors(donor)))


def make_batch(
    trials: Sequence[TokenizedTrial],
    *,
    pad_token: int,
    rows: str = "predicting",
    device: torch.device | str = "cpu",
    pack: bool = False,
) -> Batch:
    """Pad ``trials`` to one batch; ``rows`` chooses whose attention is read (predicting, holding or generated).

    ``pack`` puts trials of one encoder pass that run under the same edits into shared lanes. Donors of the
    trials' state edits get passes of their own, and no lane. Raises ValueError for an empty batch or a trial
    whose encoder is wholly hidden from its decoder.
    """
    if not trials:
        raise ValueError("a batch needs at least one trial")
    for trial in trials:
        if trial.asks:
            raise ValueError(
                f"example {trial.trial.example.identifier!r}: positions are to be chosen by the model "
                f"({trial.trial.keep}); choose them first (budgetlens.model.token_scores.placed)"
            )
        if not any(trial.visible):
            raise ValueError(
                f"example {trial.trial.example.identifier!r}: the decoder would see nothing of the encoder "
                f"(hidden: {sorted(trial.trial.hidden)}); leave at least one role visible"
            )
    decoded = {encoder_key(trial): trial for trial in trials}
    passes = decoded | {encoder_key(donor): donor for trial in trials for donor in with_donors(trial)[1:]}
    place = {key: index for index, key in enumerate(passes)}
    trial_pass = [place[encoder_key(trial)] for trial in trials]
    lanes = _lanes(trials, trial_pass) if pack else [[index] for index in range(len(trials))]
    decoder_ids = _pad([_joined(trials, lane, "ids") for lane in lanes], pad_token)
    answer = _rows(trials, lanes, "predicting")
    predicting = _moved(answer, device)
    pass_roles = _pad([[ROLE_CODES[role] for role in roles] for _, roles, *_ in passes], PADDING)
    tensors = {
        "encoder_ids": _pad([list(ids) for ids, *_ in passes], pad_token),
        "encoder_mask": _pad([[1] * len(ids) for ids, *_ in passes], 0),
        "pass_roles": pass_roles,
        "trial_pass": torch.tensor(trial_pass),
        "visible": _pad([[int(seen) for seen in trial.visible] for trial in trials], 0, pass_roles.shape[1]),
        "lane_pass": torch.tensor([trial_pass[lane[0]] for lane in lanes]),
        "decoder_ids": decoder_ids,
        "decoder_roles": _pad([_joined(trials, lane, "roles") for lane in lanes], PADDING),
        "decoder_positions": _pad([_joined(trials, lane, "positions") for lane in lanes], 0),
        "decoder_trial": _pad([_joined(trials, lane, "trial") for lane in lanes], -1),
        "targets": decoder_ids.gather(1, (answer.index + 1).clamp_max(decoder_ids.shape[1] - 1)),
    }
    return Batch(
        trials=tuple(trials),
        answer=predicting,
        # The same object, so that what reads both reads them once.
        chosen=predicting if rows in (PREDICTING, GENERATED) else _moved(_rows(trials, lanes, rows), device),
        encoder_rows=_document_rows(pass_roles.to(device)),
        packed=len(lanes) < len(trials),
        shifted=any(trial.decoder_shift for trial in trials),
        generates=rows == GENERATED,
        decoded=len(decoded),
        pass_edits=tuple(edits for _, _, edits, _ in passes),
        lane_edits=tuple(trials[lane[0]].trial.edits for lane in lanes),
        state_changes=(
            *_encoder_changes(passes, place, device),
            *_decoder_changes(trials, lanes, device),
        ),
        **{name: tensor.to(device) for name, tensor in tensors.items()},
    )


def by_trial(values: Float[Tensor, "lane row"], rows: Rows) -> Float[Tensor, "trial row"]:
    """The rows of each trial in their order, NaN where a trial has fewer than the longest."""
    real = rows.owner >= 0
    owner, own = rows.owner[real], values[real]
    # A trial's rows adjoin, so that its first row tells the place of the others.
    _, inverse, counts = torch.unique_consecutive(owner, return_inverse=True, return_counts=True)
    place = torch.arange(len(owner), device=owner.device) - (counts.cumsum(0) - counts)[inverse]
    table = values.new_full((rows.count, int(counts.max())), torch.nan)
    table[owner, place] = own
    return table


def _lanes(trials: Sequence[TokenizedTrial], trial_pass: Sequence[int]) -> list[list[int]]:
    """Trials of one pass and the same edits in lanes no longer than the pass, or than the longest trial.

    A longer lane would spend more on attention between trials, all of it masked, than it saves. A trial with an edit
    that wants its lane for itself has it.
    """
    lanes: list[list[int]] = []
    groups: dict[tuple[int, tuple[Edit, ...], int], list[int]] = {}
    for index, (trial, number) in enumerate(zip(trials, trial_pass, strict=True)):
        alone = any(getattr(edit, "alone", False) for edit in trial.trial.edits)
        groups.setdefault((number, trial.trial.edits, index if alone else -1), []).append(index)
    for own in groups.values():
        longest = max(len(trials[index].decoder_ids) for index in own)
        capacity = max(longest, len(trials[own[0]].encoder_ids))
        room = 0
        for index in own:
            length = len(trials[index].decoder_ids)
            if length > room:
                lanes.append([])
                room = capacity
            lanes[-1].append(index)
            room -= length
    return lanes


def _joined(trials: Sequence[TokenizedTrial], lane: Sequence[int], what: str) -> list[int]:
    joined: list[int] = []
    for index in lane:
        trial = trials[index]
        count = len(trial.decoder_ids)
        joined.extend(
            {
                "ids": trial.decoder_ids,
                "roles": [ROLE_CODES[role] for role in trial.decoder_roles],
                "positions": range(trial.decoder_shift, trial.decoder_shift + count),
                "trial": [index] * count,
            }[what]
        )
    return joined


def _rows(trials: Sequence[TokenizedTrial], lanes: Sequence[Sequence[int]], rows: str) -> Rows:
    index, owner = [], []
    for lane in lanes:
        lane_index: list[int] = []
        lane_owner: list[int] = []
        offset = 0
        for number in lane:
            own = trials[number].answer_rows(rows)
            lane_index.extend(offset + row for row in own)
            lane_owner.extend([number] * len(own))
            offset += len(trials[number].decoder_ids)
        index.append(lane_index)
        owner.append(lane_owner)
    return Rows(_pad(index, 0), _pad(owner, -1), len(trials))


def marked_rows(
    marked: Bool[Tensor, "lane position"], owner: Int[Tensor, "lane position"], count: int
) -> Rows:
    """The marked positions of every lane, in their order; ``owner`` tells whose each position is, of ``count`` owners."""
    width = int(marked.sum(dim=1).max())
    order = torch.argsort((~marked).to(torch.int8), dim=1, stable=True)[:, :width]
    return Rows(order, owner.gather(1, order).masked_fill(~marked.gather(1, order), -1), count)


def _document_rows(roles: Int[Tensor, "encoder_pass position"]) -> Rows:
    """The positions of every pass whose role is *document*; each pass owns its rows."""
    owner = torch.arange(len(roles), device=roles.device)[:, None].expand(roles.shape)
    return marked_rows(roles == ROLE_CODES["document"], owner, len(roles))


def _encoder_changes(
    passes: Mapping[EncoderKey, TokenizedTrial], place: Mapping[EncoderKey, int], device: torch.device | str
) -> list[StateChange]:
    changes = []
    for key, trial in sorted(passes.items(), key=lambda item: _generation(item[1])):
        for edit, donors in zip(trial.trial.states, trial.donors, strict=True):
            roles = [role for role in ROLES if role in edit.roles and role in trial.encoder_roles]
            if edit.stack == "encoder" and roles:
                changes.append(
                    StateChange(
                        edit=edit,
                        row=place[key],
                        positions=tuple(_positions(trial.encoder_roles, role, device) for role in roles),
                        donors=tuple(
                            tuple(
                                (place[encoder_key(donor)], _positions(donor.encoder_roles, role, device))
                                for donor in donors
                            )
                            for role in roles
                        ),
                    )
                )
    return changes


def _generation(trial: TokenizedTrial) -> int:
    """0 for a trial without donors, else one more than the latest of its donors."""
    return max((1 + _generation(donor) for donors in trial.donors for donor in donors), default=0)


def _decoder_changes(
    trials: Sequence[TokenizedTrial], lanes: Sequence[Sequence[int]], device: torch.device | str
) -> list[StateChange]:
    changes = []
    for row, lane in enumerate(lanes):
        offset = 0
        for number in lane:
            trial = trials[number]
            predicting = trial.answer_rows(PREDICTING)
            for edit in trial.trial.states:
                positions = [
                    offset + position
                    for position, role in enumerate(trial.decoder_roles)
                    if role in edit.roles or (PREDICTING in edit.roles and position in predicting)
                ]
                if edit.stack == "decoder" and positions:
                    changes.append(StateChange(edit, row, (torch.tensor(positions, device=device),), ((),)))
            offset += len(trial.decoder_ids)
    return changes


def _positions(roles: Sequence[str], role: str, device: torch.device | str) -> Int[Tensor, " position"]:
    return torch.tensor([place for place, own in enumerate(roles) if own == role], device=device)


def _moved(rows: Rows, device: torch.device | str) -> Rows:
    return Rows(rows.index.to(device), rows.owner.to(device), rows.count)


def _pad(rows: Sequence[Sequence[int]], value: int, width: int | None = None) -> Int[Tensor, "row position"]:
    width = width or max(len(row) for row in rows)
    padded = torch.full((len(rows), width), value, dtype=torch.long)
    for index, row in enumerate(rows):
        padded[index, : len(row)] = torch.tensor(row, dtype=torch.long)
    return padded
