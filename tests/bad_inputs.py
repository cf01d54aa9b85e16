"""A campaign of bad inputs: each gives a result or one clear sentence on stderr with exit status 2.

    python -m tests.bad_inputs --seed 7 --count 100

prints how many of each kind were tried, held and failed. Every kind of input is a generator in :data:`KINDS`: it makes
one input below a directory, from a random generator, and gives the command line that reads it. Another kind is another
entry there. What must hold is the same for all: no traceback, no character that acts on a terminal, and of a refusal one
sentence that begins with ``budgetlens``.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import random
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from budgetlens.command.main import main as command

#: What a generator makes of a random generator and an empty directory: a command line, without the command's name.
Maker = Callable[[random.Random, Path], list[str]]

#: Longest sentence that still is one that somebody reads.
LONGEST = 2_000


@dataclass(frozen=True)
class Outcome:
    """One input that was tried: its command line, whether it was refused, and what is wrong with that (empty: it held)."""

    kind: str
    given: list[str]
    refused: bool
    fault: str


def attempt(kind: str, given: list[str]) -> Outcome:
    """Run the command in this process, and judge what it says."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = command(given)
    except SystemExit as stopped:
        status = int(stopped.code or 0)
    # Whatever it is, a traceback is the fault that is looked for, and the campaign goes on.
    except Exception:
        return Outcome(kind, given, False, "raised " + traceback.format_exc(limit=-3).replace("\n", " | "))
    texts = [stream.buffer.getvalue().decode("utf-8", errors="replace") for stream in (out, err)]  # type: ignore[attr-defined]
    return Outcome(kind, given, status != 0, fault_of(status, *texts))


def fault_of(status: int, printed: str, told: str) -> str:
    """What is wrong with an exit status and what was printed; empty where nothing is."""
    acting = {character for character in printed + told if not character.isprintable()} - {"\n", "\t", "\r"}
    if acting:
        return f"prints {sorted(acting)!r}"
    if "Traceback" in told:
        return f"a traceback: {told[-300:]!r}"
    if status == 0:
        return ""
    if status != 2:
        return f"exit status {status}: {told[-300:]!r}"
    # Notes about the corpus may stand before it; the refusal is the last line, and nothing follows.
    lines = told.splitlines()
    refusals = [line for line in lines if line.startswith("budgetlens")]
    if len(refusals) != 1 or lines[-1] != refusals[0]:
        return f"no single sentence: {told[-300:]!r}"
    if len(refusals[0]) > LONGEST:
        return f"a sentence of {len(refusals[0])} characters: {refusals[0][:200]!r}"
    if refusals[0].partition(": ")[2].strip() in ("", "None"):
        return f"a sentence that says nothing: {refusals[0]!r}"
    return ""


# Texts and values that somebody's files have held.

TEXTS = (
    "", " ", "\t", "NA", "null", "None", "nan", "01", "1e5", "-", "=1+1", "@x", "\x00", "\x01\x02", "\x1b[31m",
    "\u202eevil", "\ufeff", "\u200b", "a" * 5_000, "word " * 900, "</s>", "<pad>", "<bos>", "'", '"', '""', "a,b", "a\nb",
    "漢字", "🙂", "\ud800", "$HOME", "~nosuchuser/x", "../..", "|", "=", "->", "@", "a|b", "%", "\\", "{}", "[]",
)  # fmt: skip
VALUES: tuple[Any, ...] = (None, True, 0, -1, 3.5, 10**30, [], {}, [[]], [None], {"a": 1}, *TEXTS)


def some(draw: random.Random) -> Any:
    return draw.choice(VALUES)


def row(draw: random.Random) -> dict[str, Any]:
    """A row of a corpus in which something may be wrong."""
    schemas: tuple[dict[str, Any], ...] = (
        {"query": "who built it", "document": "Ann built the wall in May.", "answer": "Ann", "id": "x"},
        {"question": "q " * 16, "context": "Ann built the wall.", "answer": "Ann did build the wall"},
        {
            "query": "who",
            "answers": ["Ann"],
            "passages": {"is_selected": [1, 0], "passage_text": ["w " * 40, "v " * 30]},
        },
    )
    made = dict(draw.choice(schemas[: 1 if draw.random() < 0.7 else 3]))
    for _ in range(draw.choice((0, 0, 1, 1, 2))):
        name = draw.choice([*made, draw.choice(("extra", "passages", "id", "query_id", "", "\x1b"))])
        made[name] = some(draw)
        if draw.random() < 0.2:
            del made[name]
    return made


