"""Where a model comes from: what a name or directory must be, which of its files decide numbers, what its errors mean."""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from transformers import PreTrainedTokenizerBase
from transformers.tokenization_utils_base import (
    ADDED_TOKENS_FILE,
    FULL_TOKENIZER_FILE,
    SPECIAL_TOKENS_MAP_FILE,
    TOKENIZER_CONFIG_FILE,
)
from transformers.utils import (
    ADAPTER_CONFIG_NAME,
    CONFIG_NAME,
    GENERATION_CONFIG_NAME,
    SAFE_WEIGHTS_INDEX_NAME,
    SAFE_WEIGHTS_NAME,
    WEIGHTS_INDEX_NAME,
    WEIGHTS_NAME,
    logging,
)
from transformers.utils.hub import cached_file, extract_commit_hash

from budgetlens.model.contract import ContractError
from budgetlens.model.families import UnknownFamilyError
from budgetlens.model.loaded import ModelError
from budgetlens.model.pickles import imported_code

#: Weights in the order in which the library looks for them: the first that is there is read, and no other.
_WEIGHTS = (SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME, WEIGHTS_NAME, WEIGHTS_INDEX_NAME)

#: Vocabularies that the library takes where a tokenizer's own files are not there, and versions of tokenizer.json.
_OTHER_VOCABULARIES = ("tekken.json", "tokenizer.model*", "tiktoken.model")
_VERSIONED = ("config.*.json", "tokenizer.*.json")

#: What shows that a directory holds a tokenizer of some kind.
_TOKENIZER_SIGNS = (FULL_TOKENIZER_FILE, "tokenizer.*.json", "*.model", "*.spm", "vocab.*", "tekken.json")

#: Longest reason of another library that a message repeats.
_LONGEST_REASON = 300


def require_source(name: str, revision: str | None) -> None:
    """Raise ModelError where ``name`` is empty, a path that holds no model, or a path and has a ``revision``."""
    if not name.strip():
        raise ModelError("the name of the model is empty; give a hub name, a directory or 'reference'")
    directory = Path(name)
    if not directory.exists() and not name.startswith((".", "/", "~")):
        return
    _require_model_directory(directory)
    if revision is not None:
        raise ModelError(f"a revision is of a hub model, and {name} is a directory; leave --revision out")


def _require_model_directory(directory: Path) -> None:
    if not directory.is_dir():
        raise ModelError(f"{directory} is not a directory; give a directory with config.json, or a hub name")
    if not (directory / CONFIG_NAME).is_file():
        found = ", ".join(sorted(path.name for path in directory.iterdir())[:8]) or "nothing"
        raise ModelError(
            f"{directory} holds no config.json (found: {found}); give the directory of a saved model"
        )
    if (directory / ADAPTER_CONFIG_NAME).exists():
        raise ModelError(
            f"{directory} holds an adapter ({ADAPTER_CONFIG_NAME}), whose base model lies elsewhere; merge the two and "
            "save the whole model"
        )
    for required, patterns, named in (
        ("weights", ("*.safetensors", "*.bin"), "*.safetensors or *.bin"),
        ("tokenizer", _TOKENIZER_SIGNS, "tokenizer.json, *.model, or vocab.json and merges.txt"),
    ):
        if not any(list(directory.glob(pattern)) for pattern in patterns):
            raise ModelError(f"{directory} holds no {required} ({named}); save the model there first")
    # The library takes a generation_config.json that it can't read for one that is not there.
    generation = directory / GENERATION_CONFIG_NAME
    if generation.is_file():
        with explained(str(directory), GENERATION_CONFIG_NAME):
            if not isinstance(json.loads(generation.read_text(encoding="utf-8")), dict):
                raise ValueError("it holds no table")


