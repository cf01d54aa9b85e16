"""A model's files: which are its identity, and what is said of those that are damaged, hostile or another model's."""

from __future__ import annotations

import argparse
import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import SentencePieceExtractor

from budgetlens.design.custom import custom_analysis
from budgetlens.model.batching import make_batch
from budgetlens.model.capture import Probing, capture
from budgetlens.model.contract import ContractError
from budgetlens.model.families import UnknownFamilyError
from budgetlens.model.loaded import LoadedModel, ModelError
from budgetlens.model.loading import load_model, load_trial_tokenizer, prepare_model
from budgetlens.model.sources import directory_hash, identity_files
from budgetlens.model.trials import Example, Trial
from budgetlens.runs.request import RunRequest, execute
from tests.conftest import Shape, save_tiny, write_corpus
from tests.reference import tiny_models

Models = Callable[[str], LoadedModel]

#: A sentence and nothing else: no second line, no advice to run what may be code.
REFUSALS = (ModelError, UnknownFamilyError, ContractError)


# Directories as models are published.


def whole(path: Path) -> Path:
    """One file of weights, tokenizer.json."""
    return save_tiny("t5gemma2", path)


def sharded(path: Path) -> Path:
    """An index and its shards, a versioned tokenizer, a chat template and files that no loader reads."""
    tiny_models.build("t5").save_pretrained(path, max_shard_size="100KB")
    tokenizer = tiny_models.tokenizer()
    tokenizer.chat_template = "{{ messages }}"
    tokenizer.save_pretrained(path)
    (path / "tokenizer.json").rename(path / "tokenizer.4.0.0.json")
    change(path / "tokenizer_config.json", fast_tokenizer_files=["tokenizer.4.0.0.json"])
    (path / "README.md").write_text("words")
    (path / "training_args.bin").write_bytes(b"settings")
    return path


def pickled(path: Path) -> Path:
    """Pickled weights, special and added tokens in files of their own, no generation_config.json."""
    save_tiny("mbart", path)
    torch.save(load_file(path / "model.safetensors"), path / "pytorch_model.bin")
    (path / "model.safetensors").unlink()
    (path / "generation_config.json").unlink()
    (path / "special_tokens_map.json").write_text(json.dumps({"mask_token": "<mask>"}))
    (path / "added_tokens.json").write_text(json.dumps({"<mask>": 199}))
    return path


def byte_pairs(path: Path) -> Path:
    """BART as published at first: vocab.json and merges.txt."""
    tiny_models.build("bart").save_pretrained(path)
    pieces = [
        "<pad>",
        "</s>",
        "<s>",
        "<unk>",
        "<mask>",
        "th",
        "the",
        *map(chr, range(33, 127)),
        "Ġ",
        "Ċ",
    ]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    (path / "vocab.json").write_text(json.dumps(vocabulary))
    (path / "merges.txt").write_text("#version: 0.2\nt h\nth e\n")
    return path


def sentence_pieces(path: Path) -> Path:
    """T5 as published at first: spiece.model."""
    tiny_models.build("t5").save_pretrained(path)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(tiny_models.TEXTS * 3),
        model_prefix=str(path / "spiece"),
        vocab_size=70,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    (path / "spiece.vocab").unlink()
    (path / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "T5Tokenizer", "extra_ids": 0})
    )
    return path


MAKERS = (whole, sharded, pickled, byte_pairs)


def change(file: Path, **values: Any) -> None:
    """Set values in a table of JSON."""
    content = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps(content | values))


