"""Activations on disk: one safetensors file per example and cell, with tokens and roles beside the tensors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from budgetlens.face.arguments import path_given
from budgetlens.model.activations import activation_name, activations_of
from budgetlens.model.loaded import LoadedModel
from budgetlens.model.selecting import selected_trial
from budgetlens.model.token_attention import token_texts
from budgetlens.runs.files import WriteError, file_hash, read_json, replacing
from budgetlens.runs.known_models import short_name
from budgetlens.runs.manifest import RunError
from budgetlens.runs.records import Fed

if TYPE_CHECKING:
    from torch import Tensor

#: What a file is known by, and the file that lists those of a directory.
FORMAT, INDEX = "budgetlens-activations-1", "activations.json"


@dataclass(frozen=True)
class Activations:
    """The activations of one example in one cell, read from a file when they are asked for.

    ``open_activations(path)`` gives it. ``names`` are the tensors' names, such as ``decoder.3.residual`` or
    ``decoder.3.cross.key``; ``activations["…"]`` is one of them, and :meth:`tensor` finds it by its parts. Tensors are in
    the model's precision:

    * ``residual``: position × width, as it leaves the layer;
    * ``query``: head × row × width, ``key`` and ``value``: key head × key × width, as the attention function is handed
      them, before edits of the call; keys of a merged softmax are the encoder's positions, then the decoder's.

    Examples:
        >>> import budgetlens as bl
        >>> model = bl.load_model("reference")
        >>> reading = model.read(document="Orla Venn built the mill.", query="who built it", answer="Orla Venn")
        >>> kept = reading.save_activations("mill.safetensors", layers=[2], what=["residual", "key"])
        >>> kept.names
        ('decoder.2.merged.key', 'decoder.2.residual', 'encoder.2.residual', 'encoder.2.self.key')
        >>> len(kept["decoder.2.residual"]) == len(kept.decoder_tokens)
        True
    """

    path: Path
    metadata: Mapping[str, Any]
    names: tuple[str, ...]

    def __getitem__(self, name: str) -> Tensor:
        """The tensor of a name. Raises KeyError with the names that there are, RunError for a file that can't be read."""
        if name not in self.names:
            raise KeyError(f"{self.path} holds no {name!r}; it has {', '.join(self.names)}")
        with _opened(self.path) as file:
            return file.get_tensor(name)

    def tensor(self, what: str, *, layer: int, side: str = "decoder", block: str = "") -> Tensor:
        """An activation by what it is, its layer, its side and, of a call, its block; the only block by default.

        Raises KeyError as ``activations["…"]`` does, and where the side has several blocks and none is named.
        """
        if block or what == "residual":
            return self[activation_name(side, layer, what, block)]
        start, end = f"{side}.{layer}.", f".{what}"
        found = [name for name in self.names if name.startswith(start) and name.endswith(end)]
        if len(found) != 1:
            raise KeyError(
                f"{self.path} holds {' and '.join(found) or 'no ' + activation_name(side, layer, what, '…')}; "
                f"{'say which block' if found else 'it has ' + ', '.join(self.names)}"
            )
        return self[found[0]]

    @property
    def example(self) -> str:
        """Identifier of the example."""
        return self.metadata["example"]

    @property
    def cell(self) -> str:
        """The cell: ``factor=level`` joined by ``|``."""
        return self.metadata["cell"]

    @property
    def layers(self) -> tuple[int, ...]:
        """Which layers are kept."""
        return tuple(sorted({int(name.split(".")[1]) for name in self.names}))

    @property
    def encoder_tokens(self) -> tuple[str, ...]:
        """The text of every encoder position; ``encoder_roles`` has their roles."""
        return tuple(self.metadata["encoder_tokens"])

    @property
    def encoder_roles(self) -> tuple[str, ...]:
        """The role of every encoder position."""
        return tuple(self.metadata["encoder_roles"])

    @property
    def decoder_tokens(self) -> tuple[str, ...]:
        """The text of every decoder position; ``decoder_roles`` has their roles."""
        return tuple(self.metadata["decoder_tokens"])

    @property
    def decoder_roles(self) -> tuple[str, ...]:
        """The role of every decoder position."""
        return tuple(self.metadata["decoder_roles"])

    def __repr__(self) -> str:
        cell = f" in {self.cell}" if self.cell else ""
        return f"Activations of {self.example}{cell}: {', '.join(self.names)} ({self.path})"


