"""Having the parts of a run computed, and writing each as soon as it is there."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from tqdm import tqdm

from budgetlens.model.loaded import LoadedModel
from budgetlens.runs.capturing import Unit
from budgetlens.runs.engines.engine import Computer, Part, Task
from budgetlens.runs.processors import in_words
from budgetlens.runs.storage import RunDirectory, part_name

#: Workers that the bar names one by one.
_MOST_NAMED = 8


def compute_parts(
    computer: Computer,
    model: LoadedModel,
    task: Task,
    parts: Sequence[Sequence[Unit]],
    directory: RunDirectory,
    name: str,
    progress: bool,
) -> None:
    """Have every part computed that is not whole yet, and write it; the bar has a ``name``. Raises as the computer does."""
    done = {index for index in range(len(parts)) if directory.part_is_whole(part_name(index))}
    left = [Part(index, tuple(part)) for index, part in enumerate(parts) if index not in done]
    if not left:
        return
    counts: Counter[str] = Counter()
    # Closed here, whatever happens: workers that nobody waits for any more are to end.
    results = closing(computer.computed(model, task, left))
    bar = tqdm(
        total=sum(len(part) for part in parts),
        initial=sum(len(parts[index]) for index in done),
        unit="example",
        desc=name,
        disable=not progress,
    )
    with bar, results as computed:
        for result in computed:
            for words in result.halved:
                tqdm.write(words, file=sys.stderr)
            directory.write_part(part_name(result.index), result.records, result.facts)
            if result.worker:
                counts[result.worker] += 1
                bar.set_postfix_str(_by_worker(counts), refresh=False)
            bar.update(len(parts[result.index]))


def _by_worker(counts: Counter[str]) -> str:
    """How many parts each worker has computed."""
    if len(counts) <= _MOST_NAMED:
        return "parts by worker " + " ".join(
            f"{worker}:{counts[worker]}" for worker in sorted(counts, key=int)
        )
    return f"{len(counts)} workers, {min(counts.values())} to {max(counts.values())} parts each"


def computed_facts(directory: RunDirectory, count: int) -> dict[str, Any]:
    """How the parts were computed, as their markers tell: what run.json says of it."""
    facts = [directory.part_facts(part_name(index)) for index in range(count)]
    processors = dict.fromkeys(each.processor for each in facts if each.processor)
    smaller = [index for index, each in enumerate(facts) if each.smaller_batches]
    return {
        "processors": {
            kind: in_words([index for index, each in enumerate(facts) if each.processor == kind])
            for kind in processors
        },
        **({"smaller_batches": in_words(smaller)} if smaller else {}),
    }