@pytest.fixture(scope="module", params=MAKERS, ids=lambda maker: maker.__name__)
def published(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of each kind."""
    return request.param(tmp_path_factory.mktemp(request.param.__name__))


def opened_under(directory: Path) -> set[str]:
    """The files that a load opens, from outside the project: Python's own events, and the kernel's times of access."""
    for file in directory.rglob("*"):
        os.utime(file, ns=(0, file.stat().st_mtime_ns))
    program = (
        "import json, os, sys\n"
        "found = []\n"
        "def heard(event, arguments):\n"
        "    if event == 'open' and isinstance(arguments[0], str):\n"
        "        found.append(os.path.abspath(arguments[0]))\n"
        "from budgetlens.model.loading import load_model\n"
        "import budgetlens.model.sources\n"
        # What the identity itself opens is no evidence.
        "budgetlens.model.loading.directory_hash = lambda *given: 'unknown'\n"
        "sys.addaudithook(heard)\n"
        "load_model(sys.argv[1], device='cpu', check=False)\n"
        "json.dump(found, sys.stdout)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(directory)],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    heard = {Path(name) for name in json.loads(done.stdout)}
    heard |= {file for file in directory.rglob("*") if file.is_file() and file.stat().st_atime_ns > 0}
    return {str(file.relative_to(directory)) for file in heard if file.is_relative_to(directory)}


def test_what_a_loader_reads_is_the_identity(published: Path) -> None:
    """No file more, none less, but for the chat templates."""
    model = load_model(str(published), device="cpu", check=False)
    own = set(identity_files(published, model.tokenizer))
    opened = opened_under(published) - {"chat_template.jinja"}
    assert opened <= own
    assert own - opened == set()
    assert {"config.json"} < own
    assert not own & {"README.md", "training_args.bin", "chat_template.jinja"}


def test_a_file_that_changes_makes_another_model(published: Path, tmp_path: Path) -> None:
    """Every file that is read, by one byte more; a file that is not read, none."""
    work = tmp_path / "model"
    shutil.copytree(published, work)
    tokenizer = load_model(str(work), device="cpu", check=False).tokenizer
    first = directory_hash(work, tokenizer)
    assert first == directory_hash(published, tokenizer)
    hashes = {first}
    for name in identity_files(work, tokenizer):
        before = (work / name).read_bytes()
        (work / name).write_bytes(before + b"\n")
        hashes.add(directory_hash(work, tokenizer))
        (work / name).write_bytes(before)
    assert len(hashes) == 1 + len(identity_files(work, tokenizer))
    (work / "README.md").write_text("other words")
    (work / "training_args.bin").write_bytes(b"other settings")
    (work / "optimizer.pt").write_bytes(b"states")
    assert directory_hash(work, tokenizer) == first


def test_a_start_token_or_a_space_in_front_makes_another_model(tmp_path: Path) -> None:
    """Both change what is fed, and neither stands in config.json, the weights or tokenizer.json."""
    path = byte_pairs(tmp_path)
    identities, fed = [], []
    for file, values in (
        ("tokenizer_config.json", {}),
        ("tokenizer_config.json", {"add_prefix_space": True}),
        ("generation_config.json", {"decoder_start_token_id": 2}),
        ("generation_config.json", {"forced_bos_token_id": 7}),
        ("merges.txt", None),
    ):
        if values is None:
            (path / file).write_text("#version: 0.2\nt h\n")
        elif values:
            change(path / file, **values)
        model = load_model(str(path), device="cpu", check=False)
        trial = model.trial_tokenizer(Trial.bare(Example("one", "who", "the mill", "the mill")))
        identities.append(model.identity)
        fed.append((trial.encoder_ids, trial.decoder_ids))
    assert len(set(identities)) == len(set(fed)) == 5


def test_sentence_pieces_are_part_of_the_identity(tmp_path: Path) -> None:
    """By the tokenizer's class, since reading them needs a package that not everyone has."""
    path = sentence_pieces(tmp_path)
    (path / "source.spm").write_bytes(b"pieces")
    own = identity_files(path, transformers.T5Tokenizer())
    assert {"spiece.model", "tokenizer_config.json", "generation_config.json"} < set(own)
    assert "source.spm" not in own
    assert transformers.MarianTokenizer.vocab_files_names["source_spm"] == "source.spm"


def test_a_sentence_piece_model_that_can_t_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without protobuf the library asks for tiktoken, which would not help."""
    path = sentence_pieces(tmp_path)

    def asks(*given: object) -> None:
        raise ImportError("SentencePieceExtractor requires the protobuf library")

    monkeypatch.setattr(SentencePieceExtractor, "__init__", asks)
    with pytest.raises(
        ModelError, match="is a SentencePiece model, which needs the packages protobuf and sent"
    ):
        load_trial_tokenizer(str(path))


def test_a_hub_model_is_its_commit(tmp_path: Path) -> None:
    """Two repositories in a cache without a network: each has its own commit as identity, whatever it is asked as."""
    commits = {"some/one": "1" * 40, "some/other": "2" * 40}
    for name, commit in commits.items():
        repository = tmp_path / "hub" / f"models--{name.replace('/', '--')}"
        save_tiny("t5", repository / "snapshots" / commit)
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text(commit)
    program = (
        "import sys\n"
        "from budgetlens.model.loading import load_model, load_trial_tokenizer\n"
        "for name, revision in [('some/one', None), ('some/other', 'main'), ('some/other', '2' * 40)]:\n"
        "    print(load_model(name, revision=revision, device='cpu', check=False).identity)\n"
        "    assert load_trial_tokenizer(name, revision=revision).start_token == 0\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "HF_HOME": str(tmp_path),
            "HF_HUB_CACHE": str(tmp_path / "hub"),
            "HF_HUB_OFFLINE": "1",
        },
        timeout=300,
        check=True,
    )
    assert done.stdout.split() == [commits["some/one"], commits["some/other"], commits["some/other"]]


# Models that are whole although something is not there, and that are not although all seems there.


def without(path: Path, *fragments: str) -> None:
    """Take tensors out of saved weights."""
    file = path / "model.safetensors"
    kept = {
        name: tensor
        for name, tensor in load_file(file).items()
        if not any(fragment in name for fragment in fragments)
    }
    save_file(kept, file, metadata={"format": "pt"})


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", ["pegasus", "marian"])
def test_computed_positions_are_not_missed(
    family: str, dtype: str, tmp_path: Path, loaded: Models, capfd: pytest.CaptureFixture[str]
) -> None:
    """Pegasus as published has no position tables in its weights: they are sines and cosines."""
    path = save_tiny(family, tmp_path)
    without(path, "embed_positions")
    capfd.readouterr()
    model = load_model(str(path), device="cpu", dtype=dtype, check=False)
    assert "MISSING" not in capfd.readouterr().err
    if dtype == "float32":
        batch = make_batch([Shape(prompt=3).trial()], pad_token=0)
        one = capture(model, batch, Probing()).token_losses
        assert (one == capture(loaded(family), batch, Probing()).token_losses).all()


@pytest.mark.parametrize(
    ("family", "missing"),
    [
        ("bart", "encoder.embed_positions"),
        ("mbart", "decoder.embed_positions"),
        ("pegasus", "decoder.layers.0.fc1.bias"),
        ("pegasus", "encoder.layer_norm.weight"),
        ("marian", "decoder.layers.4.self_attn_layer_norm.weight"),
        ("t5", "relative_attention_bias"),
        ("t5gemma2", "q_norm"),
    ],
)
def test_learned_tensors_are_missed(family: str, missing: str, tmp_path: Path) -> None:
    path = save_tiny(family, tmp_path)
    without(path, missing)
    with pytest.raises(
        ModelError, match=rf"lack \d+ tensor\(s\) of their architecture.*{missing.split('.')[-1]}"
    ):
        load_model(str(path), device="cpu", check=False)


@pytest.mark.parametrize("more", [1, 89])
def test_a_decoder_may_know_more_ids_than_its_encoder(more: int) -> None:
    """Marian's sides may have vocabularies of their own; each is asked for ids that it has."""
    config = tiny_models.build("marian").config.to_dict()
    config |= {
        "decoder_vocab_size": tiny_models.VOCABULARY + more,
        "share_encoder_decoder_embeddings": False,
        "tie_word_embeddings": False,
    }
    made = transformers.MarianMTModel(transformers.MarianConfig(**config)).eval()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=torch.Generator().manual_seed(1))
    model = prepare_model(made, tiny_models.tokenizer(), name="marian", identity="tiny")
    assert model.embedding_rows == {
        "encoder": tiny_models.VOCABULARY,
        "decoder": tiny_models.VOCABULARY + more,
    }


