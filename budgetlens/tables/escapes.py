"""Text made safe for Markdown and LaTeX."""

from __future__ import annotations

import re

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "→": r"$\rightarrow$",
    "×": r"$\times$",
    "−": r"$-$",
    "–": "--",
    "ε": r"$\varepsilon$",
    "η": r"$\eta$",
    "²": r"$^2$",
    "≠": r"$\neq$",
    "≤": r"$\leq$",
    "…": r"\ldots{}",
}


def markdown(text: object) -> str:
    """Text for a cell of a pipe table."""
    return re.sub(r"([\\|*_`<\[\]])", r"\\\1", str(text)).replace("\n", " ")


def latex(text: object) -> str:
    """Text for a cell of a LaTeX table."""
    escaped = "".join(_LATEX.get(character, character) for character in str(text))
    # After the \\ of the row before, a bracket would open that command's argument.
    return "{[}" + escaped[1:] if escaped.startswith("[") else escaped
