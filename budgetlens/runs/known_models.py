"""Model names that mean something without a hub: the built-in model, and what the published runs used."""

from __future__ import annotations

from pathlib import Path

#: Directory of the built-in model.
REFERENCE_MODEL = Path(__file__).parents[1] / "reference" / "model"

#: Models of the published runs and their small kin, for `budgetlens list models`.
KNOWN_MODELS: dict[str, str] = {
    "reference": "built in: a small T5Gemma 2 trained from scratch on generated text",
    "google/t5gemma-2-270m-270m": "hub, gated; merged attention",
    "google/t5gemma-2-1b-1b": "hub, gated; merged attention",
    "google/t5gemma-2-4b-4b": "hub, gated; merged attention; the published runs' main model",
    "google/flan-t5-base": "hub; separate attention, relative positions, no BOS",
    "google/flan-t5-large": "hub; separate attention, relative positions, no BOS",
    "google/flan-t5-xl": "hub; separate attention, relative positions, no BOS",
    "facebook/bart-large": "hub; separate attention, learned positions",
}


def short_name(name: str) -> str:
    """What a loaded model is called: ``reference`` for the built-in one, else its hub name or directory."""
    return "reference" if name == str(REFERENCE_MODEL) else name


def model_path(name: str) -> str:
    """What to load for a name: the built-in model's directory for ``reference``, else the name itself.

    Raises ValueError for an empty name, as an unset variable of a shell leaves it.
    """
    if not name.strip():
        raise ValueError("--model is empty; give a hub name, a directory or 'reference'")
    return str(REFERENCE_MODEL) if name == "reference" else name


def last_part(name: str) -> str:
    """What a model's directory of results is called: the last part of a name or path of any system, never a way up."""
    label = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    return "model" if label.strip(".") == "" else label
