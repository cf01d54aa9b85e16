"""Reranking: ranks of passages by an eager computation of each by itself, ties by their rule, the query as the unit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import rankdata
from statsmodels.stats.contingency_tables import mcnemar

import budgetlens as bl
from budgetlens.command.main import main
from budgetlens.corpora.corpus import read_corpus
from budgetlens.corpora.sources import CorpusError
from budgetlens.design.design import Cell
from budgetlens.model.capture import Probing
from budgetlens.model.loading import limited
from budgetlens.model.tokenization import Limits
from budgetlens.runs.capturing import Unit, capture_part
from budgetlens.runs.feeding import feeding_of
from budgetlens.runs.run import Run
from budgetlens.tables.complete import tables_of
from probes.reranking import Reranking
from tests.reference import eager, tiny_models

QUERY = "who built the mill"
DOCUMENT = "The mill was built by Oss in 1412."
# An empty text, one twice, the document itself, and one that is the document but for a space.
PASSAGES = ["The river ran dry.", "Kesh built the inn and the wall.", "The river ran dry.", " ", DOCUMENT]
OTHERS = PASSAGES[:2]
ANSWER = "Oss"


def rows(count: int = 6) -> list[dict[str, Any]]:
    return [
        {
            "id": f"q{number}",
            "query": f"who built the {thing} in {1400 + number}",
            "document": f"The {thing} was built by Oss in {1400 + number}.",
            "answer": "Oss",
            "answers": ["Oss", "by Oss"],
            "passages": [
                f"Kesh built {other} in {1500 + number}." for other in ("an inn", "the wall", "a bridge")
            ],
        }
        for number, thing in enumerate(("mill", "tower", "forge", "school", "garden", "temple")[:count])
    ]


@pytest.mark.parametrize(
    ("document", "others"),
    [(1.0, [2.0, 3.0]), (2.5, [2.0, 3.0, 1.0]), (1.0, [1.0, 2.0]), (4.0, [4.0, 4.0, 1.0]), (9.0, [1.0, 2.0])],
)
def test_ranks_are_scipy_s_with_ties_counted_against_the_document(
    document: float, others: list[float]
) -> None:
    found = Reranking().observe_passages(document, others)
    rank = rankdata([document, *others], method="max")[0]
    assert found["reciprocal_rank"] == 1 / rank
    assert found["top_1"] == (rank == 1)
    assert found["margin"] == min(others) - document


def test_without_another_passage_there_is_no_rank() -> None:
    assert np.isnan(list(Reranking().observe_passages(1.0, []).values())).all()


@pytest.mark.parametrize("family", ["t5gemma2", "bart"])
@pytest.mark.parametrize("task", ["answer", "rerank"])
def test_ranks_are_those_of_every_passage_fed_by_itself(family: str, task: str) -> None:
    """A prefix is made anew of every passage; one eager pass for each."""
    model = bl.wrap(tiny_models.build(family), tiny_models.tokenizer())
    corpus = bl.corpus(
        [{"query": QUERY, "document": DOCUMENT, "answer": ANSWER, "passages": PASSAGES}, *rows(2)], task=task
    )
    levels = ["none", "keywords:2"]
    predicted, prompt = (QUERY, "none") if task == "rerank" else (ANSWER, "query")
    frame = bl.measure(model, corpus, prefix=levels, prompt=prompt, probes=["reranking"], batch_tokens=200)
    found = frame[frame["example"] == corpus.examples[0].identifier].set_index(["prefix", "quantity"])[
        "value"
    ]
    for level in levels:
        losses = []
        for passage in (DOCUMENT, *OTHERS):
            fed = model.read(
                document=passage,
                query=QUERY,
                answer=predicted,
                interventions=[f"prefix={level}", f"prompt={prompt}"],
            ).trial
            losses.append(
                eager.measure(
                    tiny_models.build(family),
                    encoder_ids=fed.encoder_ids,
                    encoder_roles=fed.encoder_roles,
                    visible=fed.visible,
                    decoder_ids=fed.decoder_ids,
                    decoder_roles=fed.decoder_roles,
                    answer_length=fed.answer_tokens,
                ).nll_mean
            )
        # Apart enough for a rank to be one.
        assert np.diff(np.sort(losses)).min() > 1e-3
        rank = rankdata(losses, method="max")[0]
        assert found[level, "reciprocal_rank"] == pytest.approx(1 / rank)
        assert found[level, "top_1"] == (rank == 1)
        assert found[level, "margin"] == pytest.approx(min(losses[1:]) - losses[0], abs=1e-4)


def test_passages_are_the_same_in_all_cells_and_in_batches_of_any_size() -> None:
    """One whose tokens are the document's, in any cell, is no other passage; records hold the NLL under each."""
    model = bl.wrap(tiny_models.build("t5gemma2"), tiny_models.tokenizer()).loaded
    given = rows(3)
    cells = tuple(Cell((("prefix", level),)) for level in ("none", "template"))
    (_, cut), *_ = feeding_of(cells, bl.corpus(given), model.trial_tokenizer, 42).fed
    # Behind the template the encoder has room for the first document and no more: there alone the longer text is the same.
    model = limited(model, Limits(encoder=len(cut.trial.encoder_ids)))
    given[0]["passages"] += [given[0]["document"] + " the bread"]
    corpus = bl.corpus(given)
    feeding = feeding_of(cells, corpus, model.trial_tokenizer, 42, passages=True)
    assert [len(item.others) for fed in feeding.fed for item in fed] == [3] * 6
    for fed in feeding.fed:
        example = fed[0].trial.trial.example
        for item in fed:
            assert [one.trial.example.document for one in item.others] == list(example.passages[:3])
    records = []
    for batch_tokens in (1, 100_000):
        found = capture_part(
            model,
            [Unit(fed) for fed in feeding.fed],
            Probing((Reranking(),)),
            rows="predicting",
            batch_tokens=batch_tokens,
        )
        table = found["reranking"].to_pandas().astype({"example": str, "cell": str})
        records.append(table.set_index(["example", "cell"]).sort_index())
    assert all(len(losses) == 4 for losses in records[0]["passage_nll"])
    one, other = (np.stack(own["passage_nll"].to_numpy()) for own in records)
    np.testing.assert_allclose(one, other, atol=1e-5)
    best = (rankdata(one, axis=1, method="max")[:, 0] == 1).astype(float)
    assert list(records[0]["top_1"]) == list(best)
    assert "reranking" not in capture_part(
        model, [Unit(feeding.fed[0])], Probing(), rows="predicting", batch_tokens=1000
    )


