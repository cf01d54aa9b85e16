"""The way from one cell's attention to another's in steps, of which one is what hiding alone would do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Point:
    """A cell as it was measured or, with ``like``, as it would be if what the cell ``like`` hides were hidden."""

    cell: str
    like: str = ""


@dataclass(frozen=True)
class Path:
    """A shift between two points and the steps that it is split into.

    ``steps`` names the way from each point to the next.
    """

    name: str
    points: tuple[Point, ...]
    steps: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.points) != len(self.steps) + 1:
            raise ValueError(
                f"path {self.name!r} has {len(self.points)} points and {len(self.steps)} steps; "
                "expected one step fewer than points"
            )
