"""The recipe of the built-in model: what a step shows, packing, resuming, and the measures."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch

from budgetlens.reference.learning import training
from budgetlens.reference.learning.drawing import LONGEST_PREFIX, Stage, draw_rows
from budgetlens.reference.learning.measures import (
    Item,
    answer_first,
    exact_matches,
    feeds,
    greedy_answers,
    item_of,
    selected_first,
    target_nll,
)
from budgetlens.reference.learning.model import Sizes, build_model, packed_hidden_states
from budgetlens.reference.learning.packing import FIRST_PROMPT_TOKEN, IGNORED, Row, Slot, pack
from budgetlens.reference.learning.prefixes import KINDS, draw_prefix, keywords
from budgetlens.reference.learning.publication import TARGETS, measure, missed_targets
from budgetlens.reference.learning.training import Recipe, train
from budgetlens.reference.world.documents import Shape, draw_document
from budgetlens.reference.world.rows import DOCUMENT_SHAPE, draw_long_group, shipped_rows
from budgetlens.reference.world.tokenizer import BOS, EOS, build_tokenizer, ids_of
from interventions.texts.keywords import keywords as keywords_of_the_analyses
from interventions.texts.prefix_sources import GENERIC_SENTENCE
from tests.reference.eager import own_precision

TINY = Sizes(
    hidden_size=16,
    intermediate_size=24,
    layers=2,
    heads=2,
    key_value_heads=1,
    head_dim=8,
    encoder_window=6,
    decoder_window=4,
)
FEW = Shape(entities=(1, 3), attributes=(1, 3))
ITEMS = [
    Item("who rules Bargit?", "Bargit has 12 souls.", ("12",)),
    Item("why?", "It was.", ("It was built.",)),
]


def scattered(sizes: Sizes = TINY):
    """A model whose random weights are large enough for every input to matter."""
    torch.manual_seed(1)
    model = build_model(sizes).eval().double()
    for name, parameter in model.named_parameters():
        if "proj" in name and parameter.requires_grad:
            parameter.data.normal_(0, 0.5)
    model.get_input_embeddings().weight.data.normal_()
    return model


# ---------------------------------------------------------------- what a step shows


def test_a_step_is_a_pure_function_of_seed_and_number():
    stage = Recipe().stages[1]
    assert draw_rows(stage, (112, 224, 2), 1, 7) == draw_rows(stage, (112, 224, 2), 1, 7)
    assert draw_rows(stage, (112, 224, 2), 1, 7) != draw_rows(stage, (112, 224, 2), 1, 8)
    assert draw_rows(stage, (112, 224, 2), 1, 7) != draw_rows(stage, (112, 224, 2), 2, 7)


def test_a_step_shows_what_the_analyses_do():
    """Prefixes and prompts of every kind, each also with the prefix hidden in every way."""
    stage = Recipe().stages[-1]
    tokenizer = build_tokenizer()
    newline = ids_of("\n")
    kinds, hidden, prefixed = set(), set(), 0
    for step in range(60):
        for row in draw_rows(stage, (208, 256, 4), 3, step):
            ends = [
                place for place, token in enumerate(row.encoder[: LONGEST_PREFIX + 2]) if (token,) == newline
            ]
            prefixed += bool(ends)
            for slot in row.slots:
                kinds.add(slot.kind)
                assert slot.kind == "copy" or slot.target[-1] == EOS
                start, end = slot.hidden
                if end > 1:
                    hidden.add((start, tokenizer.decode([row.encoder[end - 1]]) == "\n"))
    assert kinds >= {"value", "bridge", "missing", "none", "random", "copy"}
    assert kinds >= {"oracle, none", "oracle, query", "oracle, random"}
    assert 60 < prefixed < 200
    # Prefix and newline with BOS or without; or, as published, BOS and prefix without the newline.
    assert hidden >= {(1, True), (0, True), (0, False)}


def test_prefixes_are_those_of_the_analyses():
    generator = random.Random(2)
    own, other = (draw_document(generator, "train", DOCUMENT_SHAPE) for _ in range(2))
    drawn = {draw_prefix(generator, own, other, "who rules Bargit?") for _ in range(400)}
    assert GENERIC_SENTENCE in drawn
    assert f"What is {keywords(own.text, 1)[0]}?" in drawn
    assert " ".join(other.text.split()[:3]) in drawn
    assert len(KINDS) == 10
    agreeing = 0
    for _ in range(100):
        text = draw_document(generator, "train", DOCUMENT_SHAPE).text
        agreeing += set(keywords(text, 5)) == set(keywords_of_the_analyses(text, 5))
    # The stop lists are not the same.
    assert agreeing >= 90


# ---------------------------------------------------------------- packing


def test_packed_slots_equal_single_sequences():
    """Packing, against the model's own forward with its own masks, one sequence at a time."""
    model = scattered()
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