def tokenizer_of(ids: int) -> PreTrainedTokenizerFast:
    """The tiny tokenizer with further tokens that texts hold, up to so many ids."""
    made = tiny_models.tokenizer()
    made.add_tokens([f"word{number}" for number in range(ids - len(made))])
    return made


@pytest.mark.parametrize("family", ["t5gemma2", "t5", "bart"])
def test_a_tokenizer_of_another_model_is_refused(family: str, tmp_path: Path) -> None:
    rows = tiny_models.VOCABULARY
    path = save_tiny(family, tmp_path)
    tokenizer_of(rows).save_pretrained(path)
    assert load_model(str(path), device="cpu", check=False).vocabulary_size == rows
    tokenizer_of(rows + 3).save_pretrained(path)
    with pytest.raises(
        ModelError,
        match=rf"ids 0 to {rows - 1}, and its tokenizer.* gives 3 other\(s\) \({rows}, {rows + 1}, ",
    ):
        load_model(str(path), device="cpu", check=False)
    # Gemma's tokenizer has an image token beyond the embeddings, which no text is given.
    special = tokenizer_of(rows)
    special.add_special_tokens({"additional_special_tokens": ["<image>"]})
    special.save_pretrained(path)
    own = load_model(str(path), device="cpu", check=False).trial_tokenizer
    fed = own(Trial.bare(Example("one", "who", "an <image> of the mill", "<image>")))
    assert max(*fed.encoder_ids, *fed.decoder_ids) < rows


