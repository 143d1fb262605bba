"""A large JSON object read piece by piece, so that a catalogue of any length takes little memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import IO, Any

PIECE = 2**18
"""Characters read at once."""
LARGEST = 2**26
"""Characters of one value; a larger one is no catalogue's."""
_SPACE = " \t\r\n"


def members(stream: IO[str], apart: str) -> Iterator[tuple[str, Any]]:
    """Yield the members (key, value) of the object in a stream, in its order.

    The list under the key ``apart`` is yielded element by element, each with that key. Raises ``ValueError`` for what
    is no JSON object.
    """
    text = _Text(stream)
    text.take("{")
    while not text.is_next("}"):
        key = text.value()
        text.take(":")
        if key == apart and text.is_next("["):
            yield from ((apart, value) for value in _elements(text))
        else:
            yield key, text.value()
        if not text.is_next("}"):
            text.take(",")


def _elements(text: _Text) -> Iterator[Any]:
    text.take("[")
    while not text.is_next("]"):
        yield text.value()
        if not text.is_next("]"):
            text.take(",")
    text.take("]")


class _Text:
    """What was read and not yet used of a stream."""

    def __init__(self, stream: IO[str]) -> None:
        self.stream, self.held, self.at, self.ended = stream, "", 0, False
        self.decoder = json.JSONDecoder()

    def is_next(self, character: str) -> bool:
        """Whether the next character that is no space is this one."""
        while True:
            while self.at < len(self.held) and self.held[self.at] in _SPACE:
                self.at += 1
            if self.at < len(self.held):
                return self.held[self.at] == character
            if not self._read(PIECE):
                raise ValueError("it ends too early")

    def take(self, character: str) -> None:
        """Step over a character that must be next."""
        if not self.is_next(character):
            raise ValueError(f"'{self.held[self.at]}' stands where '{character}' is expected")
        self.at += 1

    def value(self) -> Any:
        """Return the next value; one that reaches the end of what was read may go on."""
        self.is_next("")
        more = PIECE
        while True:
            try:
                value, end = self.decoder.raw_decode(self.held, self.at)
            except ValueError:
                if not self._read(more):
                    raise
            else:
                if end < len(self.held) or not self._read(more):
                    self.at = end
                    return value
            more *= 2

    def _read(self, size: int) -> bool:
        """Read more and forget what was used; ``False`` at the end."""
        if self.ended or len(self.held) - self.at > LARGEST:
            return False
        found = self.stream.read(size)
        self.ended = not found
        self.held, self.at = self.held[self.at :] + found, 0
        return bool(found)
