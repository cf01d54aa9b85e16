"""Designs in files: TOML or YAML read to a mapping, and a mapping written as either."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from budgetlens.design.schema import FORMATS, DesignError
from budgetlens.registry.characters import ACTING

_SUFFIXES: dict[str, str] = {".toml": "toml", ".yaml": "yaml", ".yml": "yaml"}
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
#: Longest and deepest file that is read: every design of a registered analysis is far below.
_LONGEST, _DEEPEST = 1_000_000, 60
#: Most keys of one mapping after merges, and most dots between two equals signs of a line of TOML.
_MOST_MERGED, _MOST_DOTS = 10_000, 200
_ACTING = re.compile(f"[{ACTING}]")
#: Arrays up to this length stay on one line.
_LINE = 96


def read_design(path: Path) -> Mapping[str, Any]:
    """The mapping in a ``.toml``, ``.yaml`` or ``.yml`` file.

    Raises DesignError for another ending, an unreadable file, a syntax error (with its place), a key given twice,
    and content that is no table.
    """
    form = _SUFFIXES.get(path.suffix.lower())
    if form is None:
        raise DesignError(
            f"{path}: a design is read from {', '.join(_SUFFIXES)}; got {path.suffix or 'no ending'!r}"
        )
    try:
        # utf-8-sig drops a byte order mark where there is one.
        content = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DesignError(f"{path} can't be read as text: {error}") from error
    if len(content) > _LONGEST:
        raise DesignError(f"{path} holds {len(content):,} characters; a design has at most {_LONGEST:,}")
    if form == "toml":
        _require_short_keys(content, path)
    try:
        design = tomllib.loads(content) if form == "toml" else yaml.load(content, _Loader)
    # ValueError: a number of too many digits, a date that no calendar has.
    except (ValueError, yaml.YAMLError) as error:
        told = " ".join(str(error).split())
        if "digits" in told:
            told = "a whole number has thousands of digits"
        raise DesignError(f"{path} is no {form.upper()}: {told}") from error
    except RecursionError as error:
        raise DesignError(
            f"{path} is nested too deeply to be read; a design needs no more than a few levels"
        ) from error
    if not isinstance(design, Mapping):
        raise DesignError(f"{path} holds a {type(design).__name__}; expected a table with factors")
    return design


def write_design(design: Mapping[str, Any], form: str) -> str:
    """The mapping as TOML or YAML text; :func:`read_design` reads it back equal.

    Raises DesignError for another format.
    """
    if form == "toml":
        return _toml(design)
    if form == "yaml":
        text = yaml.safe_dump(dict(design), sort_keys=False, allow_unicode=True, width=_LINE)
        # What would act on a terminal is written as an escape, which PyYAML does for all of a text or for nothing.
        return (
            text if not _ACTING.search(text) else yaml.safe_dump(dict(design), sort_keys=False, width=_LINE)
        )
    raise DesignError(f"a design is written as one of {', '.join(FORMATS)}; got {form!r}")


class _Loader(yaml.SafeLoader):
    """YAML's safe loader with merge keys, which refuses what it would read wrongly or for ever.

    Of a key given twice it would silently keep the last. Nesting costs its scanner quadratic time and its composer
    Python's stack; merges of merges grow exponentially.
    """

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        mark = self.peek_event().start_mark
        if self.depth >= _DEEPEST:
            raise yaml.YAMLError(_too_deep(mark.line + 1))
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        # Here and not when it is constructed: by then merged keys stand beside the mapping's own.
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                name, line = (key.tag, key.value), key.start_mark.line + 1
                if name in lines:
                    raise yaml.YAMLError(
                        f"the key {key.value!r} is there twice, line {lines[name]} and line {line}"
                    )
                lines[name] = line
        return node

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        if self.depth >= _DEEPEST:
            raise yaml.YAMLError(f"merge keys lead in a circle or too deep, line {node.start_mark.line + 1}")
        self.depth += 1
        try:
            super().flatten_mapping(node)
        finally:
            self.depth -= 1
        if len(node.value) > _MOST_MERGED:
            raise yaml.YAMLError(
                f"merge keys give more than {_MOST_MERGED} keys, line {node.start_mark.line + 1}"
            )


def _too_deep(line: int) -> str:
    return f"nested more than {_DEEPEST} deep, line {line}; a design needs no more than a few levels"


def _require_short_keys(content: str, path: Path) -> None:
    """Raise DesignError for a TOML key of very many parts, ``a.b.c…``: the parser's time is quadratic in them.

    Dots of texts count as well, and no text of a design holds so many without an equals sign between.
    """
    for number, line in enumerate(content.split("\n"), start=1):
        if any(part.count(".") > _MOST_DOTS for part in line.split("=")):
            raise DesignError(f"{path}, line {number}: holds more than {_MOST_DOTS} dots in a row of parts")


def _toml(design: Mapping[str, Any]) -> str:
    plain = {key: value for key, value in design.items() if not _is_table(value)}
    tables = {key: value for key, value in design.items() if _is_table(value)}
    lines = [f"{_key(key)} = {_value(value)}" for key, value in plain.items()]
    for key, value in tables.items():
        for heading, own in (
            [(f"[{_key(key)}]", value)]
            if isinstance(value, Mapping)
            else [(f"[[{_key(key)}]]", item) for item in value]
        ):
            lines += ["", heading, *(f"{_key(name)} = {_value(part)}" for name, part in own.items())]
    return "\n".join(lines) + "\n"


def _is_table(value: Any) -> bool:
    """Whether TOML gives the value headings of its own: a table, or a list of nothing but tables."""
    if isinstance(value, Mapping):
        return True
    return isinstance(value, list) and bool(value) and all(isinstance(item, Mapping) for item in value)


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _text(key)


def _value(value: Any) -> str:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(key)} = {_value(part)}" for key, part in value.items()) + "}"
    if isinstance(value, Sequence):
        parts = [_value(part) for part in value]
        line = "[" + ", ".join(parts) + "]"
        return line if len(line) <= _LINE else "[\n" + "".join(f"  {part},\n" for part in parts) + "]"
    raise DesignError(f"a design holds text, numbers, lists and tables; got {type(value).__name__} {value!r}")


def _text(text: str) -> str:
    # JSON's escapes are TOML's, but TOML wants the delete character escaped as well, and a terminal some more.
    return _ACTING.sub(lambda found: f"\\u{ord(found.group()):04X}", json.dumps(text, ensure_ascii=False))
