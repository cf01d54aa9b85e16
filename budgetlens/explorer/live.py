"""The model beside its records: loaded in the background, asked for one trial at a time."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import pandas as pd

from budgetlens.design.design import Cell
from budgetlens.design.intervention import Context
from budgetlens.explorer.data import RunData
from budgetlens.explorer.named import Named, named_paths, not_opened
from budgetlens.explorer.state import cells_with_prefix, name_with_own_prefix
from budgetlens.explorer.views import NothingToShow, joined
from budgetlens.model.capture import Probing
from budgetlens.model.loaded import LoadedModel
from budgetlens.model.loading import load_model
from budgetlens.model.observation import chosen_probes, read_probes
from budgetlens.model.token_attention import token_attention
from budgetlens.model.token_scores import placed
from budgetlens.model.tokenization import Limits
from budgetlens.model.trials import Example
from budgetlens.runs.capturing import Unit, capture_part
from budgetlens.runs.known_models import model_path
from budgetlens.runs.manifest import Manifest
from budgetlens.runs.records import Fed
from budgetlens.runs.run import TRIALS

#: Token views and measured texts that are kept.
KEPT = 64

#: What may go wrong in loading and measuring, and is told in the page rather than as a traceback.
EXPECTED = (ValueError, OSError, RuntimeError, ModuleNotFoundError)

Result = TypeVar("Result")


class LiveModel:
    """The model of one run. `start` loads it in a thread; `state` is waiting, loading, ready or absent.

    ``asked`` is where it lies, if not where the run found it. Where the run is not ``trusted``, no path is opened that
    it alone names.
    """

    def __init__(self, data: RunData, asked: str | None = None, *, trusted: bool = True) -> None:
        self.data = data
        self.source = model_path(asked or data.manifest.model.name)
        self._unasked = () if trusted else _unasked(data.manifest, asked)
        self.state = "waiting"
        self.reason = ""
        self.note = ""
        self._model: LoadedModel | None = None
        self._finished = threading.Event()
        # One forward at a time: a trace of nnsight belongs to one thread.
        self._one = threading.Lock()
        self._kept: OrderedDict[Any, Any] = OrderedDict()

    def start(self) -> None:
        """Begin to load, once."""
        if self.state == "waiting":
            self.state = "loading"
            threading.Thread(target=self._load, name="budgetlens model", daemon=True).start()

    def wait(self, seconds: float) -> bool:
        """Whether loading has ended, well or not, within so many seconds."""
        return self._finished.wait(seconds)

    @property
    def words(self) -> str:
        """The state in a sentence."""
        name = self.data.manifest.model.name
        return {
            "waiting": f"The model {name} is not loaded.",
            "loading": f"The model {name} is being loaded …",
            "ready": f"The model {name} is at hand. {self.note}".strip(),
            "absent": f"The model {name} is not at hand: {self.reason}",
        }[self.state]

    @property
    def model(self) -> LoadedModel:
        """The loaded model. Raises NothingToShow with the reason where it is not there, or not yet."""
        if self._model is None:
            raise NothingToShow(self.words)
        return self._model

    def _load(self) -> None:
        identity = self.data.manifest.identity
        try:
            if self._unasked:
                raise ValueError(not_opened(self._unasked))
            same_device = _device_here() == identity["device"]
            model = load_model(
                self.source,
                revision=self.data.manifest.model.revision,
                dtype=identity["dtype"] if same_device else "auto",
                limits=Limits(**identity["limits"]),
            )
            if model.identity != identity["model"]:
                raise ValueError(
                    f"{self.source} holds other weights than those that the run measured; give the right ones with --model"
                )
        except (KeyError, TypeError) as error:
            self.reason = f"run.json does not tell what the model was run with ({first_line(error)})."
            self.state = "absent"
        except EXPECTED as error:
            self.reason = first_line(error)
            self.state = "absent"
        else:
            self._model = model
            if not same_device:
                self.note = f"It runs on {model.device.type} here, the run was made on {identity['device']}."
            self.state = "ready"
        finally:
            self._finished.set()

    def layers(self) -> tuple[int, ...]:
        """The decoder's layers where the model is at hand, else those that were recorded."""
        if self._model is None:
            return self.data.layers
        return tuple(sorted({site.layer for site in self._model.sites("decoder")}))

    def tokens(self, example: str, cell: str, layer: int, measures: tuple[str, ...] = ()) -> pd.DataFrame:
        """Token-level attention of one example in one cell of the run, with a column for each of ``measures`` (probes).

        Raises NothingToShow where the model or the example's text is missing.
        """
        model = self.model
        if example not in self.data.places:
            raise NothingToShow(self.data.no_texts or f"The corpus has no example {example!r}.")

        def measure() -> pd.DataFrame:
            place, corpus = self.data.places[example], self.data.corpus
            assert corpus is not None  # places are those of its examples
            examples = corpus.examples
            trial = self._cells[cell].trial(examples[place], self._context(model, examples, place))
            return self._attention(model, Fed(cell, model.trial_tokenizer(trial)), layer, measures)

        return self._cached(("tokens", example, cell, layer, measures), measure)

    def own_tokens(
        self, texts: OwnTexts, cell: str, layer: int, measures: tuple[str, ...] = ()
    ) -> pd.DataFrame:
        """Token-level attention of the user's own texts in one cell, with a column for each of ``measures`` (probes)."""
        fed = {item.cell: item for item in self._own(texts)}
        return self._cached(
            ("own tokens", texts, cell, layer, measures),
            lambda: self._attention(self.model, fed[cell], layer, measures),
        )

    def own_records(self, texts: OwnTexts, probe: str) -> dict[str, pd.DataFrame]:
        """The records of the outcome and of a probe of attention, of the user's own texts in every cell.

        Raises RegistryError where the probe is of a distribution that is not here.
        """
        model, fed = self.model, self._own(texts)
        # With the parameters that the run gave it.
        asked = {text.partition(":")[0]: text for text in self.data.manifest.probes}
        wanted = (asked.get(probe, probe),) if probe else ()

        def measure() -> dict[str, pd.DataFrame]:
            tables = capture_part(
                model,
                [Unit(fed)],
                Probing(read_probes(wanted)),
                rows=self.data.manifest.rows,
                batch_tokens=int(self.data.manifest.identity["batch_tokens"]),
            )
            frames = {kind: tables[kind].to_pandas() for kind in tables.keys() - {TRIALS}}
            for frame in frames.values():
                for column in frame.columns[[isinstance(own, pd.CategoricalDtype) for own in frame.dtypes]]:
                    frame[column] = frame[column].astype(str)
            return frames

        return self._cached(("own records", texts, wanted), measure)

    @property
    def _cells(self) -> dict[str, Cell]:
        return {cell.name: cell for cell in self.data.plan.design.cells}

    def _own(self, texts: OwnTexts) -> tuple[Fed, ...]:
        model = self.model
        example = Example("own", texts.query, texts.document, texts.answer)
        corpus = self.data.corpus
        # In front of the corpus, from which prefixes and prompts of other examples are taken.
        examples = (example, *(corpus.examples if corpus is not None else ()))
        context = self._context(model, examples, 0)
        fed: list[Fed] = []
        replaced = cells_with_prefix(self.data) if texts.prefix else ()
        for name in (*replaced, *self.data.cells):
            trial = self._cells[name].trial(example, context)
            if len(fed) < len(replaced):
                segments = (
                    replace(segment, text=texts.prefix, token_ids=None)
                    if segment.role == "prefix"
                    else segment
                    for segment in trial.encoder
                )
                trial, name = replace(trial, encoder=tuple(segments)), name_with_own_prefix(name)
            fed.append(Fed(name, model.trial_tokenizer(trial)))
        return tuple(fed)

    def _context(self, model: LoadedModel, examples: Sequence[Example], place: int) -> Context:
        return Context(
            index=place,
            examples=examples,
            tokenizer=model.trial_tokenizer,
            vocabulary_size=model.tokenizer.vocab_size,
            seed=self.data.run.seed,
            padding_pool=self.data.corpus.padding_pool if self.data.corpus is not None else (),
        )

    def _attention(self, model: LoadedModel, fed: Fed, layer: int, measures: tuple[str, ...]) -> pd.DataFrame:
        # With the parameters that the run gave them.
        given = {text.partition(":")[0]: text for text in self.data.manifest.probes}
        probes = chosen_probes([given.get(name, name) for name in measures])
        (trial,) = placed(model, [fed.trial])
        rows = self.data.manifest.rows
        return token_attention(model, trial, layers=[layer], rows=rows, cell=fed.cell, measures=probes)

    def _cached(self, key: Any, make: Callable[[], Result]) -> Result:
        with self._one:
            if key not in self._kept:
                self._kept[key] = make()
                while len(self._kept) > KEPT:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            return self._kept[key]


@dataclass(frozen=True)
class OwnTexts:
    """A query, a document, a prefix (may be empty) and an answer of the user's own."""

    query: str
    document: str
    prefix: str
    answer: str

    def require_whole(self) -> None:
        """Raise NothingToShow that names what is missing."""
        missing = [name for name in ("query", "document", "answer") if not getattr(self, name).strip()]
        if missing:
            raise NothingToShow(
                f"Type {joined(['a ' + name if name != 'answer' else 'an answer' for name in missing])}, then measure."
            )


def _unasked(manifest: Manifest, asked: str | None) -> tuple[Named, ...]:
    """The paths that loading and measuring would open, and that nobody but the run names."""
    return tuple(
        item
        for item in named_paths(manifest)
        if item.what != "corpus" and not (item.what == "model" and asked is not None)
    )


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its kind where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _device_here() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
