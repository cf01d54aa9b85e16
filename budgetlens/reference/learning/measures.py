"""Measures of the built-in model, written straight from their definitions; no code is shared with the analyses."""

from __future__ import annotations

import json
import random
import re
import string
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional
from transformers.modeling_outputs import BaseModelOutput

BATCH = 16
#: No answer of the corpus has more tokens.
LONGEST_ANSWER = 120


@dataclass(frozen=True)
class Item:
    """One test example as text; ``answers`` are all right answers, the one whose likelihood is taken first.

    ``passages`` are all of its row's, ``document`` among them; none in long rows.
    """

    query: str
    document: str
    answers: tuple[str, ...]
    form: str = "value"
    passages: tuple[str, ...] = ()
    candidates: tuple[str, ...] = ()

    @property
    def answer(self) -> str:
        """The answer that is given."""
        return self.answers[0]


def item_of(row: dict[str, Any]) -> Item:
    """The example of an MS MARCO row (its well-formed answers, else its answers) or of a plain row."""
    form, candidates = row["form"], tuple(row["candidates"])
    if "passages" not in row:
        return Item(row["query"], row["document"], tuple(row["answers"]), form, (), candidates)
    answers = tuple(row["wellFormedAnswers"] or row["answers"])
    texts = row["passages"]["passage_text"]
    selected = texts[row["passages"]["is_selected"].index(1)]
    return Item(row["query"], selected, answers, form, tuple(texts), candidates)


