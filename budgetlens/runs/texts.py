"""The texts of a finished run, read again from its corpus: only those with the hash of the run's manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from budgetlens.corpora.corpus import CORPORA, Corpus, read_corpus
from budgetlens.design.catalogue import analysis_of


def read_texts(
    manifest: Mapping[str, Any], asked: str | None = None, *, hub: bool = True
) -> tuple[Corpus | None, str]:
    """The corpus of a run, or None and why it could not be read: wrong texts are never shown.

    Tried are ``asked``, the corpus of the run's command line, and its name; only the selection with the hash of
    the run's manifest counts. Without ``hub``, corpora of the hub are left alone: nothing is asked of a
    network, and their rows are not copied into a page.
    """
    given = manifest["corpus"]
    command = list(manifest.get("command", []))
    sources = [asked, given.get("path"), _option(command, "--corpus"), given["name"]]
    number = _option(command, "--n")
    counts = [int(number)] if number and number.isdigit() else []
    counts += [analysis_of(manifest).n, int(given["n"])]
    reasons = []
    for source in dict.fromkeys(filter(None, sources)):
        if source in CORPORA:
            if not hub and CORPORA[source].repository is not None:
                reasons.append(f"{source} is a corpus of the hub")
                continue
        elif not Path(source).expanduser().exists():
            reasons.append(f"{source} is not here")
            continue
        for count in dict.fromkeys(counts):
            try:
                corpus = read_corpus(source, n=count, seed=int(manifest["seed"]))
            except (ValueError, OSError, ModuleNotFoundError) as error:
                reasons.append(f"{source}: {_first_line(error)}")
                break
            if corpus.sha256 == given["hash"]:
                return corpus, ""
        else:
            reasons.append(f"{source} holds other texts than those of the run")
    return None, (
        f"The texts of the corpus {given['name']} can't be shown: {'; '.join(dict.fromkeys(reasons))}. "
        "Give where they lie with --corpus."
    )


def _option(command: Sequence[str], name: str) -> str | None:
    """The value of an option in a command line, ``--n 5`` or ``--n=5``."""
    for place, word in enumerate(command):
        if word == name and place + 1 < len(command):
            return command[place + 1]
        if word.startswith(f"{name}="):
            return word.removeprefix(f"{name}=")
    return None


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