def test_a_query_is_learned_where_it_weighs_something():
    asked = Slot((500, 501, 502), (600, EOS), "value", 0.5, prompt_weight=0.2)
    silent = Slot((510, 511), (601, EOS), "value", 0.5)
    batch = pack([Row((BOS, 400), (asked, silent))], 4, 12)
    ignored = [IGNORED] * 2
    assert batch.labels[0].tolist() == [500, 501, 502, 600, EOS, *ignored, 601, EOS, *[IGNORED] * 3]
    expected = torch.tensor([0.2 * FIRST_PROMPT_TOKEN, 0.2, 0.2, 0.5, 0.5, 0, 0, 0.5, 0.5, 0, 0, 0])
    torch.testing.assert_close(batch.weights[0], expected)
    assert batch.kinds["asking"].tolist() == [[0, 0], [0, 1], [0, 2]]
    assert batch.kinds["value"].tolist() == [[0, 3], [0, 4], [0, 7], [0, 8]]


def test_rows_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="does not fit"):
        pack([Row((BOS, *range(400, 420)), (Slot((), (500,), "a"),))], 20, 16)


# ---------------------------------------------------------------- training


def test_killed_training_continues_to_the_same_weights(tmp_path, monkeypatch):
    stage = Stage(1.0, ((96, 60, 2),), FEW, strings=0.3, copies=0.3)
    recipe = Recipe(sizes=TINY, stages=(stage,), steps=4, warmup=2, autocast=False)
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


def test_a_few_steps_teach_something(tmp_path):
    stage = Stage(1.0, ((96, 96, 6),), FEW, strings=0.0, copies=0.0)
    recipe = Recipe(sizes=TINY, stages=(stage,), steps=50, warmup=5, autocast=False)
    lines: list[str] = []
    model, _ = train(recipe, tmp_path, report=lines.append)
    assert lines
    batch = pack(draw_rows(stage, (96, 96, 6), 99, 0), 96, 96)
    with torch.no_grad():
        losses = [float(training.loss_of(one, batch)[0]) for one in (build_model(TINY).eval(), model.eval())]
    assert losses[1] < losses[0] - 1.0


# ---------------------------------------------------------------- the measures


def test_answer_nll_equals_the_models_own_loss():
    """Against the loss the model class computes from labels, one unpadded example at a time."""
    model = scattered()
    tokenizer = build_tokenizer()
    for prompt in ("query", "none", "random"):
        made = feeds(tokenizer, ITEMS, prompt)
        with own_precision(model):
            values = target_nll(model, made)
            for feed, value in zip(made, values, strict=True):
                labels = [-100] * len(feed.prompt) + feed.target
                loss = model(
                    input_ids=torch.tensor([feed.encoder]),
                    decoder_input_ids=torch.tensor([[BOS, *feed.prompt, *feed.target[:-1]]]),
                    labels=torch.tensor([labels]),
                ).loss
                assert value == pytest.approx(loss.item(), abs=1e-9)