def read_items(path: Path) -> list[Item]:
    """The examples of ``test.jsonl`` or ``test_long.jsonl``."""
    return [item_of(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


@dataclass(frozen=True)
class Feed:
    """Token ids of one example in one cell; ``hidden`` encoder positions are hidden from the decoder.

    ``target`` is what is predicted behind ``prompt``.
    """

    encoder: list[int]
    hidden: range
    prompt: list[int]
    target: list[int]


def _ids(tokenizer: Any, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def feeds(
    tokenizer: Any,
    items: Sequence[Item],
    prompt: str = "query",
    prefix: str = "none",
    wrong_document: bool = False,
) -> list[Feed]:
    """What every example feeds the model.

    Args:
        tokenizer: the model's.
        items: the examples.
        prompt: what the decoder is given before the answer: ``"query"``, ``"none"`` or ``"random"``
            (as many ids as the query has, uniform over [100, V-100)).
        prefix: ``"none"``, or ``"oracle"`` or ``"random"`` (the query, or as many words of another document)
            and a newline, all of it hidden from the decoder.
        wrong_document: take the document of example ``(i + N // 2) % N``.
    """
    made = []
    for index, item in enumerate(items):
        other = items[(index + len(items) // 2) % len(items)]
        source = other if wrong_document else item
        query = _ids(tokenizer, item.query)
        words = " ".join(other.document.split()[: len(item.query.split())])
        texts = {"none": "", "oracle": f"{item.query}\n", "random": f"{words}\n"}
        before = _ids(tokenizer, texts[prefix])
        chance = random.Random(42 + index + 10000)
        size = len(tokenizer)
        prompts = {"query": query, "none": [], "random": [chance.randrange(100, size - 100) for _ in query]}
        encoder = [tokenizer.bos_token_id, *before, *_ids(tokenizer, source.document)]
        hidden = range(1, 1 + len(before))
        made.append(Feed(encoder, hidden, prompts[prompt], _ids(tokenizer, item.answer)))
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
def target_nll(model: Any, items: Sequence[Feed]) -> list[float]:
    """Mean negative log-likelihood (nats) of each feed's target tokens; EOS is not counted."""
    start = model.config.decoder.bos_token_id
    order = sorted(range(len(items)), key=lambda index: len(items[index].encoder))
    results = [float("nan")] * len(items)
    for begin in range(0, len(order), BATCH):
        chosen = order[begin : begin + BATCH]
        batch = [items[index] for index in chosen]
        states, mask = _encode(model, batch)
        sequences = [[start, *feed.prompt, *feed.target] for feed in batch]
        longest = max(map(len, sequences))
        ids = torch.tensor([sequence + [0] * (longest - len(sequence)) for sequence in sequences])
        seen = torch.tensor([[1] * len(one) + [0] * (longest - len(one)) for one in sequences])
        logits = model(
            encoder_outputs=states, attention_mask=mask, decoder_input_ids=ids, decoder_attention_mask=seen
        ).logits
        for row, (index, feed) in enumerate(zip(chosen, batch, strict=True)):
            first = len(feed.prompt)
            rows = logits[row, first : first + len(feed.target)]
            results[index] = float(functional.cross_entropy(rows, torch.tensor(feed.target)))
    return results


@torch.no_grad()
def greedy_answers(model: Any, tokenizer: Any, items: Sequence[Feed]) -> list[str]:
    """Greedy continuations of ``[start] + prompt`` as text, examples with equally long prompts together."""
    start = model.config.decoder.bos_token_id
    groups = defaultdict(list)
    for index, feed in enumerate(items):
        groups[len(feed.prompt)].append(index)
    texts = [""] * len(items)
    for indices in groups.values():
        for begin in range(0, len(indices), BATCH):
            chosen = indices[begin : begin + BATCH]
            states, mask = _encode(model, [items[index] for index in chosen])
            ids = torch.tensor([[start, *items[index].prompt] for index in chosen])
            made = model.generate(
                encoder_outputs=states,
                attention_mask=mask,
                decoder_input_ids=ids,
                max_new_tokens=LONGEST_ANSWER,
                do_sample=False,
            )
            for index, sequence in zip(chosen, made[:, ids.shape[1] :], strict=True):
                texts[index] = tokenizer.decode(sequence, skip_special_tokens=True).strip()
    return texts


def normalised(text: str) -> str:
    """A text as SQuAD's measures compare it: lower case, no punctuation, no articles, single spaces."""
    bare = "".join(character for character in text.lower() if character not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", bare).split())


def exact_matches(made: Sequence[str], items: Sequence[Item]) -> list[float]:
    """Whether a made answer is, normalised, one of its item's right answers: 1.0 or 0.0 per item."""
    return [
        float(normalised(text) in {normalised(answer) for answer in item.answers})
        for text, item in zip(made, items, strict=True)
    ]


def _first(values: Sequence[float], owners: Sequence[int], right: Sequence[bool]) -> list[float]:
    """For each owner of values, in order: 1.0 where the right one is the smallest, else 0.0."""
    best: dict[int, tuple[float, bool]] = {}
    for value, owner, is_right in zip(values, owners, right, strict=True):
        best[owner] = min(best.get(owner, (float("inf"), False)), (value, is_right))
    return [float(best[owner][1]) for owner in sorted(best)]


def selected_first(model: Any, tokenizer: Any, items: Sequence[Item]) -> list[float]:
    """Whether the query is likeliest given the selected passage among all of its row: 1.0 or 0.0 per item."""
    made, owners, right = [], [], []
    for index, item in enumerate(items):
        for passage in item.passages:
            encoder = [tokenizer.bos_token_id, *_ids(tokenizer, passage)]
            made.append(Feed(encoder, range(0), [], _ids(tokenizer, item.query)))
            owners.append(index)
            right.append(passage == item.document)
    return _first(target_nll(model, made), owners, right)


def answer_first(model: Any, tokenizer: Any, items: Sequence[Item]) -> list[float]:
    """Whether the answer is likelier than every candidate, by the mean over tokens: 1.0 or 0.0 per item."""
    made, owners, right = [], [], []
    for index, (item, feed) in enumerate(zip(items, feeds(tokenizer, items), strict=True)):
        for text in (item.answer, *item.candidates):
            made.append(Feed(feed.encoder, feed.hidden, feed.prompt, _ids(tokenizer, text)))
            owners.append(index)
            right.append(text == item.answer)
    return _first(target_nll(model, made), owners, right)