def require_vocabulary(name: str, tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise ModelError where a directory lacks the files that its tokenizer is made of.

    The library would make an empty tokenizer of a few control tokens. A tokenizer that gives no character offsets
    is refused as well: there is no telling which position belongs to which text.
    """
    if not tokenizer.is_fast:
        raise ModelError(
            f"{name} has no fast tokenizer: {type(tokenizer).__name__} gives no character offsets, by which positions "
            "get their roles; Marian as published (source.spm, target.spm) is such a model, Marian with one "
            "tokenizer.json for both sides can be read"
        )
    directory = Path(name)
    if not directory.is_dir():
        return
    own = type(tokenizer).vocab_files_names
    parts = sorted(file for kind, file in own.items() if kind != "tokenizer_file")
    missing = [file for file in parts if not (directory / file).is_file()]
    instead = (FULL_TOKENIZER_FILE, *_VERSIONED, *_OTHER_VOCABULARIES)
    if missing and not any(list(directory.glob(pattern)) for pattern in instead):
        raise ModelError(
            f"{name} lacks the files of its tokenizer: {type(tokenizer).__name__} is made of {FULL_TOKENIZER_FILE} or of "
            f"{' and '.join(parts)}, and there is no {' and no '.join(missing)}; save the tokenizer there as well"
        )


def hub_commit(name: str, revision: str | None) -> str | None:
    """The commit that a hub name and a revision stand for now; None for a directory. Raises ModelError as a load does."""
    if Path(name).is_dir():
        return None
    with explained(name, "configuration"):
        commit = extract_commit_hash(cached_file(name, CONFIG_NAME, revision=revision), None)
    if commit is None:
        raise ModelError(
            f"the hub's cache does not say which commit {name} is of, so that a run could not tell the model from "
            "another; give a directory"
        )
    return commit


def identity_files(directory: Path, tokenizer: PreTrainedTokenizerBase) -> tuple[str, ...]:
    """The files of a model directory that its loaders read, relative to it, chat templates left out.

    Which weights are read is decided as the library decides it; a tokenizer's class names its vocabulary.
    """
    names = {
        CONFIG_NAME,
        GENERATION_CONFIG_NAME,
        TOKENIZER_CONFIG_FILE,
        SPECIAL_TOKENS_MAP_FILE,
        ADDED_TOKENS_FILE,
        FULL_TOKENIZER_FILE,
        *type(tokenizer).vocab_files_names.values(),
        *_weights(directory),
    }
    for pattern in (*_VERSIONED, *_OTHER_VOCABULARIES):
        names.update(path.name for path in directory.glob(pattern))
    return tuple(sorted(name for name in names if (directory / name).is_file()))


def _weights(directory: Path) -> Sequence[str]:
    """The weights that the library reads of a directory: one file, or an index and the shards that it lists."""
    explicit = json.loads((directory / CONFIG_NAME).read_text(encoding="utf-8")).get("transformers_weights")
    for name in (explicit,) if explicit else _WEIGHTS:
        if (directory / name).is_file():
            if not name.endswith(".index.json"):
                return (name,)
            index = json.loads((directory / name).read_text(encoding="utf-8"))
            return (name, *sorted(set(index["weight_map"].values())))
    raise ModelError(f"{directory} holds no weights under a name that is looked for ({', '.join(_WEIGHTS)})")


def directory_hash(directory: Path, tokenizer: PreTrainedTokenizerBase) -> str:
    """SHA-256 over the names and contents of the files that decide what a local model computes and how it reads text."""
    digest = hashlib.sha256()
    for name in identity_files(directory, tokenizer):
        digest.update(name.encode() + b"\0")
        with (directory / name).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


@contextmanager
def unreported() -> Iterator[None]:
    """Keep libraries from listing what is missing or unusual in files, which whoever loads judges by itself."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(before)


@contextmanager
def explained(name: str, what: str) -> Iterator[None]:
    """Turn whatever is raised while ``what`` (configuration, weights, tokenizer …) of a model is read into a ModelError.

    Errors that this project words itself pass as they are.
    """
    try:
        yield
    except (ModelError, UnknownFamilyError, ContractError):
        raise
    # Malformed files lead transformers, tokenizers and torch to errors of any type, a bare Exception among them; a
    # panic of tokenizers is not even that, and has a type without a name to import.
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise ModelError(_explanation(name, what, error)) from error


def _explanation(name: str, what: str, error: BaseException) -> str:
    chain = _causes(error)
    if isinstance(error, UnpicklingError):
        return _refused_pickle(name, str(error))
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "not enough memory" in str(error):
        return f"the {what} of {name} do not fit into the memory; give a smaller model or another device"
    if "ignore_mismatched_sizes" in str(error):
        return (
            f"the weights of {name} have other shapes than its config.json says; give the configuration that they were "
            "saved with"
        )
    if what == "tokenizer" and "tiktoken" in str(error):
        # What the library falls back to where it can't read a SentencePiece model.
        return (
            f"the tokenizer of {name} is a SentencePiece model, which needs the packages protobuf and sentencepiece; "
            "install both, or save the tokenizer as tokenizer.json"
        )
    if what == "weights" and isinstance(error, SafetensorError | EOFError | RuntimeError):
        return f"the weights of {name} are damaged ({_reason(error)}); download or save them again"
    if isinstance(error, OSError) or _of_hub(chain):
        refusal = _hub_refusal(name, error, chain)
        if refusal is not None:
            return refusal
    return f"the {what} of {name} could not be loaded: {_reason(error)}"


def _refused_pickle(name: str, words: str) -> str:
    """torch's own words end with how to switch its protection off, which is never repeated."""
    found = re.search(r"GLOBAL (\S+)|unrecognized function (\S.*)|but got (\S.*)", words)
    code = next(group for group in found.groups() if group) if found else None
    for path in sorted(Path(name).glob("*.bin")) if code is None else ():
        code = code or imported_code(path)
    if code is not None:
        return (
            f"the weights of {name} are refused: their pickle contains code ({_cut(code)}), which reading it would "
            "run; give a checkpoint in safetensors, from a source that you trust"
        )
    reason = words.rpartition("WeightsUnpickler error:")[2].strip().splitlines()
    return (
        f"the weights of {name} are refused: their pickle is damaged or holds more than tensors "
        f"({_cut(reason[0]) if reason else 'unreadable'}); give a checkpoint in safetensors"
    )


def _of_hub(chain: Sequence[BaseException]) -> bool:
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    return any(
        isinstance(cause, LocalEntryNotFoundError | HfHubHTTPError | ConnectionError) for cause in chain
    )


def _hub_refusal(name: str, error: BaseException, chain: Sequence[BaseException]) -> str | None:
    """What the hub, or its absence, has against the name; None where the error has nothing to do with it."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    if any(isinstance(cause, GatedRepoError) for cause in chain) or "gated repo" in str(error):
        return (
            f"{name} is gated: accept its terms on its page, then give a token with read access "
            "(the variable HF_TOKEN, or `hf auth login`)"
        )
    if any(isinstance(cause, RepositoryNotFoundError) for cause in chain):
        return (
            f"the hub knows no model {name!r} that this token may read; check the spelling, and give a token "
            "(the variable HF_TOKEN) if it is private"
        )
    if _of_hub(chain) or not Path(name).exists():
        return (
            f"{name} is not in the local cache and the hub could not be reached ({_reason(error)}); "
            "check the network, the name, the revision and that HF_HUB_OFFLINE is not set, accept a gated model's "
            "terms and give a token (HF_TOKEN), or give a local directory"
        )
    return None


def _causes(error: BaseException) -> list[BaseException]:
    chain: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in chain:
        chain.append(current)
        current = current.__cause__ or current.__context__
    return chain


def _reason(error: BaseException) -> str:
    """The first line of an error, after its type where the words alone say little, as a KeyError's do."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    # A line that ends in a colon says what the next one is about.
    words = _cut(" ".join(lines[: 2 if lines[0].endswith(":") else 1]))
    telling = isinstance(error, OSError | ValueError | RuntimeError | SafetensorError)
    return words if telling else f"{type(error).__name__}, {words}"


def _cut(words: str) -> str:
    return words if len(words) <= _LONGEST_REASON else words[: _LONGEST_REASON - 1] + "…"