@dataclass(frozen=True)
class ActivationCache(Mapping[tuple[str, str], Activations]):
    """The activations of a corpus: a mapping from example and cell to :class:`Activations`, in the order of the corpus.

    ``cache_activations`` makes it and ``open_activations`` finds it again. ``left_out`` tells which examples could not be
    fed in some cell, and why.

    Examples:
        >>> import budgetlens as bl
        >>> model, corpus = bl.load_model("reference"), bl.read_corpus("reference", n=2)
        >>> cache = bl.cache_activations(model, corpus, "cache", layers=[1], prefix=["none", "oracle"])
        >>> len(cache), cache.cells
        (4, ('prefix=none', 'prefix=oracle'))
        >>> cache[cache.examples[0], "prefix=oracle"]["decoder.1.residual"].dim()
        2
    """

    path: Path
    index: Mapping[str, Any]

    @cached_property
    def _files(self) -> dict[tuple[str, str], tuple[str, str]]:
        return {(each["example"], each["cell"]): (each["file"], each["hash"]) for each in self.index["files"]}

    @property
    def examples(self) -> tuple[str, ...]:
        """The examples' identifiers."""
        return tuple(dict.fromkeys(example for example, _ in self._files))

    @property
    def cells(self) -> tuple[str, ...]:
        """The cells' names."""
        return tuple(dict.fromkeys(cell for _, cell in self._files))

    @property
    def left_out(self) -> dict[str, str]:
        """Why an example is not there, by its identifier."""
        return dict(self.index["left_out"])

    def __getitem__(self, key: tuple[str, str]) -> Activations:
        """The activations of an example in a cell; KeyError where there are none, RunError for a file that was altered."""
        # A list has no hash, and could not be looked up.
        if not _is_key(key) or key not in self._files:
            raise KeyError(
                f"{self.path} holds no example and cell {key!r}; it has the cells {', '.join(self.cells)} and the "
                f"examples {', '.join(self.examples[:8])}{' …' if len(self.examples) > 8 else ''}"
            )
        name, digest = self._files[key]
        path = self.path / name
        if not path.is_file() or file_hash(path) != digest:
            raise RunError(f"{path} is not there, or not as it was written; make the cache again")
        # The hash of the file covers its tensors.
        return _described(path)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    def __repr__(self) -> str:
        return (
            f"ActivationCache of {len(self.examples)} examples in {len(self.cells)} cells ({self.path}); "
            "cache[example, cell]['decoder.0.residual']"
        )


def _is_key(key: Any) -> bool:
    return isinstance(key, tuple) and all(isinstance(part, str) for part in key)


def open_activations(path: str | Path) -> Activations | ActivationCache:
    """The activations of a reading (a file) or of a corpus (a directory), as they were saved.

    Raises:
        RunError: nothing is there, something else is, a file was altered since it was written, or a cache is not finished.

    Examples:
        >>> import budgetlens as bl
        >>> model = bl.load_model("reference")
        >>> reading = model.read(document="Orla Venn built the mill.", query="who built it", answer="Orla Venn")
        >>> _ = reading.save_activations("mill.safetensors", what=["residual"])
        >>> bl.open_activations("mill.safetensors").encoder_roles[1]
        'document'
    """
    path = path_given("path", path)
    if not path.is_dir():
        return open_file(path)
    index = read_index(path)
    if index is None:
        raise RunError(
            f"{path} holds no activations ({INDEX}); give a directory that cache_activations wrote"
        )
    if "files" not in index:
        raise RunError(f"{path} is not finished; give the call of cache_activations again that made it")
    return ActivationCache(path, index)


