"""Interventions: what each feeds the model, against hand-written inputs, and how they are found."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy
import pytest
import tokenizers
from tokenizers import models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from interventions.decoder_prompt import FILLS, DecoderPrompt
from interventions.intervention import (
    Context,
    Intervention,
    LevelError,
    available_interventions,
    intervention,
)
from interventions.prefix import SOURCES, Prefix
from interventions.truncation import Truncate
from probes.observation import available_probes
from probes.registry import RegistryError, discover, lookup, name_of, nearest, registered
from probes.tokenization import TrialTokenizer
from probes.trials import FIRST_POSITIONS, Example, Segment, Trial

ROOT = Path(__file__).parents[1]
#: The published fill draws from [100, V - 100): a vocabulary with room for it.
VOCABULARY = 400


def make_tokenizer() -> TrialTokenizer:
    """One token per word; ``word17`` has the id 17."""
    vocabulary = {"<pad>": 0, "</s>": 1, "<s>": 2, "<unk>": 3, "\n": 4}
    vocabulary |= {f"word{number}": number for number in range(5, VOCABULARY)}
    core = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    lines = pre_tokenizers.Split("\n", behavior="isolated")
    core.pre_tokenizer = pre_tokenizers.Sequence([lines, pre_tokenizers.Split(" ", behavior="removed")])
    core.post_processor = processors.TemplateProcessing(
        single=["<s>", "$A", "</s>"], special_tokens=[("<s>", 2), ("</s>", 1)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", eos_token="</s>", bos_token="<s>", unk_token="<unk>"
    )
    return TrialTokenizer(fast, 0)


TOKENIZER = make_tokenizer()


def words(*numbers: int) -> str:
    return " ".join(f"word{number}" for number in numbers)


#: Example i has a query of 2 + i words and a document of its own.
EXAMPLES = tuple(
    Example(
        identifier=f"example {index}",
        query=words(*range(10 + index, 12 + 2 * index)),
        document=words(*range(100 + 20 * index, 112 + 20 * index)),
        answer=words(50 + index),
    )
    for index in range(5)
)


def context_of(index: int, seed: int = 42, examples: Sequence[Example] = EXAMPLES) -> Context:
    return Context(index=index, examples=examples, tokenizer=TOKENIZER, vocabulary_size=VOCABULARY, seed=seed)


def applied(change: Intervention, index: int, **options: Any) -> Trial:
    return change.apply(Trial.bare(EXAMPLES[index]), context_of(index, **options))


# Prefix.


def test_the_oracle_prefix_is_the_query_and_a_line_break() -> None:
    trial = applied(Prefix("oracle"), 1)
    assert trial.encoder == (
        Segment("prefix", text="word11 word12 word13"),
        Segment("separator", text="\n"),
        Segment("document", text=EXAMPLES[1].document),
    )
    assert TOKENIZER(trial).encoder_ids == (2, 11, 12, 13, 4, *range(120, 132), 1)
    assert trial.decoder == (Segment("answer", text="word51"),)


@pytest.mark.parametrize(
    ("index", "expected"),
    # Five examples: half a corpus away is two on, round the end.
    [(0, [140, 141]), (1, [160, 161, 162]), (2, [180, 181, 182, 183]), (3, [100, 101, 102, 103, 104])],
)
def test_the_random_prefix_is_as_many_words_of_the_document_half_a_corpus_away(
    index: int, expected: list[int]
) -> None:
    assert applied(Prefix("random"), index).encoder[0] == Segment("prefix", text=words(*expected))


def test_no_prefix_and_a_prefix_in_place_of_another() -> None:
    context = context_of(0)
    once = Prefix("oracle").apply(Trial.bare(EXAMPLES[0]), context)
    assert Prefix("none").apply(once, context) == Trial.bare(EXAMPLES[0])
    twice = Prefix("random").apply(once, context)
    assert [segment.role for segment in twice.encoder] == ["prefix", "separator", "document"]
    assert once == Prefix("oracle").apply(Trial.bare(EXAMPLES[0]), context)


# Truncation.


def test_hidden_levels() -> None:
    assert Truncate.parse("none") == Truncate(frozenset())
    assert Truncate.parse("prefix+separator") == Truncate(frozenset({"prefix", "separator"}))
    assert Truncate.parse("first-n") == Truncate(frozenset({FIRST_POSITIONS}))
    assert applied(Truncate.parse("none"), 0) == Trial.bare(EXAMPLES[0])
    context = context_of(1)
    trial = Truncate.parse("bos+prefix+separator").apply(applied(Prefix("oracle"), 1), context)
    tokenized = TOKENIZER(trial)
    # BOS, three words and the line break.
    assert tokenized.visible == (False,) * 5 + (True,) * 13
    assert tokenized.encoder_ids == TOKENIZER(applied(Prefix("oracle"), 1)).encoder_ids
    first = TOKENIZER(Truncate.parse("first-n").apply(applied(Prefix("oracle"), 1), context))
    assert first.visible == (False,) * 4 + (True,) * 14


# Decoder prompt.


def test_the_query_prompt() -> None:
    trial = applied(DecoderPrompt("query"), 2)
    assert trial.decoder == (Segment("prompt", token_ids=(12, 13, 14, 15)), Segment("answer", text="word52"))
    assert trial.encoder == Trial.bare(EXAMPLES[2]).encoder


@pytest.mark.parametrize("index", range(5))
@pytest.mark.parametrize("seed", [42, 7])
def test_the_published_random_prompt(index: int, seed: int) -> None:
    """One call per token of numpy's legacy generator, seeded with seed + index + 10000."""
    legacy = numpy.random.RandomState(seed + index + 10_000)
    expected = tuple(int(legacy.randint(100, VOCABULARY - 100)) for _ in range(2 + index))
    trial = applied(DecoderPrompt("random"), index, seed=seed)
    assert trial.decoder[0] == Segment("prompt", token_ids=expected)
    assert all(100 <= token < 300 for token in expected)


