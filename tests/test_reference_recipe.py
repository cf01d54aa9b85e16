"""The built-in model and corpus: what is generated, how it is trained, and what is shipped."""

from __future__ import annotations

import json
import random
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, T5Gemma2ForConditionalGeneration

import budgetlens.reference
from budgetlens.reference import documents, training
from budgetlens.reference.batches import Row, Slot, Stage, draw_rows, pack
from budgetlens.reference.domains import every_template
from budgetlens.reference.evaluate import TARGETS, Item, answer_nll, feeds, measure, read_items
from budgetlens.reference.tokenizer import BOS, EOS, build_tokenizer
from budgetlens.reference.training import Recipe, Shape, build_model, packed_hidden_states, train
from tests.reference.eager import own_precision

PACKAGE = Path(budgetlens.reference.__file__).parent
MODEL, CORPUS = PACKAGE / "model", PACKAGE / "corpus"

TINY = Shape(
    hidden_size=16,
    intermediate_size=24,
    layers=2,
    heads=2,
    key_value_heads=1,
    head_dim=8,
    encoder_window=6,
    decoder_window=4,
)


def rows_of(name: str) -> list[dict]:
    return [json.loads(line) for line in (CORPUS / name).read_text(encoding="utf-8").splitlines()]


def invented_words(texts: list[str]) -> set[str]:
    """Capitalised six-letter words of three-letter syllables that no template holds: the names."""
    english = set(re.findall(r"[A-Za-z]+", " ".join(every_template())))
    consonants, ends = "bdfghjklmnprstvz", "dgklmnrstvz"
    pattern = re.compile(rf"\b[{consonants.upper()}][aeiou][{ends}][{consonants}][aeiou][{ends}]\b")
    return {word for text in texts for word in pattern.findall(text) if word not in english}


# ---------------------------------------------------------------- the corpus


def test_generation_is_a_pure_function_of_its_seed():
    first, again = (documents.draw_row(random.Random(5), "train", 3) for _ in range(2))
    assert first == again
    assert documents.draw_row(random.Random(6), "train", 3) != first
    stage = Recipe().stages[1]
    assert draw_rows(stage, (112, 224, 2), 1, 7) == draw_rows(stage, (112, 224, 2), 1, 7)
    assert draw_rows(stage, (112, 224, 2), 1, 7) != draw_rows(stage, (112, 224, 2), 1, 8)


def test_shipped_corpus_is_what_the_generator_makes():
    assert rows_of("test.jsonl")[:40] == documents.shipped_rows(40)
    assert rows_of("test_long.jsonl")[:5] == documents.shipped_long_rows(5)


def test_shipped_rows_have_the_schema_and_the_sizes():
    rows = rows_of("test.jsonl")
    assert len(rows) >= 600
    fields = {"query": str, "query_id": int, "query_type": str, "answers": list, "wellFormedAnswers": list}
    lengths = []
    for row in rows:
        assert set(row) == {*fields, "passages"}
        assert all(isinstance(row[name], kind) for name, kind in fields.items())
        passages = row["passages"]
        assert set(passages) == {"is_selected", "passage_text", "url"}
        assert len({len(values) for values in passages.values()}) == 1
        assert len(passages["url"]) >= 2
        assert sorted(set(passages["is_selected"])) == [0, 1]
        assert sum(passages["is_selected"]) == 1
        assert all(30 <= len(text.split()) <= 300 for text in passages["passage_text"])
        answer = (row["wellFormedAnswers"] or row["answers"])[0]
        lengths.append(len(answer.split()))
        document = passages["passage_text"][passages["is_selected"].index(1)]
        assert 40 <= documents.token_count(document) <= 160
        assert row["answers"][0] in document
    assert sum(length <= 5 for length in lengths) == len(rows) / 2
    assert min(lengths) == 1
    assert max(lengths) >= 25


def test_long_rows_are_long():
    rows = rows_of("test_long.jsonl")
    assert all(set(row) == {"query", "document", "answer"} for row in rows)
    assert all(documents.token_count(row["document"]) >= 500 for row in rows)


def test_a_document_needs_the_query():
    """Most documents tell the asked attribute of another entity too."""
    generator = random.Random(1)
    drawn = [documents.draw_bounded_document(generator, "train") for _ in range(50)]
    shared = 0
    for document in drawn:
        names = [fact.attribute.name for fact in document.facts]
        shared += len(set(names)) < len(names)
    assert shared >= 48


