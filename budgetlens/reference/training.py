"""The recipe of the built-in model: architecture, curriculum, optimiser, and a loop that survives a kill."""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional
from tqdm import tqdm
from transformers import T5Gemma2Config, T5Gemma2ForConditionalGeneration

from budgetlens.reference.batches import IGNORED, Batch, Stage, draw_rows, pack
from budgetlens.reference.tokenizer import BOI, BOS, EOI, EOS, IMAGE, PAD, build_tokenizer

CHECKPOINT = "checkpoint.pt"


#: Shapes of the batches of the full mix; every seventeenth holds documents of 500 to 640 tokens.
FULL_MIX = (*(((112, 224, 24), (192, 224, 20)) * 8), (672, 224, 5))


@dataclass(frozen=True)
class Shape:
    """Sizes of the model. Attention windows are in tokens, shorter than the documents."""

    hidden_size: int = 128
    intermediate_size: int = 384
    layers: int = 4
    heads: int = 4
    key_value_heads: int = 2
    head_dim: int = 48
    encoder_window: int = 48
    decoder_window: int = 32


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights; recorded with them."""

    shape: Shape = field(default_factory=Shape)
    stages: tuple[Stage, ...] = (
        Stage(0.1, ((64, 160, 32),), (1, 3), (1, 4), 0.0, strings=0.4, copies=0.4, joined=0.0),
        Stage(0.3, ((112, 224, 24),), (1, 4), (2, 7), 0.05, strings=0.1, copies=0.12, joined=0.0),
        Stage(0.4, FULL_MIX, (2, 5), (4, 11), 0.15, strings=0.02, copies=0.06, joined=0.2),
        # One attribute, many entities: only the entity's name picks the fact.
        Stage(0.5, ((112, 224, 24),), (3, 7), (2, 7), 0.0, strings=0.02, copies=0.05, joined=0.0),
        Stage(0.7, FULL_MIX, (2, 5), (4, 11), 0.15, strings=0.02, copies=0.06, joined=0.2),
        # The same with the query in front of the document: what co-encoding leaves in the document's states.
        Stage(0.8, ((112, 224, 24),), (3, 7), (2, 7), 0.0, strings=0.0, copies=0.03, joined=0.0, oracle=0.6),
        Stage(1.0, FULL_MIX, (2, 5), (4, 11), 0.15, strings=0.02, copies=0.06, joined=0.2, oracle=0.35),
    )
    steps: int = 4000
    seed: int = 20
    warmup: int = 100
    decay_from: float = 0.6
    muon_rate: float = 4e-3
    muon_weight_decay: float = 0.02
    embedding_rate: float = 2e-3
    norm_rate: float = 4e-3
    clip: float = 1.0
    autocast: bool = True
    compile: bool = True


def build_model(shape: Shape) -> T5Gemma2ForConditionalGeneration:
    """A T5Gemma 2 with random weights: text only, its vision tower as small as the class allows."""
    size = len(build_tokenizer())
    # Sliding and full layers alternate and the last is full, as in the large models.
    kinds = ["full_attention" if (shape.layers - i) % 2 else "sliding_attention" for i in range(shape.layers)]
    text = {
        "vocab_size": size,
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.intermediate_size,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.key_value_heads,
        "head_dim": shape.head_dim,
        "query_pre_attn_scalar": 16,
        "max_position_embeddings": 8192,
        "layer_types": kinds,
        "pad_token_id": PAD,
        "eos_token_id": EOS,
        "bos_token_id": BOS,
        "initializer_range": 0.06,
        "use_cache": True,
    }
    vision = {
        "model_type": "siglip_vision_model",
        "hidden_size": 4,
        "intermediate_size": 4,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "image_size": 4,
        "patch_size": 2,
        "vision_use_head": False,
    }
    encoder = {
        "text_config": {**text, "sliding_window": shape.encoder_window, "rope_parameters": _rope(1e4)},
        "vision_config": vision,
        "mm_tokens_per_image": 4,
        "boi_token_index": BOI,
        "eoi_token_index": EOI,
        "image_token_index": IMAGE,
        "initializer_range": 0.06,
    }
    # Rotated decoder queries meet unrotated encoder keys: slow rotations keep that match the same at
    # every decoder position, so the decoder's sliding layers have a slow base too.
    decoder = {**text, "sliding_window": shape.decoder_window, "rope_parameters": _rope(1e6)}
    config = T5Gemma2Config(encoder=encoder, decoder=decoder, image_token_index=IMAGE, initializer_range=0.06)
    model = T5Gemma2ForConditionalGeneration(config)
    model.generation_config.decoder_start_token_id = BOS
    model.generation_config.bos_token_id = BOS
    model.generation_config.eos_token_id = EOS
    model.generation_config.pad_token_id = PAD
    for name, parameter in model.named_parameters():
        if "vision_tower" in name or "multi_modal" in name or name.endswith("eoi_embedding"):
            parameter.requires_grad_(False)
    return model


def _rope(local_base: float) -> dict[str, dict[str, Any]]:
    return {
        "full_attention": {"rope_type": "default", "rope_theta": 1e6},
        "sliding_attention": {"rope_type": "default", "rope_theta": local_base},
    }


def packed_hidden_states(model: T5Gemma2ForConditionalGeneration, batch: Batch) -> torch.Tensor:
    """Decoder states (rows, decoder, hidden) of a packed batch, equal to those of each slot by itself.

    The stacks take ready-made masks per kind of layer; the windows below are those of the model's own
    masks: ``dist < window`` back in the decoder, half the window to each side in the encoder.
    """
    encoder, decoder = model.get_encoder(), model.get_decoder()
    window = encoder.config.text_config.sliding_window
    length = batch.encoder_ids.shape[1]
    back = torch.arange(length)[:, None] - torch.arange(length)[None]
    near = (back < (window + 1) // 2) & (back > -(window // 2 + 1))
    keys = batch.encoder_mask[:, None, None, :].expand(-1, 1, length, -1)
    # A padding row must see something or its softmax is empty; what it holds is never used.
    keys = keys | torch.eye(length, dtype=torch.bool)
    states = encoder(
        input_ids=batch.encoder_ids,
        attention_mask={"full_attention": keys, "sliding_attention": keys & near},
    ).last_hidden_state
    same = batch.slots[:, :, None] == batch.slots[:, None, :]
    length = batch.decoder_ids.shape[1]
    back = torch.arange(length)[:, None] - torch.arange(length)[None]
    causal = (same & (back >= 0))[:, None]
    return decoder(
        input_ids=batch.decoder_ids,
        position_ids=batch.positions,
        attention_mask={
            "full_attention": causal,
            "sliding_attention": causal & (back < decoder.config.sliding_window),
        },
        encoder_hidden_states=states,
        encoder_attention_mask={"full_attention": batch.cross_mask[:, None]},
        use_cache=False,
    ).last_hidden_state


def loss_of(model: T5Gemma2ForConditionalGeneration, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Weighted mean loss, and the unweighted loss (nats) of every label at its place (0 elsewhere)."""
    hidden = packed_hidden_states(model, batch)
    places = batch.labels != IGNORED
    logits = model.lm_head(hidden[places]).float()
    losses = functional.cross_entropy(logits, batch.labels[places], reduction="none")
    weights = batch.weights[places]
    spread = torch.zeros(batch.labels.shape)
    spread[places] = losses.detach()
    return (losses * weights).sum() / weights.sum(), spread


