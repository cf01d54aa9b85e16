"""Texts that somebody may give the command: corpora, files of values, option lines and design files with something wrong.

Generators of :mod:`tests.bad_inputs`; each makes one input below a directory and gives the command line that reads it.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

#: Texts and values that somebody's files have held.
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
