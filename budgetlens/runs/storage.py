"""Writing a run's directory, so that it survives a kill at any moment.

    RUN/run.json                     what was run: identity, versions, corpus, cells, command, examples left out
    RUN/parts/run.json               its copy, from which it is restored
    RUN/records/KIND/part-00000.parquet   one file per kind of record and part
    RUN/parts/plan.json              how many parts there are; the hash of examples.json
    RUN/parts/part-00000.json        written last: the hashes of the part's files, how and for which run they were computed
    RUN/examples.json                the first examples as every cell fed them
    RUN/corpus.jsonl                 the rows of a corpus that lay in memory and in no file
    RUN/tokens/*.parquet             attention token by token, where it was asked for, and tokens/index.json, its hashes
    RUN/tables/*.csv, RUN/tables/index.json    tables, and their hashes
    RUN/figures/*.html, RUN/report.html
    RUN/sweep.json, RUN/models/LABEL/    of a sweep over models: which they are, and each one's run directory

A part counts only when its marker is there and every file has the hash that the marker tells. Every file
is written under another name and renamed, so that a cut file is never taken for a whole one. Reading a run is the
task of :class:`budgetlens.runs.run.Run`.
"""

from __future__ import annotations

import contextlib
import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as parquet
from filelock import FileLock, Timeout

from budgetlens.runs.files import file_hash, make_folder, read_json, replacing, write_text, writing
from budgetlens.runs.manifest import (
    DIGEST,
    FORMAT,
    Manifest,
    RunError,
    content_digest,
    is_sealed,
    sealed,
)
from budgetlens.runs.manifest_files import (
    COPY,
    RUN,
    is_run,
    read_manifest,
    restore,
    sound_manifests,
    write_manifest,
)
from budgetlens.runs.spreadsheets import guard, spreadsheet_csv

EXAMPLES, SWEEP, ROWS = "examples.json", "sweep.json", "corpus.jsonl"


@dataclass(frozen=True)
class PartFacts:
    """How a part was computed: on which kind of processor (empty: not known), and whether in smaller batches."""

    processor: str = ""
    smaller_batches: bool = False


