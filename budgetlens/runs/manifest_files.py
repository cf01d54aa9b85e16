"""run.json and its copy, parts/run.json: written together, and either made again from the other.

Records can't be read without what run.json says of them, and it is one small file. Its copy is taken for it only where
the copy's own digest is right.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from budgetlens.runs.files import LARGEST_JSON, WriteError, make_folder, write_text
from budgetlens.runs.manifest import Manifest, RunError, sealed

RUN, COPY = "run.json", "parts/run.json"


def is_run(path: Path) -> bool:
    """Whether a directory holds run.json or its copy, in whatever state."""
    return any((path / name).is_file() for name in (RUN, COPY))


def read_manifest(path: Path) -> Manifest:
    """What run.json of the directory ``path`` says; restored from its copy where it is lost, damaged or altered.

    A line on stderr says so. Raises RunError where there is none, where neither it nor its copy is sound, and where the
    two are of different runs.
    """
    copy = _sound(path / COPY)
    try:
        manifest = parsed(path / RUN)
    except RunError as error:
        if copy is None:
            raise RunError(_hopeless(path, error)) from error
        restore(path, copy)
        return copy
    if copy is not None and copy.identity != manifest.identity:
        raise RunError(
            f"{path / RUN} and its copy {path / COPY} are of different runs: files of two runs were mixed; remove the "
            "one that does not belong here"
        )
    return manifest


def sound_manifests(path: Path) -> Iterator[Manifest]:
    """Run.json and its copy, those of them that are there and sound."""
    for name in (RUN, COPY):
        manifest = _sound(path / name)
        if manifest is not None:
            yield manifest


def restore(path: Path, manifest: Manifest) -> None:
    """Write run.json, or its copy, again from the other; a line on stderr says which was lost, damaged or altered."""
    for name, other in ((RUN, COPY), (COPY, RUN)):
        if (own := _sound(path / name)) is not None and own.identity == manifest.identity:
            continue
        state = "was damaged or altered" if (path / name).is_file() else "was lost"
        try:
            _write(path / name, manifest.content)
        except WriteError as error:
            print(f"{path / name} {state}; {path / other} is read in its place ({error})", file=sys.stderr)
        else:
            told = f"{path / name} {state}: it is restored from {path / other}, whose digest is right"
            print(told, file=sys.stderr)


def write_manifest(path: Path, content: Mapping[str, Any]) -> None:
    """Write run.json and its copy with the digest of ``content``."""
    whole = sealed(content)
    # The copy first: a kill between the two leaves one that is at least as new as run.json.
    _write(path / COPY, whole)
    _write(path / RUN, whole)


def parsed(path: Path) -> Manifest:
    """What the file says. Raises RunError where it is missing, damaged, altered, too large, a link, or no run's."""
    try:
        if not path.resolve().is_relative_to(path.parent.resolve()):
            raise RunError(f"{path} leads out of its directory; put the file itself there")
        if path.stat().st_size > LARGEST_JSON:
            raise RunError(
                f"{path} has more than {LARGEST_JSON // 2**20} MiB, which no run needs; run it again"
            )
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise RunError(f"{path} is not there") from None
    except (ValueError, RecursionError) as error:
        raise RunError(
            f"{path} is damaged ({error}); bring the run back as it was written, or run it again"
        ) from error
    return Manifest.parse(content, path)


def _sound(path: Path) -> Manifest | None:
    try:
        return parsed(path)
    except RunError:
        return None


def _write(path: Path, content: Mapping[str, Any]) -> None:
    make_folder(path.parent)
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _hopeless(path: Path, error: RunError) -> str:
    """Why neither run.json nor its copy can be read, and what to do."""
    if (path / RUN).is_file():
        return str(error)
    if (path / "parts").is_dir():
        return (
            f"{path} holds parts of a run, but no run.json, nor a sound copy of it in {path / COPY}; bring it back, or "
            "give the command that made the run again"
        )
    return f"{path} holds no run.json; give the directory that `budgetlens run` wrote"
