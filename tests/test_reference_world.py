"""The generator of the built-in corpus: sizes, groups, candidates, parts, and answers that the text gives."""

from __future__ import annotations

import json
import random
import re
from collections import Counter, defaultdict
from functools import cache

import pytest

from budgetlens.reference.learning.drawing import draw_rows
from budgetlens.reference.learning.training import Recipe
from budgetlens.reference.world import documents, questions, values
from budgetlens.reference.world.domains import DOMAINS, NOT_TOLD, every_template
from budgetlens.reference.world.names import draw_name
from budgetlens.reference.world.rows import (
    DOCUMENT_SHAPE,
    draw_long_group,
    shipped_long_rows,
    shipped_rows,
)
from budgetlens.reference.world.tokenizer import BOS, EOS, build_tokenizer, token_count
from tests.reference_reader import WORDINGS, answers_of, domain_of, facts_of, worded


@cache
def rows() -> list[dict]:
    return shipped_rows()


@cache
def long_rows() -> list[dict]:
    return shipped_long_rows()


def right(row: dict) -> list[str]:
    """All right answers, the given one first."""
    return row.get("wellFormedAnswers") or row["answers"]


def gold(row: dict) -> str:
    return row["answer"] if "answer" in row else right(row)[0]


def document_of(row: dict) -> str:
    if "document" in row:
        return row["document"]
    return row["passages"]["passage_text"][row["passages"]["is_selected"].index(1)]


def invented_words(texts: list[str]) -> set[str]:
    """Capitalised six-letter words of three-letter syllables that no template holds: the names."""
    english = set(re.findall(r"[A-Za-z]+", " ".join(every_template())))
    consonants, ends = "bdfghjklmnprstvz", "dgklmnrstvz"
    pattern = re.compile(rf"\b[{consonants.upper()}][aeiou][{ends}][{consonants}][aeiou][{ends}]\b")
    return {word for text in texts for word in pattern.findall(text) if word not in english}


def test_generation_is_a_pure_function_of_its_seed():
    assert shipped_rows(3) == rows()[:12]
    assert shipped_rows(3, seed=5) != rows()[:12]
    assert shipped_long_rows(2) == long_rows()[:8]


def test_rows_have_the_schema_and_the_sizes():
    fields = {"query": str, "query_id": int, "query_type": str, "answers": list, "wellFormedAnswers": list}
    further = {"candidates": list, "group": str, "form": str, "facts": int}
    assert len(rows()) >= 600
    assert len({row["query_id"] for row in rows()}) == len(rows())
    for row in rows():
        assert set(row) == {*fields, "passages", *further}
        assert all(isinstance(row[name], kind) for name, kind in {**fields, **further}.items())
        passages = row["passages"]
        assert set(passages) == {"is_selected", "passage_text", "url"}
        assert len({len(values) for values in passages.values()}) == 1
        assert sum(passages["is_selected"]) == 1
        assert len(passages["url"]) in (4, 5)
        assert all(30 <= len(text.split()) <= 300 for text in passages["passage_text"])
        assert 100 <= token_count(document_of(row)) <= 300
    longest = [token_count(document_of(row)) for row in rows()]
    assert min(longest) < 110
    assert max(longest) > 280
    words = [len(gold(row).split()) for row in rows()]
    assert min(words) == 1
    assert max(words) >= 25
    assert 100 <= sum(count > 5 for count in words) <= 400


def test_long_rows_are_long_and_plain():
    assert len(long_rows()) >= 100
    for row in long_rows():
        columns = {"query", "document", "answer", "answers", "candidates", "group", "form", "facts"}
        assert set(row) == columns
        assert row["answer"] == row["answers"][0]
        assert 700 <= token_count(row["document"]) <= 900


def test_a_group_is_one_document_with_several_queries():
    groups = defaultdict(list)
    for row in rows():
        groups[row["group"]].append(row)
    assert len(groups) >= 150
    assert len({document_of(row) for row in rows()}) == len(groups)
    for several in groups.values():
        assert len({row["query"] for row in several}) == len(several) == 4
        assert len({json.dumps(row["passages"]) for row in several}) == 1
    # The place of the selected passage tells nothing.
    places = Counter(row["passages"]["is_selected"].index(1) for row in rows())
    assert len(places) == 5


