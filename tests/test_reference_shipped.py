"""What is shipped of the built-in model and corpus: the generator's rows, and a model that reads but not perfectly."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, T5Gemma2ForConditionalGeneration

import budgetlens.reference
from budgetlens.reference.learning import training
from budgetlens.reference.learning.measures import read_items
from budgetlens.reference.learning.model_card import model_card
from budgetlens.reference.learning.publication import measure, missed_targets
from budgetlens.reference.learning.training import Recipe
from budgetlens.reference.world.rows import shipped_long_rows, shipped_rows
from budgetlens.reference.world.tokenizer import BOS, build_tokenizer

PACKAGE = Path(budgetlens.reference.__file__).parent
MODEL, CORPUS = PACKAGE / "model", PACKAGE / "corpus"


def rows_of(name: str) -> list[dict]:
    return [json.loads(line) for line in (CORPUS / name).read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def shipped() -> T5Gemma2ForConditionalGeneration:
    return AutoModelForSeq2SeqLM.from_pretrained(MODEL, dtype=torch.float32).eval()


def test_shipped_corpus_is_what_the_generator_makes():
    assert rows_of("test.jsonl") == shipped_rows()
    assert rows_of("test_long.jsonl") == shipped_long_rows()


def test_shipped_model_is_a_small_t5gemma2(shipped):
    assert isinstance(shipped, T5Gemma2ForConditionalGeneration)
    assert sum(file.stat().st_size for file in MODEL.iterdir()) <= 12_000_000
    assert shipped.generation_config.decoder_start_token_id == shipped.config.decoder.bos_token_id == BOS
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    assert tokenizer.get_vocab() == build_tokenizer().get_vocab()
    assert tokenizer("who?\nIt was.")["input_ids"] == build_tokenizer()("who?\nIt was.")["input_ids"]
    assert len(tokenizer) == shipped.config.decoder.vocab_size
    for config in (shipped.config.encoder.text_config, shipped.config.decoder):
        assert config.num_key_value_heads < config.num_attention_heads
        assert config.layer_types[-1] == "full_attention"
        assert all(
            one != other for one, other in zip(config.layer_types, config.layer_types[1:], strict=False)
        )
        assert config.sliding_window < 100
    reserved = {shipped.config.eoi_token_index, shipped.config.image_token_index}
    assert all(tokenizer.convert_ids_to_tokens(index) in {"<eoi>", "<image>"} for index in reserved)


def test_shipped_model_survives_saving(shipped, tmp_path):
    shipped.save_pretrained(tmp_path)
    again = AutoModelForSeq2SeqLM.from_pretrained(tmp_path).eval()
    ids = torch.tensor([[BOS, 400, 401, 402]])
    with torch.no_grad():
        logits = [model(input_ids=ids, decoder_input_ids=ids[:, :2]).logits for model in (shipped, again)]
    assert torch.equal(*logits)


def test_shipped_model_is_neither_at_the_floor_nor_ignorant(shipped):
    """On a sample; the bounds are those of the whole test part, in which all must lie."""
    items = read_items(CORPUS / "test.jsonl")[::7]
    found = measure(shipped, AutoTokenizer.from_pretrained(MODEL), items)
    assert 0.1 <= found["nll"] <= 1.0
    assert 0.5 <= found["exact_match"] <= 0.95
    assert found["gain_over_wrong_document"] >= 1.5
    assert found["gain_over_no_query"] >= 0.3
    assert found["selected_first"] >= 0.5


def test_recorded_results_and_card_agree_with_the_recipe():
    results = json.loads((MODEL / "results.json").read_text(encoding="utf-8"))
    assert results["training"]["recipe"] == training.recipe_record(Recipe())
    assert missed_targets(results["test"]) == []
    assert missed_targets(results["fresh"]) == []
    assert (MODEL / "README.md").read_text(encoding="utf-8") == model_card(results)


def test_another_seed_gives_the_same_quality():
    results = json.loads((MODEL / "results.json").read_text(encoding="utf-8"))
    second = results["second_seed"]
    assert second["seed"] != Recipe().seed
    assert missed_targets(second["test"]) == []
