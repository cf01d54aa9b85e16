"""The command that continues a run that Python began, where the command can name what it was given."""

from __future__ import annotations

import re

from budgetlens.corpora.corpus import Corpus
from budgetlens.corpora.tasks import ANSWER
from budgetlens.design.analysis import CUSTOM, Analysis
from budgetlens.design.catalogue import available_analyses
from budgetlens.design.custom import custom_analysis
from budgetlens.model.devices import chosen_device, chosen_type
from budgetlens.model.loaded import LoadedModel
from budgetlens.model.tokenization import Limits
from budgetlens.registry.notebook import is_own
from budgetlens.runs.known_models import short_name
from budgetlens.runs.request import RunRequest
from budgetlens.runs.running import sources
from budgetlens.runs.storage import ROWS

#: A commit of a hub model, as its identity.
_COMMIT = re.compile(r"[0-9a-f]{40}")


def command_of(request: RunRequest, corpus: Corpus | None, model: LoadedModel | None) -> tuple[str, ...]:
    """What run.json tells as the command of a run: its words; where no command could make it, the call in Python.

    ``corpus`` and ``model`` are those that were given as objects.
    """
    analysis, models, rows = (
        _analysis_words(request.analysis),
        _model_words(request, model),
        _corpus_words(request, corpus),
    )
    plan = request.analysis.plan(request.options.protocol)
    if analysis is None or models is None or rows is None or sources(request.analysis, plan, request.options):
        return (_call(request, corpus, model),)
    options = request.options
    further = {
        "--task": None if request.task == ANSWER else request.task,
        "--seed": options.seed,
        "--protocol": options.protocol,
        "--layers": None if options.layers is None else ",".join(map(str, options.layers)),
        "--rows": options.rows,
        "--probes": None if options.probes is None else ",".join(_escaped(probe) for probe in options.probes),
        "--batch-tokens": options.batch_tokens,
        # A comma behind the last tells identifiers from a number.
        "--tokens": f"{','.join(request.tokens)},"
        if isinstance(request.tokens, tuple)
        else request.tokens or None,
        "--from": request.source,
        "--out": request.out,
    }
    engine = request.engine
    further |= {
        "--engine": None if engine.name == "local" else engine.name,
        "--workers": engine.workers,
        "--address": engine.address,
        "--gpus-per-worker": engine.gpus_per_worker,
    }
    words = [word for name, value in further.items() if value is not None for word in (name, str(value))]
    flag = ["--encoder-rows"] if options.encoder_rows else []
    return ("budgetlens", "run", *analysis, *models, *rows, *words, *flag)


def _analysis_words(analysis: Analysis) -> list[str] | None:
    """What names an analysis; None for one of a notebook, an instance of one's own, and a design with more than factors."""
    if analysis.name == CUSTOM:
        (plan,) = analysis.plans.values()
        factors = {factor.name: list(factor.levels) for factor in plan.design.factors}
        if custom_analysis({"factors": factors}) != analysis:
            return None
        named = (f"{name}={','.join(map(_escaped, levels))}" for name, levels in factors.items())
        return [CUSTOM, *(word for one in named for word in ("--factor", one))]
    maker = available_analyses().get(analysis.name)
    if maker is None or is_own(maker, "budgetlens.analyses") or maker().plans != analysis.plans:
        return None
    return [analysis.name]


def _model_words(request: RunRequest, model: LoadedModel | None) -> list[str] | None:
    """What names the models; None for one that lies in no place that the command could load."""
    limits = request.encoder_tokens
    if model is None:
        words = [word for name in request.models for word in ("--model", name)]
    else:
        name, commit = short_name(model.name), _COMMIT.fullmatch(model.identity)
        if not (model.is_stored and model.attention_implementation == model.family.attention[0]):
            return None
        words = ["--model", name, *(["--revision", model.identity] if commit else [])]
        if model.device != chosen_device("auto"):
            words += ["--device", str(model.device)]
        if model.dtype != chosen_type("auto", model.device):
            words += ["--dtype", str(model.dtype).removeprefix("torch.")]
        own = model.trial_tokenizer.limits.encoder
        if limits is None and not request.has_limits and own != Limits().encoder:
            limits = own
    return [*words, *(["--max-encoder-tokens", str(limits)] if limits else [])]


def _corpus_words(request: RunRequest, corpus: Corpus | None) -> list[str] | None:
    """What names the corpus; None for rows of a run that has no place yet."""
    if corpus is None or corpus.asked:
        asked = [] if request.corpus is None else ["--corpus", request.corpus]
    elif request.out is None:
        return None
    else:
        asked = ["--corpus", str(request.out / ROWS)]
    return [*asked, *([] if request.n is None else ["--n", str(request.n)])]


def _escaped(level: str) -> str:
    return level.replace(",", "\\,")


def _call(request: RunRequest, corpus: Corpus | None, model: LoadedModel | None) -> str:
    """The call in Python, without what has no text."""
    of_model = [f"model={short_name(model.name)!r} as it was loaded"] if model is not None else []
    named = [*request.models] if model is None else []
    parts = [
        repr(request.analysis.name),
        *of_model,
        *([f"model={named!r}"] if named else []),
        "corpus=bl.corpus(…)" if corpus is not None and not corpus.asked else f"corpus={request.corpus!r}",
        *([] if request.out is None else [f"out={str(request.out)!r}"]),
    ]
    return f"bl.run({', '.join(parts)}, …)"