@dataclass(frozen=True)
class RunDirectory:
    """One run's directory, as its only writer sees it."""

    path: Path

    @property
    def manifest_path(self) -> Path:
        """Where run.json lies."""
        return self.path / RUN

    @property
    def is_run(self) -> bool:
        """Whether run.json or its copy is there, in whatever state."""
        return is_run(self.path)

    def manifest(self) -> Manifest:
        """What run.json says (:func:`budgetlens.runs.manifest_files.read_manifest`)."""
        return read_manifest(self.path)

    @cached_property
    def run_digest(self) -> str:
        """What tells the files of this run from another's."""
        return self.manifest().digest

    @property
    def holds_something_else(self) -> bool:
        """Whether there are files, and nothing of a run among them; what a kill at the very start leaves is nothing."""
        if self.is_run or self._plan_path.is_file():
            return False
        return any(entry.is_file() and not entry.name.startswith(".") for entry in self.path.rglob("*"))

    def begin(self, identity: Mapping[str, Any], details: Mapping[str, Any]) -> None:
        """Write run.json, or check that the one there has the same identity.

        ``identity`` is everything that can change a number; ``details`` the rest. Where run.json or its copy is lost or
        damaged, the other, or the parts, say whose directory it is. Raises RunError that names what differs where the
        directory belongs to another run, or to an earlier version's.
        """
        ours = json.loads(json.dumps(identity))
        known = list(sound_manifests(self.path))
        own = [manifest for manifest in known if manifest.format == FORMAT and manifest.identity == ours]
        if own:
            restore(self.path, own[0])
        elif known:
            raise RunError(_refusal(self.path, known[0], ours))
        elif self.holds_something_else:
            raise RunError(f"{self.path} is not empty and holds no run.json; give an empty or new directory")
        else:
            self._begin_anew({"identity": ours, **details}, content_digest(ours))

    def _begin_anew(self, content: Mapping[str, Any], digest: str) -> None:
        """Write run.json where none is readable: into a new directory, or beside parts that tell that they are ours."""
        if self.is_run or self._plan_path.is_file():
            if digest not in self._told_digests():
                raise RunError(
                    f"{self.path} holds parts of a run, but neither {RUN} nor {COPY} is there and sound, and the parts are "
                    "not those of this command; bring run.json back, or give another directory (out=… or --out)"
                )
            print(
                f"{self.manifest_path} and its copy were lost or damaged: they are written anew, since the parts are those "
                "of this command",
                file=sys.stderr,
            )
        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        write_manifest(self.path, content)

    def _told_digests(self) -> set[str]:
        """The digests of runs that the sealed files under ``parts`` carry."""
        contents = [read_json(path) for path in (self.path / "parts").glob("*.json")]
        sealed_ones = [one for one in contents if isinstance(one, dict) and is_sealed(one)]
        return {str(one.get("run")) for one in sealed_ones}

    def renew(self, details: Mapping[str, Any]) -> None:
        """Let run.json tell other details than it does; its identity stays. To be called under the lock."""
        details = json.loads(json.dumps(details))
        content = self.manifest().content
        # What is not there and what is empty say the same.
        if any((content.get(key) or None) != (value or None) for key, value in details.items()):
            write_manifest(self.path, {**content, **details})

    @contextlib.contextmanager
    def locked(
        self, remedy: str = "wait for it or give another directory (out=… or --out)"
    ) -> Iterator[None]:
        """Hold the directory for this process; RunError with ``remedy`` where another process holds it.

        The system lets go of it when the process ends, however it does.
        """
        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        path = self.path / ".lock"
        # A link in its place would let the file that it leads to be emptied.
        if path.is_symlink():
            path.unlink()
        lock = FileLock(path, timeout=0)
        with writing(path):
            try:
                lock.acquire()
            # An OSError too, but none of the disk's.
            except Timeout as error:
                raise RunError(f"another process is writing to {self.path}; {remedy}") from error
        try:
            # What a kill left of files that were being written: the run's own, and the figures'.
            for leftover in (*self.path.rglob(".*.tmp"), *self.path.rglob(".*.part")):
                leftover.unlink(missing_ok=True)
            yield
        finally:
            lock.release()

    def require_there(self) -> None:
        """Raise RunError where the directory was removed, or took another run's place, since this run began."""
        found = {manifest.digest for manifest in sound_manifests(self.path)}
        if self.run_digest not in found:
            raise RunError(
                f"{self.path} was removed, moved or taken by another run while it was written to; bring it back, or give "
                "the same command again"
            )

    def _write_sealed(self, path: Path, content: Mapping[str, Any]) -> None:
        """Write a small file that tells whose it is and that can't be altered unseen."""
        whole = sealed({"run": self.run_digest, **content})
        self.folder(path.parent.relative_to(self.path).as_posix())
        write_text(path, json.dumps(whole, indent=1) + "\n")

    def _read_sealed(self, path: Path) -> Mapping[str, Any]:
        """What such a file says; nothing where it is lost, damaged, altered or another run's."""
        content = self.json(path.relative_to(self.path).as_posix())
        if not isinstance(content, dict):
            return {}
        # Format 1 and the first runs of format 2 had neither.
        old = "run" not in content and DIGEST not in content
        return content if old or (is_sealed(content) and content.get("run") == self.run_digest) else {}

    def plan_parts(self, count: int, examples: str) -> None:
        """Note how many parts the run has, so that an unfinished run is never taken for a whole one.

        ``examples`` is the content of examples.json, which is written with it.
        """
        self.require_there()
        write_text(self.path / EXAMPLES, examples)
        files = {EXAMPLES: file_hash(self.path / EXAMPLES)}
        self._write_sealed(self._plan_path, {"parts": count, "files": files})

    @property
    def _plan_path(self) -> Path:
        return self.path / "parts" / "plan.json"

    def plan(self) -> tuple[int | None, dict[str, str]]:
        """How many parts there are, None where that is not known, and the hashes of the files beside them."""
        content = self._read_sealed(self._plan_path)
        count, files = content.get("parts"), content.get("files")
        known = isinstance(count, int) and not isinstance(count, bool) and count >= 0
        return (count if known else None), (files if isinstance(files, dict) else {})

    def _marker(self, part: str) -> Mapping[str, Any]:
        return self._read_sealed(self.path / "parts" / f"{part}.json")

    def part_files(self, part: str) -> dict[str, str]:
        """The hash of every file of ``part`` by its path below the run; empty without a sound marker."""
        files = self._marker(part).get("files")
        if not isinstance(files, dict) or not all(isinstance(digest, str) for digest in files.values()):
            return {}
        record = re.compile(rf"records/(?!\.\.?/)[^/\x00]+/{re.escape(part)}\.parquet")
        return files if all(record.fullmatch(name) for name in files) else {}

    def part_is_whole(self, part: str) -> bool:
        """Whether every file of ``part`` is there and unaltered."""
        files = self.part_files(part)
        return bool(files) and all(self.is_unaltered(name, digest) for name, digest in files.items())

    def part_facts(self, part: str) -> PartFacts:
        """How ``part`` was computed, as its marker tells."""
        marker = self._marker(part)
        return PartFacts(str(marker.get("processor") or ""), bool(marker.get("smaller_batches")))

    def is_unaltered(self, name: str, digest: str | None) -> bool:
        """Whether the file ``name`` below the run is there and has the hash ``digest``."""
        return digest is not None and self.is_own(name) and file_hash(self.path / name) == digest

    def is_own(self, name: str) -> bool:
        """Whether ``name`` is a regular file below the run; one that a link outside leads to is not."""
        try:
            real = (self.path / name).resolve(strict=True)
        except (OSError, RuntimeError, ValueError):
            return False
        return real.is_file() and real.is_relative_to(self.path.resolve())

    def json(self, name: str) -> Any:
        """The content of a JSON file of the run's own, None where it has none that can be read."""
        return read_json(self.path / name) if self.is_own(name) else None

    def folder(self, name: str) -> Path:
        """A folder of the run to write to, made where it is missing. RunError where a link leads out of the run."""
        path = self.path / name
        if path.is_symlink() and not path.resolve().is_relative_to(self.path.resolve()):
            raise RunError(
                f"{path} is a link that leads out of the run, so that nothing is written there; remove it"
            )
        make_folder(path)
        return path

    def write_part(self, part: str, records: Mapping[str, pa.Table], facts: PartFacts = PartFacts()) -> None:
        """Write a part's records, kind by kind, and then its marker, which tells how it was computed."""
        self.require_there()
        files = {}
        self.folder("records")
        for kind, table in records.items():
            path = self.folder(f"records/{kind}") / f"{part}.parquet"
            with replacing(path) as temporary:
                parquet.write_table(table, temporary, compression="zstd")
                files[path.relative_to(self.path).as_posix()] = file_hash(temporary)
        self._write_sealed(self.path / "parts" / f"{part}.json", {"files": files, **asdict(facts)})

    def write_tables(self, tables: Mapping[str, pd.DataFrame]) -> list[Path]:
        """Write tables as CSV, whole or not at all, and note their hashes and which columns are texts; the paths."""
        self.require_there()
        index = self.table_index()
        written = []
        for name, table in tables.items():
            path = self.folder("tables") / f"{name}.csv"
            with replacing(path) as temporary:
                temporary.write_text(spreadsheet_csv(table), encoding="utf-8", newline="")
                digest = file_hash(temporary)
            index[path.name] = {"sha256": digest, "texts": [guard(name) for name in text_columns(table)]}
            written.append(path)
        self._write_sealed(self._index_path, {"files": index})
        return written

    @property
    def _index_path(self) -> Path:
        return self.path / "tables" / "index.json"

    def table_index(self) -> dict[str, dict[str, Any]]:
        """``sha256`` and ``texts`` (columns that hold text) of every table by its file's name."""
        files = self._read_sealed(self._index_path).get("files")
        sound = isinstance(files, dict) and all(
            "/" not in name and isinstance(entry, dict) for name, entry in files.items()
        )
        return dict(files) if sound and files else {}

    def write_sweep(self, content: Mapping[str, Any]) -> None:
        """Write sweep.json: which models a sweep is over."""
        self.require_there()
        self._write_sealed(self.path / SWEEP, content)

    def sweep(self) -> Mapping[str, Any]:
        """What sweep.json says; nothing where it is lost, damaged, altered or another run's."""
        return self._read_sealed(self.path / SWEEP)

    def write_tokens(self, name: str, table: pa.Table) -> Path:
        """Write token-level records as ``RUN/tokens/NAME.parquet`` and note their hash; the path."""
        self.require_there()
        path = self.folder("tokens") / f"{name}.parquet"
        with replacing(path) as temporary:
            parquet.write_table(table, temporary, compression="zstd")
            digest = file_hash(temporary)
        index = {**self.token_index(), path.name: digest}
        self._write_sealed(path.parent / "index.json", {"files": index})
        return path

    def token_index(self) -> dict[str, str]:
        """The hash of every file of token-level records by its name."""
        files = self._read_sealed(self.path / "tokens" / "index.json").get("files")
        return (
            {name: digest for name, digest in files.items() if "/" not in name}
            if isinstance(files, dict)
            else {}
        )

    def write_text(self, name: str, text: str) -> Path:
        """Write a text file below the run, whole or not at all; its path."""
        self.require_there()
        path = self.folder(str(Path(name).parent)) / Path(name).name
        write_text(path, text)
        return path