def json_text(value: Any, draw: random.Random, spoil: float = 0.08) -> str:
    text = json.dumps(value, ensure_ascii=draw.random() < 0.7)
    # What json.dumps never writes.
    spoilt = (
        lambda: text[: draw.randrange(len(text) + 1)],
        lambda: text.replace(":", ": " + "[" * draw.choice((3, 2_000, 100_000)), 1),
        lambda: text.replace("{", '{"query": "twice", ', 1),
        lambda: text.replace("}", f', "n": {"9" * draw.choice((20, 5_000))}}}', 1),
        lambda: text.replace("}", ', "n": NaN, "m": -Infinity}', 1),
        lambda: text + text,
        lambda: text.replace('"', "'"),
        lambda: text.replace("a", "\x00", 1),
    )
    return draw.choice(spoilt)() if draw.random() < spoil else text


def csv_text(rows: list[dict[str, Any]], draw: random.Random, separator: str = ",") -> str:
    names = [str(name) for name in dict.fromkeys(name for each in rows for name in each)]
    lines = [separator.join(names)]
    for each in rows:
        cells = [each.get(name, "") for name in names]
        texts = [cell if isinstance(cell, str) else json.dumps(cell) for cell in cells]
        lines.append(separator.join('"' + text.replace('"', '""') + '"' for text in texts))
    spoil = draw.choice((*[""] * 8, "comma", "commas", "quote", "fewer", "long", "twice", "nothing"))
    at = draw.randrange(len(lines))
    if spoil == "comma":
        lines[at] += separator
    elif spoil == "commas":
        lines = [line + separator for line in lines]
    elif spoil == "quote":
        lines[at] = lines[at].replace('"', "", 1) + '"x'
    elif spoil == "fewer":
        lines[at] = lines[at].partition(separator)[0]
    elif spoil == "long":
        lines[-1] = lines[-1].replace("Ann", "Ann " * 50_000, 1)
    elif spoil == "twice" and names:
        lines[0] += separator + names[0]
    elif spoil == "nothing":
        lines = []
    return draw.choice(("\n", "\r\n", "\r")).join(lines)


def encoded(text: str, draw: random.Random) -> bytes:
    encoding = draw.choice((*["utf-8"] * 12, "utf-8-sig", "utf-16", "latin-1"))
    return text.encode(encoding, errors="surrogatepass" if encoding.startswith("utf") else "replace")


def corpus_file(draw: random.Random, folder: Path) -> Path:
    rows = [row(draw) for _ in range(draw.choice((0, 1, 2, 5, 5, 5)))]
    form = draw.choice((*["jsonl", "json", "csv"] * 4, "txt", "parquet"))
    path = folder / f"corpus.{form}"
    if form == "json":
        text = json_text(rows, draw)
    elif form == "csv":
        text = csv_text(rows, draw)
    else:
        text = "\n".join(json_text(each, draw) for each in rows)
    path.write_bytes(encoded(text, draw))
    return path


def corpora(draw: random.Random, folder: Path) -> list[str]:
    """A corpus file, shown in a small design."""
    path = corpus_file(draw, folder)
    named = (
        str(path)
        if draw.random() < 0.9
        else draw.choice(("~nosuchuser/c.csv", str(folder), "squad", "a" * 300))
    )
    return [
        "show",
        "custom",
        "--factor",
        "prefix=none,oracle",
        "--factor",
        "prompt=none,query",
        "--corpus",
        named,
    ]


def value_files(draw: random.Random, folder: Path) -> list[str]:
    """A file of somebody's values, for `budgetlens effects`."""
    rows: list[dict[str, Any]] = [
        {"id": f"{number}", "a": number * 1.5, "b": number + 1, "g": number % 2}
        for number in range(draw.choice((0, 1, 5, 12, 12, 12)))
    ]
    for _ in range(draw.choice((0, 0, 1, 2))):
        if rows:
            draw.choice(rows)[draw.choice(("id", "a", "b", "g", "c"))] = some(draw)
    form = draw.choice((*["csv", "tsv", "json", "jsonl", "ndjson"] * 4, "parquet", "xlsx"))
    path = folder / f"values.{form}"
    if form in ("csv", "tsv"):
        text = csv_text(rows, draw, "\t" if form == "tsv" else ",")
    else:
        text = json_text(rows, draw) if form == "json" else "\n".join(json_text(each, draw) for each in rows)
    path.write_bytes(encoded(text, draw))
    given = [
        "effects",
        str(path),
        "--baseline",
        "a",
        "--treatment",
        draw.choice(("b", "b", "b", "b", "c", "a")),
    ]
    for option in ("--example", "--clusters", "--weights", "--condition", "--value"):
        if draw.random() < (0.25 if option in ("--example", "--clusters", "--weights") else 0.04):
            given += [option, draw.choice(("id", "id", "g", "g", "b", "c", ""))]
    return given