def test_every_answer_is_what_the_document_says():
    """By a reader that shares the templates with the generator and nothing else."""
    for row in (*rows(), *long_rows()):
        assert len(set(right(row))) == len(right(row))
        assert set(right(row)) == answers_of(document_of(row), row["query"]), row["query"]
        assert gold(row) in right(row)
        assert (gold(row) in worded(NOT_TOLD)) == (row["facts"] == 0)


def wording_of(row: dict) -> str:
    """The wording of the given answer of a row with a short one."""
    value = min(right(row), key=len)
    (found,) = (wording for wording in WORDINGS if wording.format(value) == gold(row))
    return found


def test_short_answers_are_worded_as_it_comes():
    """The shares of the wordings are as many as were asked for, whichever the form; candidates are worded alike."""
    shares = dict(zip(WORDINGS, (0.4, 0.15, 0.25, 0.2), strict=True))
    generator = random.Random(7)
    counts = defaultdict(Counter)
    for number in range(120):
        for row in draw_long_group(generator, "train", number, set()):
            if len(row["answers"]) == 1:
                assert row["form"] in ("sentence", "description", "bridge")
                continue
            assert row["form"] not in ("sentence", "description")
            counts[row["form"]][wording_of(row)] += 1
    every = sum(counts.values(), Counter())
    assert set(counts) == {"value", "bridge", "both", "comparison", "missing"}
    for wording, share in shares.items():
        # Four standard deviations.
        n = every.total()
        assert abs(every[wording] - share * n) < 4 * (share * (1 - share) * n) ** 0.5
        assert all(several[wording] for several in counts.values())


def test_the_query_does_not_tell_the_wording():
    """The same query on the same document is answered in every wording."""
    document = documents.draw_document(random.Random(1), "train", DOCUMENT_SHAPE)
    seen = defaultdict(set)
    for seed in range(400):
        question = questions.draw_question(random.Random(seed), document, "value")
        seen[question.query].add(question.answer)
        assert question.answer == question.wordings[0]
        assert set(question.wordings) == worded(question.plain)
    assert sum(len(answers) == 4 for answers in seen.values()) > 5


def test_answers_take_no_fact_one_or_two():
    forms = Counter(row["form"] for row in rows())
    assert set(forms) == set(questions.FORM_SHARES)
    taken = Counter(row["facts"] for row in rows())
    assert all(taken[count] >= 60 for count in (0, 1, 2))
    bridges = [row for row in rows() if row["form"] == "bridge"]
    for row in bridges:
        domain = domain_of(document_of(row))
        (start,) = invented_words([row["query"]])
        told = {(entity, name): value for entity, name, value, _ in facts_of(domain, document_of(row))}
        # The entity whose fact it is has to be found first: the query does not name it.
        assert told[start, domain.link.name] not in row["query"]


def test_other_passages_do_not_answer():
    """But for what is missing everywhere, no other passage tells what the answer takes."""
    for row in rows():
        others = [
            text
            for text, selected in zip(
                *(row["passages"][name] for name in ("passage_text", "is_selected")), strict=True
            )
            if not selected
        ]
        here = {(e, name) for e, name, *_ in facts_of(domain_of(document_of(row)), document_of(row))}
        for text in others:
            assert not here & {(e, name) for e, name, *_ in facts_of(domain_of(text), text)}


def test_one_passage_is_the_double_of_the_document():
    """The same sentences, with other names and values."""
    for row in rows()[::4]:
        domain = domain_of(document_of(row))
        here = [name for _, name, *_ in facts_of(domain, document_of(row))]
        doubles = [
            text
            for text in row["passages"]["passage_text"]
            if text != document_of(row) and [name for _, name, *_ in facts_of(domain, text)] == here
        ]
        assert doubles
        entities = {entity for entity, *_ in facts_of(domain, document_of(row))}
        assert not entities & {entity for entity, *_ in facts_of(domain, doubles[0])}