def test_marian_as_published_is_told_why_not(tmp_path: Path) -> None:
    """Two sentence-piece models and a vocabulary, read without character offsets."""
    tiny_models.build("marian").save_pretrained(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "MarianTokenizer"}))
    made = sentence_pieces(tmp_path / "t5")
    for name in ("source.spm", "target.spm"):
        shutil.copy(made / "spiece.model", tmp_path / name)
    pieces = ["</s>", "<unk>", "▁the", *"▁abcdefghijklmnopqrstuvwxyz", "<pad>"]
    (tmp_path / "vocab.json").write_text(json.dumps({piece: number for number, piece in enumerate(pieces)}))
    shutil.rmtree(made)
    for load in (load_model, load_trial_tokenizer):
        with pytest.raises(ModelError, match="no fast tokenizer: MarianTokenizer gives no character offsets"):
            load(str(tmp_path))


@pytest.mark.parametrize("missing", ["merges.txt", "vocab.json"])
def test_half_a_tokenizer_is_no_tokenizer(missing: str, tmp_path: Path) -> None:
    """The library would make an empty one, in which every word is unknown."""
    path = byte_pairs(tmp_path)
    (path / missing).unlink()
    with pytest.raises(ModelError) as refused:
        load_trial_tokenizer(str(path))
    assert_one_sentence(refused.value)


def test_a_tokenizer_of_files_that_its_class_does_not_read(tmp_path: Path) -> None:
    tiny_models.build("t5").save_pretrained(tmp_path)
    (tmp_path / "vocab.json").write_text('{"<unk>": 0}')
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "T5Tokenizer"}))
    with pytest.raises(
        ModelError, match="T5Tokenizer is made of tokenizer.json or of spiece.model, and there is no"
    ):
        load_model(str(tmp_path))


# Broken files.


def assert_one_sentence(error: BaseException) -> None:
    """What the command prints of an error is one line, and gives no advice to run code."""
    text = str(error)
    assert len(text.splitlines()) == 1
    assert text.isprintable()
    for advice in ("weights_only", "safe_globals", "trust_remote_code", "Traceback"):
        assert advice not in text


@dataclass(frozen=True)
class Damage:
    """A change of one file of a saved model."""

    file: str
    key: tuple[str, ...] = ()
    value: Any = None

    def __str__(self) -> str:
        return f"{self.file}:{'.'.join(self.key)}={str(self.value)[:20]}"

    def make(self, path: Path) -> None:
        """Make the change; without a key, the value is the file's new content, or its length where it is a number."""
        file = path / self.file
        if not self.key:
            file.write_bytes(file.read_bytes()[: self.value] if isinstance(self.value, int) else self.value)
            return
        content = json.loads(file.read_text())
        place = content
        for key in self.key[:-1]:
            place = place[key]
        if self.value is REMOVED:
            del place[self.key[-1]]
        else:
            place[self.key[-1]] = self.value
        file.write_text(json.dumps(content))


