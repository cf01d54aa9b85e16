"""What a run allows to be concluded, in words made by rule from its verdicts, and what stands in the way."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from budgetlens.model.families import FAMILIES
from budgetlens.registry.names import printable
from budgetlens.report.page import Section, escaped, foreign, heading
from budgetlens.runs.manifest import Manifest
from budgetlens.statistics.verdicts import (
    CHANGE,
    CHANGE_OF_CHANGE,
    DIFFERENCE,
    HIGHER_INTERACTION,
    INTERACTION,
    SLOPE,
    TREND,
    UNDECIDED,
)
from budgetlens.tables.build import CUT_NAMED
from budgetlens.tables.digits import with_interval
from budgetlens.tables.presentation import Table, shares_documents

#: How a verdict begins, and the class that colours it, in the order in which verdicts are counted.
KINDS = {
    DIFFERENCE.positive: "helps",
    DIFFERENCE.negative: "hurts",
    INTERACTION.positive: "apart",
    INTERACTION.negative: "apart",
    HIGHER_INTERACTION.positive: "apart",
    HIGHER_INTERACTION.negative: "apart",
    TREND.positive: "apart",
    TREND.negative: "apart",
    CHANGE.positive: "apart",
    CHANGE.negative: "apart",
    DIFFERENCE.small: "none",
    CHANGE.small: "none",
    CHANGE_OF_CHANGE.small: "none",
    INTERACTION.small: "none",
    HIGHER_INTERACTION.small: "none",
    TREND.small: "none",
    UNDECIDED: "undecided",
}

#: What the verdicts on interactions and slopes say, for readers who meet the words first here.
MEANINGS = {
    INTERACTION.positive: "together the two help less, or hurt more, than the sum of each alone",
    INTERACTION.negative: "together the two help more, or hurt less, than the sum of each alone",
    HIGHER_INTERACTION.positive: "with the third factor the interaction is smaller",
    HIGHER_INTERACTION.negative: "with the third factor the interaction is larger",
    TREND.positive: "along the quantity the effect grows",
    TREND.negative: "along the quantity the effect shrinks",
}

#: What the mean of a contrast is, by its order; of any other order, a difference.
WHAT = {
    SLOPE: "the slope",
    2: "the difference of differences",
    3: "the difference between two interactions",
}

#: Families of models whose attention reads relative positions only.
RELATIVE_FAMILIES = ("t5", "t5gemma")

#: Families in whose encoder only distances count, which a prefix before all other positions leaves as they are.
RELATIVE_ENCODERS = tuple(family.name for family in FAMILIES if family.positions != "table")

#: So many of the cells with levels that change nothing are named.
IDLE_NAMED = 6

FEW = 100
"""Examples below which a run is called small."""


def summary_section(manifest: Manifest, tables: Mapping[str, Table], headline: Sequence[str] = ()) -> Section:
    """Conclusions and caveats, for the top of the report.

    Args:
        manifest: what run.json says.
        tables: the presented tables; ``effects`` gives the conclusions, ``decomposition`` the parts.
        headline: names of the contrasts that come first; the others are folded.
    """
    if "effects" in tables and len(tables["effects"].frame):
        told = [
            conclusions(tables["effects"], headline),
            split_sentences(tables.get("decomposition")),
        ]
    else:
        told = ["<p>This run has no table of paired effects; its tables and figures follow.</p>"]
    warnings = caveats(manifest, tables)
    if not warnings:
        return Section("summary", "What may be concluded", "\n".join(told))
    items = "".join(f"<li>{escaped(warning)}</li>" for warning in warnings)
    told += [heading(3, "caveats", "Read with care"), f'<ul class="caveats">{items}</ul>']
    return Section(
        "summary", "What may be concluded", "\n".join(told), parts=(("caveats", "Read with care"),)
    )


def kind_of(verdict: object) -> str:
    """The class of a verdict; anything unknown counts as undecided."""
    text = str(verdict)
    return next((kind for words, kind in KINDS.items() if text.startswith(words)), "undecided")


def conclusions(effects: Table, headline: Sequence[str]) -> str:
    """Counts of the verdicts, a sentence per headline, and the others folded."""
    frame = effects.frame.reset_index(drop=True)
    first = frame["contrast"].astype(str).isin([str(name) for name in headline])
    if not first.any():
        first = ~frame["family"].duplicated()
    counts = frame["verdict"].astype(str).value_counts(sort=False)
    ordered = sorted(counts.index, key=lambda words: list(KINDS.values()).index(kind_of(words)))
    counted = "".join(f"<li>{verdict_mark(words)} {counts[words]} of {len(frame)}</li>" for words in ordered)
    lead = (
        f"<p>{len(frame)} contrasts were tested on the answer's NLL ({escaped(effects.unit)}; "
        f"{escaped(effects.correction)}). By rule:</p>"
    )
    rest = frame[~first]
    folded = (
        f'<details class="print"><summary>The other {len(rest)} contrasts</summary>{_by_family(rest)}</details>'
        if len(rest)
        else ""
    )
    law = next((note for note in effects.notes if note.startswith("verdict: ")), "")
    law = f'<p class="muted">The rule: {escaped(law.removeprefix("verdict: "))}.</p>' if law else ""
    more = '<p><a href="#table-effects">All numbers of the contrasts</a></p>'
    return f'{lead}<ul class="counts">{counted}</ul>{_sentences(frame[first])}{folded}{law}{more}'


def verdict_mark(verdict: str) -> str:
    """A verdict in its colour."""
    return f'<span class="verdict {kind_of(verdict)}">{escaped(verdict)}</span>'


def _by_family(frame: pd.DataFrame) -> str:
    return "".join(
        f'<h3 class="cell">{foreign(family)}</h3>{_sentences(own)}'
        for family, own in frame.groupby("family", sort=False)
    )


def _sentences(frame: pd.DataFrame) -> str:
    items = "".join(
        f'<li>{verdict_mark(str(record["verdict"]))} <span class="name">{foreign(record["contrast"])}</span>: '
        f"{escaped(sentence(record))}</li>"
        for record in frame.to_dict("records")
    )
    return f'<ul class="findings">{items}</ul>'


def sentence(record: Mapping[str, Any]) -> str:
    """What one contrast shows, in the words of its verdict and with its interval.

    The mean difference is baseline − treatment: a positive one is a fall of the NLL. An interaction is a
    difference of differences and is given with its sign.
    """
    mean, low, high = (float(record[name]) for name in ("mean_difference", "low", "high"))
    if math.isnan(mean):
        return f"undefined ({_reason(record)})."
    kind = kind_of(record["verdict"])
    signed = with_interval(mean, low, high).replace("-", "−")
    count = f"n = {int(record['n'])}"
    what = WHAT.get(int(record.get("order", 1)), "the difference")
    small = ", which lies within the bound" if "," in str(record["verdict"]) else ""
    if kind == "none":
        return f"{what} is {signed} nats and lies within the bound ({count})."
    if kind == "undecided":
        detectable = float(record.get("minimum_detectable", math.nan))
        words = "" if math.isnan(detectable) else f"; {detectable:.2g} nats would be found with 80 % power"
        of = "" if what == "the difference" else f"{what} is "
        return f"the data do not decide: {of}{signed} nats ({count}{words})."
    if kind == "apart":
        meaning = MEANINGS[next(words for words in MEANINGS if str(record["verdict"]).startswith(words))]
        return f"{meaning}: {signed} nats{small} ({count})."
    if kind == "helps":
        return f"the answer's NLL falls by {signed} nats{small} ({count})."
    risen = with_interval(-mean, -high, -low).replace("-", "−")
    return f"the answer's NLL rises by {risen} nats{small} ({count})."


def _reason(record: Mapping[str, Any]) -> str:
    reason = record.get("reason")
    return str(reason) if isinstance(reason, str) and reason else "the table gives no reason"


def split_sentences(decomposition: Table | None) -> str:
    """One sentence per split whose parts have shares; nothing without a table of splits."""
    if decomposition is None or decomposition.frame.empty:
        return ""
    items = []
    for contrast, own in decomposition.frame.groupby("contrast", sort=False):
        parts = own[own["part"] != "total"]
        total = own[own["part"] == "total"]
        if parts["share"].isna().any() or total.empty:
            continue
        amount = float(total["mean_difference"].iloc[0])
        words = ", ".join(f"{record['part']} {_percent(record)}" for record in parts.to_dict("records"))
        told = f"{_whole(total.iloc[0], amount)}, {words}"
        items.append(f'<li><span class="name">{foreign(contrast)}</span>: {foreign(told)}</li>')
    if not items:
        return ""
    return (
        '<details class="print"><summary>How effects split into parts (share of the mean, with interval)</summary>'
        f'<ul class="findings">{"".join(items)}</ul></details>'
    )


def _whole(total: pd.Series, amount: float) -> str:
    """What is split, in words that lead to its parts. A positive effect is a fall of the NLL."""
    order = int(total.get("order", 1))
    if order < 2:
        return f"of {_signed(amount)} nats"
    if order > 2:
        return f"a difference between interactions of {_signed(amount)} nats, of which"
    if not total["effect_of"]:
        return f"a difference of differences of {_signed(amount)} nats, of which"
    size = f"{abs(amount):.3f} nats {'larger' if amount > 0 else 'smaller'}"
    return (
        f"the effect of {total['effect_of']} on the answer's NLL (positive: it falls) is {size} at "
        f"{total['at_baseline']} than at {total['at_treatment']}; of this difference of differences"
    )


def _percent(record: Mapping[str, Any]) -> str:
    share, low, high = (100 * float(record[name]) for name in ("share", "share_low", "share_high"))
    ends = "" if math.isnan(low) else f" [{round(low)}, {round(high)}]"
    return f"{round(share)} %{ends}".replace("-", "−")


def _signed(value: float) -> str:
    return f"{value:.3f}".replace("-", "−")


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
                *_of_the_effects(tables.get("effects"), manifest),
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
    kinds = frame["verdict"].map(kind_of)
    if "caution" in frame:
        warned = int(frame["caution"].fillna("").astype(str).ne("").sum())
        if warned:
            yield (
                f"{warned} of {len(frame)} contrasts have heavier tails or more skew than this n supports: "
                "their intervals may cover too little and p-values of the mean may be too small. The "
                "column caution of the effects table marks them; the median and the trimmed mean stand beside."
            )
    if (kinds == "undecided").any():
        yield "Undecided is not the same as no effect: only the equivalence test speaks for no effect."
    undefined = int(frame["mean_difference"].isna().sum())
    if undefined:
        yield f"{undefined} contrasts are undefined; the table gives the reasons."


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
            "a changed contribution."
        )
