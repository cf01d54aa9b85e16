"""The probe of generated answers: its records, scores against all right answers, and what is refused before a run."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

import budgetlens as bl
from budgetlens.corpora.corpus import read_corpus
from budgetlens.design.design import Factor, crossed
from budgetlens.design.generable import require_generable
from budgetlens.design.intervention import Context, Intervention, intervention
from budgetlens.model.decoding import GenerationError
from budgetlens.model.trials import Example, Segment, Trial
from budgetlens.statistics.answer_scores import f1
from tests.conftest import corpus_rows
from tests.reference import squad, tiny_models
from tests.test_generation import Unsaid

DOCUMENT = "Orla Venn built the old bridge. It was finished in the year 1412."


@pytest.fixture(scope="module")
def tiny() -> bl.Model:
    return bl.wrap(tiny_models.build("t5gemma2"), tiny_models.tokenizer())


def test_records_are_what_the_reading_generates_and_scores(tiny: bl.Model) -> None:
    """Text, tokens and every quantity; scores by another implementation, the best of all right answers."""
    rows = [{**row, "answers": ["bread", row["answer"]]} for row in corpus_rows(3)]
    corpus = bl.corpus(rows)
    frame = bl.measure(
        tiny, corpus, prefix=["none", "oracle"], prompt="query", probes=["generation:tokens=7"]
    )
    frame = frame[frame["probe"] == "generation"].set_index(["example", "prefix", "quantity"])["value"]
    for example in corpus.examples:
        for prefix in ("none", "oracle"):
            reading = tiny.read(
                document=example.document,
                query=example.query,
                answer=example.answer,
                interventions=[] if prefix == "none" else ["prefix=oracle"],
            )
            answer = reading.generate(tokens=7)
            assert str(answer) == answer.text == tiny_models.tokenizer().decode(answer.tokens).strip()
            found = frame.loc[example.identifier, prefix]
            scored = [squad.scores(answer.text, right) for right in (example.answer, "bread")]
            expected = [max(each) for each in zip(*scored, strict=True)]
            assert [found[name] for name in ("exact_match", "f1", "recall")] == pytest.approx(expected)
            assert found["length"] == len(answer.tokens)
            assert found["stopped"] == answer.stopped
            assert found["empty"] == (not answer.text)


def test_a_reading_draws_and_keeps_its_interventions(tiny: bl.Model) -> None:
    bare = tiny.read(document=DOCUMENT, query="who built the bridge", answer="Orla Venn")
    cut = tiny.read(
        document=DOCUMENT,
        query="who built the bridge",
        answer="Orla Venn",
        interventions=["knockout=decoder->document@all"],
    )
    assert cut.generate(tokens=9) != bare.generate(tokens=9)
    hot = bare.generate(tokens=9, temperature=3.0, seed=1)
    assert hot == bare.generate(tokens=9, temperature=3.0, seed=1)
    assert hot != bare.generate(tokens=9, temperature=3.0, seed=2)


def test_the_built_in_model_answers() -> None:
    """It was trained to: its answers score far above those to another example's document."""
    model = bl.load_model("reference")
    corpus = bl.read_corpus("reference", n=6)
    own, other = [], []
    for place, example in enumerate(corpus.examples):
        stranger = corpus.examples[place - 1]
        for document, scores in ((example.document, own), (stranger.document, other)):
            reading = model.read(document=document, query=example.query, answer=example.answer)
            scores.append(max(f1(reading.generate().text, right) for right in example.right_answers))
    assert sum(own) > sum(other) + 2


def test_all_right_answers_of_a_row_are_kept(tmp_path: Path) -> None:

    passages = {"is_selected": [1], "passage_text": [" ".join(["word"] * 40)], "url": ["u"]}
    rows = [
        {
            "query": "q",
            "query_id": 1,
            "answers": ["1412", "the year 1412", "1412", "No Answer Present."],
            "wellFormedAnswers": ["It was 1412.", "[]"],
            "passages": passages,
            "group": "a",
        },
        # What was never looked at takes no row out: its well-formed answer is enough.
        {"query": "r", "query_id": 2, "answers": 5, "wellFormedAnswers": ["Yes."], "passages": passages},
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    by_query = {example.query: example for example in read_corpus(path, n=None).examples}
    assert by_query["q"].answer == "It was 1412."
    assert by_query["q"].right_answers == ("It was 1412.", "1412", "the year 1412")
    assert by_query["q"]["group"] == "a"
    assert by_query["r"].right_answers == ("Yes.",)
    plain = Example("1", "q", "d", "yes", columns=(("answers", ["Yes", "yes", 7]),))
    assert plain.right_answers == ("yes", "Yes")
    table = tmp_path / "rows.csv"
    table.write_text('query,document,answer,answers\nq,d,yes,"[""yes"", ""yep""]"\n', encoding="utf-8")
    assert read_corpus(table, n=None).examples[0].right_answers == ("yes", "yep")


@intervention("tell")
@dataclass(frozen=True)
class Tell(Intervention):
    """Put the right answer before the document, or an edit that does not say what its rows depend on."""

    # Bare, since the class is one of __main__ here, which imports nothing.
    sample_levels = ()
    identity_levels = ("none",)

    what: str = "none"

    def apply(self, trial: Trial, context: Context) -> Trial:
        """The trial with it."""
        own = context.examples[context.index]
        if self.what == "answer":
            return trial.with_prefix((Segment("prefix", text=own.answer), Segment("separator", text="\n")))
        if self.what == "listed":
            return trial.with_prefix(
                (Segment("prefix", text=own["answers"][0]), Segment("separator", text="\n"))
            )
        return replace(trial, edits=(*trial.edits, Unsaid())) if self.what == "edit" else trial


@pytest.mark.parametrize(
    ("factor", "level", "message"),
    [
        ("tell", "answer", "tell=answer in the cell tell=answer reads the right answer"),
        ("tell", "listed", "tell=listed in the cell tell=listed reads the right answer"),
        ("tell", "edit", "tell=edit in the cell tell=edit: the edit .* may read rows behind"),
        ("shuffle", "answer:words", "shuffle=answer:words .* or rewrites it"),
    ],
)
def test_what_reads_the_answer_or_later_rows_is_refused_by_name(
    factor: str, level: str, message: str, tiny: bl.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Tell, "__module__", "__main__")
    monkeypatch.setattr(sys.modules["__main__"], "Tell", Tell, raising=False)
    rows = [{**row, "answers": [row["answer"] + " indeed"]} for row in corpus_rows(2)]
    corpus = bl.corpus(rows)
    tokenizer = tiny.loaded.trial_tokenizer
    require_generable(crossed([Factor(factor, ("none",))]), corpus, tokenizer, 42)
    with pytest.raises(GenerationError, match=message):
        require_generable(crossed([Factor(factor, ("none", level))]), corpus, tokenizer, 42)


def test_a_run_is_refused_before_it_computes(tiny: bl.Model) -> None:
    corpus = bl.corpus(corpus_rows(2))
    with pytest.raises(GenerationError, match="shuffle=answer:words"):
        bl.measure(tiny, corpus, shuffle=["none", "answer:words"], probes=["generation"])
    bl.measure(tiny, corpus, shuffle=["none", "answer:words"], probes=["likelihood"])


def test_settings_of_the_probe_are_told_where_it_is_named(tiny: bl.Model) -> None:
    with pytest.raises(ValueError, match="at least one token; got 0"):
        bl.measure(tiny, bl.corpus(corpus_rows(2)), prefix="none", probes=["generation:tokens=0"])