def test_the_published_random_prompt_needs_a_large_vocabulary() -> None:
    small = Context(index=0, examples=EXAMPLES, tokenizer=TOKENIZER, vocabulary_size=200, seed=42)
    with pytest.raises(
        ValueError, match=r"draws ids from \[100, 100\), which is empty.*use prompt=random-text"
    ):
        DecoderPrompt("random").apply(Trial.bare(EXAMPLES[0]), small)


def prompt_ids(index: int, **options: Any) -> tuple[int, ...]:
    segment = applied(DecoderPrompt("random-text"), index, **options).decoder[0]
    assert segment.role == "prompt"
    assert segment.token_ids is not None
    return segment.token_ids


def test_random_text_prompts_are_ordinary_words_as_many_as_the_query_has() -> None:
    for index in range(5):
        ids = prompt_ids(index)
        assert len(ids) == 2 + index
        # Every id from 5 on is a word; the others are special tokens and the line break.
        assert all(5 <= token < VOCABULARY for token in ids)


def test_random_text_prompts_cover_the_vocabulary_evenly() -> None:
    drawn = numpy.array([token for seed in range(600) for token in prompt_ids(4, seed=seed)])
    # Uniform over 5..399: mean 202 with a standard error of 114 / sqrt(3600).
    assert abs(drawn.mean() - 202.0) < 4 * 114 / numpy.sqrt(drawn.size)
    assert drawn.min() < 10
    assert drawn.max() > 394


def test_random_text_prompts_depend_on_the_seed_and_the_place_alone() -> None:
    assert prompt_ids(4) == prompt_ids(4)
    assert prompt_ids(4) != prompt_ids(4, seed=43)
    same_query = [Example(f"{index}", EXAMPLES[4].query, "word9", "word8") for index in range(3)]
    draws = [
        DecoderPrompt("random-text").apply(
            Trial.bare(same_query[index]), context_of(index, examples=same_query)
        )
        for index in range(3)
    ]
    assert len({trial.decoder for trial in draws}) == 3
    # What stands elsewhere in the corpus, and in which order, plays no part.
    shuffled = (EXAMPLES[3], EXAMPLES[2], EXAMPLES[0], EXAMPLES[1], EXAMPLES[4])
    assert prompt_ids(4, examples=shuffled) == prompt_ids(4)
    assert prompt_ids(4, examples=(*EXAMPLES, *EXAMPLES)) == prompt_ids(4)


