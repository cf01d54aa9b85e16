"""A finished run analysed again by the length of its answers, without a model.

The statistics are those of :mod:`budgetlens.statistics.strata`. The re-analysis has a run directory of its own, which
names the run that it reads; that run stays as it is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from analyses.studies.prefix_ratios import RatioOf, ratio_frame
from budgetlens.design.catalogue import find_analysis
from budgetlens.design.plan import Plan
from budgetlens.runs.manifest import CellFacts, Manifest, RunError
from budgetlens.runs.run import Run
from budgetlens.runs.storage import RunDirectory
from budgetlens.statistics.bands import share_table
from budgetlens.statistics.budget_arrays import BudgetArray, by_document
from budgetlens.statistics.contrasts import Contrast, contrast_values, wide_cells
from budgetlens.statistics.effects import with_verdicts
from budgetlens.statistics.inference import Inference
from budgetlens.statistics.paired import one_sample_effects
from budgetlens.statistics.strata import (
    ANSWER_LENGTH_EDGES,
    FACTOID_EDGES,
    length_strata,
    strata_table,
    trend_tests,
)
from budgetlens.tables.cells import with_cell_columns
from budgetlens.tables.run_statistics import with_trend_verdicts

if TYPE_CHECKING:
    from budgetlens.runs.request import RunRequest

#: The published stratifications by words of the answer.
SPLIT, BINS = "short or long", "bins"
STRATIFICATIONS: Mapping[str, tuple[int, ...]] = {SPLIT: FACTOID_EDGES, BINS: ANSWER_LENGTH_EDGES}
#: The stratum of every example.
ALL = "all"


@dataclass(frozen=True)
class Records:
    """What a re-analysis reads of a run: answer NLL, one row per example and one column per cell, and answer words.

    ``documents`` (index example) names the document of each example where some share one.
    """

    nll: pd.DataFrame
    answer_words: pd.Series
    budgets: tuple[BudgetArray, ...] = ()
    documents: pd.Series | None = None

    def strata(self) -> dict[str, pd.Series]:
        """The stratum of every example (index example), by stratification."""
        return {
            name: length_strata(self.answer_words, edges).rename("stratum")
            for name, edges in STRATIFICATIONS.items()
        }


def read_source(run: Run) -> Records:
    """The records of a run. Raises RunError where it is too old to know the answers' words."""
    nll = wide_cells(run.outcomes, "nll")
    trials = run.trials
    if "answer_words" not in trials.columns:
        raise RunError(f"the records of {run.path} hold no answer_words; run it again with this version")
    words = trials.assign(example=trials["example"].astype(str)).groupby("example")["answer_words"].first()
    return Records(
        nll,
        words.reindex(nll.index.astype(str)).set_axis(nll.index),
        tuple(run.observed("budgets")),
        run.documents,
    )


def reanalyse(request: RunRequest, of: str) -> Run:
    """The re-analysis of ``request.source``, or of a run of analysis ``of`` that is made first.

    That run takes its own default place, or, beside ``--out RUN``, RUN-NAME. Raises ValueError where the
    source is a run of another analysis, or where options ask for another run than the source is.
    """
    source = Run.open(request.source) if request.source is not None else _made_first(request, of)
    manifest = source.manifest
    if manifest.analysis != of:
        raise ValueError(
            f"{source.path} is a run of {manifest.analysis}; {request.analysis.name} re-analyses runs of {of}"
        )
    if request.source is not None:
        _refuse_other(request, manifest)
    # Everything that can change a number is in the source's own identity.
    identity = {"analysis": request.analysis.name, "source": manifest.identity}
    directory = RunDirectory(request.out or _default_path(request.analysis.name, manifest, identity))
    if directory.path.resolve() == source.path.resolve():
        raise ValueError(f"--out {directory.path} is the run that is re-analysed; give another directory")
    with directory.locked():
        directory.begin(
            identity,
            {
                **{key: value for key, value in manifest.content.items() if key != "identity"},
                "analysis": request.analysis.name,
                "title": request.analysis.title,
                "question": request.analysis.question,
                "source": str(source.path.resolve()),
                "started": datetime.now(UTC).isoformat(timespec="seconds"),
                "command": list(request.command),
            },
        )
    return Run.open(directory.path)


def _made_first(request: RunRequest, of: str) -> Run:
    # Here, since running needs torch, and the re-analysis of a finished run does not.
    from budgetlens.runs.request import execute

    out = None if request.out is None else request.out.with_name(f"{request.out.name}-{of}")
    return execute(replace(request, analysis=find_analysis(of), out=out))


def _refuse_other(request: RunRequest, manifest: Manifest) -> None:
    given = [name for name, value in (("--corpus", request.corpus), ("--n", request.n)) if value is not None]
    if request.options.protocol == "published" and manifest.protocol != "published":
        given.append("--protocol published")
    if given:
        raise ValueError(
            f"--from re-analyses a run as it is (protocol {manifest.protocol}, corpus "
            f"{manifest.corpus.name}, n {manifest.corpus.n}); leave {' and '.join(given)} out"
        )


def _default_path(name: str, manifest: Manifest, identity: Mapping[str, Any]) -> Path:
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
    label = manifest.model.name.rstrip("/").rpartition("/")[2]
    return Path("runs") / f"{name}-{label}-{digest}"


