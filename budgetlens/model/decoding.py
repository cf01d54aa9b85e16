"""How answers are generated, as a value. Declaring it loads no torch."""

from __future__ import annotations

from dataclasses import dataclass

#: Most tokens that an answer gets where nobody says how many.
ANSWER_TOKENS = 32


class GenerationError(ValueError):
    """An answer that can't be generated as asked; the message says what to do."""


@dataclass(frozen=True)
class Decoding:
    """How answers are made.

    ``tokens`` is the most that an answer gets, its end-of-sequence token included. ``temperature`` 0 takes the most
    probable token; another draws from softmax(logits / temperature), with ``seed`` and the example's identifier, so
    that an example's cells share their draws and a batch changes none. ``plain`` leaves the generation
    configuration's logits processors out.

    Raises ValueError for values outside these.
    """

    tokens: int = ANSWER_TOKENS
    temperature: float = 0.0
    seed: int = 42
    plain: bool = False

    def __post_init__(self) -> None:
        if self.tokens < 1:
            raise ValueError(f"an answer gets at least one token; got {self.tokens}")
        if not 0 <= self.temperature < float("inf"):
            raise ValueError(f"a temperature is 0 or a positive number; got {self.temperature}")