def test_cells_feed_what_they_say():
    tokenizer = build_tokenizer()
    oracle = feeds(tokenizer, ITEMS, prefix="oracle")[0]
    assert tokenizer.decode([oracle.encoder[index] for index in oracle.hidden]) == "who rules Bargit?\n"
    assert tokenizer.decode(oracle.encoder) == "<bos> who rules Bargit?\nBargit has 12 souls."
    assert tokenizer.decode(oracle.prompt) == "who rules Bargit?"
    wrong = feeds(tokenizer, ITEMS, prompt="none", wrong_document=True)[0]
    assert tokenizer.decode(wrong.encoder[1:]) == "It was."
    assert wrong.prompt == []
    assert len(wrong.hidden) == 0
    words = feeds(tokenizer, ITEMS, prefix="random")[0]
    assert tokenizer.decode(words.encoder[1:]) == "It was.\nBargit has 12 souls."
    drawn = feeds(tokenizer, ITEMS, prompt="random")[0].prompt
    assert len(drawn) == len(oracle.prompt)
    assert all(100 <= index < len(tokenizer) - 100 for index in drawn)


def test_ranks_equal_those_of_single_losses():
    """Which passage makes the query likeliest, and which answer is likeliest, one loss at a time."""
    model, tokenizer = scattered(), build_tokenizer()
    items = [item_of(row) for row in shipped_rows(3)]

    def loss(document: str, prompt: str, target: str) -> float:
        before, asked = list(ids_of(prompt)), list(ids_of(target))
        return model(
            input_ids=torch.tensor([[BOS, *ids_of(document)]]),
            decoder_input_ids=torch.tensor([[BOS, *before, *asked[:-1]]]),
            labels=torch.tensor([[-100] * len(before) + asked]),
        ).loss.item()

    with own_precision(model), torch.no_grad():
        found = selected_first(model, tokenizer, items), answer_first(model, tokenizer, items)
        best = [min(item.passages, key=lambda text, item=item: loss(text, "", item.query)) for item in items]
        likeliest = [
            min(
                (item.answer, *item.candidates),
                key=lambda text, item=item: loss(item.document, item.query, text),
            )
            for item in items
        ]
    assert found[0] == [float(text == item.document) for text, item in zip(best, items, strict=True)]
    assert found[1] == [float(text == item.answer) for text, item in zip(likeliest, items, strict=True)]
    assert len({*found[0], *found[1]}) == 2


def test_measures_are_means_of_what_they_say():
    model, tokenizer = scattered(replace(TINY, layers=1)).float(), build_tokenizer()
    items = [item_of(row) for row in shipped_rows(2)]
    found = measure(model, tokenizer, items)
    right = target_nll(model, feeds(tokenizer, items))
    assert found["nll"] == pytest.approx(sum(right) / len(right))
    assert sum(part["examples"] for part in found["forms"].values()) == found["examples"] == len(items)
    made = greedy_answers(model, tokenizer, feeds(tokenizer, items))
    assert found["exact_match"] == sum(exact_matches(made, items)) / 8
    missed = missed_targets(found)
    assert set(missed) <= set(TARGETS)
    assert {"nll", "exact_match"} <= set(missed)


def test_exact_match_counts_every_wording_and_no_other_answer():
    short = Item("who?", "", ("the answer is Bargit Zorvek.", "Bargit Zorvek", "it is Bargit Zorvek."))
    whole = item_of(
        {**shipped_rows(1)[0], "answers": ["12"], "wellFormedAnswers": ["The age of Bargit is 12."]}
    )
    told = (
        ("Bargit Zorvek", 1.0),
        ("bargit  zorvek.", 1.0),
        ("It is Bargit Zorvek", 1.0),
        ("answer is Bargit Zorvek", 1.0),
        ("it was Bargit Zorvek.", 0.0),
        ("Bargit", 0.0),
        ("Zorvek Bargit", 0.0),
        ("", 0.0),
    )
    made = [text for text, _ in told]
    assert exact_matches(made, [short] * len(made)) == [value for _, value in told]
    # Where a sentence is asked for, the value alone is no answer.
    assert exact_matches(["the age of a Bargit is 12", "12"], [whole] * 2) == [1.0, 0.0]


def test_answers_of_rows_are_read_whole():
    rows = shipped_rows(2)
    for row, item in zip(rows, map(item_of, rows), strict=True):
        assert list(item.answers) == (row["wellFormedAnswers"] or row["answers"])
        assert item.answer == item.answers[0]
    long = item_of(draw_long_group(random.Random(1), "train", 0, set())[0])
    assert long.answer == long.answers[0]