def source_of(run: Run) -> Run:
    """The run that a re-analysis reads. Raises RunError where it is gone or another run by now."""
    path = Path(str(run.manifest.source))
    if not RunDirectory(path).is_run:
        raise RunError(
            f"{run.path} re-analyses {path}, where no run is any more; bring it back, or re-analyse it "
            "where it is now with --from into another directory"
        )
    source = Run.open(path)
    if source.manifest.identity != run.manifest.identity["source"]:
        raise RunError(f"{path} is another run than the one that {run.path} re-analysed")
    return source


def effects_by_stratum(records: Records, plan: Plan, inference: Inference) -> pd.DataFrame:
    """Every contrast of the plan's families of prefixes and interactions, in every stratum.

    Columns by (stratification), stratum, contrast, family, the fields of `PairedEffect`, corrected p (one
    family: the contrasts of one family in the strata of one stratification) and verdict.
    """
    contrasts = reported(plan)
    values = contrast_values(records.nll, contrasts)
    frames = []
    for by, strata in records.strata().items():
        for contrast in contrasts:
            own = strata_table(values[contrast.name], strata, inference)
            own.insert(0, "by", by)
            own.insert(2, "contrast", contrast.name)
            own.insert(3, "family", f"{contrast.family} by {by}")
            own.insert(4, "order", contrast.effect_order)
            frames.append(own)
    return with_verdicts(pd.concat(frames, ignore_index=True), inference)


def reported(plan: Plan) -> tuple[Contrast, ...]:
    """The contrasts that are reported by stratum: prefixes against bare, and interactions with the prompt."""
    return tuple(
        contrast for contrast in plan.contrasts if contrast.family.startswith(("prefix", "interaction"))
    )


def trends(records: Records, plan: Plan, inference: Inference) -> pd.DataFrame:
    """The trend of every contrast over the bins, and the difference between long and short answers.

    Columns by, contrast, n (documents where examples share them), strata, slope (per bin; long minus short for the
    split), low, high, p, p_holm (Holm over the contrasts of one stratification), verdict, caution, reason.
    """
    contrasts = reported(plan)
    values = contrast_values(records.nll, contrasts)
    frames = []
    for by, strata in records.strata().items():
        found = trend_tests([(values[name], strata) for name in values.columns], inference)
        rows = [
            {"by": by, "contrast": name, **trend.as_row()}
            for name, trend in zip(values.columns, found, strict=True)
        ]
        frames.append(with_trend_verdicts(pd.DataFrame(rows), inference))
    return pd.concat(frames, ignore_index=True)


def likelihood_by_stratum(records: Records, cells: Sequence[CellFacts], inference: Inference) -> pd.DataFrame:
    """Answer NLL of every cell in every stratum: by, stratum, n, clusters, mean answer words, mean, low, high."""
    names = [cell.name for cell in cells]
    frames = []
    for by, stratum, members in _members(records):
        described = one_sample_effects(
            records.nll.loc[members, names].to_numpy(),
            inference,
            clusters=inference.labels(members),
            sign_flips=False,
        )
        rows = [
            {
                "cell": name,
                "by": by,
                "stratum": stratum,
                "n": effect.n,
                "clusters": effect.clusters,
                "mean_answer_words": float(records.answer_words[members].mean()),
                "mean": effect.mean_difference,
                "low": effect.low,
                "high": effect.high,
                "reason": effect.reason if pd.isna(effect.low) else "",
            }
            for name, effect in zip(names, described, strict=True)
        ]
        frames.append(with_cell_columns(pd.DataFrame(rows), cells))
    return pd.concat(frames, ignore_index=True)


def ratios_by_stratum(
    records: Records, plan: Plan, ratios: tuple[RatioOf, ...], inference: Inference
) -> pd.DataFrame:
    """The ratios of prefix effects in every stratum and over all: by, stratum, and the columns of `ratio_frame`."""
    every = [("", ALL, records.nll.index), *_members(records)]
    frames = []
    for by, stratum, members in every:
        frame = ratio_frame(records.nll.loc[members], plan, ratios, inference)
        frame.insert(0, "by", by)
        frame.insert(1, "stratum", stratum)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def shares_by_stratum(records: Records, cells: Sequence[CellFacts], inference: Inference) -> pd.DataFrame:
    """Attention shares of the decoder in the two strata of the split: stratum, and the columns of `share_table`."""
    strata = records.strata()[SPLIT]
    frames = []
    for stratum in strata.cat.categories:
        members = {str(example) for example in strata.index[strata == stratum]}
        for budget in records.budgets:
            places = [place for place, example in enumerate(budget.examples) if str(example) in members]
            if budget.stack != "decoder" or not places:
                continue
            own = replace(
                budget,
                examples=tuple(budget.examples[place] for place in places),
                values=budget.values[:, places],
            )
            own = by_document([own], inference.clusters)[0]
            table = with_cell_columns(share_table(own, inference), cells)
            table.insert(0, "stratum", str(stratum))
            frames.append(table)
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def _members(records: Records) -> list[tuple[str, str, pd.Index]]:
    """Stratification, stratum and the examples in it, for every stratum that has any."""
    return [
        (by, str(level), strata.index[strata == level])
        for by, strata in records.strata().items()
        for level in strata.cat.categories
        if (strata == level).any()
    ]
