"""From tokenized trials to padded tensors, with a role for every position.

Trials that feed the encoder the same ids share one encoder row. Nothing here changes a number: padding
has no role, is hidden from every real position and is never a chosen row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from probes.roles import PADDING, ROLE_CODES
from probes.tokenization import TokenizedTrial


@dataclass(frozen=True)
class Batch:
    """Padded tensors of some trials; padding is on the right.

    Shapes: ``encoder_ids`` and ``encoder_mask`` pass × encoder position, one row per distinct encoder
    input; ``encoder_pass`` trial → its row. ``visible`` (what the decoder may see), ``encoder_roles``
    trial × encoder position. ``decoder_ids``, ``decoder_mask``, ``decoder_roles``,
    ``decoder_positions`` trial × decoder position. ``answer_rows`` trial × answer token: the rows whose
    logits predict the ``targets``; ``chosen_rows``: the rows whose attention is read; ``row_mask`` marks
    the real ones of both. ``encoder_pass_roles`` pass × encoder position.
    """

    trials: tuple[TokenizedTrial, ...]
    encoder_ids: Int[Tensor, "encoder_pass encoder_position"]
    encoder_mask: Int[Tensor, "encoder_pass encoder_position"]
    encoder_pass: Int[Tensor, " trial"]
    encoder_pass_roles: Int[Tensor, "encoder_pass encoder_position"]
    encoder_roles: Int[Tensor, "trial encoder_position"]
    visible: Int[Tensor, "trial encoder_position"]
    decoder_ids: Int[Tensor, "trial decoder_position"]
    decoder_mask: Int[Tensor, "trial decoder_position"]
    decoder_roles: Int[Tensor, "trial decoder_position"]
    decoder_positions: Int[Tensor, "trial decoder_position"]
    shifted: bool
    answer_rows: Int[Tensor, "trial row"]
    chosen_rows: Int[Tensor, "trial row"]
    row_mask: Bool[Tensor, "trial row"]
    targets: Int[Tensor, "trial row"]


def encoder_key(trial: TokenizedTrial) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """What two trials must share to share an encoder pass."""
    return trial.encoder_ids, trial.encoder_roles


def make_batch(
    trials: Sequence[TokenizedTrial], *, pad_token: int, rows: str = "predicting", device: torch.device | str = "cpu"
) -> Batch:
    """Pad ``trials`` to one batch; ``rows`` chooses whose attention is read (predicting or holding).

    Raises ValueError for an empty batch or a trial whose encoder is wholly hidden from its decoder.
    """
    if not trials:
        raise ValueError("a batch needs at least one trial")
    for trial in trials:
        if not any(trial.visible):
            raise ValueError(
                f"example {trial.trial.example.identifier!r}: the decoder would see nothing of the encoder "
                f"(hidden: {sorted(trial.trial.hidden)}); leave at least one role visible"
            )
    passes = list(dict.fromkeys(encoder_key(trial) for trial in trials))
    place = {key: index for index, key in enumerate(passes)}
    encoder_pass = torch.tensor([place[encoder_key(trial)] for trial in trials])
    pass_roles = _pad([[ROLE_CODES[role] for role in roles] for _, roles in passes], PADDING)
    answer_rows = [list(trial.answer_rows("predicting")) for trial in trials]
    lengths = [len(trial.decoder_ids) for trial in trials]
    decoder_ids = _pad([list(trial.decoder_ids) for trial in trials], pad_token)
    padded_rows = _pad(answer_rows, 0)
    positions = torch.arange(decoder_ids.shape[1]).repeat(len(trials), 1)
    shift = torch.tensor([trial.decoder_shift for trial in trials])
    tensors = {
        "encoder_ids": _pad([list(ids) for ids, _ in passes], pad_token),
        "encoder_mask": _pad([[1] * len(ids) for ids, _ in passes], 0),
        "encoder_pass": encoder_pass,
        "encoder_pass_roles": pass_roles,
        "encoder_roles": pass_roles[encoder_pass],
        "visible": _pad([[int(seen) for seen in trial.visible] for trial in trials], 0, width=pass_roles.shape[1]),
        "decoder_ids": decoder_ids,
        "decoder_mask": _pad([[1] * length for length in lengths], 0),
        "decoder_roles": _pad([[ROLE_CODES[role] for role in trial.decoder_roles] for trial in trials], PADDING),
        "decoder_positions": positions + shift[:, None],
        "answer_rows": padded_rows,
        "chosen_rows": _pad([list(trial.answer_rows(rows)) for trial in trials], 0),
        "row_mask": _pad([[1] * len(own) for own in answer_rows], 0).bool(),
        "targets": decoder_ids.gather(1, padded_rows + 1),
    }
    return Batch(
        trials=tuple(trials),
        shifted=bool((shift != 0).any()),
        **{name: tensor.to(device) for name, tensor in tensors.items()},
    )


def _pad(rows: Sequence[Sequence[int]], value: int, width: int | None = None) -> Int[Tensor, "row position"]:
    width = width or max(len(row) for row in rows)
    padded = torch.full((len(rows), width), value, dtype=torch.long)
    for index, row in enumerate(rows):
        padded[index, : len(row)] = torch.tensor(row, dtype=torch.long)
    return padded
