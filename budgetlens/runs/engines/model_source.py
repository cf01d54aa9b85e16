"""How a model reaches a worker: by its name, by its files, or, where it lies in memory alone, as it is."""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cloudpickle
from transformers import PreTrainedTokenizerBase

from budgetlens.model.in_memory import wrap_model
from budgetlens.model.loaded import LoadedModel, ModelError
from budgetlens.model.loading import load_model
from budgetlens.model.sources import identity_files
from budgetlens.model.tokenization import Limits


@dataclass(frozen=True)
class ModelSource:
    """What a worker loads its model from.

    ``name`` is a hub name, with ``commit``, or a directory, and ``identity`` what is to be found there. ``memory`` is a
    model and its tokenizer, pickled, where they have no such place. ``device`` and ``dtype`` are names, as of
    :func:`budgetlens.model.loading.load_model`.
    """

    name: str
    commit: str | None
    identity: str
    device: str
    dtype: str
    attention: str
    limits: Limits
    memory: bytes | None = None

    @property
    def is_directory(self) -> bool:
        """Whether its files lie in a directory, which another machine may lack."""
        return self.memory is None and self.commit is None

    def is_here(self) -> bool:
        """Whether a worker of this machine has a place to load it from."""
        return not self.is_directory or self._found() is not None

    def load(self) -> LoadedModel:
        """The model, on the worker's device. Raises ModelError where it is not the one that the run began with."""
        if self.memory is not None:
            loaded = self._from_memory(self.memory)
        else:
            loaded = load_model(
                str(self._found() or self.name) if self.is_directory else self.name,
                revision=self.commit,
                device=self.device,
                dtype=self.dtype,
                limits=self.limits,
                attention=self.attention,
            )
        if loaded.identity != self.identity:
            raise ModelError(
                f"{self.name} is another model on this worker's machine (its hash begins with {loaded.identity[:12]}) than "
                f"where the run was started ({self.identity[:12]}); copy that one there, or remove this one, so that it is "
                "sent"
            )
        return loaded

    def files(self, tokenizer: PreTrainedTokenizerBase) -> dict[str, bytes]:
        """The files of a directory that its loaders read, by name."""
        folder = Path(self.name)
        return {name: (folder / name).read_bytes() for name in identity_files(folder, tokenizer)}

    def keep(self, files: Mapping[str, bytes]) -> None:
        """Lay files that were sent where all workers of this machine find them; several may do so at once."""
        place = self._sent()
        folder = Path(tempfile.mkdtemp(prefix=f".{place.name}-", dir=place.parent))
        for name, content in files.items():
            (folder / name).write_bytes(content)
        try:
            # A folder is there whole, or not at all.
            os.rename(folder, place)
        except OSError:
            shutil.rmtree(folder)
            if not place.is_dir():
                raise

    def _found(self) -> Path | None:
        return next((place for place in (Path(self.name), self._sent()) if place.is_dir()), None)

    def _sent(self) -> Path:
        digest = hashlib.sha256(self.identity.encode()).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"budgetlens-model-{digest}"

    def _from_memory(self, memory: bytes) -> LoadedModel:
        model, tokenizer = pickle.loads(memory)
        return wrap_model(model.to(self.device), tokenizer, name=self.name, limits=self.limits)


def source_of(model: LoadedModel, device: str, dtype: str) -> ModelSource:
    """Where workers that compute on ``device`` find a model that is loaded here."""
    directory = Path(model.name)
    is_directory = model.is_stored and directory.is_dir()
    return ModelSource(
        name=str(directory.resolve()) if is_directory else model.name,
        commit=model.identity if model.is_stored and not is_directory else None,
        identity=model.identity,
        device=device,
        dtype=dtype,
        attention=model.attention_implementation,
        limits=model.trial_tokenizer.limits,
        memory=None if model.is_stored else cloudpickle.dumps((model.model, model.tokenizer)),
    )
