"""Models from Python: by name and wrapped, the same numbers, an identity of what is in memory, and what is refused."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import budgetlens as bl
from budgetlens.face.model import Model
from budgetlens.model.contract import ContractError
from budgetlens.model.in_memory import memory_hash, wrap_model
from budgetlens.model.loaded import ModelError
from tests.conftest import save_tiny
from tests.reference import tiny_models

TEXTS = {"document": "Orla Venn built the mill.", "query": "who built the mill", "answer": "Orla Venn"}


def test_a_wrapped_model_reads_like_the_loaded_one(tiny_directory: Path) -> None:
    loaded = bl.load_model(str(tiny_directory), max_encoder_tokens=9)
    wrapped = bl.wrap(
        tiny_models.build("t5gemma2"), tiny_models.tokenizer(), name="mine", max_encoder_tokens=9
    )
    with pytest.warns(UserWarning, match="encoder tokens are cut at the limit"):
        first, second = loaded.read(**TEXTS), wrapped.read(**TEXTS)
    assert first.budgets.equals(second.budgets)
    assert first.token_nll.equals(second.token_nll)
    assert (wrapped.name, wrapped.depths) == ("mine", {"encoder": 3, "decoder": 5})
    assert wrapped.loaded.identity == wrapped.identity != loaded.identity
    assert wrapped.parameters == sum(own.numel() for own in tiny_models.build("t5gemma2").parameters())


@pytest.mark.parametrize("family", ["t5gemma2", "t5"])
def test_the_identity_is_of_what_is_in_memory(family: str, tmp_path: Path) -> None:
    model, tokenizer = tiny_models.build(family), tiny_models.tokenizer()
    identity = memory_hash(model, tokenizer)
    assert memory_hash(tiny_models.build(family), tiny_models.tokenizer()) == identity
    # Where it was saved, and what saved it, is not what it computes.
    saved = transformers.AutoModelForSeq2SeqLM.from_pretrained(
        save_tiny(family, tmp_path), dtype=torch.float32
    )
    assert memory_hash(saved, transformers.AutoTokenizer.from_pretrained(tmp_path)) == identity
    found = {identity}
    for change in (_weights, _layout, _configuration, _start):
        other = copy.deepcopy(model)
        change(other)
        found.add(memory_hash(other, tokenizer))
    found.add(memory_hash(copy.deepcopy(model).to(torch.bfloat16), tokenizer))
    other_tokenizer = tiny_models.tokenizer()
    other_tokenizer.add_tokens(["mill"])
    found.add(memory_hash(model, other_tokenizer))
    assert len(found) == 7


def _weights(model: Any) -> None:
    parameter = max(model.parameters(), key=len)
    parameter.data.view(-1)[-1] = torch.nextafter(parameter.data.view(-1)[-1], torch.tensor(torch.inf))


def _layout(model: Any) -> None:
    # The same numbers in another tensor.
    one, two = [own for own in model.parameters() if own.shape == (tiny_models.HIDDEN,)][:2]
    one.data, two.data = two.data.clone(), one.data.clone()


def _configuration(model: Any) -> None:
    model.config.pad_token_id = 3


def _start(model: Any) -> None:
    model.generation_config.forced_bos_token_id = 5


def _attending(family: str, implementation: str) -> Any:
    model = tiny_models.build(family)
    model.config._attn_implementation_internal = implementation
    return model


@pytest.mark.parametrize(
    ("model", "tokenizer", "words"),
    [
        (
            lambda: "google/t5",
            tiny_models.tokenizer,
            "a transformers model and its tokenizer are needed, .* got str",
        ),
        (lambda: tiny_models.build("t5"), lambda: None, "got T5ForConditionalGeneration and NoneType"),
        (
            lambda: transformers.GPT2LMHeadModel(
                transformers.GPT2Config(n_layer=1, n_embd=8, n_head=2, vocab_size=9)
            ),
            tiny_models.tokenizer,
            "is a 'gpt2' model without an encoder",
        ),
        (lambda: tiny_models.build("t5").to("meta"), tiny_models.tokenizer, "lie on meta.*model.to"),
        (
            lambda: _attending("t5gemma", "sdpa"),
            tiny_models.tokenizer,
            "exact with eager only; load it with attn_implementation='eager'",
        ),
    ],
)
def test_what_can_not_be_wrapped_is_told(model: Any, tokenizer: Any, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        wrap_model(model(), tokenizer(), name="", limits=None)


def test_a_model_that_fails_the_proof_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(model: Any) -> None:
        raise ContractError(f"{model.name}: an edit is discarded")

    monkeypatch.setattr("budgetlens.model.loading.check_contract", refuse)
    with pytest.raises(ContractError, match="mine: an edit is discarded"):
        bl.wrap(tiny_models.build("t5"), tiny_models.tokenizer(), name="mine")


@pytest.mark.parametrize("wrong", [0, -1, 2.5, True, "many"])
def test_a_limit_is_a_whole_number(wrong: Any) -> None:
    with pytest.raises(ValueError, match="max_encoder_tokens is a whole number of at least 1"):
        bl.load_model("reference", max_encoder_tokens=wrong)


@pytest.mark.parametrize(("name", "words"), [("", "is empty"), ("nowhere/at/all", "nowhere/at/all")])
def test_what_can_not_be_loaded_is_told(name: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        bl.load_model(name)


def test_a_model_is_what_the_face_makes_it(tiny_directory: Path) -> None:
    assert isinstance(bl.load_model(tiny_directory), Model)