def test_no_prompt_and_the_position_control() -> None:
    assert applied(DecoderPrompt("none"), 3) == Trial.bare(EXAMPLES[3])
    moved = applied(DecoderPrompt("position"), 3)
    assert moved.decoder == Trial.bare(EXAMPLES[3]).decoder
    tokenized = TOKENIZER(moved)
    assert tokenized.decoder_shift == 5
    assert tokenized.decoder_ids == TOKENIZER(Trial.bare(EXAMPLES[3])).decoder_ids
    # As far as the query itself moves the answer.
    queried = TOKENIZER(applied(DecoderPrompt("query"), 3))
    assert queried.decoder_roles.index("answer") == tokenized.decoder_roles.index("answer") + 5


def test_interventions_leave_the_given_trial_as_it_is() -> None:
    trial = Trial.bare(EXAMPLES[0])
    for name, cls in available_interventions().items():
        for level in {"prefix": SOURCES, "prompt": (*FILLS, "position"), "hidden": ("bos", "first-n")}.get(
            name, ()
        ):
            cls.parse(level).apply(trial, context_of(0))
            assert trial == Trial.bare(EXAMPLES[0]), (name, level)


# Levels.


def test_unknown_levels_name_the_nearest() -> None:
    with pytest.raises(
        LevelError, match=r"no prefix source is called 'orcale'. Did you mean 'oracle'\? Known: none, "
    ):
        Prefix.parse("orcale")
    with pytest.raises(
        LevelError, match=r"no prompt fill is called 'randomtext'. Did you mean 'random-text'\?"
    ):
        DecoderPrompt.parse("randomtext")
    with pytest.raises(
        LevelError, match=r"unknown role\(s\) \['seperator'\].*or 'first-n' for the published"
    ):
        Truncate.parse("prefix+seperator")
    with pytest.raises(LevelError, match=r"DecoderPrompt takes at most 1 value\(s\) \(fill\); got 'query:3'"):
        DecoderPrompt.parse("query:3")


@intervention("counted")
@dataclass(frozen=True)
class Counted(Intervention):
    """An intervention of a third party with typed values."""

    count: int = 1
    share: float = 0.5
    word: str = "x"
    flag: tuple[int, ...] = ()

    def apply(self, trial: Trial, context: Context) -> Trial:
        return trial


def test_levels_are_parsed_by_the_fields_types() -> None:
    assert Counted.parse("") == Counted()
    assert Counted.parse("3") == Counted(count=3)
    assert Counted.parse("3:0.25:a-b") == Counted(3, 0.25, "a-b")
    assert Counted.parse("3").name == "counted"
    with pytest.raises(LevelError, match=r"Counted.count must be int; got 'three'"):
        Counted.parse("three")
    with pytest.raises(LevelError, match=r"Counted must define parse\(\), since its field flag is a tuple"):
        Counted.parse("3:1:a:b")


# Discovery.


def test_what_is_registered_is_found() -> None:
    found = available_interventions()
    assert {"prefix": Prefix, "hidden": Truncate, "prompt": DecoderPrompt}.items() <= found.items()
    assert list(found) == sorted(found)
    # This module is no part of the package, so its own intervention is not found.
    assert "counted" not in found
    assert {"budgets", "entropies", "published_entropies"} <= available_probes().keys()
    assert name_of(Prefix) == name_of(Prefix()) == "prefix"


def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **modules: str) -> ModuleType:
    """A package with these modules, imported."""
    name = f"package_{tmp_path.name}"
    folder = tmp_path / name
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    for module, source in modules.items():
        (folder / f"{module}.py").write_text(
            "from probes.registry import registered\n" + textwrap.dedent(source)
        )
    monkeypatch.syspath_prepend(str(tmp_path))
    return importlib.import_module(name)


