"""Directories that somebody may give the command, with something wrong: models, and runs with their manifests.

Generators of :mod:`tests.bad_inputs`; each copies a sound directory, spoils it, and gives the command line that reads it.
"""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import random
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from budgetlens.command.main import main
from budgetlens.runs.manifest import sealed
from tests.bad_texts import json_text, some
from tests.conftest import save_tiny, write_corpus

FAMILIES = ("t5gemma2", "bart", "t5", "marian")

#: Numbers that a configuration or a manifest may claim.
NUMBERS = (0, -1, 1, 2, 7, 10**6, 10**30, 0.5, float("nan"), float("inf"), True)


@cache
def sound() -> Path:
    """Sound directories, made once for a process: one model a family, and a run."""
    folder = Path(tempfile.mkdtemp(prefix="bad-input-sound-"))
    for family in FAMILIES:
        save_tiny(family, folder / family)
    write_corpus(folder / "corpus.jsonl", 3)
    # Its records are of all kinds; what it prints is none of ours.
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        ended = main(run_of(folder / "t5gemma2", folder / "corpus.jsonl", folder / "run"))
    if ended:
        raise RuntimeError(f"the sound run ended with {ended}")
    return folder


def run_of(model: Path, corpus: Path, out: Path) -> list[str]:
    """The command of a small run."""
    design = ["--factor", "prefix=none,oracle", "--factor", "prompt=none,query", "--n", "3", "--layers", "0"]
    inputs = ["--model", str(model), "--corpus", str(corpus)]
    return ["run", "custom", *design, *inputs, "--device", "cpu", "--quiet", "--out", str(out)]


