"""Designs in files: TOML or YAML read to a mapping, and a mapping written as either."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from budgetlens.design.schema import FORMATS, DesignError
from budgetlens.registry.characters import ACTING

_SUFFIXES: dict[str, str] = {".toml": "toml", ".yaml": "yaml", ".yml": "yaml"}
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
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
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DesignError(f"{path} can't be read as text: {error}") from error
    try:
        design = tomllib.loads(content) if form == "toml" else yaml.load(content, _UniqueKeys)
    except (tomllib.TOMLDecodeError, yaml.YAMLError) as error:
        raise DesignError(f"{path} is no {form.upper()}: {' '.join(str(error).split())}") from error
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


class _UniqueKeys(yaml.SafeLoader):
    """YAML's safe loader, which of a key given twice would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        doubled = [key for key in keys if keys.count(key) > 1]
        if doubled:
            raise yaml.YAMLError(
                f"the key {doubled[0]!r} is there twice, line {node.start_mark.line + 1} and on"
            )
        return super().construct_mapping(node, deep)


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
