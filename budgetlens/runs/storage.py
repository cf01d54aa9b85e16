"""A run's directory: what is in it, and how it survives a kill at any moment.

    RUN/run.json                     what was run: identity, versions, corpus, cells, command, examples left out
    RUN/records/KIND/part-00000.parquet   one file per kind of record and part
    RUN/parts/part-00000.json        written last: the hashes of the part's files
    RUN/tables/*.csv, RUN/figures/*.html

A part counts only when its marker is there and every file has the hash that the marker tells. Every file
is written under another name and renamed, so that a cut file is never taken for a whole one.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as parquet

FORMAT = 1

#: So many of the examples that were left out are named in notes.
LEFT_OUT_NAMED = 5


class RunError(ValueError):
    """A run directory that can't be used as asked; the message says what to do."""


@dataclass(frozen=True)
class RunDirectory:
    """One run's directory."""

    path: Path

    @property
    def manifest_path(self) -> Path:
        """Where run.json lies."""
        return self.path / "run.json"

    def manifest(self) -> dict[str, Any]:
        """The content of run.json. Raises RunError where there is none or it is no run's."""
        if not self.manifest_path.is_file():
            raise RunError(f"{self.path} holds no run.json; give the directory that `budgetlens run` wrote")
        try:
            manifest = json.loads(self.manifest_path.read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise RunError(
                f"{self.manifest_path} is damaged ({error}); run into another directory"
            ) from error
        if manifest.get("format") != FORMAT:
            raise RunError(
                f"{self.path} has format {manifest.get('format')!r}, this version reads format {FORMAT}; run it again"
            )
        return manifest

    def begin(self, identity: Mapping[str, Any], details: Mapping[str, Any]) -> None:
        """Write run.json, or check that the one there has the same identity.

        ``identity`` is everything that can change a number; ``details`` the rest. Raises RunError that
        names what differs where the directory belongs to another run.
        """
        if self.manifest_path.exists():
            theirs = self.manifest()["identity"]
            ours = json.loads(json.dumps(identity))
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
        content = {"format": FORMAT, "identity": dict(identity), **details}
        write_text(self.manifest_path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")

    def renew(self, details: Mapping[str, Any]) -> None:
        """Let run.json tell other details than it does; its identity stays. To be called under the lock."""
        details = json.loads(json.dumps(details))
        manifest = self.manifest()
        if any(manifest.get(key) != value for key, value in details.items()):
            content = json.dumps({**manifest, **details}, indent=2, ensure_ascii=False)
            write_text(self.manifest_path, content + "\n")

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory for this process; RunError where another process holds it."""
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / ".lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise RunError(
                    f"another process is writing to {self.path}; wait for it or give another --out"
                ) from error
            for leftover in self.path.rglob(".*.tmp"):
                leftover.unlink()
            yield

    def plan_parts(self, count: int) -> None:
        """Note how many parts the run has, so that an unfinished run is never taken for a whole one."""
        write_text(self._plan_path, json.dumps({"parts": count}) + "\n")

    def require_whole(self) -> None:
        """Raise RunError where parts are missing or altered."""
        self.manifest()
        content = _read_json(self._plan_path)
        count = content.get("parts") if isinstance(content, dict) else None
        whole = sum(self.part_is_whole(part_name(index)) for index in range(count or 0))
        if count is None or whole < count:
            command = " ".join(self.manifest().get("command", ["budgetlens", "run", "…"]))
            raise RunError(
                f"{self.path} is not finished ({whole} of {'unknown' if count is None else count} parts are whole); "
                f"continue it with the same command: {command}"
            )

    @property
    def _plan_path(self) -> Path:
        return self.path / "parts" / "plan.json"

    def part_is_whole(self, part: str) -> bool:
        """Whether every file of ``part`` is there and unaltered."""
        content = _read_json(self.path / "parts" / f"{part}.json")
        files = content.get("files") if isinstance(content, dict) else None
        if not isinstance(files, dict) or not files:
            return False
        return all(
            (self.path / name).is_file() and file_hash(self.path / name) == digest
            for name, digest in files.items()
        )

    def write_part(self, part: str, records: Mapping[str, pa.Table]) -> None:
        """Write a part's records, kind by kind, and then its marker."""
        files = {}
        for kind, table in records.items():
            path = self.path / "records" / kind / f"{part}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary:
                parquet.write_table(table, temporary, compression="zstd")
                files[str(path.relative_to(self.path))] = file_hash(temporary)
        marker = self.path / "parts" / f"{part}.json"
        marker.parent.mkdir(exist_ok=True)
        write_text(marker, json.dumps({"files": files}, indent=1) + "\n")

    def kinds(self) -> list[str]:
        """The kinds of record that the run has."""
        return sorted(path.name for path in (self.path / "records").glob("*") if path.is_dir())

    def read_records(self, kind: str, columns: list[str] | None = None) -> pd.DataFrame:
        """All records of a kind, in the order of the parts. Raises RunError where there are none."""
        paths = sorted((self.path / "records" / kind).glob("*.parquet"))
        if not paths:
            raise RunError(
                f"{self.path} has no {kind!r} records; it has {', '.join(self.kinds()) or 'none'}. Finish the run first"
            )
        tables = [parquet.read_table(path, columns=columns) for path in paths]
        # A run that an earlier version began may lack a column in its first parts: nothing is known there.
        return pa.concat_tables(tables, promote_options="default").unify_dictionaries().to_pandas()


def examples_run(manifest: Mapping[str, Any]) -> str:
    """How many examples a run has in every cell, for captions: those of its corpus without those left out."""
    count = int(manifest["corpus"]["n"]) - len(manifest.get("left_out", {}))
    return f"{count} example{'' if count == 1 else 's'}"


def left_out_words(manifest: Mapping[str, Any]) -> tuple[str, ...]:
    """A note about the examples that a run left out of every cell, with the first of them; none where there are none."""
    left_out = manifest.get("left_out", {})
    if not left_out:
        return ()
    shown = list(left_out)[:LEFT_OUT_NAMED]
    more = (
        f" and {len(left_out) - len(shown)} more, which run.json names" if len(left_out) > len(shown) else ""
    )
    return (
        f"{len(left_out)} of {manifest['corpus']['n']} examples are left out of every cell, since the encoder's limit cuts "
        f"their document, so that states can't be copied position by position: {', '.join(shown)}{more}",
    )


def part_name(index: int) -> str:
    """Name of a part's files."""
    return f"part-{index:05d}"


def _read_json(path: Path) -> Any:
    """The content of a small JSON file, None where it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place when the block ends without an error."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def file_hash(path: Path) -> str:
    """SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "…"
