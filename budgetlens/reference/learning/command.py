"""``python -m budgetlens.reference``: write the corpus, train or continue, measure, write the model."""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from budgetlens.reference.learning.training import Recipe, recipe_record, train
from budgetlens.reference.world.rows import shipped_long_rows, shipped_rows

PACKAGE = Path(__file__).parents[1]


def write_corpus(folder: Path) -> None:
    """Write ``test.jsonl`` (MS MARCO rows) and ``test_long.jsonl`` (query, document, answer)."""
    folder.mkdir(parents=True, exist_ok=True)
    parts: dict[str, Sequence[dict[str, Any]]] = {
        "test.jsonl": shipped_rows(),
        "test_long.jsonl": shipped_long_rows(),
    }
    for name, rows in parts.items():
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / name).write_text(text, encoding="utf-8")


def main(arguments: list[str] | None = None) -> None:
    """The command; see ``--help``."""
    parser = argparse.ArgumentParser(prog="python -m budgetlens.reference", description=__doc__)
    default, recipe = "(default: %(default)s)", Recipe()
    parser.add_argument("--seed", type=int, default=recipe.seed, help=f"decides weights and data {default}")
    parser.add_argument("--steps", type=int, default=recipe.steps, help=f"training steps {default}")
    parser.add_argument(
        "--out", type=Path, default=PACKAGE, help="gets model/ and corpus/ (default: the package)"
    )
    parser.add_argument("--work", type=Path, default=Path("build/reference"), help=f"checkpoints {default}")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="CPU threads (default: all)")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    recipe = replace(recipe, steps=options.steps, seed=options.seed)
    write_corpus(options.out / "corpus")
    model, spent = train(recipe, options.work)
    from budgetlens.reference.learning.publication import publish

    threads = f"{options.threads} thread{'' if options.threads == 1 else 's'}"
    machine = f"{threads} of a {platform.machine()} CPU, torch {torch.__version__}"
    publish(model, options.out, {"recipe": recipe_record(recipe), **spent, "machine": machine})


if __name__ == "__main__":
    main()