def read_index(directory: Path) -> dict[str, Any] | None:
    """What a cache's index holds; None where there is none, without ``files`` where the cache is not finished.

    Raises RunError for one that was altered: entries of another form, or files that lie elsewhere.
    """
    path = directory / INDEX
    index = read_json(path)
    if not isinstance(index, dict) or index.get("format") != FORMAT:
        return None
    files, left_out = index.get("files", []), index.get("left_out", {})
    if not isinstance(files, list) or not all(map(_is_entry, files)) or not isinstance(left_out, dict):
        raise RunError(
            f"{path} was altered: a cache's files are a list of example, cell, hash and file, which lies beside it; make "
            "the cache again in another directory"
        )
    return index


def _is_entry(entry: Any) -> bool:
    """Whether an index's entry names a file of its own directory, by texts alone."""
    if not isinstance(entry, dict) or not all(
        isinstance(entry.get(key), str) for key in ("example", "cell", "file", "hash")
    ):
        return False
    name = entry["file"]
    return name not in ("", ".", "..") and not set(name) & set("/\\\0")


def open_file(path: Path) -> Activations:
    """The activations of one file, all of which is read. Raises RunError where it is none, was altered or can't be read."""
    found = _described(path)
    with _opened(path) as file:
        tensors = {name: file.get_tensor(name) for name in found.names}
        digest = file.metadata().get("digest")
    if digest != _digest(tensors, json.dumps(found.metadata)):
        raise RunError(f"{path} is not as it was written; save its activations again")
    return found


def _described(path: Path) -> Activations:
    """The activations of one file by what it tells of them; its tensors are not looked at."""
    with _opened(path) as file:
        metadata, names = file.metadata() or {}, tuple(sorted(file.keys()))
    if metadata.get("format") != FORMAT:
        raise RunError(f"{path} holds no activations; give a file that save_activations wrote")
    try:
        description = json.loads(metadata["description"])
    except (KeyError, ValueError) as error:
        raise RunError(f"{path} is not as it was written; save its activations again") from error
    return Activations(path, description, names)


def _digest(tensors: Mapping[str, Tensor], description: str) -> str:
    """SHA-256 of tensors, by name with type and shape, and of what is told of them."""
    found = hashlib.sha256(description.encode())
    for name, tensor in sorted(tensors.items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        # As bytes: numpy has no bfloat16.
        found.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return found.hexdigest()


def save_trial(
    model: LoadedModel,
    fed: Fed,
    path: Path,
    *,
    layers: Sequence[int] | None,
    what: Collection[str],
    identity: str = "",
) -> Activations:
    """The activations of one trial, written whole or not at all; ``identity`` tells which cache they belong to.

    Raises ValueError for layers or activations that there are not, WriteError where the file can't be written.
    """
    trial, tokenizer = selected_trial(model, fed.trial), model.tokenizer
    tensors = activations_of(model, trial, layers=layers, what=what)
    description = {
        "model": short_name(model.name),
        "model_hash": model.identity,
        "example": fed.example,
        "cell": fed.cell,
        "encoder_ids": trial.encoder_ids,
        "encoder_tokens": token_texts(tokenizer, trial.encoder_ids),
        "encoder_roles": trial.encoder_roles,
        "visible": trial.visible,
        "decoder_ids": trial.decoder_ids,
        "decoder_tokens": token_texts(tokenizer, trial.decoder_ids),
        "decoder_roles": trial.decoder_roles,
        "identity": identity,
    }
    if not path.parent.is_dir():
        raise WriteError(
            f"{path} can't be written: its folder {path.parent} is not there; make it, or correct the path"
        )
    told = json.dumps(description)
    about = {"format": FORMAT, "description": told, "digest": _digest(tensors, told)}
    with replacing(path) as temporary:
        save_file(tensors, temporary, about)
    return _described(path)


def _opened(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt")
    except FileNotFoundError as error:
        raise RunError(f"{path} is not there; save activations first, or correct the path") from error
    except (SafetensorError, OSError) as error:
        raise RunError(f"{path} can't be read as activations ({error}); save them again") from error
