"""Writing a run's directory, so that it survives a kill at any moment.

    RUN/run.json                     what was run: identity, versions, corpus, cells, command, examples left out
    RUN/records/KIND/part-00000.parquet   one file per kind of record and part
    RUN/parts/plan.json              how many parts there are; the hash of examples.json
    RUN/parts/part-00000.json        written last: the hashes of the part's files
    RUN/examples.json                the first examples as every cell fed them
    RUN/tokens/*.parquet             attention token by token, where it was asked for, and tokens/index.json, its hashes
    RUN/tables/*.csv, RUN/tables/index.json    tables, and their hashes
    RUN/figures/*.html, RUN/report.html

A part counts only when its marker is there and every file has the hash that the marker tells. Every file
is written under another name and renamed, so that a cut file is never taken for a whole one. Reading a run is the
task of :class:`budgetlens.runs.run.Run`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as parquet

from budgetlens.runs.files import LARGEST_JSON, file_hash, read_json, replacing, write_text
from budgetlens.runs.manifest import FORMAT, Manifest, RunError, sealed
from budgetlens.runs.spreadsheets import guard, spreadsheet_csv

EXAMPLES = "examples.json"


@dataclass(frozen=True)
class RunDirectory:
    """One run's directory, as its only writer sees it."""

    path: Path

    @property
    def manifest_path(self) -> Path:
        """Where run.json lies."""
        return self.path / "run.json"

    def manifest(self) -> Manifest:
        """What run.json says. Raises RunError where there is none, where it is damaged, altered or no run's."""
        if not self.manifest_path.is_file():
            raise RunError(f"{self.path} holds no run.json; give the directory that `budgetlens run` wrote")
        if not self.is_own("run.json"):
            raise RunError(f"{self.manifest_path} leads out of its directory; put the file itself there")
        if self.manifest_path.stat().st_size > LARGEST_JSON:
            raise RunError(
                f"{self.manifest_path} has more than {LARGEST_JSON // 2**20} MiB, which no run needs; run it again"
            )
        try:
            content = json.loads(self.manifest_path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise RunError(
                f"{self.manifest_path} is damaged ({error}); run into another directory"
            ) from error
        return Manifest.parse(content, self.manifest_path)

    def begin(self, identity: Mapping[str, Any], details: Mapping[str, Any]) -> None:
        """Write run.json, or check that the one there has the same identity.

        ``identity`` is everything that can change a number; ``details`` the rest. Raises RunError that
        names what differs where the directory belongs to another run, or to an earlier version's.
        """
        if self.manifest_path.exists():
            manifest = self.manifest()
            if manifest.format != FORMAT:
                raise RunError(
                    f"{self.path} holds a run of an earlier version (format {manifest.format}), which this version "
                    "reads but can't continue; give another --out"
                )
            theirs, ours = manifest.identity, json.loads(json.dumps(identity))
            differing = sorted(key for key in theirs.keys() | ours.keys() if theirs.get(key) != ours.get(key))
            if differing:
                lines = "; ".join(
                    f"{key}: {_short(theirs.get(key))} there, {_short(ours.get(key))} now"
                    for key in differing
                )
                raise RunError(f"{self.path} holds another run ({lines}); give another --out, or remove it")
            return
        # A kill while run.json was written leaves its temporary file, which is nobody's work.
        if self.path.exists() and any(not entry.name.startswith(".") for entry in self.path.iterdir()):
            raise RunError(f"{self.path} is not empty and holds no run.json; give an empty or new directory")
        self.path.mkdir(parents=True, exist_ok=True)
        self._write_manifest({"identity": dict(identity), **details})

    def renew(self, details: Mapping[str, Any]) -> None:
        """Let run.json tell other details than it does; its identity stays. To be called under the lock."""
        details = json.loads(json.dumps(details))
        content = self.manifest().content
        if any(content.get(key) != value for key, value in details.items()):
            self._write_manifest({**content, **details})

    def _write_manifest(self, content: Mapping[str, Any]) -> None:
        write_text(self.manifest_path, json.dumps(sealed(content), indent=2, ensure_ascii=False) + "\n")

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory for this process; RunError where another process holds it."""
        self.path.mkdir(parents=True, exist_ok=True)
        # A link in its place would let the file that it leads to be emptied.
        with open(self.path / ".lock", "w", opener=_without_links) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise RunError(
                    f"another process is writing to {self.path}; wait for it or give another --out"
                ) from error
            for leftover in self.path.rglob(".*.tmp"):
                leftover.unlink()
            yield

    def plan_parts(self, count: int, examples: str) -> None:
        """Note how many parts the run has, so that an unfinished run is never taken for a whole one.

        ``examples`` is the content of examples.json, which is written with it.
        """
        write_text(self.path / EXAMPLES, examples)
        files = {EXAMPLES: file_hash(self.path / EXAMPLES)}
        write_text(self._plan_path, json.dumps({"parts": count, "files": files}) + "\n")

    @property
    def _plan_path(self) -> Path:
        return self.path / "parts" / "plan.json"

    def plan(self) -> tuple[int | None, dict[str, str]]:
        """How many parts there are, None where that is not known, and the hashes of the files beside them."""
        content = self.json("parts/plan.json")
        count = content.get("parts") if isinstance(content, dict) else None
        files = content.get("files") if isinstance(content, dict) else None
        known = isinstance(count, int) and not isinstance(count, bool) and count >= 0
        return (count if known else None), (files if isinstance(files, dict) else {})

    def part_files(self, part: str) -> dict[str, str]:
        """The hash of every file of ``part`` by its path below the run; empty without a sound marker."""
        content = self.json(f"parts/{part}.json")
        files = content.get("files") if isinstance(content, dict) else None
        if not isinstance(files, dict) or not all(isinstance(digest, str) for digest in files.values()):
            return {}
        record = re.compile(rf"records/(?!\.\.?/)[^/\x00]+/{re.escape(part)}\.parquet")
        return files if all(record.fullmatch(name) for name in files) else {}

    def part_is_whole(self, part: str) -> bool:
        """Whether every file of ``part`` is there and unaltered."""
        files = self.part_files(part)
        return bool(files) and all(self.is_unaltered(name, digest) for name, digest in files.items())

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
        path.mkdir(parents=True, exist_ok=True)
        return path

    def place(self, folder: str, name: str) -> Path:
        """Where a file of the run's own is written; a link in its place is taken away, not followed."""
        path = self.folder(folder) / name
        if path.is_symlink():
            path.unlink()
        return path

    def write_part(self, part: str, records: Mapping[str, pa.Table]) -> None:
        """Write a part's records, kind by kind, and then its marker."""
        files = {}
        for kind, table in records.items():
            self.folder("records")
            path = self.folder(f"records/{kind}") / f"{part}.parquet"
            with replacing(path) as temporary:
                parquet.write_table(table, temporary, compression="zstd")
                files[path.relative_to(self.path).as_posix()] = file_hash(temporary)
        write_text(self.path / "parts" / f"{part}.json", json.dumps({"files": files}, indent=1) + "\n")

    def write_tables(self, tables: Mapping[str, pd.DataFrame]) -> list[Path]:
        """Write tables as CSV, whole or not at all, and note their hashes and which columns are texts; the paths."""
        index = self.table_index()
        written = []
        for name, table in tables.items():
            path = self.folder("tables") / f"{name}.csv"
            with replacing(path) as temporary:
                temporary.write_text(spreadsheet_csv(table), encoding="utf-8", newline="")
                digest = file_hash(temporary)
            index[path.name] = {"sha256": digest, "texts": [guard(name) for name in text_columns(table)]}
            written.append(path)
        write_text(self._index_path, json.dumps({"files": index}, indent=1) + "\n")
        return written

    @property
    def _index_path(self) -> Path:
        return self.path / "tables" / "index.json"

    def table_index(self) -> dict[str, dict[str, Any]]:
        """``sha256`` and ``texts`` (columns that hold text) of every table by its file's name."""
        content = self.json("tables/index.json")
        files = content.get("files") if isinstance(content, dict) else None
        sound = isinstance(files, dict) and all(
            "/" not in name and isinstance(entry, dict) for name, entry in files.items()
        )
        return dict(files) if sound and files else {}

    def write_tokens(self, name: str, table: pa.Table) -> Path:
        """Write token-level records as ``RUN/tokens/NAME.parquet`` and note their hash; the path."""
        path = self.folder("tokens") / f"{name}.parquet"
        with replacing(path) as temporary:
            parquet.write_table(table, temporary, compression="zstd")
            digest = file_hash(temporary)
        index = {**self.token_index(), path.name: digest}
        write_text(path.parent / "index.json", json.dumps({"files": index}, indent=1) + "\n")
        return path

    def token_index(self) -> dict[str, str]:
        """The hash of every file of token-level records by its name."""
        content = self.json("tokens/index.json")
        files = content.get("files") if isinstance(content, dict) else None
        return (
            {name: digest for name, digest in files.items() if "/" not in name}
            if isinstance(files, dict)
            else {}
        )

    def write_text(self, name: str, text: str) -> Path:
        """Write a text file below the run, whole or not at all; its path."""
        write_text(self.path / name, text)
        return self.path / name


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


def _without_links(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o666)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "…"
