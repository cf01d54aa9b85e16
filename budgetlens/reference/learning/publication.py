"""Measure the built-in model on the shipped test part, and write model, results and model card.

``python -m budgetlens.reference.learning.publication`` measures the shipped model again and writes its results
and card.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from budgetlens.reference.learning.measures import (
    Item,
    answer_first,
    exact_matches,
    feeds,
    greedy_answers,
    item_of,
    read_items,
    selected_first,
    target_nll,
)
from budgetlens.reference.learning.model_card import model_card
from budgetlens.reference.world.questions import FORM_SHARES
from budgetlens.reference.world.rows import shipped_rows
from budgetlens.reference.world.tokenizer import build_tokenizer

PACKAGE = Path(__file__).parents[1]
#: Ranges in which the built-in model's measures on the test part must lie: neither at the floor nor ignorant.
TARGETS = {
    "nll": (0.2, 0.8),
    "exact_match": (0.6, 0.9),
    "gain_over_wrong_document": (1.5, float("inf")),
    "gain_over_no_query": (0.3, float("inf")),
    "selected_first": (0.6, 1.0),
}
#: Documents of the test generator that are not shipped: a check that nothing was fitted to those that are.
FRESH_DOCUMENTS, FRESH_SEED = 60, 11


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else float("nan")


def measure(model: Any, tokenizer: Any, items: Sequence[Item]) -> dict[str, Any]:
    """The measures of :data:`TARGETS` and what explains them, on the given examples.

    ``nll`` is the mean over examples of the mean answer-token NLL (nats) with query and document; the gains
    are differences of such means; ``exact_match`` is the share of greedy answers that are, by SQuAD's
    normalisation, one of the right answers in whichever wording, ``answer_first`` that of answers likelier
    than all candidates, ``selected_first`` that of queries that are likeliest given the selected passage
    (without passages it is left out). ``forms`` has NLL, exact match and number of examples of each form
    of question.
    """
    right = target_nll(model, feeds(tokenizer, items))
    wrong = target_nll(model, feeds(tokenizer, items, wrong_document=True))
    none = target_nll(model, feeds(tokenizer, items, prompt="none"))
    made = greedy_answers(model, tokenizer, feeds(tokenizer, items))
    equal = exact_matches(made, items)
    forms = {}
    for form in FORM_SHARES:
        chosen = [index for index, item in enumerate(items) if item.form == form]
        forms[form] = {
            "examples": len(chosen),
            "nll": _mean([right[index] for index in chosen]),
            "exact_match": _mean([equal[index] for index in chosen]),
        }
    found = {
        "examples": len(items),
        "nll": _mean(right),
        "exact_match": _mean(equal),
        "gain_over_wrong_document": _mean(wrong) - _mean(right),
        "gain_over_no_query": _mean(none) - _mean(right),
        "answer_first": _mean(answer_first(model, tokenizer, items)),
        "forms": forms,
    }
    if all(item.passages for item in items):
        found["selected_first"] = _mean(selected_first(model, tokenizer, items))
    return found


def missed_targets(found: dict[str, Any]) -> list[str]:
    """The names of the targets that the measures miss."""
    return [name for name, (low, high) in TARGETS.items() if not low <= found[name] <= high]


def cells(model: Any, tokenizer: Any, items: Sequence[Item]) -> dict[str, float]:
    """Mean NLL (nats) by prefix (hidden from the decoder) and prompt, for orientation."""
    return {
        f"{prefix}, {prompt}": _mean(target_nll(model, feeds(tokenizer, items, prompt, prefix)))
        for prefix in ("none", "oracle", "random")
        for prompt in ("none", "random", "query")
    }


def evaluate(folder: Path, corpus: Path) -> dict[str, Any]:
    """All results of the model in ``folder`` on the corpus in ``corpus``."""
    model = AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    items = read_items(corpus / "test.jsonl")
    fresh = [item_of(row) for row in shipped_rows(FRESH_DOCUMENTS, FRESH_SEED)]
    began = time.monotonic()
    results: dict[str, Any] = {
        "test": measure(model, tokenizer, items),
        "test_long": measure(model, tokenizer, read_items(corpus / "test_long.jsonl")),
        "fresh": measure(model, tokenizer, fresh),
        "fresh_seed": FRESH_SEED,
        "cells": cells(model, tokenizer, items),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }
    results["evaluation_seconds"] = round(time.monotonic() - began, 1)
    return results


def write_results(out: Path, training: dict[str, Any], second: dict[str, Any] | None = None) -> None:
    """Measure the model in ``out/model`` on ``out/corpus``; write ``results.json`` and the model card.

    ``second`` is what a model of another seed reached, to be told beside: its seed and its ``test`` measures.
    """
    folder = out / "model"
    results = {"training": training, **evaluate(folder, out / "corpus")}
    if second is not None:
        results["second_seed"] = second
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(model_card(results), encoding="utf-8")
    print(json.dumps({key: value for key, value in results.items() if key != "training"}, indent=1))
    missed = missed_targets(results["test"])
    print(f"targets missed: {', '.join(missed)}" if missed else "all targets are met")


def publish(model: Any, out: Path, training: dict[str, Any]) -> None:
    """Write ``out/model``: weights, configuration, tokenizer, results, and the model card."""
    folder = out / "model"
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    build_tokenizer().save_pretrained(folder)
    write_results(out, training)


def main(arguments: list[str] | None = None) -> None:
    """The command; see ``--help``."""
    parser = argparse.ArgumentParser(description="measure a trained model again; write its results and card")
    parser.add_argument("--out", type=Path, default=PACKAGE, help="has model/ and corpus/")
    parser.add_argument("--second", type=Path, help="results.json of the same recipe with another seed")
    options = parser.parse_args(arguments)
    recorded = json.loads((options.out / "model" / "results.json").read_text(encoding="utf-8"))
    second = recorded.get("second_seed")
    if options.second is not None:
        other = json.loads(options.second.read_text(encoding="utf-8"))
        second = {"seed": other["training"]["recipe"]["seed"], "test": other["test"]}
    write_results(options.out, recorded["training"], second)


if __name__ == "__main__":
    main()
