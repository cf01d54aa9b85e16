"""A second oracle, where it is installed: TransformerLens's likelihood and attention patterns of T5Gemma 2 and T5.

It forces eager attention, and gives the patterns of self- and cross-attention by its own hooks.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, PreTrainedModel

from budgetlens.model.attention import Site
from budgetlens.model.token_attention import shares_by_site
from tests.cells import Models, captured, losses, tokenized
from tests.conftest import save_tiny
from tests.precision import TIMES
from tests.reference import hooks, tiny_models

bridges = pytest.importorskip("transformer_lens.model_bridge")

#: Where the patterns of cross-attention are, of a merged softmax the encoder's keys.
CROSS = {"t5gemma2": "self_attn.hook_cross_pattern", "t5": "cross_attn.hook_pattern"}


@pytest.mark.parametrize("family", list(CROSS))
def test_its_likelihood_and_patterns_are_ours(family: str, loaded: Models, truth, tmp_path: Path) -> None:
    """Within a multiple of what its own float32 likelihood deviates from the eager model's float64, and of epsilon."""
    model = loaded(family)
    trial = tokenized(model, 0, {"prefix": "oracle", "prompt": "query"})
    path = save_tiny(family, tmp_path / family)
    whole: PreTrainedModel = tiny_models.build(family, attention="eager").eval()
    bridge = bridges.TransformerBridge.boot_transformers(
        str(path), hf_model=whole, tokenizer=AutoTokenizer.from_pretrained(path), device="cpu"
    )
    with torch.no_grad():
        logits, cache = bridge.run_with_cache(
            torch.tensor([trial.encoder_ids]), decoder_input=torch.tensor([trial.decoder_ids])
        )
    rows = list(trial.answer_rows("predicting"))
    targets = torch.tensor(trial.decoder_ids)[[row + 1 for row in rows]]
    theirs = -logits[0, rows].double().log_softmax(dim=-1).gather(1, targets[:, None])[:, 0].numpy()
    exact = hooks.answer_losses(
        truth(family),
        hooks.encoder_states(truth(family), trial.encoder_ids),
        visible=trial.visible,
        decoder_ids=trial.decoder_ids,
        answer_length=trial.answer_tokens,
    )
    deviation = max(np.abs(theirs - exact).max(), np.finfo(np.float32).eps * np.abs(exact).max())
    np.testing.assert_allclose(losses(captured(model, [trial])), theirs, atol=TIMES * deviation, rtol=0)
    merged = family == "t5gemma2"
    found = shares_by_site(model, trial)
    for layer in range(tiny_models.DECODER_LAYERS):
        own, across = (
            cache[f"decoder_blocks.{layer}.{name}"][0][:, rows].numpy()
            for name in ("self_attn.hook_pattern", CROSS[family])
        )
        pairs = (
            {"merged": np.concatenate([across, own], axis=-1)} if merged else {"self": own, "cross": across}
        )
        for block, pattern in pairs.items():
            shares = found[Site("decoder", block, layer)]
            # Shares are at most 1; what the layers below deviate by is that of the likelihood.
            bound = TIMES * max(deviation, np.finfo(np.float32).eps)
            np.testing.assert_allclose(shares, pattern, atol=bound, rtol=0, err_msg=f"{block} {layer}")
            np.testing.assert_allclose(pattern.sum(axis=-1), 1.0, atol=1e-5)
