"""The corpora that have a name: shipped with the package, or on the hub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class KnownCorpus:
    """A corpus with a name: on the hub (``repository``) or shipped with the package (``file``)."""

    name: str
    description: str
    repository: str | None = None
    configuration: str | None = None
    split: str = "train"
    file: Path | None = None


_REFERENCE = Path(__file__).parents[1] / "reference" / "corpus"

#: The corpora that have a name.
CORPORA: dict[str, KnownCorpus] = {
    corpus.name: corpus
    for corpus in (
        KnownCorpus(
            name="reference",
            description="built-in test part: generated English, four queries a document (MS MARCO schema)",
            file=_REFERENCE / "test.jsonl",
        ),
        KnownCorpus(
            name="reference-long",
            description="built-in test part with naturally long documents (plain schema)",
            file=_REFERENCE / "test_long.jsonl",
        ),
        KnownCorpus(
            name="ms_marco",
            description="MS MARCO v1.1, validation (non-commercial research; rows are never redistributed)",
            repository="microsoft/ms_marco",
            configuration="v1.1",
            split="validation",
        ),
        KnownCorpus(
            name="neural-bridge",
            description="neural-bridge/rag-dataset-12000, train (Apache-2.0)",
            repository="neural-bridge/rag-dataset-12000",
            split="train",
        ),
    )
}
