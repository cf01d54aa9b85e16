"""Measure the built-in model on the shipped test part, and write model, results and model card.

``python -m budgetlens.reference.evaluate`` measures the shipped model again and writes its results and card.
The computation is written straight from the definitions of the measures and shares no code with the analyses.
"""

from __future__ import annotations

import json
import random
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer
from transformers.modeling_outputs import BaseModelOutput

from budgetlens.reference.documents import shipped_rows
from budgetlens.reference.model_card import model_card
from budgetlens.reference.tokenizer import build_tokenizer

HERE = Path(__file__).parent
#: What the built-in model must reach on the test part: nats, nats, share.
TARGETS = {"wrong_document": 1.5, "no_query": 0.5, "exact_match": 0.7}
SHORT_ANSWER_WORDS = 5
#: Rows of the test generator that are not shipped: a check that nothing was fitted to those that are.
FRESH_ROWS, FRESH_SEED = 300, 8


@dataclass(frozen=True)
class Item:
    """One test example as text."""

    query: str
    document: str
    answer: str


def item_of(row: dict[str, Any]) -> Item:
    """The example of an MS MARCO row (first well-formed answer, else first answer) or of a plain row."""
    if "passages" not in row:
        return Item(row["query"], row["document"], row["answer"])
    answers = row["wellFormedAnswers"] or row["answers"]
    selected = row["passages"]["is_selected"].index(1)
    return Item(row["query"], row["passages"]["passage_text"][selected], answers[0])


