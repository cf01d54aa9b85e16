"""What capture costs, and how fast a whole job is: `budgetlens bench`.

Every figure is a ratio of two timings taken in turn in one process, so that it holds when the machine's
speed drifts. ``capture``: all decoder budgets, entropies and losses over the plain forward of the same
batches. ``memory``: their peak memory, each in a process of its own. ``contributions``: time and peak memory of all
probes of what chosen rows take from each role, over the plain forward's. ``job``: the whole of analysis 08 on
the built-in model against the published way of working. ``answers``: generated ones against the library's, one by one.
"""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from einops import rearrange

from budgetlens.command.generation_bench import GENERATION_LEAST, generation_ratios
from budgetlens.corpora.corpus import read_corpus
from budgetlens.design.catalogue import find_analysis
from budgetlens.model.batching import Batch, make_batch
from budgetlens.model.capture import Probing, capture
from budgetlens.model.declaration import Declaration
from budgetlens.model.decoder_inputs import decoder_inputs
from budgetlens.model.likelihood import token_losses
from budgetlens.model.loaded import LoadedModel
from budgetlens.model.loading import load_model, prepare_model
from budgetlens.model.observation import available_probes, read_probes, usual_probes
from budgetlens.model.roles import DECODER_ROLES, ENCODER_ROLES
from budgetlens.model.tokenization import TokenizedTrial
from budgetlens.model.trials import Example, Trial
from budgetlens.runs.known_models import REFERENCE_MODEL
from budgetlens.runs.run import Run
from budgetlens.runs.running import RunOptions, Unit, run_analysis, tokenized_units
from budgetlens.runs.storage import RunDirectory

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedTokenizerBase

#: Targets: capture over the plain forward, its peak memory over the plain forward's, speed of the job.
CAPTURE_LIMIT, MEMORY_LIMIT, JOB_LEAST = 1.15, 1.10, 8.0

#: The same of all probes of contributions together.
CONTRIBUTIONS_LIMIT, CONTRIBUTIONS_MEMORY_LIMIT = 1.3, 1.15

#: Encoder lengths of the capture and memory benchmarks, in tokens.
ENCODER_LENGTHS = (600, 2048)

#: Those at which the time of following every row is told.
FOLLOWED_LENGTHS = (150, 600, 2048)

#: Examples of the job benchmark.
JOB_EXAMPLES = 40


def run_benchmarks(parts: Sequence[str], *, repeats: int) -> int:
    """Print the benchmarks asked for; 0 where every target is met, else 1.

    Raises ValueError for an unknown part.
    """
    unknown = sorted(set(parts) - BENCHMARKS.keys())
    if unknown:
        raise ValueError(f"no benchmark is called {unknown[0]!r}; there are {', '.join(BENCHMARKS)}")
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, {repeats} paired repetitions",
        flush=True,
    )
    met = True
    for part in parts or BENCHMARKS:
        met &= BENCHMARKS[part](repeats)
    return 0 if met else 1


def bench_capture(repeats: int) -> bool:
    """Time of a capture over the plain forward of the same batch, on a 270M-270M shape."""
    return _bench_time("capture", READINGS["capture"], repeats, CAPTURE_LIMIT)


def bench_contributions(repeats: int) -> bool:
    """Time and peak memory of reading all contributions, over the plain forward's."""
    met = _bench_time("contributions", READINGS["contributions"], repeats, CONTRIBUTIONS_LIMIT)
    met &= _bench_peak("contributions", CONTRIBUTIONS_MEMORY_LIMIT)
    _report_following(repeats)
    return met


