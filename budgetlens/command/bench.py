"""What capture costs, and how fast a whole job is: `budgetlens bench`.

Every figure is a ratio of two timings taken in turn in one process, so that it holds when the machine's
speed drifts. ``capture``: all decoder budgets, entropies and losses over the plain forward of the same
batches. ``memory``: their peak memory, each in a process of its own. ``contributions``: time and peak memory of all
probes of what chosen rows take from each role, over the plain forward's. ``job``: the whole of analysis 08 on
the built-in model against the published way of working; ``large-job``: the same on a 270M-270M shape and long documents.
``answers``: generated ones against the library's, one by one.
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
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from einops import rearrange

from budgetlens.command.generation_bench import GENERATION_LEAST, generation_ratios
from budgetlens.command.published_way import largest_deviation, published_job, rounding
from budgetlens.command.random_models import LARGE, Shape, random_batch, random_model
from budgetlens.corpora.corpus import Corpus, read_corpus
from budgetlens.design.catalogue import find_analysis
from budgetlens.model.batching import Batch
from budgetlens.model.capture import Probing, capture
from budgetlens.model.decoder_inputs import decoder_inputs
from budgetlens.model.devices import chosen_device
from budgetlens.model.likelihood import token_losses
from budgetlens.model.loaded import LoadedModel
from budgetlens.model.loading import load_model
from budgetlens.model.observation import available_probes, read_probes, usual_probes
from budgetlens.runs.known_models import REFERENCE_MODEL
from budgetlens.runs.processors import processor_of
from budgetlens.runs.run import Run
from budgetlens.runs.running import RunOptions, run_analysis, tokenized_units
from budgetlens.runs.storage import RunDirectory

#: Targets: capture over the plain forward, its peak memory over the plain forward's.
CAPTURE_LIMIT, MEMORY_LIMIT = 1.15, 1.10

#: How many times as fast as the published way a job is to be, and one of the large shape on a GPU.
JOB_LEAST, GPU_JOB_LEAST = 8.0, 20.0

#: The same of all probes of contributions together.
CONTRIBUTIONS_LIMIT, CONTRIBUTIONS_MEMORY_LIMIT = 1.3, 1.15

#: Encoder lengths of the capture and memory benchmarks, in tokens.
ENCODER_LENGTHS = (600, 2048)

#: Those at which the time of following every row is told.
FOLLOWED_LENGTHS = (150, 600, 2048)

#: Examples of the job benchmarks where nobody says how many.
JOB_EXAMPLES, LARGE_JOB_EXAMPLES = 40, 4


@dataclass(frozen=True)
class Asked:
    """What every benchmark is told: paired repetitions, the device, and the examples of a job where that is said."""

    repeats: int
    device: torch.device
    examples: int | None = None


def run_benchmarks(parts: Sequence[str], *, repeats: int, device: str, examples: int | None) -> int:
    """Print the benchmarks asked for, or all; 0 where every target is met, else 1.

    Raises ValueError for an unknown part, ModelError for a device that is not here.
    """
    unknown = sorted(set(parts) - BENCHMARKS.keys())
    if unknown:
        raise ValueError(f"no benchmark is called {unknown[0]!r}; there are {', '.join(BENCHMARKS)}")
    asked = Asked(repeats, chosen_device(device), examples)
    print(
        f"torch {torch.__version__}, {processor_of(asked.device)}, {torch.get_num_threads()} threads, "
        f"{repeats} paired repetitions",
        flush=True,
    )
    met = True
    for part in parts or BENCHMARKS:
        met &= BENCHMARKS[part](asked)
    return 0 if met else 1


def bench_capture(asked: Asked) -> bool:
    """Time of a capture over the plain forward of the same batch, on a 270M-270M shape."""
    return _bench_time("capture", asked, CAPTURE_LIMIT)


def bench_contributions(asked: Asked) -> bool:
    """Time and peak memory of reading all contributions, over the plain forward's."""
    met = _bench_time("contributions", asked, CONTRIBUTIONS_LIMIT)
    met &= _bench_peak("contributions", asked, CONTRIBUTIONS_MEMORY_LIMIT)
    _report_following(asked)
    return met


