"""Numbers as text, with as many digits as they deserve."""

from __future__ import annotations

import math
import re

UNDEFINED = "–"


def number(value: float, name: str = "") -> str:
    """A number with sensible digits: p to .001, percents to .1, all else to three significant digits."""
    if math.isnan(value):
        return UNDEFINED
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if re.match(r"p(_|$)|q$", name):
        return "< 0.001" if value < 0.001 else f"{value:.3f}"
    if name.endswith("percent"):
        return f"{value:.1f}"
    if 0 < abs(value) < 1e-5:
        # Six decimals would leave one digit, or none.
        return f"{value:.1e}"
    return _plain(value, _decimals(value, 3))


def counted(count: int, noun: str) -> str:
    """`1 example`, `500 examples`: a count with its noun."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def with_interval(value: float, low: float, high: float) -> str:
    """`0.529 [0.442, 0.616]`: decimals such that half the interval has two significant digits."""
    if math.isnan(value):
        return UNDEFINED
    if not (math.isfinite(low) and math.isfinite(high)) or low == high:
        return number(value)
    if max(abs(value), abs(low), abs(high)) < 1e-5:
        return f"{number(value)} [{number(low)}, {number(high)}]"
    decimals = _decimals((high - low) / 2, 2)
    if low > 0 or high < 0:
        # An interval that leaves out 0 must not look as if it ended there.
        nearest = min(abs(low), abs(high))
        while decimals < 6 and float(f"{nearest:.{decimals}f}") == 0:
            decimals += 1
    return f"{_plain(value, decimals)} [{_plain(low, decimals)}, {_plain(high, decimals)}]"


def _decimals(size: float, significant: int) -> int:
    """Decimals that show `significant` digits of `size`, from 0 to 6."""
    if size == 0:
        return 0
    return min(6, max(0, significant - 1 - math.floor(math.log10(abs(size)))))


def _plain(value: float, decimals: int) -> str:
    text = f"{value:.{decimals}f}"
    # A value that rounds to 0 has no sign.
    return text[1:] if re.fullmatch(r"-0\.?0*", text) else text