def _report_following(repeats: int) -> None:
    """Time and peak memory of the probes that follow every row, with their growth: told, and held to no target."""
    model = large_model()
    reading = Probing(read_probes(following_probes()))
    seconds: list[float] = []
    for length in FOLLOWED_LENGTHS:
        batch = large_batch(model, length)
        follow, plain = partial(capture, model, batch, reading), partial(plain_forward, model, batch)
        ratios = paired_ratios(follow, plain, max(1, repeats // 3))
        start = time.perf_counter()
        follow()
        seconds.append(time.perf_counter() - start)
        _print_ratio(f"every row followed / plain forward, {length} encoder tokens", ratios)
    for (short, first), (long, last) in pairwise(zip(FOLLOWED_LENGTHS, seconds, strict=True)):
        growth = math.log(last / first) / math.log(long / short)
        print(f"  from {short} to {long} tokens the time grows with the length to the power of {growth:.2f}")
    for length in ENCODER_LENGTHS:
        read, without = _peak_memory("following", length), _peak_memory("plain", length)
        _print_ratio(
            f"peak memory of every row followed, {length} encoder tokens ({read:.0f} MB / {without:.0f} MB)",
            [read / without],
        )


def _bench_time(words: str, probes: Callable[[], tuple[str, ...]], repeats: int, limit: float) -> bool:
    model = large_model()
    reading = Probing(read_probes(probes()))
    met = True
    for length in ENCODER_LENGTHS:
        batch = large_batch(model, length)
        ratios = paired_ratios(
            partial(capture, model, batch, reading), partial(plain_forward, model, batch), repeats
        )
        met &= _print_ratio(f"{words} / plain forward, {length} encoder tokens", ratios, most=limit)
    return met


def bench_memory(repeats: int) -> bool:
    """Peak memory of a capture over the plain forward's, each in its own process."""
    return _bench_peak("capture", MEMORY_LIMIT)


def _bench_peak(way: str, limit: float) -> bool:
    met = True
    for length in ENCODER_LENGTHS:
        read, plain = _peak_memory(way, length), _peak_memory("plain", length)
        label = f"peak memory of {way}, {length} encoder tokens ({read:.0f} MB / {plain:.0f} MB)"
        met &= _print_ratio(label, [read / plain], most=limit)
    return met


def contributing_probes() -> tuple[str, ...]:
    """The probes that declare that they read what rows take from each role, but for those that follow every row.

    The cost of these grows with rows × keys, whichever rows are asked for.
    """
    return tuple(
        name
        for name, made in available_probes().items()
        if made.declares.contributes and not hasattr(made, "observe_mixing")
    )


def following_probes() -> tuple[str, ...]:
    """The probes that follow every row of every layer."""
    return tuple(name for name, made in available_probes().items() if hasattr(made, "observe_mixing"))


#: What is read, by the part that measures it.
READINGS: Mapping[str, Callable[[], tuple[str, ...]]] = {
    "capture": usual_probes,
    "contributions": contributing_probes,
    "following": following_probes,
}


def bench_job(repeats: int) -> bool:
    """The whole of analysis 08 on the built-in model, against the published way of working."""
    analysis = find_analysis("exp08")
    plan = analysis.plan("corrected")
    corpus = read_corpus("reference", n=JOB_EXAMPLES)
    model = load_model(str(REFERENCE_MODEL))
    slow = load_model(str(REFERENCE_MODEL), attention="eager", check=False)
    units = tokenized_units(plan.design.cells, model, corpus, 42)
    results: dict[str, Any] = {}

    def ours() -> None:
        with tempfile.TemporaryDirectory() as folder:
            directory = RunDirectory(Path(folder) / "run")
            run_analysis(analysis, model, corpus, directory, RunOptions(), progress=False)
            run = Run.open(directory.path)
            results["ours"] = {name: (own, run.records(name)) for name, own in run.declarations.items()}

    def published() -> None:
        results["published"] = published_job(slow, units)

    ratios = paired_ratios(published, ours, max(1, repeats // 2))
    deviation = largest_deviation(results["ours"], results["published"])
    met = _print_ratio(
        f"published way / analysis 08, {JOB_EXAMPLES} examples × {len(plan.design.cells)} cells",
        ratios,
        least=JOB_LEAST,
    )
    allowed = rounding(units, len(model.sites("decoder")))
    print(
        f"  largest deviation of the two ways' numbers: {deviation:.1e}, at most {allowed:.1e} from rounding"
    )
    return met and deviation <= allowed


def bench_answers(repeats: int) -> bool:
    """Answers under eight cells from given encoder states, against the library's generation of one after the other."""
    met = True
    for model in (load_model(str(REFERENCE_MODEL)), large_model()):
        ratios = generation_ratios(model, max(1, repeats // 2))
        met &= _print_ratio(
            f"the library's generate / generation, per answer, {model.name}", ratios, least=GENERATION_LEAST
        )
    return met


BENCHMARKS = {
    "capture": bench_capture,
    "memory": bench_memory,
    "contributions": bench_contributions,
    "job": bench_job,
    "answers": bench_answers,
}


def rounding(units: Sequence[Unit], layers: int) -> float:
    """How far two right computations in float32 may be apart: an epsilon for every key of the longest row, per layer.

    A row's sums run over its keys, in an order that depends on the processor and on padding; what a layer loses, the
    next one reads.
    """
    keys = max(len(fed.trial.encoder_ids) + len(fed.trial.decoder_ids) for unit in units for fed in unit.fed)
    return keys * layers * float(np.finfo(np.float32).eps)


def paired_ratios(first: Callable[[], Any], second: Callable[[], Any], repeats: int) -> list[float]:
    """Time of ``first`` over time of ``second``, pair by pair, after one warm-up of each."""
    first()
    second()
    ratios = []
    for turn in range(repeats):
        # The order alternates, so that a drift of the machine's speed favours neither.
        timed = [(0, first), (1, second)] if turn % 2 == 0 else [(1, second), (0, first)]
        seconds = [0.0, 0.0]
        for place, function in timed:
            start = time.perf_counter()
            function()
            seconds[place] = time.perf_counter() - start
        ratios.append(seconds[0] / seconds[1])
    return ratios


def _print_ratio(
    label: str, ratios: Sequence[float], *, most: float | None = None, least: float | None = None
) -> bool:
    median = statistics.median(ratios)
    met = (most is None or median <= most) and (least is None or median >= least)
    spread = f" ({min(ratios):.2f} … {max(ratios):.2f})" if len(ratios) > 1 else ""
    if most is None and least is None:
        print(f"{label}: {median:.3f}{spread}", flush=True)
        return met
    target = f"at most {most}" if most is not None else f"at least {least}"
    print(f"{label}: {median:.3f}{spread}, target {target}: {'met' if met else 'NOT MET'}", flush=True)
    return met


def plain_forward(model: LoadedModel, batch: Batch) -> torch.Tensor:
    """The losses of a batch by the model alone: no trace, no probe, the same rows of logits."""
    with torch.inference_mode():
        states = model.model.get_encoder()(
            input_ids=batch.encoder_ids, attention_mask=batch.encoder_mask
        ).last_hidden_state
        hidden = model.model.model(**decoder_inputs(model, batch, states)).last_hidden_state
        rows = rearrange(batch.answer.index, "lane row -> lane row 1")
        logits = model.model.lm_head(torch.take_along_dim(hidden, rows, dim=1))
        return token_losses(logits, batch.targets)


def large_model() -> LoadedModel:
    """A T5Gemma 2 of the 270M-270M shape with random weights and a small vocabulary."""
    layers = 18
    text = {
        "vocab_size": 2048,
        "hidden_size": 640,
        "intermediate_size": 2048,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 1,
        "head_dim": 256,
        "query_pre_attn_scalar": 256,
        "sliding_window": 512,
        "max_position_embeddings": 32_768,
        "layer_types": [
            "full_attention" if (layer + 1) % 6 == 0 else "sliding_attention" for layer in range(layers)
        ],
    }
    vision = {
        "model_type": "siglip_vision_model",
        "hidden_size": 8,
        "intermediate_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "image_size": 8,
        "patch_size": 4,
    }
    special = {"boi_token_index": 4, "eoi_token_index": 5, "image_token_index": 6, "mm_tokens_per_image": 4}
    # Here, because every command imports this module and the model's takes seconds.
    from transformers import T5Gemma2Config, T5Gemma2ForConditionalGeneration

    config = T5Gemma2Config(
        encoder={"text_config": text, "vision_config": vision, **special}, decoder=text, image_token_index=6
    )
    torch.manual_seed(0)
    model = T5Gemma2ForConditionalGeneration(config)
    return prepare_model(
        model, _any_tokenizer(), name="random 270M-270M shape", identity="random", check=False
    )


def _any_tokenizer() -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(REFERENCE_MODEL)


def large_batch(model: LoadedModel, encoder_length: int, *, prompt: int = 12, answer: int = 16) -> Batch:
    """Two cells of one example, with and without a prompt, on random ids."""
    generator = torch.Generator().manual_seed(1)

    def ids(count: int) -> tuple[int, ...]:
        return tuple(torch.randint(10, 2048, (count,), generator=generator).tolist())

    encoder, answer_ids, prompt_ids = ids(encoder_length), ids(answer), ids(prompt)
    trials = [
        TokenizedTrial(
            trial=Trial.bare(Example("random", "", "", "")),
            encoder_ids=encoder,
            encoder_roles=("bos", *("document",) * (encoder_length - 1)),
            visible=(True,) * encoder_length,
            decoder_ids=(2, *own, *answer_ids),
            decoder_roles=("start", *("prompt",) * len(own), *("answer",) * answer),
            decoder_shift=0,
            document_intact=True,
            published_hidden=0,
            truncated=0,
        )
        for own in ((), prompt_ids)
    ]
    return make_batch(trials, pad_token=0, pack=True)


def _peak_memory(way: str, length: int) -> float:
    """Peak resident memory in MB of a fresh process that runs one way twice."""
    command = [sys.executable, "-m", "budgetlens.command.bench", way, str(length)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(json.loads(answer.stdout.strip().splitlines()[-1])["peak_mb"])


def _memory_child(way: str, length: int) -> None:
    model = large_model()
    batch = large_batch(model, length)
    for _ in range(2):
        if way == "plain":
            plain_forward(model, batch)
        else:
            capture(model, batch, Probing(read_probes(READINGS[way]())))
    print(json.dumps({"peak_mb": _own_peak()}))


def _own_peak() -> float:
    """This process's largest resident memory, MiB.

    From Linux's own record where there is one: getrusage keeps the peak of the process that started this one.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    # On POSIX systems alone, where the rest of a run needs none of their modules.
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def published_job(model: LoadedModel, units: Sequence[Unit]) -> dict[tuple[str, str], dict[str, Any]]:
    """The published way of working: one trial at a time, eager, all attention returned, full logits.

    Gives quantities of a run by their names: per trial the NLL, and by layer, category and head the shares of roles and
    the entropies of parts, over the predicting rows.
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for unit in units:
        for fed in unit.fed:
            found[fed.example, fed.cell] = _published_trial(model, fed.trial)
    return found


def _published_trial(model: LoadedModel, trial: TokenizedTrial) -> dict[str, Any]:
    from transformers.modeling_outputs import BaseModelOutput

    ids = torch.tensor([trial.encoder_ids])
    decoder_ids = torch.tensor([trial.decoder_ids])
    positions = torch.arange(trial.decoder_shift, trial.decoder_shift + len(trial.decoder_ids)).unsqueeze(0)
    with torch.inference_mode():
        states = model.model.get_encoder()(
            input_ids=ids, attention_mask=torch.ones_like(ids), output_attentions=True
        ).last_hidden_state
        output = model.model(
            encoder_outputs=BaseModelOutput(last_hidden_state=states),
            attention_mask=torch.tensor([trial.visible]).long(),
            decoder_input_ids=decoder_ids,
            decoder_attention_mask=torch.ones_like(decoder_ids),
            decoder_position_ids=positions,
            output_attentions=True,
            use_cache=False,
        )
    rows = list(trial.answer_rows("predicting"))
    log_probabilities = torch.log_softmax(output.logits[0].float(), dim=-1)
    losses = -log_probabilities[rows, decoder_ids[0, [row + 1 for row in rows]]]
    roles = np.array([*trial.decoder_roles, *trial.encoder_roles])
    own = len(trial.decoder_roles)
    layers = []
    for within, across in zip(output.decoder_attentions, output.cross_attentions, strict=True):
        attention = torch.cat([within[0], across[0]], dim=-1)[:, rows].numpy()
        shares = {
            role: attention[:, :, roles == role].sum(-1).mean(1) for role in (*DECODER_ROLES, *ENCODER_ROLES)
        }
        entropies = {}
        for part, chosen in (("self", slice(None, own)), ("cross", slice(own, None)), ("all", slice(None))):
            mass = attention[:, :, chosen].sum(-1)
            normalised = attention[:, :, chosen] / mass[..., None]
            logarithms = np.log(normalised, out=np.zeros_like(normalised), where=normalised > 0)
            entropies[part] = -(normalised * logarithms).sum(-1).mean(1)
        layers.append({"share": shares, "entropy": entropies})
    return {"nll": float(losses.mean()), "layers": layers}


def largest_deviation(
    ours: Mapping[str, tuple[Declaration, pd.DataFrame]], published: dict[tuple[str, str], dict[str, Any]]
) -> float:
    """The largest absolute difference between the records of a run and the published way's numbers of that name.

    ``ours`` holds what each probe declares and its records.
    """
    worst = 0.0
    for declared, records in ours.values():
        for quantity in (own.name for own in declared.quantities):
            if not declared.axis:
                for row in records.to_dict("records"):
                    worst = max(worst, abs(row[quantity] - published[row["example"], row["cell"]][quantity]))
                continue
            columns = ("example", "cell", "layer", "head", declared.axis, quantity)
            for example, cell, layer, head, name, value in zip(
                *(records[key] for key in columns), strict=True
            ):
                found = published[example, cell]["layers"][layer].get(quantity)
                if found is not None:
                    worst = max(worst, abs(value - found[name][head]))
    return worst


if __name__ == "__main__":
    _memory_child(sys.argv[1], int(sys.argv[2]))