def read_items(path: Path) -> list[Item]:
    """The examples of ``test.jsonl`` or ``test_long.jsonl``."""
    return [item_of(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


@dataclass(frozen=True)
class Feed:
    """Token ids of one example in one cell; ``hidden`` encoder positions are hidden from the decoder."""

    encoder: list[int]
    hidden: range
    prompt: list[int]
    answer: list[int]


def feeds(
    tokenizer: Any,
    items: Sequence[Item],
    prompt: str = "query",
    prefix: str = "none",
    wrong_document: bool = False,
) -> list[Feed]:
    """What every example feeds the model.

    Args:
        tokenizer: the model's tokenizer.
        items: the examples.
        prompt: ``"query"``, ``"none"`` or ``"random"``
            (as many ids as the query has, uniform over [100, V-100)).
        prefix: ``"none"`` or ``"oracle"`` (the query and a newline, both hidden from the decoder).
        wrong_document: take the document of example ``(i + N // 2) % N``.
    """

    def ids(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    made = []
    for index, item in enumerate(items):
        source = items[(index + len(items) // 2) % len(items)] if wrong_document else item
        query = ids(item.query)
        before = ids(item.query + "\n") if prefix == "oracle" else []
        chance = random.Random(42 + index + 10000)
        size = len(tokenizer)
        prompts = {"query": query, "none": [], "random": [chance.randrange(100, size - 100) for _ in query]}
        encoder = [tokenizer.bos_token_id, *before, *ids(source.document)]
        made.append(Feed(encoder, range(1, 1 + len(before)), prompts[prompt], ids(item.answer)))
    return made


def _encode(model: Any, batch: Sequence[Feed]) -> tuple[BaseModelOutput, torch.Tensor]:
    """Encoder states of a padded batch and the mask through which the decoder sees them."""
    longest = max(len(feed.encoder) for feed in batch)
    ids = torch.zeros((len(batch), longest), dtype=torch.long)
    mask = torch.zeros((len(batch), longest), dtype=torch.long)
    for row, feed in enumerate(batch):
        ids[row, : len(feed.encoder)] = torch.tensor(feed.encoder)
        mask[row, : len(feed.encoder)] = 1
    states = model.get_encoder()(input_ids=ids, attention_mask=mask).last_hidden_state
    for row, feed in enumerate(batch):
        mask[row, feed.hidden.start : feed.hidden.stop] = 0
    return BaseModelOutput(last_hidden_state=states), mask


@torch.no_grad()
def answer_nll(model: Any, items: Sequence[Feed], batch_size: int = 16) -> list[float]:
    """Mean negative log-likelihood (nats) of each example's answer tokens; EOS is not counted."""
    start = model.config.decoder.bos_token_id
    order = sorted(range(len(items)), key=lambda index: len(items[index].encoder))
    results = [float("nan")] * len(items)
    for begin in range(0, len(order), batch_size):
        chosen = order[begin : begin + batch_size]
        batch = [items[index] for index in chosen]
        states, mask = _encode(model, batch)
        sequences = [[start, *feed.prompt, *feed.answer] for feed in batch]
        longest = max(map(len, sequences))
        ids = torch.tensor([sequence + [0] * (longest - len(sequence)) for sequence in sequences])
        seen = torch.tensor([[1] * len(one) + [0] * (longest - len(one)) for one in sequences])
        logits = model(
            encoder_outputs=states, attention_mask=mask, decoder_input_ids=ids, decoder_attention_mask=seen
        ).logits
        for row, (index, feed) in enumerate(zip(chosen, batch, strict=True)):
            first = len(feed.prompt)
            rows = logits[row, first : first + len(feed.answer)].float()
            results[index] = float(functional.cross_entropy(rows, torch.tensor(feed.answer)))
    return results


@torch.no_grad()
def greedy_answers(model: Any, tokenizer: Any, items: Sequence[Feed], longest: int = 60) -> list[str]:
    """Greedy continuations of ``[start] + prompt`` as text, examples with equally long prompts together."""
    start = model.config.decoder.bos_token_id
    groups = defaultdict(list)
    for index, feed in enumerate(items):
        groups[len(feed.prompt)].append(index)
    texts = [""] * len(items)
    for indices in groups.values():
        for begin in range(0, len(indices), 16):
            chosen = indices[begin : begin + 16]
            states, mask = _encode(model, [items[index] for index in chosen])
            ids = torch.tensor([[start, *items[index].prompt] for index in chosen])
            made = model.generate(
                encoder_outputs=states,
                attention_mask=mask,
                decoder_input_ids=ids,
                max_new_tokens=longest,
                do_sample=False,
            )
            for index, sequence in zip(chosen, made[:, ids.shape[1] :], strict=True):
                texts[index] = tokenizer.decode(sequence, skip_special_tokens=True).strip()
    return texts


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else float("nan")


def measure(model: Any, tokenizer: Any, items: Sequence[Item]) -> dict[str, Any]:
    """The measures of :data:`TARGETS` and what explains them, on the given examples.

    ``nll`` holds means over examples of the mean answer-token NLL (nats); ``gain_over_wrong_document`` and
    ``gain_over_no_query`` are differences of such means; ``exact_match`` is the share of greedy answers
    equal to the reference, for answers of one to five words and for longer ones.
    """
    right = answer_nll(model, feeds(tokenizer, items))
    wrong = answer_nll(model, feeds(tokenizer, items, wrong_document=True))
    none = answer_nll(model, feeds(tokenizer, items, prompt="none"))
    made = greedy_answers(model, tokenizer, feeds(tokenizer, items))
    words = [len(item.answer.split()) for item in items]
    equal = [float(text == item.answer) for text, item in zip(made, items, strict=True)]
    short = [count <= SHORT_ANSWER_WORDS for count in words]

    def among(values: Sequence[float], wanted: bool) -> list[float]:
        return [value for value, is_short in zip(values, short, strict=True) if is_short == wanted]

    return {
        "examples": len(items),
        "short_answers": sum(short),
        "nll": {
            "right_document": _mean(right),
            "wrong_document": _mean(wrong),
            "no_query": _mean(none),
            "right_document_short": _mean(among(right, True)),
            "wrong_document_short": _mean(among(wrong, True)),
            "no_query_short": _mean(among(none, True)),
            "right_document_longer": _mean(among(right, False)),
            "wrong_document_longer": _mean(among(wrong, False)),
            "no_query_longer": _mean(among(none, False)),
        },
        "gain_over_wrong_document": _mean(wrong) - _mean(right),
        "gain_over_no_query": _mean(none) - _mean(right),
        "exact_match_short": _mean(among(equal, True)),
        "exact_match_longer": _mean(among(equal, False)),
    }


def cells(model: Any, tokenizer: Any, items: Sequence[Item]) -> dict[str, float]:
    """Mean NLL (nats) in the cells of the decoder length control, for orientation."""
    return {
        f"{prefix}, {prompt}": _mean(answer_nll(model, feeds(tokenizer, items, prompt, prefix)))
        for prefix in ("none", "oracle")
        for prompt in ("none", "random", "query")
    }


def evaluate(folder: Path, corpus: Path) -> dict[str, Any]:
    """All results of the model in ``folder`` on the corpus in ``corpus``."""
    model = AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    items = read_items(corpus / "test.jsonl")
    began = time.monotonic()
    results = {
        "test": measure(model, tokenizer, items),
        "test_long": measure(model, tokenizer, read_items(corpus / "test_long.jsonl")),
        "fresh": measure(model, tokenizer, [item_of(row) for row in shipped_rows(FRESH_ROWS, FRESH_SEED)]),
        "fresh_seed": FRESH_SEED,
        "cells": cells(model, tokenizer, items),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }
    results["evaluation_seconds"] = round(time.monotonic() - began, 1)
    return results


def write_results(out: Path, training: dict[str, Any]) -> None:
    """Measure the model in ``out/model`` on ``out/corpus``; write ``results.json`` and the model card."""
    folder = out / "model"
    results = {"training": training, **evaluate(folder, out / "corpus")}
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(model_card(results), encoding="utf-8")
    print(json.dumps({key: value for key, value in results.items() if key != "training"}, indent=1))


def publish(model: Any, out: Path, training: dict[str, Any]) -> None:
    """Write ``out/model``: weights, configuration, tokenizer, results, and the model card."""
    folder = out / "model"
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    build_tokenizer().save_pretrained(folder)
    write_results(out, training)


if __name__ == "__main__":
    recorded = json.loads((HERE / "model" / "results.json").read_text(encoding="utf-8"))
    write_results(HERE, recorded["training"])