def test_for_the_task_the_query_is_the_answer_and_rows_without_passages_are_told(tmp_path: Path) -> None:
    given = [*rows(3), {"query": "who", "document": "Oss did.", "answer": "Oss"}]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in given))
    corpus = read_corpus(path, n=None, task="rerank")
    assert [example.answer for example in corpus.examples] == [example.query for example in corpus.examples]
    assert {example.right_answers for example in corpus.examples} == {
        (example.query,) for example in corpus.examples
    }
    (rejected,) = corpus.rejected
    assert (rejected.reason, rejected.count, rejected.malformed) == ("no other passage to rank", 1, False)
    assert corpus.sha256 != read_corpus(path, n=None).sha256
    with pytest.raises(CorpusError, match="task is 'sort'; expected one of answer, rerank"):
        read_corpus(path, n=None, task="sort")
    with pytest.raises(CorpusError, match="no other passage to rank"):
        bl.corpus(given, task="rerank")


@pytest.fixture(scope="module")
def finished(tiny_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("reranking")
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows()))
    arguments = ["run", "custom", "--factor", "prefix=none,template,oracle", "--task", "rerank"]
    arguments += ["--model", str(tiny_directory), "--corpus", str(path), "--out", str(folder / "run")]
    assert main([*arguments, "--no-report"]) == 0
    return Run.open(folder / "run")


def test_effects_pair_queries_and_not_passages(finished: Run) -> None:
    tables = tables_of(finished)[0]
    records = finished.records("reranking").astype({"example": str, "cell": str})
    assert len(records) == 3 * 6
    for quantity in ("reciprocal_rank", "top_1", "margin"):
        table = tables[
            "reranking_effects" if quantity == "reciprocal_rank" else f"reranking_{quantity}_effects"
        ]
        wide = records.pivot(index="example", columns="cell", values=quantity)
        for contrast in finished.plan.contrasts:
            row = table.set_index("contrast").loc[contrast.name]
            difference = sum(wide[cell] * weight for cell, weight in contrast.weights.items())
            assert row["n"] == 6
            assert row["mean_difference"] == pytest.approx(difference.mean())
            if quantity == "top_1":
                one, other = (wide[cell] for cell in contrast.weights)
                counts = [[sum((one == a) & (other == b)) for b in (1, 0)] for a in (1, 0)]
                assert row["p"] == pytest.approx(min(1.0, mcnemar(counts, exact=True).pvalue))


def test_the_run_says_what_is_predicted_and_where_it_is_told_beforehand(finished: Run) -> None:
    said = " ".join(finished.manifest.cautions)
    assert "what is predicted, and called the answer, is the query" in said
    assert "stands in the prefix or the prompt already in prefix=oracle:" in said
    assert finished.manifest.corpus.task == "rerank"
    corpus, reason = finished.texts(trusted=True)
    assert reason == ""
    assert corpus is not None
    assert corpus.examples[0].answer == corpus.examples[0].query


def test_a_run_from_python_is_continued_by_the_command_that_it_names(
    tiny_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = bl.load_model(str(tiny_directory))
    run = bl.run(
        model=model,
        corpus=bl.corpus(rows(3), task="rerank"),
        out=tmp_path / "run",
        prefix=["none", "template"],
        report=False,
    )
    assert "reranking_effects" in run.tables
    words = list(run.manifest.command)
    assert words[words.index("--task") + 1] == "rerank"
    monkeypatch.chdir(tmp_path)
    assert main([*words[1:], "--no-report", "--quiet"]) == 0
    assert len(run.records("reranking")) == 6


def test_a_reading_of_texts_has_nothing_to_rank() -> None:
    model = bl.wrap(tiny_models.build("t5gemma2"), tiny_models.tokenizer())
    records = model.read(document=DOCUMENT, query=QUERY, answer=ANSWER).records("reranking")
    assert records[["reciprocal_rank", "top_1", "margin"]].isna().all(axis=None)
    assert len(records["passage_nll"].iloc[0]) == 1