def places(content: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) in JSON content."""
    found: list[tuple[Any, Any]] = []
    if isinstance(content, dict | list):
        for key in list(content) if isinstance(content, dict) else range(len(content)):
            found += [(content, key), *places(content[key])]
    return found


def altered(content: Any, draw: random.Random) -> Any:
    """JSON content of which one or two values are gone, others, or of another type."""
    content = json.loads(json.dumps(content))
    for _ in range(draw.choice((1, 1, 2))):
        known = places(content)
        if not known:
            return some(draw)
        container, key = draw.choice(known)
        what = draw.randrange(5)
        if what == 0:
            del container[key]
        elif what == 1 and isinstance(container, dict):
            container[str(some(draw))] = container.pop(key)
        elif what == 2:
            container[key] = draw.choice(NUMBERS)
        elif what == 3 and isinstance(container[key], str):
            container[key] += draw.choice(("x", "\x1b[2J", "\u202e", " ", "\ud800"))
        else:
            container[key] = some(draw)
    return content


def spoilt_json(text: str, draw: random.Random) -> bytes:
    """The text of a JSON file with something wrong in it, as content or as text."""
    whole = draw.choice(
        ("[]", "{}", "null", "5", '"x"', '{"format": 1}', "", "[" * 100_000, "\ufeff" + text, "NaN")
    )
    kind = draw.random()
    if kind < 0.2:
        made = whole
    elif kind < 0.3:
        made = text[: draw.randrange(len(text) + 1)]
    elif kind < 0.4:
        made = json_text(json.loads(text), draw, spoil=1)
    else:
        made = json.dumps(altered(json.loads(text), draw), ensure_ascii=draw.random() < 0.7)
    encoding = draw.choice((*["utf-8"] * 9, "utf-16"))
    return made.encode(encoding, errors="surrogatepass")


def spoilt_bytes(content: bytes, draw: random.Random) -> bytes:
    """A binary file cut, emptied, with bits of its header or of its body turned, or of another kind."""
    kind = draw.choice(("cut", "empty", "header", "body", "text", "zeros"))
    if kind == "cut":
        return content[: draw.randrange(len(content) or 1)]
    if kind in ("header", "body") and content:
        place = draw.randrange(min(64, len(content)) if kind == "header" else len(content))
        return bytes([*content[:place], content[place] ^ (1 << draw.randrange(8)), *content[place + 1 :]])
    return {"text": b"version https://git-lfs.github.com/spec/v1\n", "zeros": bytes(len(content))}.get(
        kind, b""
    )


class Code:
    """What runs code where it is unpickled without care."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return print, ("\x1b[31mthe code of a pickle ran",)


def _weights(folder: Path, draw: random.Random) -> None:
    """Weights that are missing, of other shapes or types, not numbers, pickled, or code."""
    path = folder / "model.safetensors"
    weights = load_file(path)
    name = draw.choice(sorted(weights))
    kind = draw.choice(("none", "shape", "nan", "integers", "pickle", "code", "extra", "index"))
    path.unlink()
    if kind == "code":
        (folder / "pytorch_model.bin").write_bytes(pickle.dumps({name: Code()}))
        return
    if kind == "pickle":
        torch.save(weights, folder / "pytorch_model.bin")
        return
    if kind == "none":
        del weights[name]
    elif kind == "shape":
        weights[name] = weights[name].flatten()[:-1].contiguous()
    elif kind == "nan":
        weights[name] = torch.full_like(weights[name], float("nan"))
    elif kind == "integers":
        weights[name] = weights[name].to(torch.int64)
    elif kind == "extra":
        weights["\x1b[31mnot.there"] = torch.zeros(3)
    else:
        (folder / "model.safetensors.index.json").write_text(
            json.dumps({"weight_map": dict.fromkeys(weights, draw.choice(("../x", "gone.safetensors", 5)))})
        )
        return
    save_file(weights, path, metadata={"format": "pt"})


def model_directories(draw: random.Random, folder: Path) -> list[str]:
    """A model's directory in which a file is spoilt, gone, another model's, a link to nowhere, or a folder."""
    family = draw.choice(FAMILIES)
    model = folder / "model"
    shutil.copytree(sound() / family, model)
    for _ in range(draw.choice((1, 1, 1, 2))):
        files = sorted(path for path in model.iterdir() if path.is_file())
        if not files:
            break
        path = draw.choice(files)
        kind = draw.random()
        other = sound() / draw.choice(FAMILIES) / path.name
        if kind < 0.1:
            path.unlink()
        elif kind < 0.15:
            path.unlink()
            path.mkdir()
        elif kind < 0.2:
            path.unlink()
            path.symlink_to(folder / "nowhere")
        elif kind < 0.3 and other.is_file():
            shutil.copy(other, path)
        elif path.suffix == ".json":
            # A first mishap may have left what is no JSON.
            text = path.read_text(encoding="utf-8", errors="replace")
            path.write_bytes(spoilt_json(text, draw) if _is_json(text) else b"")
        elif kind < 0.65 and path.name == "model.safetensors" and path.stat().st_size:
            _weights(model, draw)
        else:
            path.write_bytes(spoilt_bytes(path.read_bytes(), draw))
    return run_of(model, sound() / "corpus.jsonl", folder / "run")


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def manifests(draw: random.Random, folder: Path) -> list[str]:
    """A finished run whose run.json, or another small file of it, is not as it was written; sealed anew at times."""
    run = folder / "run"
    shutil.copytree(sound() / "run", run)
    others = sorted(path.relative_to(run).as_posix() for path in run.rglob("*.json"))
    name = "run.json" if draw.random() < 0.6 else draw.choice(others)
    path = run / name
    text = path.read_text(encoding="utf-8")
    if name.endswith("run.json") and draw.random() < 0.5:
        # A stranger can seal what they made.
        content = altered(json.loads(text), draw)
        content = sealed(content) if isinstance(content, dict) else content
        path.write_text(json.dumps(content), encoding="utf-8")
        if draw.random() < 0.7:
            for other in ("run.json", "parts/run.json"):
                shutil.copy(path, run / other) if path != run / other else None
    else:
        path.write_bytes(spoilt_json(text, draw))
        if name == "run.json" and draw.random() < 0.5:
            (run / "parts" / "run.json").unlink()
    command = draw.choice(("tables", "tables", "report", "compare"))
    return [command, str(run), *(["--force"] if command == "compare" else [])]