class Optimisers:
    """Muon for the matrices of the layers, AdamW for embeddings and norms, under one schedule."""

    def __init__(self, model: T5Gemma2ForConditionalGeneration, recipe: Recipe) -> None:
        trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        matrices = [p for name, p in trained.items() if p.ndim == 2 and ".layers." in name]
        norms = [p for p in trained.values() if p.ndim == 1]
        tables = [p for name, p in trained.items() if p.ndim == 2 and ".layers." not in name]
        self.parameters = [*matrices, *norms, *tables]
        self.members: tuple[torch.optim.Optimizer, ...] = (
            torch.optim.Muon(
                matrices,
                lr=recipe.muon_rate,
                weight_decay=recipe.muon_weight_decay,
                adjust_lr_fn="match_rms_adamw",
            ),
            torch.optim.AdamW(
                [{"params": norms, "lr": recipe.norm_rate}, {"params": tables, "lr": recipe.embedding_rate}],
                betas=(0.9, 0.98),
                weight_decay=0.0,
            ),
        )
        self.rates = [[group["lr"] for group in member.param_groups] for member in self.members]

    def step(self, scale: float) -> None:
        """One update with every learning rate multiplied by ``scale``."""
        for member, rates in zip(self.members, self.rates, strict=True):
            for group, rate in zip(member.param_groups, rates, strict=True):
                group["lr"] = rate * scale
            member.step()
            member.zero_grad(set_to_none=True)


