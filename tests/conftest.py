"""What several test modules share: tiny models made ready once, trials with roles, and a small corpus."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy
import pytest
import torch
from transformers import PreTrainedModel

from budgetlens.model.batching import Batch, make_batch
from budgetlens.model.capture import Probing
from budgetlens.model.loaded import LoadedModel
from budgetlens.model.loading import prepare_model
from budgetlens.model.tokenization import TokenizedTrial
from budgetlens.model.trials import Example, Trial
from probes.budgets import Budgets
from probes.entropies import Entropies, PublishedEntropies
from tests.precision import Float32, float32_of
from tests.reference import eager, tiny_models

#: Everything that a capture can read.
EVERYTHING = Probing((Budgets(), Entropies(), PublishedEntropies()), encoder=True)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """The models are tiny: threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def loaded() -> Callable[[str], LoadedModel]:
    """The tiny model of a family, ready for capture; made once. The contract check has tests of its own."""

    @cache
    def make(family: str) -> LoadedModel:
        return prepare_model(
            tiny_models.build(family), tiny_models.tokenizer(), name=family, identity="tiny", check=False
        )

    return make


@pytest.fixture(scope="session")
def oracle() -> Callable[[str], PreTrainedModel]:
    """A family's tiny model in eager attention, which the project never touches."""

    @cache
    def make(family: str) -> PreTrainedModel:
        return tiny_models.build(family, attention="eager")

    return make


@pytest.fixture(scope="session")
def truth(oracle: Callable[[str], PreTrainedModel]) -> Callable[[str], PreTrainedModel]:
    """The same model in float64 throughout: what numbers are compared with."""

    @cache
    def make(family: str) -> PreTrainedModel:
        return eager.double_twin(oracle(family))

    return make


@pytest.fixture(scope="session")
def float32(
    oracle: Callable[[str], PreTrainedModel], trials: dict[str, TokenizedTrial]
) -> Callable[[str], Float32]:
    """The deviation of a family's own float32 from its float64, over trials of every kind: what bounds are made of."""

    @cache
    def make(family: str) -> Float32:
        return float32_of(oracle(family), trials.values())

    return make


@dataclass(frozen=True)
class Shape:
    """Numbers of positions by role, in the order of the input, and what is hidden or moved."""

    bos: int = 1
    prefix: int = 0
    separator: int = 0
    document: int = 23
    eos: int = 1
    prompt: int = 0
    answer: int = 5
    hidden: tuple[str, ...] = ()
    shift: int = 0
    #: Trials with the same encoder positions and the same seed share an encoder pass.
    seed: int = 0

    def trial(self) -> TokenizedTrial:
        """Random ids in this shape. The decoder's ids differ between shapes, the encoder's need not."""
        encoder_roles = tuple(role for role in eager.ENCODER_ROLES for _ in range(getattr(self, role)))
        decoder_roles = ("start", *("prompt",) * self.prompt, *("answer",) * self.answer)
        encoder = numpy.random.default_rng([self.seed, len(encoder_roles)])
        decoder = numpy.random.default_rng([self.seed, self.prompt, self.answer])
        bare = Trial.bare(Example(f"{self}", "", "", ""))
        return TokenizedTrial(
            trial=replace(bare, hidden=frozenset(self.hidden)),
            encoder_ids=random_ids(encoder, len(encoder_roles)),
            encoder_roles=encoder_roles,
            visible=tuple(role not in self.hidden for role in encoder_roles),
            decoder_ids=(2, *random_ids(decoder, self.prompt + self.answer)),
            decoder_roles=decoder_roles,
            decoder_shift=self.shift,
            document_intact=True,
            published_hidden=0,
            truncated=0,
        )


def random_ids(generator: numpy.random.Generator, count: int) -> tuple[int, ...]:
    """Ids of the tiny models that are no special tokens."""
    return tuple(generator.integers(4, tiny_models.VOCABULARY, count).tolist())


PREFIXED = Shape(prefix=4, separator=1, document=17)

#: One trial of every kind; documents are longer than the sliding windows, one decoder than 40 positions.
SHAPES: dict[str, Shape] = {
    "bare": Shape(),
    "prefix visible": replace(PREFIXED, prompt=4, answer=3),
    "prefix hidden": replace(PREFIXED, hidden=("prefix", "separator"), answer=1),
    "prefix and BOS hidden": replace(PREFIXED, hidden=("bos", "prefix", "separator"), prompt=6, answer=4),
    "long decoder, no BOS": Shape(bos=0, document=38, prompt=31, answer=19),
    "moved": Shape(shift=7, answer=6),
    "other document": Shape(document=12, eos=0, prompt=2, answer=2, seed=5),
}


@pytest.fixture(scope="session")
def trials() -> dict[str, TokenizedTrial]:
    """One trial of every kind."""
    return {name: shape.trial() for name, shape in SHAPES.items()}


def batch_of(trials: Sequence[TokenizedTrial], *, rows: str = "predicting", pack: bool = False) -> Batch:
    """A batch of tiny models' trials."""
    return make_batch(trials, pad_token=tiny_models.PAD, rows=rows, pack=pack)


TOPICS = ("bridge", "tower", "river", "mill", "wall", "harbour", "school", "forge", "garden", "temple", "inn")
BUILDERS = ("Orla Venn", "Tamm", "Kesh", "the people of Lund", "Oss", "an old miller from the sea")


def corpus_rows(count: int) -> list[dict[str, str]]:
    """Rows of the plain schema: documents and answers of unequal lengths."""
    rows = []
    for number in range(count):
        topic, builder = TOPICS[number % len(TOPICS)], BUILDERS[number % len(BUILDERS)]
        filler = " ".join(
            f"In the year {1400 + number + extra} the people ate bread." for extra in range(number % 4)
        )
        rows.append(
            {
                "query": f"who built the {topic} number {number}" + (" and when" if number % 3 == 0 else ""),
                "document": f"The {topic} number {number} was built by {builder}. {filler}".strip(),
                "answer": builder if number % 2 else f"{builder} built the {topic}",
            }
        )
    return rows


def write_corpus(path: Path, count: int = 6) -> Path:
    """A JSON Lines corpus of ``count`` rows."""
    path.write_text("".join(json.dumps(row) + "\n" for row in corpus_rows(count)), encoding="utf-8")
    return path


def save_tiny(family: str, directory: Path) -> Path:
    """A tiny model of ``family`` and its tokenizer, saved as published models are."""
    tiny_models.build(family).save_pretrained(directory)
    tiny_models.tokenizer().save_pretrained(directory)
    return directory


@pytest.fixture(scope="session")
def tiny_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved tiny T5Gemma 2."""
    return save_tiny("t5gemma2", tmp_path_factory.mktemp("tiny") / "t5gemma2")
