"""What a reader of a run must hold against it, each as a sentence made by rule; only what applies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pandas as pd

from budgetlens.model.families import FAMILIES
from budgetlens.registry.names import printable
from budgetlens.runs.manifest import Manifest
from budgetlens.statistics.decisions import CAUTIOUS_BELOW, CAUTIOUS_BETWEEN
from budgetlens.tables.build import CUT_NAMED
from budgetlens.tables.presentation import Table, shares_documents
from budgetlens.tables.shifts import SHIFTS

#: Families of models whose attention reads relative positions only.
RELATIVE_FAMILIES = ("t5", "t5gemma")

#: Families in whose encoder only distances count, which a prefix before all other positions leaves as they are.
RELATIVE_ENCODERS = tuple(family.name for family in FAMILIES if family.positions != "table")

#: So many of the cells with levels that change nothing are named.
IDLE_NAMED = 6

#: The table of effects of a sweep over models.
BY_MODEL = "model_effects"

FEW = 100
"""Examples below which a run is called small."""


def effects_of(tables: Mapping[str, Table]) -> Table | None:
    """The table of paired effects of a run, or of all models of a sweep; None without any."""
    return tables.get("effects") or tables.get(BY_MODEL)


def caveats(manifest: Manifest, tables: Mapping[str, Table]) -> list[str]:
    """What a reader of this run must hold against it, each as a sentence; only what applies."""
    return list(
        dict.fromkeys(
            [
                *_of_the_setting(manifest),
                *manifest.left_out_words,
                *manifest.computed_words,
                *manifest.cautions,
                *_of_the_inputs(tables.get("trials"), manifest),
                *_of_the_encoder(tables.get("trials"), manifest),
                *_of_the_effects(effects_of(tables), manifest),
                *_of_the_shares(tables),
            ]
        )
    )


def _of_the_setting(manifest: Manifest) -> Iterable[str]:
    model, identity = manifest.model, manifest.identity
    if model.name == "reference":
        yield (
            "The built-in model demonstrates the tool: it is small and was trained on generated English. "
            "Its numbers are no results about any other model."
        )
        yield (
            "Prefixes seen or hidden, the query, nothing or random ids as the decoder's prompt, and shifted positions "
            "were part of its training: that it copes with them is true by training. Knockouts, patches and other "
            "edits of attention or states were not."
        )
    if manifest.protocol == "published":
        yield (
            "The published protocol is kept for replication. It hides the encoder's BOS, an attention sink, "
            "together with the prefix and leaves the line break after the prefix visible; it reads the rows "
            "that hold the answer's tokens, not those that predict them; its entropy is of head-averaged, "
            "unnormalised attention; its random prompts are uniform ids with unused and control tokens. "
            "The corrected protocol controls for each of these."
        )
    elif manifest.rows == "holding":
        yield (
            "Attention was read from the rows that hold the answer's tokens; the rows that predict them are "
            "one position earlier."
        )
    elif manifest.rows == "generated":
        yield (
            "Attention was read from the rows that predict the tokens of the answer that the model generates (greedy, at "
            "most 32 tokens, its end included); likelihoods are the right answer's."
        )
    dtype = identity.get("dtype")
    # A sweep over models says "auto": each model's own run says what that was.
    if dtype not in (None, "float32", "auto"):
        yield (
            f"The model ran in {dtype}: its activations are rounded. Attention and log-softmax were "
            "computed in float32."
        )
    if identity.get("layers") not in (None, "all"):
        yield "Attention was read in some layers only; which, the design says."
    if model.family in RELATIVE_FAMILIES and any(
        "position" in cell.factors.values() for cell in manifest.cells
    ):
        yield (
            "This family of models reads relative positions only: moving the decoder's positions changes "
            "nothing by construction, and the position control shows an effect of 0."
        )


#: What can be cut, by its column in the trials table: in words, and the limit's name in a run's identity.
CUT_INPUTS = {
    "truncated": ("the encoder's input was cut at the limit", "encoder"),
    "prompts_cut": ("the decoder's prompt was cut at the limit", "prompt"),
    "answers_cut": (
        "the answer was cut at the limit, and its likelihood is that of the first part",
        "answer",
    ),
}


def _of_the_inputs(trials: Table | None, manifest: Manifest) -> Iterable[str]:
    if trials is None:
        return
    changed = int(trials.frame["documents_changed"].sum()) if "documents_changed" in trials.frame else 0
    total = int(trials.frame["n"].sum()) if "n" in trials.frame else 0
    if changed:
        yield (
            f"Prefix boundary: in {changed:,} of {total:,} trials the document has other token ids than without "
            "its prefix, so those trials differ from their baseline in more than the prefix."
        )
    limits = manifest.identity.get("limits")
    for column, (words, limit) in CUT_INPUTS.items():
        cut = int(trials.frame[column].sum()) if column in trials.frame else 0
        if cut:
            tokens = limits.get(limit) if isinstance(limits, Mapping) else None
            at = words.replace("the limit", f"the limit of {tokens:,} tokens") if tokens else words
            yield f"In {cut:,} of {total:,} trials {at}{_such_as(trials.frame, column)}."
    yield from _of_idle_cells(trials.frame)


def _such_as(trials: pd.DataFrame, column: str) -> str:
    """The first examples that a kind of cut concerns, as far as the table names them."""
    named = trials.get(f"{column}_examples", pd.Series(dtype=str)).fillna("").astype(str)
    names = list(dict.fromkeys(name for own in named for name in own.split("; ") if name))
    if not names:
        return ""
    more = " and others" if len(names) > CUT_NAMED else ""
    return f", those of {', '.join(map(printable, names[:CUT_NAMED]))}{more}"


def _of_idle_cells(trials: pd.DataFrame) -> Iterable[str]:
    """Cells of which a level changes nothing: what a crossing brings, and what must not be read as a finding."""
    if not {"idle", "n", "condition"} <= set(trials.columns):
        return
    for whole, words in (
        (True, "in every example: its effect is 0 by construction and no finding"),
        (False, "in some examples, whose effect is 0 by construction"),
    ):
        chosen = trials[(trials["idle"] > 0) & ((trials["idle"] == trials["n"]) == whole)]
        if chosen.empty:
            continue
        named = [
            str(row["condition"]) + ("" if whole else f" ({row['idle']} of {row['n']})")
            for row in chosen.head(IDLE_NAMED).to_dict("records")
        ]
        more = (
            f" and {len(chosen) - len(named)} more, which the trials table names"
            if len(chosen) > len(named)
            else ""
        )
        cells = f"{len(chosen)} cell{'' if len(chosen) == 1 else 's'}"
        yield f"In {cells} a level edits roles that are not there, {words}: {'; '.join(named)}{more}."


def _of_the_encoder(trials: Table | None, manifest: Manifest) -> Iterable[str]:
    """Where a prefix moves nothing in the encoder, so that taking positions and attention apart tells nothing."""
    if trials is None or "mean_bos_tokens" not in trials.frame or trials.frame["mean_bos_tokens"].any():
        return
    levels = {cell.factors.get("prefix_attention", "none") for cell in manifest.cells}
    if levels - {"none"} and manifest.model.family in RELATIVE_ENCODERS:
        yield (
            "This family's encoder reads relative positions only and its inputs have no BOS: a prefix moves nothing "
            "that the document could measure. By construction the position part of its effect is 0, alone and "
            "after attention, and all of the effect is attention."
        )


def _of_the_effects(effects: Table | None, manifest: Manifest) -> Iterable[str]:
    count = manifest.corpus.n
    if count < FEW:
        yield (
            f"n = {count} examples is small: intervals are wide, and an undecided contrast may hide an effect "
            "that matters."
        )
    if effects is None or effects.frame.empty:
        return
    frame = effects.frame
    if "clusters" in frame and shares_documents(frame):
        yield (
            f"Examples share documents: {int(frame['clusters'].max())} documents are the independent units of "
            f"{int(frame['n'].max())} examples, and intervals and tests resample documents."
        )
    if "caution" in frame:
        warned = int(frame["caution"].fillna("").astype(str).ne("").sum())
        if warned:
            yield (
                f"{warned} of {len(frame)} contrasts rest on fewer than {CAUTIOUS_BELOW} independent examples, or, "
                f"where both sides are treatments and for interactions, than {CAUTIOUS_BETWEEN:,}. Their intervals and p "
                "are made for tails that so small a sample need not show, and are longer and larger than "
                "lighter tails would need; where few examples carry the mean, nothing is decided."
            )
    families = frame.loc[frame["kind"].notna(), "family"].nunique() if "family" in frame else 1
    if families > 1:
        yield _over_families(families, frame)
    if (frame["kind"] == "undecided").any():
        yield "Undecided is not the same as no effect: only the equivalence test speaks for no effect."
    undefined = int(frame["mean_difference"].isna().sum())
    if undefined:
        yield f"{undefined} contrasts are undefined; the table gives the reasons."


def _over_families(families: int, frame: pd.DataFrame) -> str:
    """What a correction within each family leaves to chance over all of them."""
    if "p_none" in frame:
        return (
            f"No p is corrected: of {len(frame)} contrasts, if none had any effect, about {0.05 * len(frame):.0f} would "
            "show one."
        )
    if "p_fdr" in frame:
        return (
            f"The p of each of {families} families are corrected by themselves, for the share of false findings among "
            "those of a family: 5 % of the effects found in a family may be none."
        )
    chance = 100 * (1 - 0.95**families)
    return (
        f"The p of each of {families} families are corrected by themselves, and not over families: if nothing had any "
        f"effect at all, one or more families would show one in {chance:.0f} % of runs if the families were independent, "
        f"and in {min(5 * families, 100)} % at most."
    )


def _of_the_shares(tables: Mapping[str, Table]) -> Iterable[str]:
    blocks = {name.rpartition("_")[2] for name in tables if name.startswith("shares_")}
    if {"self", "cross"} <= blocks:
        yield (
            "This model has separate softmaxes for self- and cross-attention: the shares of each sum to 100 % "
            "by themselves and are no shares of one budget."
        )
    if any(name.startswith("shares_") for name in tables):
        yield (
            "Shares of attention say where the model looks, not what it uses; a changed share is no proof of "
            "a changed contribution"
            + (", and what rows take is told beside each shift." if SHIFTS in tables else ".")
        )
