"""The built-in model: a capture equals a straightforward eager computation, one trial at a time."""

from __future__ import annotations

import numpy as np
import pytest

from budgetlens.corpora.corpus import read_corpus
from budgetlens.design.catalogue import find_analysis
from budgetlens.model.batching import make_batch
from budgetlens.model.capture import Reading, capture
from budgetlens.model.loading import load_model
from budgetlens.runs.known_models import REFERENCE_MODEL
from budgetlens.runs.running import tokenized_units
from probes.budgets import Budgets
from probes.entropies import Entropies
from tests.reference.eager import measure


@pytest.mark.parametrize("pack", [False, True])
def test_budgets_entropies_and_losses_equal_eager_attention(pack: bool) -> None:
    model = load_model(str(REFERENCE_MODEL), check=False)
    corpus = read_corpus("reference", n=2)
    cells = find_analysis("exp08").plan("corrected").design.cells
    trials = [fed.trial for unit in tokenized_units(cells, model, corpus, 42) for fed in unit.fed]
    captured = capture(model, make_batch(trials, pad_token=0, pack=pack), Reading((Budgets(), Entropies())))
    for number, trial in enumerate(trials):
        positions = list(range(trial.decoder_shift, trial.decoder_shift + len(trial.decoder_ids)))
        expected = measure(
            model.model,
            encoder_ids=list(trial.encoder_ids),
            encoder_roles=list(trial.encoder_roles),
            visible=list(trial.visible),
            decoder_ids=list(trial.decoder_ids),
            decoder_roles=list(trial.decoder_roles),
            answer_length=trial.answer_tokens,
            decoder_position_ids=positions,
        )
        losses = captured.token_losses[number, : trial.answer_tokens]
        np.testing.assert_allclose(losses, expected.nll, atol=1e-5, rtol=0)
        for observation in captured.observations:
            site = observation.site
            for head in range(observation.values[next(iter(observation.values))].shape[1]):
                for place, name in enumerate(observation.categories):
                    key = (site.stack, site.block, site.layer, head, name)
                    found = [observation.values[kind][number, head, place] for kind in observation.values]
                    wanted = (
                        [expected.budgets[key]] if observation.probe == "budgets" else expected.entropies[key]
                    )
                    np.testing.assert_allclose(found, wanted, atol=1e-5, rtol=0, err_msg=str(key))
