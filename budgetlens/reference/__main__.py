"""``python -m budgetlens.reference``: write the corpus, train or continue, measure, write the model."""

from __future__ import annotations

import argparse
import json
import os
import platform
from dataclasses import replace
from pathlib import Path

import torch

from budgetlens.reference import documents
from budgetlens.reference.training import Recipe, recipe_record, train

HERE = Path(__file__).parent
TEST_EXAMPLES, LONG_TEST_EXAMPLES = 700, 100


def write_corpus(folder: Path) -> None:
    """Write ``test.jsonl`` (MS MARCO rows) and ``test_long.jsonl`` (query, document, answer)."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = {
        "test.jsonl": documents.shipped_rows(TEST_EXAMPLES),
        "test_long.jsonl": documents.shipped_long_rows(LONG_TEST_EXAMPLES),
    }
    for name, rows in parts.items():
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / name).write_text(text, encoding="utf-8")


def main(arguments: list[str] | None = None) -> None:
    """The command; see ``--help``."""
    parser = argparse.ArgumentParser(prog="python -m budgetlens.reference", description=__doc__)
    default = "(default: %(default)s)"
    parser.add_argument("--steps", type=int, default=Recipe().steps, help=f"training steps {default}")
    parser.add_argument(
        "--out", type=Path, default=HERE, help="gets model/ and corpus/ (default: the package)"
    )
    parser.add_argument("--work", type=Path, default=Path("build/reference"), help=f"checkpoints {default}")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="CPU threads (default: all)")
    parser.add_argument("--no-compile", action="store_true", help="without torch.compile (no C++ compiler)")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    recipe = replace(Recipe(), steps=options.steps, compile=not options.no_compile)
    write_corpus(options.out / "corpus")
    model, spent = train(recipe, options.work)
    from budgetlens.reference.evaluate import publish

    machine = f"{options.threads} threads of a {platform.machine()} CPU, torch {torch.__version__}"
    publish(model, options.out, {"recipe": recipe_record(recipe), **spent, "machine": machine})


if __name__ == "__main__":
    main()
