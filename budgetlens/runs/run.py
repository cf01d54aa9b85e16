"""A finished run, as everybody reads it: typed, checked against its hashes, read when first asked for."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from budgetlens.corpora.corpus import Corpus
from budgetlens.design.analysis import Analysis
from budgetlens.design.plan import Plan, live_plan
from budgetlens.model.declaration import Declaration
from budgetlens.model.observation import available_probes, outcome_name
from budgetlens.runs.arrays import read_arrays
from budgetlens.runs.manifest import FORMAT, Manifest, RunError
from budgetlens.runs.parquet_files import reading
from budgetlens.runs.spreadsheets import unguarded
from budgetlens.runs.storage import EXAMPLES, ROWS, RunDirectory, part_name
from budgetlens.runs.swept import Swept, swept_in
from budgetlens.runs.texts import read_texts
from budgetlens.statistics.budget_arrays import BudgetArray
from budgetlens.statistics.choices import Choices
from budgetlens.statistics.inference import Inference
from budgetlens.statistics.live import idle_in_every_example, same_in_every_example
from budgetlens.statistics.quantities import Quantity

#: Records that every capture leaves beside those of its probes: what was fed.
TRIALS = "trials"


@dataclass(frozen=True)
class Run:
    """One finished run: what it says of itself, its records, its tables and the texts behind it.

    Made by :meth:`open`, which checks every part against its hashes. Records, tables and texts are read when they
    are first asked for; what a reader is shown has the hash with which it was written, or a RunError says so.

    Examples:
        >>> import budgetlens as bl
        >>> model, rows = bl.load_model("reference"), bl.read_corpus("reference", n=3)
        >>> _ = bl.run(model=model, corpus=rows, out="looked-at", prefix=["none", "oracle"], layers=[0])
        >>> bl.Run.open("looked-at").manifest.examples
        3
    """

    directory: RunDirectory
    manifest: Manifest
    corpus: str | None = None
    made_by: Analysis | None = None
    given: Choices | None = None
    """What its reader chose of the statistics; None: what run.json says."""

    @classmethod
    def open(cls, path: str | Path, *, corpus: str | None = None, made_by: Analysis | None = None) -> Self:
        """The finished run in a directory.

        ``corpus`` is where its texts lie, as its reader says: a path that the run alone names is not opened.
        ``made_by`` is the analysis that made it, where that is registered nowhere.
        Raises RunError where there is none, where its run.json is damaged, altered or of an unknown format, and where
        parts are missing or altered: the message says which, and what to do. Raises RegistryError where neither the
        run nor any distribution knows the analysis that made it.
        """
        directory = RunDirectory(Path(path))
        run = cls(directory, directory.manifest(), corpus, made_by)
        if run.has_records:
            run._require_whole()
        return run

    @property
    def path(self) -> Path:
        """Where the run lies."""
        return self.directory.path

    @property
    def name(self) -> str:
        """The name of its directory."""
        return self.path.resolve().name

    @cached_property
    def analysis(self) -> Analysis:
        """The analysis that made it: the registered one while that has the same cells, else the run's own design."""
        return self.made_by or self.manifest.found_analysis

    @cached_property
    def plan(self) -> Plan:
        """Its cells and what is compared, without contrasts that could not act in what was fed."""
        plan = self.analysis.plan(self.manifest.protocol)
        if self.choices.correction is not None:
            plan = replace(plan, correction=self.choices.correction)
        if "start" not in self.manifest.identity:
            # Runs that do not say how their decoder inputs start are of a time when all started with one token.
            plan = plan.without_forced_start()
        if TRIALS not in self.kinds:
            return plan
        return live_plan(plan, idle_in_every_example(self.trials), same_in_every_example(self.trials))

    @cached_property
    def choices(self) -> Choices:
        """What was chosen of the statistics. Raises RunError where run.json names choices that there are not."""
        if self.given is not None:
            return self.given
        try:
            return Choices.from_mapping(self.manifest.choices)
        except ValueError as error:
            raise RunError(f"{self.path} {error}; give the options again with `budgetlens tables`") from error

    @property
    def seed(self) -> int:
        """Seed of the selection, of every random choice and of the statistics."""
        return self.manifest.seed

    @property
    def has_records(self) -> bool:
        """Whether it holds records of its own; a run that reads another, and a sweep over models, have none."""
        return self.manifest.source is None and not self.manifest.is_sweep

    @cached_property
    def source(self) -> Run | None:
        """The run that this one reads again, None where it has records of its own.

        Raises RunError where it is gone, or another run by now.
        """
        if self.manifest.source is None:
            return None
        path = Path(self.manifest.source)
        if not RunDirectory(path).is_run:
            raise RunError(
                f"{self.path} re-analyses {path}, where no run is any more; bring it back, or re-analyse it "
                "where it is now with source=… or --from into another directory"
            )
        source = replace(Run.open(path), given=self.choices)
        if source.manifest.identity != self.manifest.identity.get("source"):
            raise RunError(f"{path} is another run than the one that {self.path} re-analysed")
        return source

    @cached_property
    def swept(self) -> tuple[Swept, ...]:
        """The models of a sweep, in order; none of any other run. Raises RunError where sweep.json is damaged."""
        return swept_in(self.directory) if self.manifest.is_sweep else ()

    @cached_property
    def of_models(self) -> dict[str, Run | RunError]:
        """The run of each model of a sweep that did not fail, by its name, or why it can't be read yet."""
        found: dict[str, Run | RunError] = {}
        for one in self.swept:
            if not one.failure:
                try:
                    own = type(self).open(one.place(self.path), corpus=self.corpus)
                    found[one.name] = replace(own, given=self.choices)
                except RunError as error:
                    found[one.name] = error
        return found

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of record that it has, sorted."""
        return tuple(sorted(self._files))

    @cached_property
    def _files(self) -> dict[str, list[Path]]:
        """The record files that the parts' markers name, by kind, in the order of the parts."""
        found: dict[str, list[Path]] = {}
        for index in range(self.directory.plan()[0] or 0):
            for name in self.directory.part_files(part_name(index)):
                folder, kind, _ = name.split("/")
                if folder == "records":
                    found.setdefault(kind, []).append(self.path / name)
        return found

    def records(self, kind: str, columns: list[str] | None = None) -> pd.DataFrame:
        """All records of a kind, one row per observation, in the order of the parts.

        Raises RunError where there are none.
        """
        tables = [self._parquet(path, columns) for path in self._of(kind)]
        # A run that an earlier version began may lack a column in its first parts: nothing is known there.
        return (
            pa.concat_tables(tables, promote_options="default")
            .unify_dictionaries()
            .to_pandas(use_threads=False)
        )

    def parts(self, kind: str) -> Iterator[pa.Table]:
        """The records of a kind part by part, for what is too large to be held at once."""
        for path in self._of(kind):
            yield self._parquet(path, None)

    def _parquet(self, path: Path, columns: list[str] | None) -> pa.Table:
        # Without threads: where none can be started for want of memory, the pool of Arrow waits for ever.
        with reading(path), parquet.ParquetFile(path, pre_buffer=False) as file:
            return file.read(columns=columns, use_threads=False)

    def _of(self, kind: str) -> list[Path]:
        if kind not in self._files:
            raise RunError(
                f"{self.path} has no {kind!r} records; it has {', '.join(self.kinds) or 'none'}. Run it again with "
                "what records them"
            )
        return self._files[kind]

    @cached_property
    def declarations(self) -> dict[str, Declaration]:
        """What the probes that left records say of them: the outcome, then in the order in which they were asked for.

        As run.json keeps it, so that a run can be read when a probe's distribution is gone; of runs that keep none,
        and of probes that are here, as they say now.
        """
        kept, known = self.manifest.declarations, available_probes()
        found = {}
        asked = [text.partition(":")[0] for text in self.manifest.probes]
        for name in dict.fromkeys((*asked, *self.kinds)):
            if name in self.kinds and (name in known or name in kept):
                found[name] = known[name].declares if name in known else Declaration.from_mapping(kept[name])
        return dict(sorted(self._chosen(found).items(), key=lambda item: not item[1].outcome))

    def _chosen(self, found: Mapping[str, Declaration]) -> dict[str, Declaration]:
        """The declarations with the smallest differences that were chosen. Raises ValueError for another probe."""
        chosen = dict(found)
        for name, smallest in self.choices.smallest.items():
            probe = name or next((own for own, declared in found.items() if declared.outcome), "")
            if probe not in found or found[probe].tested is None:
                tested = [own for own, declared in found.items() if declared.tested is not None]
                raise ValueError(
                    f"--smallest-effect names the probe {name!r}, which tests no differences in {self.path}; those that do: "
                    f"{', '.join(tested) or 'none'}"
                )
            chosen[probe] = found[probe].with_smallest(smallest)
        return chosen

    @cached_property
    def outcome(self) -> str:
        """The probe of answers that its contrasts are about. Raises RegistryError where it recorded none, or several."""
        return outcome_name(self.declarations)

    @property
    def outcome_quantity(self) -> Quantity:
        """What the outcome is: its column of the records, its unit, which way is better."""
        (quantity,) = self.declarations[self.outcome].quantities
        return quantity

    @cached_property
    def trials(self) -> pd.DataFrame:
        """What was fed, one row per example and cell."""
        return self._with(TRIALS, ("example", "cell"))

    @cached_property
    def outcomes(self) -> pd.DataFrame:
        """The records of the outcome, one row per example and cell."""
        return self._with(self.outcome, ("example", "cell", self.outcome_quantity.name))

    def _with(self, kind: str, columns: Sequence[str]) -> pd.DataFrame:
        """The records of a kind, which nothing can be made of without these columns; RunError where one is missing."""
        records = self.records(kind)
        if missing := [column for column in columns if column not in records]:
            raise RunError(
                f"the {kind} records of {self.path} have no column {missing[0]!r}: they were not written by `budgetlens "
                "run`, or were altered; run it again"
            )
        return records

    @cached_property
    def documents(self) -> pd.Series | None:
        """The document of each example (index example) where some examples share one, else None.

        The trials name a document by a digest of its text, column ``document``. Records without the column cannot
        tell: every example then counts as independent.
        """
        return shared_documents(self.trials)

    @cached_property
    def inference(self) -> Inference:
        """How anything is inferred from this run: its seed, its plan's correction, its documents, its outcome's bound."""
        whole = Inference(seed=self.seed, correction=self.plan.correction, clusters=self.documents)
        return whole.of(self.outcome_quantity)

    def arrays(self, kind: str, category: str, quantities: Sequence[str]) -> dict[str, list[BudgetArray]]:
        """Records of attention as dense arrays (:func:`budgetlens.runs.arrays.read_arrays`), per quantity.

        They are read anew each time, since they may fill the memory.
        """
        return read_arrays(self._of(kind), category, quantities)

    def observed(self, probe: str) -> list[BudgetArray]:
        """The first quantity of a probe of attention, one array per stack and block; none where it recorded nothing."""
        if probe not in self.declarations:
            return []
        declared = self.declarations[probe]
        name = declared.quantities[0].name
        return self.arrays(probe, declared.axis, (name,))[name]

    @property
    def table_names(self) -> tuple[str, ...]:
        """The tables that lie beside the records and that this version wrote, sorted."""
        there = self.directory.table_index()
        return tuple(
            sorted(name.removesuffix(".csv") for name in there if (self._table_path(name)).is_file())
        )

    def _table_path(self, file: str) -> Path:
        return self.path / "tables" / file

    def further_tables(self, known: Collection[str]) -> tuple[dict[str, str], list[str]]:
        """The CSV of every table whose name is not ``known``, and the names of those that were altered."""
        texts, altered = {}, []
        for name in self.table_names:
            if name in known:
                continue
            try:
                texts[name] = self.table_text(name)
            except RunError:
                altered.append(name)
        return texts, altered

    def table_text(self, name: str) -> str:
        """The CSV of a table. Raises RunError where it is not there or is another than the one that was written."""
        file = f"{name}.csv"
        entry = self.directory.table_index().get(file)
        if entry is None or not self._table_path(file).is_file():
            raise RunError(
                f"{self.path} has no table {name!r}; it has {', '.join(self.table_names) or 'none'}. "
                f"`budgetlens tables` writes all of them"
            )
        self._require_unaltered(
            f"tables/{file}", entry.get("sha256"), "remove it, or give the command that wrote it again"
        )
        # As bytes: reading text would take a carriage return within a cell for a line feed.
        return self._table_path(file).read_bytes().decode("utf-8")

    def table(self, name: str) -> pd.DataFrame:
        """A table as it was computed: texts stay texts. Raises RunError as :meth:`table_text` does."""
        content = self.table_text(name)
        texts = self.directory.table_index()[f"{name}.csv"].get("texts", [])
        frame = pd.read_csv(
            io.StringIO(content), dtype=dict.fromkeys(texts, "str"), keep_default_na=False, na_values=[""]
        )
        for column in set(texts) & set(frame.columns):
            frame[column] = frame[column].fillna("").map(unguarded)
        return frame.rename(columns=unguarded)

    def shown_examples(self) -> list[Mapping[str, Any]]:
        """The first examples as every cell fed them; none where the run has none.

        Raises RunError where the file is another than the one that was written.
        """
        digest = self.directory.plan()[1].get(EXAMPLES)
        if digest is None and self.manifest.format == FORMAT:
            return []
        if digest is not None:
            self._require_unaltered(
                EXAMPLES, digest, "give the command that made the run again, which writes it"
            )
        content = self.directory.json(EXAMPLES)
        return content if isinstance(content, list) else []

    def texts(self, *, hub: bool = True, trusted: bool = False) -> tuple[Corpus | None, str]:
        """The run's corpus, or None and why it could not be read (:func:`budgetlens.runs.texts.read_texts`)."""
        return read_texts(
            self.manifest, self.corpus or self.own_rows, default_n=self.analysis.n, hub=hub, trusted=trusted
        )

    @property
    def own_rows(self) -> str | None:
        """Where the run itself keeps the rows of its corpus, which lay in no file; None where it keeps none."""
        return str(self.path / ROWS) if self.directory.is_own(ROWS) else None

    def _require_unaltered(self, name: str, digest: object, remedy: str) -> None:
        if not self.directory.is_unaltered(name, digest if isinstance(digest, str) else None):
            raise RunError(f"{self.path / name} is not as it was written; {remedy}")

    def _require_whole(self) -> None:
        """Raise RunError where parts are missing or altered, or where they hold other examples than run.json says."""
        count, _ = self.directory.plan()
        whole = sum(self.directory.part_is_whole(part_name(index)) for index in range(count or 0))
        if count is None or whole < count:
            raise RunError(
                f"{self.path} is not finished ({whole} of {'unknown' if count is None else count} parts are whole); "
                f"{self._continuation}"
            )
        found = self.records(TRIALS, ["example"])["example"].nunique() if TRIALS in self.kinds else None
        if found is not None and found != self.manifest.examples:
            raise RunError(
                f"{self.path} holds {found} examples, and its run.json says {self.manifest.examples}: parts were taken "
                "away or added; run it again into another directory"
            )

    @property
    def _continuation(self) -> str:
        if self.manifest.format != FORMAT:
            return (
                "an earlier version began it (format "
                f"{self.manifest.format}), which this one can't continue: finish it with that version, or run it again "
                "into another directory"
            )
        # Its text is not repeated: whoever wrote the run may not be who reads it, and advice gets pasted into a shell.
        return "give the command that made it again (run.json tells it)"


def shared_documents(trials: pd.DataFrame) -> pd.Series | None:
    """The document of each example (index example) where some examples share one, else None."""
    if "document" not in trials.columns:
        return None
    documents = trials.groupby("example", observed=True)["document"].first().astype(str)
    return documents if documents.duplicated().any() else None