def test_candidates_are_other_answers():
    for row in (*rows(), *long_rows()):
        assert not set(right(row)) & set(row["candidates"])
        if len(right(row)) > 1:
            # The wording gives no candidate away.
            before, after = wording_of(row).split("{}")
            for text in row["candidates"]:
                assert text.startswith(before)
                assert text.endswith(after)
                assert after or not text.endswith(".")
                assert before or not text.startswith(("it is", "the answer"))
        assert len(set(row["candidates"])) == len(row["candidates"])
        assert 1 <= len(row["candidates"]) <= 4
    several = sum(len(row["candidates"]) > 1 for row in rows())
    assert several > 0.95 * len(rows())


def test_names_of_a_document_are_easily_confused():
    sharing = total = 0
    for row in rows()[::4]:
        names = sorted({entity for entity, *_ in facts_of(domain_of(document_of(row)), document_of(row))})
        for name in names:
            total += 1
            sharing += any(o != name and (o[:3] == name[:3] or o[3:] == name[3:]) for o in names)
    assert sharing > 0.6 * total


def test_no_two_documents_have_an_entity_in_common():
    owner: dict[str, str] = {}
    for row in rows()[::4]:
        for entity, *_ in facts_of(domain_of(document_of(row)), document_of(row)):
            assert owner.setdefault(entity, row["group"]) == row["group"]


def test_no_name_of_the_test_part_is_trained_on():
    """Names are found by spelling alone, without the generator's own bookkeeping."""
    texts = [
        text
        for row in rows()
        for text in (*row["passages"]["passage_text"], row["query"], *row["candidates"])
    ]
    texts += [text for row in rows() for text in (*row["answers"], *row["wellFormedAnswers"])]
    texts += [
        text
        for row in long_rows()
        for text in (row["query"], row["document"], *row["answers"], *row["candidates"])
    ]
    tested = invented_words(texts)
    tokenizer, recipe = build_tokenizer(), Recipe()
    drawn = []
    for stage in recipe.stages:
        for row in draw_rows(stage, stage.shapes[-1], recipe.seed, int(stage.until * recipe.steps) - 1):
            # Rows of random tokens to copy hold syllables of any name.
            if any(slot.kind != "copy" for slot in row.slots):
                drawn.append(tokenizer.decode(row.encoder[1:]))
                drawn += [
                    tokenizer.decode([*slot.prompt, *slot.target])
                    for slot in row.slots
                    if "random" not in slot.kind
                ]
    trained = invented_words(drawn)
    assert len(tested) > 2000
    assert len(trained) > 300
    assert not tested & trained


def test_unknown_kinds_are_refused():
    generator = random.Random(0)
    document = documents.draw_document(generator, "train", DOCUMENT_SHAPE)
    with pytest.raises(ValueError, match="colour"):
        values.draw_value(generator, "colour", "train", set())
    with pytest.raises(ValueError, match="poem"):
        questions.draw_question(generator, document, "poem")


def test_every_domain_can_be_read_back():
    """Every statement of every attribute is drawn, and told apart from the others."""
    generator = random.Random(4)
    seen = set()
    for _ in range(1500):
        document = documents.draw_document(generator, "train", DOCUMENT_SHAPE)
        read = facts_of(document.domain, document.text)
        assert read == [
            (fact.entity, fact.attribute.name, fact.value, fact.sentence) for fact in document.facts
        ]
        seen |= {(document.domain.name, fact.template) for fact in document.facts}
    every = {
        (domain.name, template)
        for domain in DOMAINS
        for attribute in (*domain.attributes, domain.link)
        for template in attribute.statements
    }
    assert seen == every


def test_the_long_group_shares_its_document():
    drawn = draw_long_group(random.Random(1), "train", 0, set())
    assert len({row["document"] for row in drawn}) == 1
    assert len({row["query"] for row in drawn}) == len(drawn)


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
        name = draw_name(generator, "train", set())
        assert len(tokenizer(name, add_special_tokens=False)["input_ids"]) == 2
    assert len(tokenizer) <= 2048
    for word in ("river", "lanterns", "neighbour", "What", "told"):
        assert len(tokenizer(word, add_special_tokens=False)["input_ids"]) == 1
