"""Effects by the length of the padded document, and what of them survives a query prompt at each length."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import numpy as np
import pandas as pd
from plotly.graph_objects import Figure

from analyses.studies.prefix_plans import UNPADDED, PrefixStudy
from analyses.studies.prefix_ratios import SHOWN, prefix_ratios, presented, ratio_frame
from budgetlens.design.effects import Effect
from budgetlens.design.plan import Plan
from budgetlens.runs.run import Run
from budgetlens.statistics.contrasts import Contrast, wide_cells
from budgetlens.statistics.effects import effects_table
from budgetlens.statistics.inference import Inference
from budgetlens.statistics.verdicts import CAUTION_RULE, SLOPE, rule
from budgetlens.tables.presentation import TESTED_COLUMNS, Table, documents_resampled, sample
from budgetlens.tables.stating import correction_words
from figures import length_curves

#: Family of the trends over length.
TREND = "trend over length"


@dataclass(frozen=True)
class Condition:
    """Under what a prefix is compared with the bare document at every length."""

    words: str
    prompt: str
    bos_hidden: bool = False


CONDITIONS = (
    Condition("query", "query"),
    Condition("none", "none"),
    Condition("query, BOS hidden", "query", bos_hidden=True),
    Condition("none, BOS hidden", "none", bos_hidden=True),
    Condition("position", "position"),
)


def length_trends(study: PrefixStudy, contrasts: Sequence[Contrast], protocol: str) -> tuple[Contrast, ...]:
    """How much each prefix's effect changes per doubling of the padded length, as a contrast per example.

    The weights are those of a least-squares slope of the effect on log2 of the length; positive: the effect
    grows. The unpadded document takes no part, since its length differs from example to example.
    """
    known = {contrast.name for contrast in contrasts}
    cells = study.cells(protocol)
    lengths = [padding for padding in study.paddings if padding != UNPADDED]
    doublings = np.log2([float(length) for length in lengths])
    centred = doublings - doublings.mean()
    slopes = centred / (centred**2).sum()
    trends = []
    for prefix in study.compared("corrected"):
        for condition in CONDITIONS:
            effects = [_effect(study, prefix.level, condition, padding, protocol) for padding in lengths]
            if not {own.name for own in effects} <= known:
                continue
            slope = reduce(add, (own * float(weight) for own, weight in zip(effects, slopes, strict=True)))
            title = f"{prefix.level} prefix | prompt={condition.words}, per doubling of the length"
            trends.append(slope.named(title, TREND, order=SLOPE).contrast(cells))
    return tuple(trends)


def _effect(
    study: PrefixStudy, level: str, condition: Condition, padding: str, protocol: str = "corrected"
) -> Effect:
    return study.prefix(level, condition.prompt, protocol, bos_hidden=condition.bos_hidden, padding=padding)


def length_tables(run: Run, study: PrefixStudy) -> dict[str, Table]:
    """``effects_by_length``, ``length_trends`` and ``ratios_by_length``."""
    plan, seed = run.plan, run.seed
    likelihood = run.outcomes
    lengths, documents = mean_lengths(run.trials), run.documents
    inference = run.inference
    effects = effects_by_length(likelihood, plan, study, lengths, inference)
    ratios = ratios_by_length(wide_cells(likelihood, "nll"), plan, study, lengths, inference)
    n = sample(int(effects["n"].max()), documents)
    families = len({contrast.family for contrast in plan.contrasts if contrast.family.startswith("prefix")})
    return {
        "effects_by_length": Table(
            frame=effects,
            title="Effect of prefixes by document length",
            estimand="mean over examples of bare - prefix under the same prompt",
            unit="nats per answer token",
            n=n,
            family=f"the prefixes of one length, {families} families",
            correction=correction_words(plan.correction),
            seed=seed,
            notes=(
                "95 % intervals made for long tails",
                *documents_resampled(documents is not None),
                CAUTION_RULE,
                "length: mean document tokens, padding included; the answer's passage is the same at every length",
            ),
            rule=rule(inference.stated, inference.alpha),
            allows_for_documents=True,
            # Every row has the same examples.
            columns=("prefix", "prompt", "padding", "length", *TESTED_COLUMNS[1:]),
        ),
        "length_trends": _trends_presented(run, study, n),
        "ratios_by_length": presented(ratios, n, seed, ("quantity", "padding", "length", *SHOWN[3:])),
    }


def _trends_presented(run: Run, study: PrefixStudy, n: str) -> Table:
    plan, inference = run.plan, run.inference
    trends = length_trends(study, plan.contrasts, run.manifest.protocol)
    frame = effects_table(run.outcomes, trends, inference)
    # A slope above 0 is no example that won.
    frame = frame.drop(columns=["win_percent", "tie_percent"])
    return Table(
        frame=frame,
        title="Trends over document length",
        estimand="mean over examples of the slope of the effect on log2 of the padded length; positive: it grows",
        unit="nats per answer token and doubling",
        n=n,
        family=f"{TREND} ({len(frame)})",
        correction=correction_words(plan.correction),
        seed=inference.seed,
        notes=(
            "95 % intervals made for long tails; the unpadded document takes no part",
            *documents_resampled(inference.clusters is not None),
            CAUTION_RULE,
        ),
        columns=("contrast", *TESTED_COLUMNS),
        rule=rule(inference.stated, inference.alpha, (SLOPE,)),
        allows_for_documents=True,
    )


def mean_lengths(trials: pd.DataFrame) -> pd.Series:
    """Mean document tokens, padding included, by level of the padding."""
    levels = trials["cell"].astype(str).str.extract(r"^padding=(?P<padding>[^|]*)\|")["padding"]
    return trials["document_tokens"].groupby(levels.to_numpy()).mean()


def effects_by_length(
    likelihood: pd.DataFrame,
    plan: Plan,
    study: PrefixStudy,
    lengths: pd.Series,
    inference: Inference,
) -> pd.DataFrame:
    """Columns prefix, prompt, padding, length and those of :func:`budgetlens.statistics.effects.effects_table`."""
    tested = [contrast for contrast in plan.contrasts if contrast.family.startswith(("prefix", "position"))]
    table = effects_table(likelihood, tested, inference).set_index("contrast")
    rows = []
    for level, condition, padding in _places(study):
        name = _effect(study, level, condition, padding).name
        if name in table.index:
            place = {
                "prefix": level,
                "prompt": condition.words,
                "padding": padding,
                "length": lengths[padding],
            }
            rows.append({**place, "contrast": name, **table.loc[name].to_dict()})
    return pd.DataFrame(rows)


def _places(study: PrefixStudy) -> Iterator[tuple[str, Condition, str]]:
    for prefix in study.compared("corrected"):
        for condition in CONDITIONS:
            for padding in study.paddings:
                yield prefix.level, condition, padding


def ratios_by_length(
    wide: pd.DataFrame,
    plan: Plan,
    study: PrefixStudy,
    lengths: pd.Series,
    inference: Inference,
) -> pd.DataFrame:
    """Columns padding, length and those of :func:`analyses.studies.prefix_ratios.ratio_frame`, by quantity."""
    frames = []
    for padding in study.paddings:
        frame = ratio_frame(wide, plan, prefix_ratios(study, padding), inference)
        frame.insert(1, "padding", padding)
        frame.insert(2, "length", lengths[padding])
        frames.append(frame)
    table = pd.concat(frames, ignore_index=True)
    order = {quantity: place for place, quantity in enumerate(table["quantity"].unique())}
    return table.sort_values(
        "quantity", key=lambda column: column.map(order), kind="stable", ignore_index=True
    )


def length_figures(run: Run, tables: Mapping[str, pd.DataFrame]) -> dict[str, Figure]:
    """Effects over length by prompt, and the ratio of the two prompts over length."""
    setting = run.manifest.setting
    effects = tables["effects_by_length"].rename(columns={"mean_difference": "mean"})
    ratios = tables["ratios_by_length"].rename(columns={"ratio": "mean"})
    surviving = ratios[ratios["quantity"].str.contains("survives")]
    figures = {
        "effects_by_length": length_curves(
            effects, line="prefix", facet="prompt", title=f"Effect of prefixes by document length: {setting}"
        )
    }
    if surviving["mean"].notna().any():
        figures["ratios_by_length"] = length_curves(
            surviving,
            line="quantity",
            facet=None,
            quantity="part of the oracle prefix's effect without a prompt",
            unit="ratio of means",
            title=f"Part of the oracle prefix's effect that survives: {setting}",
        )
    return figures