def test_no_name_of_the_test_part_is_trained_on():
    """Names are found by spelling alone, without the generator's own bookkeeping."""
    shipped = rows_of("test.jsonl")
    texts = [text for row in shipped for text in (*row["passages"]["passage_text"], row["query"])]
    texts += [text for row in shipped for text in (*row["answers"], *row["wellFormedAnswers"])]
    texts += [" ".join(row.values()) for row in rows_of("test_long.jsonl")]
    tested = invented_words(texts)
    tokenizer, recipe = build_tokenizer(), Recipe()
    drawn = []
    for step in (0, 900, 3000, 3001):
        stage = next(one for one in recipe.stages if step < one.until * recipe.steps)
        rows = draw_rows(replace(stage, strings=0.0), stage.shapes[0], recipe.seed, step)
        drawn += [tokenizer.decode(row.encoder[1:]) for row in rows]
    trained = invented_words(drawn)
    assert len(tested) > 2000
    assert len(trained) > 300
    assert not tested & trained


def test_unknown_kinds_are_refused():
    generator = random.Random(0)
    with pytest.raises(ValueError, match="colour"):
        documents.language.draw_value(generator, "colour", "train", set())
    with pytest.raises(ValueError, match="poem"):
        documents.draw_question(generator, documents.draw_bounded_document(generator, "train"), "poem")


# ------------------------------------------------------------- the tokenizer


@pytest.mark.parametrize(
    "text",
    [
        "The Zorvek lies on the river 4713. It has 88 people.",
        "who rules Bargit?\nBargit has 12 souls.\n\nIt was built.",
        "Ünïcode — 漢字 and\ttabs, double  spaces, (brackets) & emoji 🙂",
    ],
)
def test_any_text_survives_the_tokenizer(text):
    tokenizer = build_tokenizer()
    ids = tokenizer(text)["input_ids"]
    assert ids[0] == BOS
    assert ids.count(BOS) == 1
    assert EOS not in ids
    assert tokenizer.unk_token_id not in ids
    assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_newline_is_one_token_and_keeps_the_document_apart():
    tokenizer = build_tokenizer()
    query, document = "who rules Bargit?", "Bargit has 12 souls. It was built."
    newline = tokenizer("\n", add_special_tokens=False)["input_ids"]
    assert len(newline) == 1
    joined = tokenizer(f"{query}\n{document}", add_special_tokens=False)["input_ids"]
    parts = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in (query, document)]
    assert joined == [*parts[0], *newline, *parts[1]]


def test_names_are_two_tokens_and_the_vocabulary_is_small():
    tokenizer = build_tokenizer()
    generator = random.Random(3)
    for _ in range(300):
        name = documents.language.draw_name(generator, "train")
        assert len(tokenizer(name, add_special_tokens=False)["input_ids"]) == 2
    assert len(tokenizer) <= 2048
    assert all(
        len(tokenizer(word, add_special_tokens=False)["input_ids"]) == 1 for word in ("river", "lanterns")
    )


# ---------------------------------------------------------------- the recipe


def test_packed_slots_equal_single_sequences():
    """Packing, against the model's own forward with its own masks, one sequence at a time."""
    torch.manual_seed(0)
    model = build_model(TINY).eval()
    for name, parameter in model.named_parameters():
        if "proj" in name and parameter.requires_grad:
            parameter.data.normal_(0, 0.5)
    rows = [
        Row(
            (BOS, *range(400, 417)),
            (
                Slot((500, 501, 502, 503, 504, 505), (600, 601, 602), "a", hidden=(1, 5)),
                Slot((), (700, 701), "b", hidden=(0, 1), shift=3),
            ),
        ),
        Row((BOS, *range(900, 907)), (Slot((450, 451), (800, 801, 802, 803), "c"),)),
    ]
    batch = pack(rows, 20, 16)
    # In float64 nothing that a processor rounds is left of the difference.
    model = model.double()
    with torch.no_grad(), own_precision(model):
        packed = model.lm_head(packed_hidden_states(model, batch))
        for index, row in enumerate(rows):
            start = 0
            for slot in row.slots:
                ids = torch.tensor([[BOS, *slot.prompt, *slot.target[:-1]]])
                encoder_ids = torch.tensor([row.encoder])
                mask = torch.ones_like(encoder_ids)
                states = model.get_encoder()(input_ids=encoder_ids, attention_mask=mask)
                mask[0, slot.hidden[0] : slot.hidden[1]] = 0
                alone = model(
                    encoder_outputs=states,
                    attention_mask=mask,
                    decoder_input_ids=ids,
                    decoder_position_ids=torch.arange(ids.shape[1])[None] + slot.shift,
                ).logits[0]
                end = start + ids.shape[1]
                torch.testing.assert_close(packed[index, start:end], alone, atol=1e-9, rtol=1e-9)
                assert batch.labels[index, start + len(slot.prompt) : end].tolist() == list(slot.target)
                start = end


def test_rows_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="does not fit"):
        pack([Row((BOS, *range(400, 420)), (Slot((), (500,), "a"),))], 20, 16)


