"""Decoding token by token: text comes out as soon as it can no longer change, so that the pieces are the whole."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Container, Iterable, Sequence
from typing import Protocol

_BYTE_TOKEN = re.compile(r"<0x[0-9A-Fa-f]{2}>")
_CONTEXT_TOKENS = 4


class Stream(Protocol):
    """`push` gives the text that is certain after these tokens, `finish` what is left; together the whole decoded text."""

    def push(self, ids: Iterable[int]) -> str: ...
    def finish(self) -> str: ...


class ByteStream:
    """For byte-level tokenizers: a character is given when its last byte is there; bytes that are none become U+FFFD."""

    def __init__(self, bytes_of: Callable[[int], bytes]) -> None:
        self._bytes_of = bytes_of
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, ids: Iterable[int]) -> str:
        return self._decoder.decode(b"".join(self._bytes_of(number) for number in ids))

    def finish(self) -> str:
        return self._decoder.decode(b"", final=True)


class WindowStream:
    """For any other decoder: the text of new tokens is what they add behind the last few that had text of their own.

    Held back: tokens that stand for single bytes, until another kind follows (what a run of bytes means is known at its end).
    """

    def __init__(
        self,
        decode: Callable[[Sequence[int]], str],
        token_of: Callable[[int], str],
        skipped: Container[int] = frozenset(),
    ) -> None:
        self._decode, self._token_of, self._skipped = decode, token_of, skipped
        self._context: list[int] = []
        self._pending: list[int] = []

    def push(self, ids: Iterable[int]) -> str:
        given = []
        for number in ids:
            if number in self._skipped:
                continue
            self._pending.append(number)
            if not _BYTE_TOKEN.fullmatch(self._token_of(number)):
                given.append(self._give())
        return "".join(given)

    def finish(self) -> str:
        return self._give()

    def _give(self) -> str:
        before = self._decode(self._context)
        whole = self._decode(self._context + self._pending)
        if not whole.startswith(before) or not self._pending:
            return ""
        kept = self._context + self._pending
        self._pending = []
        # Less of the context would do once it has text of its own: the first token of a text may be treated otherwise.
        shorter = kept[-_CONTEXT_TOKENS:]
        self._context = shorter if self._decode(shorter) and len(kept) > 2 * _CONTEXT_TOKENS else kept
        return whole[len(before) :]