#: Options with values that fit, for the command lines below.
OPTIONS: dict[str, tuple[str, ...]] = {
    "--corpus": ("reference", "reference-long", "{missing}"),
    "--n": ("1", "3", "2"),
    "--seed": ("0", "42"),
    "--protocol": ("corrected", "published"),
    "--max-encoder-tokens": ("40", "2048"),
    "--example": ("0", "1"),
    "--cell": ("bare_nq", "prefix=none|prompt=none"),
    "--factor": (
        "prefix=none,oracle",
        "prompt=none,query",
        "hidden=none,prefix",
        "shuffle=none,document:words",
    ),
    "--knockout": ("predicting->bos@all", "answer->document@0-1", "decoder->eos@0%-50%"),
    "--model": ("reference", "{missing}"),
    "--revision": ("main",),
}
WRONG = (
    "", " ", "-1", "0", "x", "1e3", "9" * 30, "9" * 5_000, "²", "١", "1_0", "nan", "inf", "0,,1", ",", "a,", "=", "a=", "=b",
    "prefix=", "prefix=none,", "prefix=none,none", "prefix=nope", "prefix=\x1b[2J", "predicting->", "->bos", "a->b@c",
    "predicting->bos@9-2", "predicting->bos@99", "predicting->bos@all/h99", "\u202e", "~nosuchuser", "/nonexistent/file",
    "/", "/dev/null", "a" * 4_000, "prefix=literal:" + "x" * 3_000, "none", "{}", "\ud800", "--", "--n", "prefix=keywords:0",
    "prefix=oracle*0", "prompt=query:-1", "prompt=random-text:99999", "padding=99999", "prefix=random@0",
)  # fmt: skip


def option_lines(draw: random.Random, folder: Path) -> list[str]:
    """A command line in which some value is wrong, missing, given twice or out of its place."""
    name = draw.choice((*["show"] * 6, "design", "run", "list", "tables", ""))
    given = [name, draw.choice((*["custom"] * 8, "exp08", "exp99", ""))]
    if name == "run":
        # Nothing is run: the directory can't be made.
        given += ["--out", "/dev/null/run"]
    # Most designs are sound, so that what is wrong elsewhere is met.
    known = [*OPTIONS] if name in ("show", "run") else ["--factor", "--knockout", "--protocol"]
    given += ["--factor", "prefix=none,oracle"] if draw.random() < 0.6 else []
    wrong = draw.randrange(3)
    for number in range(draw.choice((1, 2, 3))):
        option = draw.choice(known)
        value = draw.choice(WRONG if number == wrong or draw.random() < 0.1 else OPTIONS[option])
        given += [option, value.replace("{missing}", str(folder / "missing"))]
    if draw.random() < 0.05:
        del given[draw.randrange(len(given))]
    if draw.random() < 0.05:
        given.insert(draw.randrange(len(given) + 1), draw.choice(WRONG))
    return given


def design_value(draw: random.Random, depth: int = 0) -> Any:
    if depth < 3 and draw.random() < 0.3:
        items = [design_value(draw, depth + 1) for _ in range(draw.choice((0, 1, 3)))]
        return items if draw.random() < 0.5 else {str(some(draw)): item for item in items}
    return some(draw)


def design_files(draw: random.Random, folder: Path) -> list[str]:
    """A design file, TOML or YAML."""
    content: dict[str, Any] = {
        "factors": {"prefix": ["none", "oracle"], "prompt": ["none", "query"]},
        "aliases": {"bare": "prefix=none|prompt=none"},
        "contrasts": [{"name": "c", "baseline": "bare", "treatment": "prefix=oracle|prompt=none"}],
        "n": 3,
    }
    keys = ("n", "seed", "factors", "cells", "extra", "exclude", "aliases", "contrasts", "share_contrasts", "splits",
            "headline", "interaction", "allow_idle", "probes", "rows", "corpus", "title", "protocol", "correction",
            "encoder_tokens", "nope", "\x1b")  # fmt: skip
    for _ in range(draw.choice((0, 1, 1, 2))):
        content[draw.choice(keys)] = design_value(draw)
    if draw.random() < 0.3:
        name = draw.choice(("prefix", "prompt", "hidden", "knockout", "nope", ""))
        content["factors"] = {"prefix": ["none", "oracle"], name: design_value(draw)}
    form = draw.choice(("yaml", "yaml", "yml", "toml", "toml", "toml", *["json"] * (draw.random() < 0.1)))
    text = toml_text(content) if form == "toml" else json.dumps(content, ensure_ascii=draw.random() < 0.5)
    if draw.random() < 0.3:
        text = draw.choice(SPOILT)(text, draw)
    path = folder / f"design.{form}"
    path.write_bytes(encoded(text, draw))
    return [draw.choice(("design", "show")), "custom", "--design", str(path)]


