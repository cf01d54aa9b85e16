"""What a file of a direction says of itself: from whose states it was made. Reading it loads no torch."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from budgetlens.model.trials import StateError

#: Key of the description among a file's metadata, and the tensor's name.
DESCRIPTION, VECTOR = "budgetlens_direction", "direction"
DOCUMENTS = "documents"


def document_digest(document: str) -> str:
    """By what a file knows a document: SHA-256 of its text."""
    return hashlib.sha256(document.encode()).hexdigest()


def description_of(path: Path) -> dict[str, Any]:
    """How a direction was made, as its file tells; empty of a file that tells nothing.

    Raises StateError where the file can't be read, or tells what is no description.
    """
    if path.suffix != ".safetensors":
        return {}
    try:
        with safe_open(path, framework="numpy") as opened:
            told = (opened.metadata() or {}).get(DESCRIPTION, "{}")
        found = json.loads(told)
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise StateError(f"{path} could not be read as a direction: {str(error).splitlines()[0]}") from error
    documents = found.get(DOCUMENTS, []) if isinstance(found, dict) else None
    if not isinstance(documents, list) or not all(isinstance(own, str) for own in documents):
        raise StateError(f"{path} does not tell from which documents its direction was made; make it again")
    return found