def rate_scale(recipe: Recipe, step: int) -> float:
    """The schedule: linear warm-up, constant, then linear down to 2 % (a trapezoid)."""
    start = recipe.decay_from * recipe.steps
    down = 1.0 if step < start else 1.0 - 0.98 * (step - start) / (recipe.steps - start)
    return min(1.0, (step + 1) / recipe.warmup) * down


def batch_of(recipe: Recipe, step: int) -> Batch:
    """The batch of a step: a pure function of the recipe and the step."""
    stage = next(one for one in recipe.stages if step < one.until * recipe.steps)
    shape = stage.shapes[step % len(stage.shapes)]
    return pack(draw_rows(stage, shape, recipe.seed, step), shape[0], shape[1])


def _save(path: Path, payload: dict[str, Any]) -> None:
    """Write a checkpoint so that a kill leaves the old one or the new one, never half of one."""
    part = path.with_suffix(".part")
    with part.open("wb") as stream:
        torch.save(payload, stream)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(part, path)


def recipe_record(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain JSON data."""
    return json.loads(json.dumps(asdict(recipe)))


def train(
    recipe: Recipe,
    work: Path,
    checkpoint_every: int = 200,
    report: Callable[[str], None] = tqdm.write,
) -> tuple[T5Gemma2ForConditionalGeneration, dict[str, float]]:
    """Train, or continue training from the checkpoint in ``work``.

    Args:
        recipe: what to train; a checkpoint of another recipe is refused.
        work: folder of the checkpoint.
        checkpoint_every: steps between checkpoints. The data of a step depend on nothing but the step,
            and training draws no other random numbers, so the place of the checkpoints changes nothing.
        report: called with a line of losses now and then.

    Returns:
        The model and what was spent: ``tokens`` (encoder and decoder, no padding) and ``seconds``.

    Raises:
        ValueError: the checkpoint belongs to another recipe.
    """
    torch.manual_seed(recipe.seed)
    work.mkdir(parents=True, exist_ok=True)
    model = build_model(recipe.shape).train()
    optimisers = Optimisers(model, recipe)
    spent = {"tokens": 0.0, "seconds": 0.0}
    first = 0
    path = work / CHECKPOINT
    if path.exists():
        saved = torch.load(path, weights_only=True)
        if saved["recipe"] != recipe_record(recipe):
            raise ValueError(f"{path} belongs to another recipe: remove it, or train with the recipe it has")
        model.load_state_dict(saved["model"])
        for member, state in zip(optimisers.members, saved["optimisers"], strict=True):
            member.load_state_dict(state)
        first, spent = saved["step"], saved["spent"]
    if recipe.compile:
        torch._dynamo.config.recompile_limit = 64
        for layer in (*model.get_encoder().text_model.layers, *model.get_decoder().layers):
            layer.compile(dynamic=False)

    def checkpoint(step: int) -> None:
        states = [member.state_dict() for member in optimisers.members]
        payload = {"model": model.state_dict(), "optimisers": states, "step": step, "spent": spent}
        _save(path, {**payload, "recipe": recipe_record(recipe)})

    sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for step in _progress(first, recipe.steps):
        began = time.monotonic()
        batch = batch_of(recipe, step)
        with torch.autocast("cpu", torch.bfloat16, enabled=recipe.autocast):
            loss, losses = loss_of(model, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(optimisers.parameters, recipe.clip)
        optimisers.step(rate_scale(recipe, step))
        spent["tokens"] += batch.tokens()
        spent["seconds"] += time.monotonic() - began
        for kind, places in batch.kinds.items():
            sums[kind][0] += float(losses[places[:, 0], places[:, 1]].sum())
            sums[kind][1] += len(places)
        if (step + 1) % 50 == 0:
            parts = ", ".join(f"{kind} {total / n:.2f}" for kind, (total, n) in sorted(sums.items()))
            report(f"step {step + 1}: {parts}; {spent['tokens'] / spent['seconds']:.0f} tokens/s")
            sums.clear()
        if (step + 1) % checkpoint_every == 0 or step + 1 == recipe.steps:
            checkpoint(step + 1)
    return model, spent


def _progress(first: int, total: int) -> Iterator[int]:
    yield from tqdm(
        range(first, total), initial=first, total=total, unit="step", mininterval=10, smoothing=0.05
    )