REMOVED = object()
WRONG = (REMOVED, None, "x", -1, 0, 10**9, 1.5, [], {}, True)
#: What another file's content is not.
CONTENTS = (
    b"",
    b"{}",
    b"[]",
    b"null",
    b"5",
    b'"x"',
    b"{",
    b"\xff\xfe\x00",
    b"[" * 100_000,
    b'{"a": ' * 9000,
    100,
)


def damages(family: str, keys: dict[str, list[tuple[str, ...]]]) -> Iterator[Any]:
    for file, own in keys.items():
        for key in own:
            for value in WRONG:
                yield pytest.param(family, Damage(file, key, value))
        for content in CONTENTS:
            yield pytest.param(family, Damage(file, (), content))


BART_KEYS = {
    "config.json": [
        (key,)
        for key in (
            "model_type",
            "architectures",
            "is_encoder_decoder",
            "vocab_size",
            "d_model",
            "encoder_layers",
            "decoder_layers",
            "decoder_attention_heads",
            "encoder_ffn_dim",
            "max_position_embeddings",
            "activation_function",
            "decoder_start_token_id",
            "pad_token_id",
            "dtype",
        )
    ],
    "generation_config.json": [("decoder_start_token_id",), ("pad_token_id",), ("transformers_version",)],
    "tokenizer_config.json": [("tokenizer_class",), ("unk_token",), ("model_max_length",)],
    "tokenizer.json": [
        ("model",),
        ("model", "vocab"),
        ("model", "merges"),
        ("model", "type"),
        ("model", "unk_token"),
        ("pre_tokenizer",),
        ("post_processor",),
        ("post_processor", "single"),
        ("post_processor", "special_tokens"),
        ("added_tokens",),
        ("decoder",),
    ],
}
GEMMA_KEYS = {
    "config.json": [
        ("encoder",),
        ("decoder",),
        ("encoder", "text_config"),
        ("encoder", "vision_config"),
        ("encoder", "text_config", "num_hidden_layers"),
        ("decoder", "num_hidden_layers"),
        ("decoder", "head_dim"),
        ("decoder", "layer_types"),
        ("decoder", "sliding_window"),
        ("decoder", "rope_parameters"),
        ("decoder", "bos_token_id"),
        ("decoder", "model_type"),
        ("transformers_weights",),
    ]
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model to damage, of two families."""
    return {family: save_tiny(family, tmp_path_factory.mktemp(family)) for family in ("bart", "t5gemma2")}


def broken_everywhere() -> list[Any]:
    every = [*damages("bart", BART_KEYS), *damages("t5gemma2", GEMMA_KEYS)]
    # What is set in vain: a key that is not there can't be removed.
    return [
        one
        for one in every
        if not (one.values[1].key == ("transformers_weights",) and one.values[1].value is REMOVED)
    ]


@pytest.mark.parametrize("group", range(12))
def test_broken_directories_end_in_one_sentence(group: int, saved: dict[str, Path], tmp_path: Path) -> None:
    """Hundreds of damages; each loads, or is refused in one sentence, by the tokenizer's path and the model's alike."""
    refused = 0
    every = broken_everywhere()[group::12]
    for number, parameters in enumerate(every):
        family, damage = parameters.values
        path = tmp_path / str(number)
        shutil.copytree(saved[family], path)
        damage.make(path)
        for load in (load_trial_tokenizer, lambda name: load_model(name, device="cpu", check=False)):
            try:
                load(str(path))
            except REFUSALS as error:
                assert_one_sentence(error)
                refused += 1
                # What the tokenizer's path refuses, the model's mostly refuses at the same place.
                if number % 4:
                    break
            except BaseException as error:
                raise AssertionError(f"{damage}: {type(error).__name__}: {error}") from error
        shutil.rmtree(path)
    assert refused > len(every) / 3


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "damaged"),
        (b"\x00" * 8, "damaged|could not be loaded"),
        (b"\xff" * 200, "damaged"),
        ((2**62).to_bytes(8, "little") + b"{}", "damaged"),
        (1000, "damaged"),
        (-10, "damaged|could not be loaded"),
        ((8).to_bytes(8, "little") + b"{}      ", r"lack \d+ tensor"),
    ],
)
def test_broken_safetensors(content: bytes | int, words: str, saved: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(saved["bart"], tmp_path / "model")
    Damage("model.safetensors", (), content).make(tmp_path / "model")
    with pytest.raises(ModelError, match=words) as refused:
        load_model(str(tmp_path / "model"), device="cpu", check=False)
    assert_one_sentence(refused.value)


@pytest.mark.parametrize("index", ["{}", "[]", '{"weight_map": {}}', '{"weight_map": {"a": "../b"}}', "{"])
def test_broken_indices(index: str, saved: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "model"
    shutil.copytree(saved["bart"], path)
    (path / "model.safetensors").rename(path / "model-00001-of-00001.safetensors")
    (path / "model.safetensors.index.json").write_text(index)
    with pytest.raises(ModelError) as refused:
        load_model(str(path), device="cpu", check=False)
    assert_one_sentence(refused.value)


def test_a_generation_configuration_that_can_t_be_read_is_not_left_out(
    saved: dict[str, Path], tmp_path: Path
) -> None:
    """The library would take config.json's start token instead, and say nothing."""
    path = tmp_path / "model"
    shutil.copytree(saved["bart"], path)
    (path / "generation_config.json").write_text('{"decoder_start_token_id": 2')
    for load in (load_model, load_trial_tokenizer):
        with pytest.raises(ModelError, match="the generation_config.json of .* could not be loaded"):
            load(str(path))


# Pickles.


@dataclass(frozen=True)
class Running:
    """What runs when it is read."""

    file: Path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.file),)


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("form", ["archive", "legacy", "plain"])
@pytest.mark.parametrize("kind", ["code", "an object"])
def test_code_in_weights_is_refused_as_code(
    kind: str, form: str, protocol: int, saved: dict[str, Path], tmp_path: Path
) -> None:
    path, trace = tmp_path / "model", tmp_path / "ran"
    shutil.copytree(saved["bart"], path)
    (path / "model.safetensors").unlink()
    hidden = Running(trace) if kind == "code" else argparse.Namespace(rate=1)
    content = {"model.shared.weight": torch.zeros(2), "more": hidden}
    if form == "plain":
        (path / "pytorch_model.bin").write_bytes(pickle.dumps(hidden, protocol))
    else:
        torch.save(
            content,
            path / "pytorch_model.bin",
            pickle_protocol=protocol,
            _use_new_zipfile_serialization=form == "archive",
        )
    named = "posix.mkdir" if kind == "code" else "argparse.Namespace"
    with pytest.raises(ModelError, match=rf"are refused: their pickle contains code \({named}\)") as refused:
        load_model(str(path), device="cpu")
    assert_one_sentence(refused.value)
    assert not trace.exists()