def text_columns(table: pd.DataFrame) -> list[str]:
    """The columns of a table that are no numbers and no truth values."""
    return [
        str(name)
        for name in table.columns
        if not (pd.api.types.is_numeric_dtype(table[name]) or pd.api.types.is_bool_dtype(table[name]))
    ]


def part_name(index: int) -> str:
    """Name of a part's files."""
    return f"part-{index:05d}"


def _refusal(path: Path, manifest: Manifest, ours: Mapping[str, Any]) -> str:
    """Why a run of the identity ``ours`` can't go on in a directory whose run.json says ``manifest``."""
    if manifest.format != FORMAT:
        return (
            f"{path} holds a run of an earlier version (format {manifest.format}), which this version reads but can't "
            "continue; give another directory (out=… or --out)"
        )
    theirs = manifest.identity
    differing = sorted(key for key in theirs.keys() | ours.keys() if theirs.get(key) != ours.get(key))
    lines = "; ".join(_difference(key, theirs.get(key), ours.get(key)) for key in differing)
    return f"{path} holds another run ({lines}); give another directory (out=… or --out), or remove it"


def _difference(key: str, theirs: Any, ours: Any) -> str:
    if key == "sources" and isinstance(theirs, dict) and isinstance(ours, dict):
        changed = [name for name in theirs.keys() & ours.keys() if theirs[name] != ours[name]]
        if changed:
            # Digests of sources tell nobody anything; run.json there has their text.
            return f"the source of the {', the '.join(sorted(changed))} was changed since it was begun"
    return f"{key}: {_short(theirs)} there, {_short(ours)} now"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "…"
