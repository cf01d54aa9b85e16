"""Tasks: what of a row is the answer. By default the answer to the query; for reranking the query itself.

Reranking asks which of a query's passages it belongs to. A model is then fed a passage and told the query as its answer, and
passages are ranked by the NLL that the query has under each (query likelihood). Everything else that a run does, its
cells, effects and tables, is as ever.
"""

from __future__ import annotations

from dataclasses import replace

from budgetlens.corpora.rows import Candidate, IneligibleRow
from budgetlens.corpora.sources import CorpusError

#: The query's answer is what is predicted.
ANSWER = "answer"
#: The query is what is predicted, given one of its passages.
RERANK = "rerank"
TASKS = (ANSWER, RERANK)
#: Columns that say which answers are right or wrong: of a query that is predicted they say nothing.
_OF_ANSWERS = ("answers", "candidates")


def known_task(task: str) -> str:
    """The task. Raises CorpusError for one that is none."""
    if task not in TASKS:
        raise CorpusError(f"task is {task!r}; expected one of {', '.join(TASKS)}")
    return task


def for_task(candidate: Candidate, task: str) -> Candidate | IneligibleRow:
    """The candidate as a task takes it.

    For reranking its query is its answer as well; a row without a passage besides its document is outside the selection.
    """
    if task != RERANK:
        return candidate
    if not any(text.strip() and text != candidate.document for text in candidate.unselected):
        return IneligibleRow("no other passage to rank", candidate.selected, candidate.unselected)
    columns = tuple((name, value) for name, value in candidate.columns if name not in _OF_ANSWERS)
    return replace(candidate, answer=candidate.query, columns=columns)