@pytest.mark.parametrize("content", [b"", b"hello", b"\x80", b"\x80\x02}q\x00", b"PK\x03\x04" + b"\x00" * 90])
def test_damaged_pickles(content: bytes, saved: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "model"
    shutil.copytree(saved["bart"], path)
    (path / "model.safetensors").unlink()
    (path / "pytorch_model.bin").write_bytes(content)
    with pytest.raises(ModelError, match="damaged|could not be loaded") as refused:
        load_model(str(path), device="cpu")
    assert_one_sentence(refused.value)
    assert "contains code" not in str(refused.value)


# Before the corpus.


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"models": ("./nowhere",)}, "nowhere is not a directory"),
        ({"models": ("",)}, "--model is empty"),
        ({"models": ("nobody/no-such-model",)}, "not in the local cache"),
        ({"device": "vulkan"}, "unknown device 'vulkan'"),
        ({"device": "cpu:99"}, "there is no device 'cpu:99' here"),
    ],
)
def test_a_model_is_refused_before_the_corpus_is_read(
    options: dict[str, Any], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(self: RunRequest) -> None:
        raise AssertionError("the corpus was read")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(RunRequest, "read_corpus", read)
    analysis = custom_analysis({"factors": {"prompt": ["none", "query"]}})
    corpus = str(write_corpus(tmp_path / "corpus.jsonl"))
    with pytest.raises(ValueError, match=words):
        execute(RunRequest(analysis, corpus=corpus, out=tmp_path / "run", **options))