def _report_following(asked: Asked) -> None:
    """Time and peak memory of the probes that follow every row, with their growth: told, and held to no target."""
    model = random_model(LARGE, device=asked.device)
    reading = Probing(read_probes(following_probes()))
    seconds: list[float] = []
    for length in FOLLOWED_LENGTHS:
        batch = random_batch(model, length)
        follow, plain = partial(capture, model, batch, reading), partial(plain_forward, model, batch)
        ratios = paired_ratios(follow, plain, max(1, asked.repeats // 3))
        start = time.perf_counter()
        follow()
        seconds.append(time.perf_counter() - start)
        _print_ratio(f"every row followed / plain forward, {length} encoder tokens", ratios)
    for (short, first), (long, last) in pairwise(zip(FOLLOWED_LENGTHS, seconds, strict=True)):
        growth = math.log(last / first) / math.log(long / short)
        print(f"  from {short} to {long} tokens the time grows with the length to the power of {growth:.2f}")
    for length in ENCODER_LENGTHS:
        read, without = (_peak_memory(each, length, asked.device) for each in ("following", "plain"))
        _print_ratio(
            f"peak memory of every row followed, {length} encoder tokens ({read:.0f} MB / {without:.0f} MB)",
            [read / without],
        )


def _bench_time(way: str, asked: Asked, limit: float) -> bool:
    model = random_model(LARGE, device=asked.device)
    reading = Probing(read_probes(READINGS[way]()))
    met = True
    for length in ENCODER_LENGTHS:
        batch = random_batch(model, length)
        ratios = paired_ratios(
            partial(capture, model, batch, reading), partial(plain_forward, model, batch), asked.repeats
        )
        met &= _print_ratio(f"{way} / plain forward, {length} encoder tokens", ratios, most=limit)
    return met


def bench_memory(asked: Asked) -> bool:
    """Peak memory of a capture over the plain forward's, each in its own process."""
    return _bench_peak("capture", asked, MEMORY_LIMIT)


def _bench_peak(way: str, asked: Asked, limit: float) -> bool:
    met = True
    for length in ENCODER_LENGTHS:
        read, plain = (_peak_memory(each, length, asked.device) for each in (way, "plain"))
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


def bench_job(asked: Asked) -> bool:
    """The whole of analysis 08 on the built-in model, against the published way of working."""
    device = str(asked.device)
    model = load_model(str(REFERENCE_MODEL), device=device, dtype="float32")
    slow = load_model(str(REFERENCE_MODEL), device=device, dtype="float32", attention="eager", check=False)
    return compare_ways(
        model, slow, read_corpus("reference", n=asked.examples or JOB_EXAMPLES), asked, JOB_LEAST
    )


def bench_large_job(asked: Asked) -> bool:
    """The same on a 270M-270M shape and long documents."""
    return compare_ways_of_shape(LARGE, asked)


def compare_ways_of_shape(shape: Shape, asked: Asked) -> bool:
    """Analysis 08 on a random model of ``shape``, against the published way of working."""
    model = random_model(shape, device=asked.device)
    slow = random_model(shape, device=asked.device, attention="eager")
    corpus = read_corpus("reference-long", n=asked.examples or LARGE_JOB_EXAMPLES)
    least = GPU_JOB_LEAST if asked.device.type == "cuda" else JOB_LEAST
    return compare_ways(model, slow, corpus, asked, least)


def compare_ways(model: LoadedModel, slow: LoadedModel, corpus: Corpus, asked: Asked, least: float) -> bool:
    """Print how much faster than the published way, with ``slow``, analysis 08 is; whether the target is met.

    False too where the two ways' numbers are further apart than rounding.
    """
    analysis = find_analysis("exp08")
    plan = analysis.plan("corrected")
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

    ratios = paired_ratios(published, ours, max(1, asked.repeats // 2))
    deviation = largest_deviation(results["ours"], results["published"])
    met = _print_ratio(
        f"published way / analysis 08, {len(units)} examples × {len(plan.design.cells)} cells, {model.name}",
        ratios,
        least=least,
    )
    allowed = rounding(units, len(model.sites("decoder")))
    print(
        f"  largest deviation of the two ways' numbers: {deviation:.1e}, at most {allowed:.1e} from rounding"
    )
    return met and deviation <= allowed


def bench_answers(asked: Asked) -> bool:
    """Answers under eight cells from given encoder states, against the library's generation of one after the other."""
    met = True
    built_in = load_model(str(REFERENCE_MODEL), device=str(asked.device), dtype="float32")
    for model in (built_in, random_model(LARGE, device=asked.device)):
        ratios = generation_ratios(model, max(1, asked.repeats // 2))
        met &= _print_ratio(
            f"the library's generate / generation, per answer, {model.name}", ratios, least=GENERATION_LEAST
        )
    return met


BENCHMARKS = {
    "capture": bench_capture,
    "memory": bench_memory,
    "contributions": bench_contributions,
    "job": bench_job,
    "large-job": bench_large_job,
    "answers": bench_answers,
}


def paired_ratios(first: Callable[[], Any], second: Callable[[], Any], repeats: int) -> list[float]:
    """Time of ``first`` over time of ``second``, pair by pair, after one warm-up of each."""
    first()
    second()
    wait_for_device()
    ratios = []
    for turn in range(repeats):
        # The order alternates, so that a drift of the machine's speed favours neither.
        timed = [(0, first), (1, second)] if turn % 2 == 0 else [(1, second), (0, first)]
        seconds = [0.0, 0.0]
        for place, function in timed:
            start = time.perf_counter()
            function()
            wait_for_device()
            seconds[place] = time.perf_counter() - start
        ratios.append(seconds[0] / seconds[1])
    return ratios


def wait_for_device() -> None:
    """Until a GPU that is in use has done what it was given: it is only told to, and the call returns."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


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


def _peak_memory(way: str, length: int, device: torch.device) -> float:
    """Peak memory in MiB of a fresh process that runs one way twice: of the GPU's, or resident."""
    command = [sys.executable, "-m", "budgetlens.command.bench", way, str(length), str(device)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(json.loads(answer.stdout.strip().splitlines()[-1])["peak_mb"])


def _memory_child(way: str, length: int, device: torch.device) -> None:
    model = random_model(LARGE, device=device)
    batch = random_batch(model, length)
    for _ in range(2):
        if way == "plain":
            plain_forward(model, batch)
        else:
            capture(model, batch, Probing(read_probes(READINGS[way]())))
    on_gpu = device.type == "cuda"
    peak = torch.cuda.max_memory_allocated(device) / 2**20 if on_gpu else _own_peak()
    print(json.dumps({"peak_mb": peak}))


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


if __name__ == "__main__":
    _memory_child(sys.argv[1], int(sys.argv[2]), torch.device(sys.argv[3]))