def test_killed_training_continues_to_the_same_weights(tmp_path, monkeypatch):
    stage = Stage(1.0, ((64, 60, 2),), (1, 3), (1, 4), 0.0, strings=0.3, copies=0.3, joined=0.0)
    recipe = Recipe(shape=TINY, stages=(stage,), steps=4, warmup=2, autocast=False, compile=False)
    whole, spent = train(recipe, tmp_path / "whole", checkpoint_every=100)

    draw = training.batch_of

    def killed(recipe: Recipe, step: int):
        if step == 3:
            raise KeyboardInterrupt
        return draw(recipe, step)

    monkeypatch.setattr(training, "batch_of", killed)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "cut", checkpoint_every=2)
    monkeypatch.undo()
    (tmp_path / "cut" / "checkpoint.part").write_bytes(b"half a checkpoint")
    continued, spent_again = train(recipe, tmp_path / "cut", checkpoint_every=2)

    start = build_model(TINY).state_dict()
    assert any(not torch.equal(start[name], value) for name, value in whole.state_dict().items())
    for name, value in whole.state_dict().items():
        assert torch.equal(value, continued.state_dict()[name]), name
    assert spent["tokens"] == spent_again["tokens"]

    with pytest.raises(ValueError, match="another recipe"):
        train(replace(recipe, seed=21), tmp_path / "cut")


def test_answer_nll_equals_the_models_own_loss():
    """Against the loss the model class computes from labels, one unpadded example at a time."""
    torch.manual_seed(1)
    model = build_model(TINY).eval().double()
    model.get_input_embeddings().weight.data.normal_()
    tokenizer = build_tokenizer()
    items = [
        Item("who rules Bargit?", "Bargit has 12 souls.", "12"),
        Item("why?", "It was.", "It was built."),
    ]
    for prompt in ("query", "none", "random"):
        made = feeds(tokenizer, items, prompt)
        with own_precision(model):
            values = answer_nll(model, made)
        for feed, value in zip(made, values, strict=True):
            labels = [-100] * len(feed.prompt) + feed.answer
            with own_precision(model):
                loss = model(
                    input_ids=torch.tensor([feed.encoder]),
                    decoder_input_ids=torch.tensor([[BOS, *feed.prompt, *feed.answer[:-1]]]),
                    labels=torch.tensor([labels]),
                ).loss
            assert value == pytest.approx(loss.item(), abs=1e-9)


def test_cells_feed_what_they_say():
    tokenizer = build_tokenizer()
    items = [
        Item("who rules Bargit?", "Bargit has 12 souls.", "12"),
        Item("why?", "It was.", "It was built."),
    ]
    oracle = feeds(tokenizer, items, prefix="oracle")[0]
    assert tokenizer.decode([oracle.encoder[index] for index in oracle.hidden]) == "who rules Bargit?\n"
    assert tokenizer.decode(oracle.encoder) == "<bos> who rules Bargit?\nBargit has 12 souls."
    assert tokenizer.decode(oracle.prompt) == "who rules Bargit?"
    wrong = feeds(tokenizer, items, prompt="none", wrong_document=True)[0]
    assert tokenizer.decode(wrong.encoder[1:]) == "It was."
    assert wrong.prompt == []
    assert len(wrong.hidden) == 0
    drawn = feeds(tokenizer, items, prompt="random")[0].prompt
    assert len(drawn) == len(oracle.prompt)
    assert all(100 <= index < len(tokenizer) - 100 for index in drawn)


# ------------------------------------------------------------- what is shipped


@pytest.fixture(scope="module")
def shipped() -> T5Gemma2ForConditionalGeneration:
    return AutoModelForSeq2SeqLM.from_pretrained(MODEL, dtype=torch.float32).eval()


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


def test_shipped_model_reaches_its_targets_on_a_sample(shipped):
    items = read_items(CORPUS / "test.jsonl")[:96]
    found = measure(shipped, AutoTokenizer.from_pretrained(MODEL), items)
    assert found["gain_over_wrong_document"] >= TARGETS["wrong_document"]
    assert found["gain_over_no_query"] >= TARGETS["no_query"]
    assert found["exact_match_short"] >= TARGETS["exact_match"]


def test_recorded_results_and_card_agree_with_the_recipe():
    results = json.loads((MODEL / "results.json").read_text(encoding="utf-8"))
    recorded = results["training"]["recipe"]
    assert recorded == training.recipe_record(replace(Recipe(), compile=recorded["compile"]))
    assert results["test"]["gain_over_wrong_document"] >= TARGETS["wrong_document"]
    assert results["test"]["gain_over_no_query"] >= TARGETS["no_query"]
    assert results["test"]["exact_match_short"] >= TARGETS["exact_match"]
    card = (MODEL / "README.md").read_text(encoding="utf-8")
    assert "no results about Google's" in card
    assert f"{results['test']['gain_over_wrong_document']:.3f}" in card
