"""What a notebook or script defines, as text: a class has no version but its source, and whatever that names there.

A run's identity holds this text, so that a class that was changed since is never taken for the one that was run.
"""

from __future__ import annotations

import ast
import dis
import hashlib
import inspect
import linecache
import sys
import textwrap
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from types import CodeType, FunctionType, GenericAlias, ModuleType, NoneType, UnionType
from typing import Any, TypeVar

from budgetlens.registry.names import MARK, RegistryError

#: Values of a notebook that are told by how they are written.
_PLAIN = (str, bytes, bool, int, float, complex, NoneType, GenericAlias, UnionType, TypeVar)


def is_own(thing: Any, group: str) -> bool:
    """Whether a registered thing comes from no distribution, ours included, that names the entry-point ``group``."""
    tops = {entry_point.module.partition(".")[0] for entry_point in entry_points(group=group)}
    return thing.__module__.partition(".")[0] not in tops


def source_of(thing: Any) -> str:
    """The text of a class or function, and of all that it names: classes, functions and values of the notebook.

    Of a thing that was imported from a file of one's own the whole file; what that imports is not followed.

    Raises:
        RegistryError: the text is nowhere (it was typed into a bare `python`, or made by ``exec``), or it names a value
            whose content can't be told; the message says what to do.
    """
    return "\n".join(text for _, text in sorted(_parts(thing).items()))


def _parts(thing: Any) -> dict[str, str]:
    """Text by name of the thing and of everything that it names, directly or not."""
    found: dict[str, str] = {}
    waiting = [(thing.__name__, thing)]
    space = vars(sys.modules["__main__"])
    while waiting:
        name, each = waiting.pop()
        if name in found:
            continue
        # A cached function is the function in it.
        each = inspect.unwrap(each) if callable(each) else each
        if isinstance(each, type | FunctionType):
            found[name] = _definition(each)
            if each.__module__ == "__main__":
                waiting += [(own, space[own]) for own in _named(found[name], space) if _counts(space[own])]
        else:
            found[name] = f"{name} = {_value(each, name, thing)}"
    return found


def _counts(value: Any) -> bool:
    """Whether a value that is named has to be told: what was imported from elsewhere has versions, or files, of its own."""
    if isinstance(value, ModuleType):
        return False
    # Functions and classes have a name, objects that can be called have none; a method of an object holds that object.
    named = callable(value) and isinstance(getattr(value, "__name__", None), str)
    alone = isinstance(getattr(value, "__self__", None), ModuleType | type | NoneType)
    return not (named and alone) or getattr(value, "__module__", None) == "__main__"


def _named(text: str, space: Mapping[str, Any]) -> list[str]:
    """The names of the notebook that a definition's code looks up, in its body and in every function within."""
    code = compile(text, "<definition>", "exec", dont_inherit=True)
    # Every class looks up `__name__`, for its module.
    return sorted(name for name in set(_looked_up(code)) if name in space and not name.startswith("__"))


def _looked_up(code: CodeType) -> Iterator[str]:
    stored = {each.argval for each in dis.get_instructions(code) if each.opname == "STORE_NAME"}
    for each in dis.get_instructions(code):
        if each.opname in ("LOAD_GLOBAL", "LOAD_NAME") and each.argval not in stored:
            yield each.argval
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _looked_up(constant)


def _value(value: Any, name: str, thing: Any) -> str:
    """A value as text that differs whenever the value does."""
    if isinstance(value, _PLAIN):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"{type(value).__name__}({', '.join(_value(each, name, thing) for each in value)})"
    if isinstance(value, dict):
        pairs = (f"{_value(key, name, thing)}: {_value(each, name, thing)}" for key, each in value.items())
        return f"dict({', '.join(pairs)})"
    if isinstance(value, set | frozenset):
        return f"set({', '.join(sorted(_value(each, name, thing) for each in value))})"
    # An array of numbers; one of objects holds addresses.
    if hasattr(value, "tobytes") and getattr(getattr(value, "dtype", None), "hasobject", True) is False:
        digest = hashlib.sha256(value.tobytes()).hexdigest()
        return f"{type(value).__name__}({value.shape}, {value.dtype}, {digest})"
    raise RegistryError(
        f"{thing.__name__} uses {name}, of the type {type(value).__name__}, from the notebook, whose content a run's "
        f"identity can't hold; make {name} a number, a text, a NumPy array, or a function that gives it"
    )


def _definition(thing: Any) -> str:
    """The text of one class or function, decorators included; of one from a file, the file's."""
    if thing.__module__ != "__main__":
        path = getattr(sys.modules.get(thing.__module__), "__file__", None)
        if path is None or not Path(path).is_file():
            raise _no_source(thing)
        return Path(path).read_text(encoding="utf-8")
    code = _code_of(thing)
    file = code.co_filename if code is not None else getattr(sys.modules["__main__"], "__file__", None)
    lines = linecache.getlines(file) if file else []
    try:
        tree = ast.parse("".join(lines))
    except SyntaxError:
        raise _no_source(thing) from None
    kind = ast.ClassDef if isinstance(thing, type) else ast.FunctionDef
    matching = [
        node
        for node in ast.walk(tree)
        if isinstance(node, kind) and node.name == thing.__name__ and (code is None or _holds(node, code))
    ]
    if not matching:
        raise _no_source(thing)
    # Of two definitions in one file without a method the later one is what the name stands for.
    node = matching[-1]
    return textwrap.dedent("".join(lines[_first_line(node) - 1 : node.end_lineno]))


def _code_of(thing: Any) -> CodeType | None:
    """The code of a function, or of the first method that a class defines itself: where its text stands.

    A class knows no file in a notebook; methods that `dataclass` makes are of no file either.
    """
    for member in (thing,) if isinstance(thing, FunctionType) else vars(thing).values():
        function = inspect.unwrap(
            getattr(member, "__func__", None) or getattr(member, "fget", None) or member
        )
        code = getattr(function, "__code__", None)
        own = isinstance(thing, FunctionType) or getattr(function, "__qualname__", "").startswith(
            f"{thing.__qualname__}."
        )
        if isinstance(code, CodeType) and own and linecache.getlines(code.co_filename):
            return code
    return None


def _first_line(node: ast.ClassDef | ast.FunctionDef) -> int:
    return min([node.lineno, *(each.lineno for each in node.decorator_list)])


def _holds(node: ast.ClassDef | ast.FunctionDef, code: CodeType) -> bool:
    return _first_line(node) <= code.co_firstlineno <= (node.end_lineno or 0)


def _no_source(thing: Any) -> RegistryError:
    kind, name = getattr(thing, MARK, ("class or function", thing.__name__))[:2]
    return RegistryError(
        f"the source of the {kind} {name!r} ({thing.__module__}.{thing.__qualname__}) can't be found, and a run's identity "
        "holds it; define it in a notebook's cell or in a file, and give a class a method of its own"
    )
