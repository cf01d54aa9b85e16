"""The built-in model: a capture equals a straightforward eager computation, one trial at a time."""

from __future__ import annotations

from functools import cache

import pytest
from transformers import PreTrainedModel

from budgetlens.corpora.corpus import read_corpus
from budgetlens.design.catalogue import find_analysis
from budgetlens.model.batching import make_batch
from budgetlens.model.capture import capture
from budgetlens.model.loaded import LoadedModel
from budgetlens.model.loading import load_model
from budgetlens.model.tokenization import TokenizedTrial
from budgetlens.runs.known_models import REFERENCE_MODEL
from budgetlens.runs.running import tokenized_units
from tests.cells import losses
from tests.conftest import EVERYTHING
from tests.precision import Float32, expected_numbers, float32_of, measured, numbers, numbers_within, within
from tests.reference import eager


@cache
def built_in() -> tuple[LoadedModel, PreTrainedModel, tuple[TokenizedTrial, ...], Float32]:
    """The model, its truth, trials of two examples in every cell of one analysis, and float32's deviations on them."""
    model = load_model(str(REFERENCE_MODEL), check=False)
    corpus = read_corpus("reference", n=2)
    cells = find_analysis("exp08").plan("corrected").design.cells
    trials = tuple(fed.trial for unit in tokenized_units(cells, model, corpus, 42) for fed in unit.fed)
    return model, eager.double_twin(model.model), trials, float32_of(model.model, trials)


@pytest.mark.parametrize("pack", [False, True])
def test_budgets_entropies_and_losses_equal_eager_attention(pack: bool) -> None:
    model, truth, trials, float32 = built_in()
    captured = capture(model, make_batch(trials, pad_token=0, pack=pack), EVERYTHING)
    for number, trial in enumerate(trials):
        expected = measured(truth, trial)
        within(losses(captured, number), expected.nll, of=float32.losses)
        numbers_within(numbers(captured, number), expected_numbers(expected, merged=True), of=float32)