def test_a_registered_class_of_a_module_is_found_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = package(
        tmp_path,
        monkeypatch,
        shapes="""
        @registered("shape", "round")
        class Round: ...

        class Oval(Round):
            "A subclass does not inherit the name."

        @registered("colour", "red")
        class Red: ...
        """,
        more="""
        from .shapes import Round

        @registered("shape", "edgy")
        def edgy(): ...
        """,
    )
    found = discover("shape", made, "budgetlens.test_shapes")
    assert list(found) == ["edgy", "round"]
    assert found["round"].__name__ == "Round"
    with pytest.raises(TypeError):
        found["round"] = int  # type: ignore[index]
    assert list(discover("colour", made, "budgetlens.test_shapes")) == ["red"]
    with pytest.raises(RegistryError, match="Oval is not registered"):
        name_of(importlib.import_module(f"{made.__name__}.shapes").Oval)


def test_one_name_for_two_things_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = """
    @registered("shape", "round")
    class {name}: ...
    """
    made = package(tmp_path, monkeypatch, first=source.format(name="One"), second=source.format(name="Two"))
    with pytest.raises(
        RegistryError, match=r"two shapes are called 'round': .*first\.One and .*second\.Two; rename"
    ):
        discover("shape", made, "budgetlens.test_shapes")


def test_lookup_names_the_nearest() -> None:
    known = {"prefix": 1, "prompt": 2}
    assert lookup("intervention", "prompt", known) == 2
    with pytest.raises(
        RegistryError,
        match=r"no intervention is called 'prefx'. Did you mean 'prefix'\? Known: prefix, prompt",
    ):
        lookup("intervention", "prefx", known)
    assert nearest("zzz", known) == ""
    assert registered("kind", "name")(type("Thing", (), {})).__name__ == "Thing"


def distribution(folder: Path, source: str, **groups: str) -> None:
    """An installed distribution of one module, ``third_party``, with an entry point per group."""
    metadata = folder / "third_party-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: third-party\nVersion: 1.0\n")
    lines = [f"[budgetlens.{group}]\nentry = {target}\n" for group, target in groups.items()]
    (metadata / "entry_points.txt").write_text("\n".join(lines))
    (folder / "third_party.py").write_text(textwrap.dedent(source))


def test_another_distribution_s_interventions_are_found(tmp_path: Path) -> None:
    """In a process of its own: a design uses the intervention by name."""
    distribution(
        tmp_path,
        """
        from dataclasses import dataclass
        from interventions.intervention import Intervention, intervention
        from probes.trials import Segment

        @intervention("shout")
        @dataclass(frozen=True)
        class Shout(Intervention):
            times: int = 1

            def apply(self, trial, context):
                return trial.with_prompt((Segment("prompt", text="HEY " * self.times),))
        """,
        interventions="third_party",
    )
    script = textwrap.dedent(
        """
        import sys
        from analyses.design import Factor, crossed
        from probes.trials import Example

        cell = crossed((Factor("prefix", ("none",)), Factor("shout", ("2",)))).cells[0]
        trial = cell.trial(Example("one", "query", "document", "answer"), None)
        print(cell.interventions[1].name, trial.decoder[0].text, "torch" in sys.modules)
        """
    )
    result = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.stdout == "shout HEY HEY  False\n", result.stderr


def test_another_distribution_s_probe_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    distribution(
        tmp_path,
        """
        from dataclasses import dataclass
        from probes.observation import probe

        @probe("peak")
        @dataclass(frozen=True)
        class Peak:
            axis: str = "part"
        """,
        probes="third_party:Peak",
    )
    assert "peak" not in available_probes()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert available_probes()["peak"].__name__ == "Peak"
    # A name of the project's own is taken, whoever comes second.
    module = tmp_path / "third_party.py"
    sys.modules.pop("third_party")
    importlib.invalidate_caches()
    module.write_text(module.read_text().replace('"peak"', '"budgets"') + "# changed\n")
    with pytest.raises(
        RegistryError, match=r"two probes are called 'budgets': probes.budgets.Budgets and third_party.Peak"
    ):
        available_probes()
    sys.modules.pop("third_party")
