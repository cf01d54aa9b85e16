"""Layer windows: which layers of a stack an intervention concerns, as text that no model's depth spoils.

``all`` · ``5`` · ``20-33`` (both ends included) · ``0%-25%`` (part of the depth) · several joined by ``+``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from budgetlens.design.intervention import Context, LevelError

_NUMBERS = re.compile(r"(?P<first>\d+)(?:-(?P<last>\d+))?")
_PERCENT = re.compile(r"(?P<low>\d+(?:\.\d+)?)%-(?P<high>\d+(?:\.\d+)?)%")
_FORMS = "'all', a layer as '5', layers as '20-33', a part of the depth as '0%-25%', or several joined by '+'"


@dataclass(frozen=True)
class _Part:
    """Layers ``low`` to ``high``: numbers, both included; or hundredths of the depth, ``high`` excluded."""

    low: float
    high: float
    percent: bool

    def layers(self, depth: int) -> frozenset[int]:
        if not self.percent:
            # One layer beyond the stack tells as much as a billion, which would fill the memory.
            return frozenset(range(min(int(self.low), depth), min(int(self.high), depth) + 1))
        # Rounding the bounds, and not the layers, lets neighbouring windows partition the depth.
        first, end = (round(bound * depth / 100) for bound in (self.low, self.high))
        if first >= end:
            first = min(first, depth - 1)
            end = first + 1
        return frozenset(range(first, end))


@dataclass(frozen=True)
class LayerWindow:
    """Layers of a stack whose depth is not known yet; ``text`` is as the user wrote it."""

    text: str
    parts: tuple[_Part, ...]

    @classmethod
    def all(cls) -> Self:
        """Every layer."""
        return cls("all", (_Part(0, 100, percent=True),))

    def layers(self, depth: int) -> frozenset[int]:
        """The layers of a stack with ``depth`` layers, from 0; at least one.

        A part of the depth lo %–hi % holds the layers l with round(lo·depth) ≤ l < round(hi·depth), and one
        layer where that is none, so that four quarters partition any depth of four or more.
        Raises LevelError for a layer that the stack does not have.
        """
        if depth < 1:
            raise LevelError(f"a stack has one or more layers; got a depth of {depth}")
        chosen = frozenset[int]().union(*(part.layers(depth) for part in self.parts))
        beyond = sorted(layer for layer in chosen if layer >= depth)
        if beyond:
            raise LevelError(
                f"the layers {self.text!r} go beyond the stack, which has layers 0 to {depth - 1}; "
                f"give {_FORMS}"
            )
        return chosen


def parse_window(text: str) -> LayerWindow:
    """A window from text: ``all``, ``5``, ``20-33``, ``0%-25%``, or several joined by ``+``.

    Raises LevelError with the known forms for anything else.
    """
    if text == "all":
        return LayerWindow.all()
    return LayerWindow(text, tuple(_parse_part(part, text) for part in text.split("+")))


def window_layers(window: LayerWindow, stack: str, context: Context) -> frozenset[int]:
    """The layers of ``stack`` (encoder or decoder) of the model that ``context`` is for.

    Raises LevelError where the tokenizer belongs to no loaded model, or the stack lacks a layer.
    """
    depths: Mapping[str, int] = context.depths
    if stack not in depths:
        raise LevelError(
            f"the layers {window.text!r} of the {stack} depend on the model, and this tokenizer knows none; "
            "take it from load_model or load_trial_tokenizer"
        )
    try:
        return window.layers(depths[stack])
    except LevelError as error:
        raise LevelError(f"{stack}: {error}") from error


def number_of(digits: str, level: str) -> int:
    """Digits as a number. Raises LevelError for more of them than Python reads, which name nothing in any model."""
    try:
        return int(digits)
    except ValueError as error:
        raise LevelError(
            f"{level[:40]!r}… holds a number of {len(digits):,} digits; give a shorter one"
        ) from error


def _parse_part(part: str, text: str) -> _Part:
    if match := _NUMBERS.fullmatch(part):
        first = number_of(match["first"], text)
        last = first if match["last"] is None else number_of(match["last"], text)
        if first <= last:
            return _Part(first, last, percent=False)
    if match := _PERCENT.fullmatch(part):
        low, high = float(match["low"]), float(match["high"])
        if low < high <= 100:
            return _Part(low, high, percent=True)
    raise LevelError(f"{text!r} is no window of layers; give {_FORMS}")