#: What else a design's text may be.
SPOILT: tuple[Callable[[str, random.Random], str], ...] = (
    lambda text, draw: text[: draw.randrange(len(text))],
    lambda text, draw: "a: " + "[" * draw.choice((50, 3_000, 50_000)),
    lambda text, draw: "a = " + "[" * draw.choice((50, 3_000, 50_000)),
    lambda text, draw: ".".join("a" * draw.choice((50, 30_000))) + " = 1",
    lambda text, draw: "factors: &a\n  <<: *a\n  prefix: [none, oracle]\n",
    lambda text, draw: "factors:\n  <<: {prefix: [none, oracle]}\n  prompt: [none, query]\n",
    lambda text, draw: (
        "a: &a [x, x]\n" + "".join(f"a{i}: &a{i + 1} [*a{i or ''}, *a{i or ''}]\n" for i in range(40))
    ),
    lambda text, draw: "n: " + "9" * 5_000,
    lambda text, draw: "n = " + "9" * 5_000,
    lambda text, draw: "n: 2024-99-99\n" + text,
    lambda text, draw: "!!python/object/apply:os.getcwd []",
    lambda text, draw: "factors: {? [a, b] : c}",
    lambda text, draw: text + "\n" + text,
    lambda text, draw: text.replace('"', "", 1),
    lambda text, draw: "\x00" + text,
    lambda text, draw: "%YAML 9.9\n---\n" + text,
    lambda text, draw: "---\na: 1\n---\nb: 2\n",
    lambda text, draw: "#" * 1_200_000,
    lambda text, draw: "",
)


def toml_text(content: Mapping[str, Any]) -> str:
    """TOML as far as it goes: what TOML has no word for (nothing) stands as a bare word, which is an error in it."""

    def value(one: Any) -> str:
        if isinstance(one, dict):
            return (
                "{" + ", ".join(f"{json.dumps(str(key))} = {value(part)}" for key, part in one.items()) + "}"
            )
        if isinstance(one, list):
            return "[" + ", ".join(map(value, one)) + "]"
        return json.dumps(one)

    return "\n".join(f"{json.dumps(str(key))} = {value(part)}" for key, part in content.items())


#: Every kind of input by name. Another one is another entry.
KINDS: dict[str, Maker] = {
    "corpora": corpora,
    "value files": value_files,
    "option lines": option_lines,
    "design files": design_files,
}


def campaign(kinds: Mapping[str, Maker], seed: int, count: int) -> Iterator[Outcome]:
    """``count`` inputs of every kind; the same seed makes the same ones, whatever other kinds there are."""
    for kind, make in kinds.items():
        for number in range(count):
            with tempfile.TemporaryDirectory(prefix="bad-input-") as folder:
                yield attempt(kind, make(random.Random(f"{seed} {kind} {number}"), Path(folder)))


def table(outcomes: list[Outcome]) -> str:
    """Kind, tried, held (of which with a result), failed."""
    lines = [f"{'kind':<20}{'tried':>7}{'held':>7}{'failed':>8}{'gave a result':>16}"]
    for kind in dict.fromkeys(outcome.kind for outcome in outcomes):
        own = [outcome for outcome in outcomes if outcome.kind == kind]
        failed = sum(bool(outcome.fault) for outcome in own)
        results = sum(not outcome.refused and not outcome.fault for outcome in own)
        lines.append(f"{kind:<20}{len(own):>7}{len(own) - failed:>7}{failed:>8}{results:>16}")
    return "\n".join(lines)


def main() -> int:
    """Run the campaign; the exit status is 1 where an input failed."""
    parser = argparse.ArgumentParser(description="Bad inputs: a result or one clear sentence each.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=100, help="inputs of every kind (default: 100)")
    parser.add_argument("--kind", action="append", choices=sorted(KINDS), help="only this kind; repeatable")
    options = parser.parse_args()
    chosen = {name: make for name, make in KINDS.items() if not options.kind or name in options.kind}
    outcomes = list(campaign(chosen, options.seed, options.count))
    for outcome in outcomes:
        if outcome.fault:
            print(
                f"{outcome.kind}: {[word[:200] for word in outcome.given]!r}\n    {outcome.fault[:1_500]!r}"
            )
    print(table(outcomes))
    return int(any(outcome.fault for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
