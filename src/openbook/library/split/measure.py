"""Counts tokens of any slice of a text after one pass of the tokenizer over it."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from itertools import pairwise
from operator import sub

from openbook.core.messages import TokenCounter

_WINDOW = 50_000
"""Characters given to the tokenizer at a time, so that a text without line breaks needs no more memory than others."""
_LONGEST = 64
"""Characters that count as one token at most: what the tokenizer drops or calls unknown is not free, or a chunk of
`chunk_tokens` could hold megabytes of it."""


class TokenMeasure:
    """Token counts of slices of `text[start:end]`.

    `carried`: tokens of the header of the table that goes on from the part before; it is repeated before each chunk of it.
    """

    def __init__(self, text: str, start: int, end: int, tokens: TokenCounter, carried: str = "") -> None:
        self.start = start
        self.carried = sum(1 for _ in tokens.spans(carried)) if carried else 0
        self._starts = array("q")
        position = start
        while position < end:
            stop = _window_end(text, position, end)
            starts = [position + start for start, _ in tokens.spans(text[position:stop])]
            self._starts.extend(_filled(starts, position, stop))
            position = stop

    def count(self, start: int, end: int) -> int:
        """Tokens that begin in `start:end`."""
        return bisect_left(self._starts, end) - bisect_left(self._starts, start)

    def limit(self, start: int, count: int, end: int) -> int:
        """The largest position up to `end` such that `start:position` holds at most `count` tokens, and not `start`."""
        index = bisect_left(self._starts, start) + count
        return max(min(self._starts[index], end) if index < len(self._starts) else end, start + 1)


def _filled(starts: list[int], begin: int, stop: int) -> list[int]:
    """`starts` with more of them wherever two lie further apart than `_LONGEST`."""
    edges = [begin, *starts, stop]
    if max(map(sub, edges[1:], edges)) <= _LONGEST:
        return starts
    return [place for here, following in pairwise(edges) for place in range(here, following, _LONGEST)]


def _window_end(text: str, position: int, end: int) -> int:
    if end - position <= _WINDOW:
        return end
    stop = position + _WINDOW
    for mark in ("\n", "。", " "):
        found = text.rfind(mark, position + _WINDOW // 2, stop)
        if found >= 0:
            return found + 1
    return stop
