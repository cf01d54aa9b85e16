"""Texts tokenized as texts: no text becomes a control token, however it is spelled and whatever normalises it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: A token id with the characters, from and to, that it stands for.
Placed = tuple[int, tuple[int, int]]

#: What SentencePiece puts for a space; a normaliser may put one before a text.
_SPACE = "▁"


class PlainText:
    """The ids and character offsets of a text in which nothing is a control token.

    A tokenizer can be told not to look for control tokens in a text. That is not enough: where the vocabulary lists
    them as pieces, the text's own pieces may be such, and a normaliser may make their spelling out of other characters
    (brackets of full width, ligatures). Any such piece is therefore spelled again in smaller ones. ``<unk>`` alone
    stays where a character is unknown; the text ``<unk>`` is spelled as others are.

    ``control`` maps the control tokens' ids to how they are spelled.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        special = {token for token, added in tokenizer.added_tokens_decoder.items() if added.special}
        ids = sorted(special | set(tokenizer.all_special_ids))
        self.control = dict(zip(ids, map(str, tokenizer.convert_ids_to_tokens(ids)), strict=True))

    def __call__(self, text: str, **options: Any) -> dict[str, list[Any]]:
        """``input_ids`` and ``offset_mapping`` of ``text``, by the tokenizer under ``options``."""
        options["return_offsets_mapping"] = True
        # Quiet about the tokenizer's own longest input: whoever cuts says so.
        encoding = self._tokenizer(text, split_special_tokens=True, verbose=False, **options)
        ids, offsets = list(encoding["input_ids"]), list(encoding["offset_mapping"])
        if not self.control.keys().isdisjoint(ids):
            for index in range(len(ids) - 1, -1, -1):
                normal = self._control_spelling(text, ids[index], offsets[index])
                if normal is not None:
                    pieces = list(self._spelled(normal, self.control[ids[index]], *offsets[index]))
                    ids[index : index + 1] = [token for token, _ in pieces]
                    offsets[index : index + 1] = [place for _, place in pieces]
        return {"input_ids": ids, "offset_mapping": offsets}

    def _control_spelling(self, text: str, token: int, place: tuple[int, int]) -> str | None:
        """The normalised text of a piece that is a control token; None where it is none, or an unknown character."""
        if token not in self.control:
            return None
        if token != self._tokenizer.unk_token_id:
            return self.control[token]
        original = text[place[0] : place[1]]
        normalizer = self._tokenizer.backend_tokenizer.normalizer
        normal = original if normalizer is None else normalizer.normalize_str(original)
        if not original.startswith((" ", _SPACE)):
            normal = normal.removeprefix(_SPACE)
        # Neighbours that are unknown may be one piece with it.
        return normal if self.control[token] in normal else None

    def _spelled(self, normal: str, control: str, start: int, end: int) -> Iterator[Placed]:
        """The pieces of a normalised text between ``start`` and ``end``, in which ``control`` is cut in two."""
        parts: list[str] = []
        for number, between in enumerate(normal.split(control)):
            parts.extend((control[:1], control[1:]) if number else ())
            parts.append(between)
        # Character for character, the pieces' places are known; else each stands for the whole.
        exact = len(normal) == end - start
        low = start
        for part in parts:
            for token, (first, last) in self._pieces(part):
                yield token, (low + first, low + last) if exact else (start, end)
            low += len(part)

    def _pieces(self, part: str) -> Iterator[Placed]:
        """Pieces of a part of a word, none of them a control token, with their places in the part."""
        if not part:
            return
        own = self._tokenizer.backend_tokenizer.model.tokenize(part)
        unknown = self._tokenizer.unk_token_id
        if all(token.id == unknown or token.id not in self.control for token in own):
            for token in own:
                # The model counts bytes.
                yield token.id, token.offsets if part.isascii() else (0, len(part))
        elif len(part) > 1:
            yield from self._pieces(part[:1])
            for piece, (first, last) in self._pieces(part[1:]):
                yield piece, (first + 1, last + 1)
        else:
            yield from ((piece, (0, 1)) for piece in self._of_character(part))

    def _of_character(self, character: str) -> Iterator[int]:
        """A character that is a control token by itself: its bytes where the vocabulary has them, else unknown."""
        bytes_of = self._tokenizer.backend_tokenizer.token_to_id
        ids = [bytes_of(f"<0x{byte:02X}>") for byte in character.encode("utf-8", "surrogatepass")]
        known = [token for token in ids if token is not None]
        if len(known) == len(ids):
            yield from known
        elif self._tokenizer.unk_token_id is not None:
            yield self._tokenizer.unk_token_id
