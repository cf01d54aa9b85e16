"""The recipe of the built-in model: curriculum, optimiser, schedule, and a loop that survives a kill."""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm
from transformers import T5Gemma2ForConditionalGeneration

from budgetlens.reference.learning.drawing import Stage, draw_rows
from budgetlens.reference.learning.model import Sizes, build_model, loss_of
from budgetlens.reference.learning.packing import Batch, pack
from budgetlens.reference.world.documents import Shape

CHECKPOINT = "checkpoint.pt"

#: Encoder length, decoder length and rows of the batches of the full mix; one in thirteen holds long documents.
FULL_MIX = (*(((208, 256, 16), (352, 256, 12)) * 6), (944, 256, 4))
SHORT, SHORTEST = (112, 224, 24), (64, 160, 32)

WHOLE = Shape(entities=(2, 7), attributes=(2, 5))
#: Questions of the first stages: one fact, and little that can't be found.
ONE_FACT = (("value", 0.7), ("sentence", 0.3))
FIRST_FORMS = (
    ("value", 0.45),
    ("sentence", 0.17),
    ("description", 0.05),
    ("bridge", 0.2),
    ("both", 0.05),
    ("missing", 0.08),
)
#: Where few attributes are told of many entities, what picks the fact is the entity.
ENTITY_FORMS = (("value", 0.35), ("sentence", 0.1), ("bridge", 0.35), ("comparison", 0.1), ("missing", 0.1))


def _stages() -> tuple[Stage, ...]:
    few = Shape(entities=(1, 3), attributes=(1, 3), told=1.0, linked=0.3, near=0.0, fillers=0.0, pronouns=0.0)
    entities = Shape(
        entities=(3, 7), attributes=(1, 2), told=0.9, linked=0.3, near=0.0, fillers=0.0, pronouns=0.0
    )
    several = Shape(entities=(2, 5), attributes=(1, 4), near=0.3, fillers=0.05, pronouns=0.3)
    similar = replace(entities, near=0.6, linked=0.5, pronouns=0.3)
    return (
        Stage(0.1, (SHORTEST,), few, strings=0.2, copies=0.4, forms=ONE_FACT),
        # Little but the entity's name, which is unlike all others, picks the value: until this is learned, nothing
        # else can be.
        Stage(0.35, (SHORT,), entities, strings=0.05, copies=0.1, forms=ONE_FACT),
        Stage(0.45, (SHORT,), several, strings=0.02, copies=0.05, forms=FIRST_FORMS),
        Stage(0.6, FULL_MIX, WHOLE, strings=0.02, copies=0.05, joined=0.15),
        # Names that are easily confused, and the query in front of the document: what co-encoding leaves in its states.
        Stage(0.7, (SHORT,), similar, strings=0.0, copies=0.03, oracle=0.5, forms=ENTITY_FORMS),
        Stage(1.0, FULL_MIX, WHOLE, strings=0.02, copies=0.05, joined=0.15, oracle=0.3),
    )


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights; recorded with them. The number of steps was fixed beforehand."""

    sizes: Sizes = field(default_factory=Sizes)
    stages: tuple[Stage, ...] = field(default_factory=_stages)
    steps: int = 4400
    seed: int = 20
    warmup: int = 100
    decay_from: float = 0.6
    muon_rate: float = 4e-3
    muon_weight_decay: float = 0.02
    embedding_rate: float = 2e-3
    norm_rate: float = 4e-3
    clip: float = 1.0
    autocast: bool = True


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


def _restore(
    path: Path, recipe: Recipe, model: T5Gemma2ForConditionalGeneration, optimisers: Optimisers
) -> tuple[int, dict[str, float]]:
    """The step to go on with and what was spent before it; model and optimisers become what the file holds."""
    if not path.exists():
        return 0, {"tokens": 0.0, "seconds": 0.0}
    saved = torch.load(path, weights_only=True)
    if saved["recipe"] != recipe_record(recipe):
        raise ValueError(f"{path} belongs to another recipe: remove it, or train with the recipe it has")
    model.load_state_dict(saved["model"])
    for member, state in zip(optimisers.members, saved["optimisers"], strict=True):
        member.load_state_dict(state)
    return saved["step"], saved["spent"]


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
    model = build_model(recipe.sizes).train()
    optimisers = Optimisers(model, recipe)
    path = work / CHECKPOINT
    first, spent = _restore(path, recipe, model, optimisers)
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
            states = [member.state_dict() for member in optimisers.members]
            payload = {"model": model.state_dict(), "optimisers": states, "step": step + 1, "spent": spent}
            _save(path, {**payload, "recipe": recipe_record(recipe)})
    return model, spent


def _progress(first: int, total: int) -> Iterator[int]:
    yield from tqdm(
        range(first, total), initial=first, total=total, unit="step", mininterval=10, smoothing=0.05
    )
