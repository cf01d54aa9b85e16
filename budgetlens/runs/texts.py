"""The texts of a finished run, read again from its corpus: only those with the hash of the run's manifest."""

from __future__ import annotations

from budgetlens.corpora.corpus import Corpus, home_expanded, read_corpus
from budgetlens.corpora.known import CORPORA
from budgetlens.runs.manifest import Manifest


def read_texts(
    manifest: Manifest, asked: str | None = None, *, default_n: int, hub: bool = True, trusted: bool = False
) -> tuple[Corpus | None, str]:
    """The corpus of a run, or None and why it could not be read: wrong texts are never shown.

    Tried are ``asked``, which the reader gives, and what the manifest names: the corpus that the run was asked for, and
    its name; with the number of examples that was asked for, ``default_n`` (the analysis's) and the number that was
    found. Only the selection with the hash of the run's manifest counts. Examples that the run left out are not in it.
    Without ``hub``, corpora of the hub are left alone: nothing is asked of a network, and their rows are not copied into
    a page.

    A manifest may be a stranger's. A path that it alone names is opened only where it is ``trusted``: where the reader
    was asked. Who owns the file says nothing, since an archive that is unpacked belongs to whoever unpacks it.
    """
    given = manifest.corpus
    counts = [count for count in (given.asked_n, default_n, given.n) if count]
    reasons = []
    for source in dict.fromkeys(filter(None, (asked, given.asked, given.name))):
        if source in CORPORA:
            if not hub and CORPORA[source].repository is not None:
                reasons.append(f"{source} is a corpus of the hub")
                continue
        elif source != asked and not trusted:
            reasons.append(f"the run alone names {source}, which is not opened unless you give it")
            continue
        elif not _is_here(source):
            reasons.append(f"{source} is not here")
            continue
        for count in dict.fromkeys(counts):
            try:
                corpus = read_corpus(source, n=count, seed=manifest.seed, task=given.task)
            except (ValueError, OSError, ModuleNotFoundError) as error:
                reasons.append(f"{source}: {_first_line(error)}")
                break
            if corpus.sha256 == given.hash:
                # Examples that were left out are no donors of prefixes and prompts either.
                return corpus.without(manifest.left_out), ""
        else:
            reasons.append(f"{source} holds other texts than those of the run")
    return None, (
        f"The texts of the corpus {given.name} can't be shown: {'; '.join(dict.fromkeys(reasons))}. "
        "Give where they lie with --corpus."
    )


def _is_here(source: str) -> bool:
    try:
        return home_expanded(source).exists()
    except (ValueError, OSError, RuntimeError):
        return False


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
