"""Tokens set in lines of characters of one width."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from figures.labels import written_out

LINE_BREAK = "⏎"


@dataclass(frozen=True)
class Piece:
    """A stretch of a token on one line: `start` and `end` in characters, end exclusive."""

    token: int
    line: int
    start: int
    end: int
    text: str


def shown_token(token: object) -> str:
    """A token's text with line breaks, tabs and unseen characters written out."""
    text = str(token).replace("\r\n", LINE_BREAK).replace("\n", LINE_BREAK).replace("\t", "⇥")
    return written_out(text) or "∅"


def character_width(character: str) -> int:
    """Columns that a character takes: 0 for marks that join to the one before, 2 for wide ones, else 1."""
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def laid_out(tokens: Sequence[object], across: int) -> list[Piece]:
    """Tokens one after the other in lines of `across` columns.

    A token that does not fit goes to the next line; one longer than a line is broken. A token that ends in a
    line break ends its line.
    """
    pieces: list[Piece] = []
    line = column = 0
    for index, token in enumerate(tokens):
        text = shown_token(token)
        width = sum(map(character_width, text))
        if column and column + width > across:
            line, column = line + 1, 0
        start, held = column, ""
        for character in text:
            wide = character_width(character)
            if column + wide > across:
                pieces.append(Piece(index, line, start, column, held))
                line, column, start, held = line + 1, 0, 0, ""
            held += character
            column += wide
        # A token of joining marks alone takes a column, so that it can be seen and pointed at.
        column = max(column, start + 1)
        pieces.append(Piece(index, line, start, column, held))
        if text.endswith(LINE_BREAK):
            line, column = line + 1, 0
    return pieces


def character_grid(pieces: Sequence[Piece], lines: int, across: int) -> NDArray[np.int64]:
    """Which token stands at each line and column, shape [lines, across]; -1 where there is none."""
    grid = np.full((lines, across), -1)
    for piece in pieces:
        grid[piece.line, piece.start : piece.end] = piece.token
    return grid
