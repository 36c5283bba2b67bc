"""Prompt lookup: what followed the last tokens where they stood before. Costs nothing, and pays where an answer copies.

Source: Saxena 2023 (prompt lookup decoding), https://github.com/apoorvumang/prompt-lookup-decoding.
"""

from __future__ import annotations

from collections.abc import Sequence as Items

import numpy as np
from numpy.typing import NDArray

from openbook.serving.engine.sequence import Sequence
from openbook.serving.engine.speculate.proposer import Asked

LEAST, MOST = 2, 5
"""Tokens that must have stood before, and those that are looked at to choose between several places."""


class NgramProposer:
    """Looks in prompt and answer of the sequence itself."""

    cost = 0.0

    def __init__(self) -> None:
        self._known: dict[int, _Tokens] = {}

    def propose(self, asked: Items[Asked]) -> list[list[int]]:
        return [lookup(self._tokens(one.sequence), one.most) for one in asked]

    def copy(self, source: int, target: int) -> None:
        """It keeps nothing in blocks."""

    def forget(self, number: int) -> None:
        self._known.pop(number, None)

    def sleep(self) -> None:
        """It keeps nothing in blocks."""

    def wake(self) -> None:
        """It keeps nothing in blocks."""

    def _tokens(self, sequence: Sequence) -> NDArray[np.int32]:
        return self._known.setdefault(sequence.number, _Tokens()).upto(sequence.tokens)[sequence.num_virtual :]


class _Tokens:
    """A sequence's tokens as an array that grows: a list of thousands is not converted at every step."""

    def __init__(self) -> None:
        self._array, self._count = np.empty(64, np.int32), 0

    def upto(self, tokens: list[int]) -> NDArray[np.int32]:
        if len(tokens) > len(self._array):
            grown = np.empty(2 * len(tokens), np.int32)
            grown[: self._count] = self._array[: self._count]
            self._array = grown
        self._array[self._count : len(tokens)] = tokens[self._count :]
        self._count = len(tokens)
        return self._array[: self._count]


def lookup(tokens: NDArray[np.int32], count: int) -> list[int]:
    """What followed the longest of the last `MOST` to `LEAST` tokens where they stood last; `count` tokens or none.

    Where that place is so near that its continuation runs into the end, it goes on with what it has proposed.
    """
    ends = (tokens[:-1] == tokens[-1]).nonzero()[0]
    length, found = 1, ends
    while length < min(MOST, len(tokens) - 1):
        longer = found[found >= length]
        longer = longer[tokens[longer - length] == tokens[-1 - length]]
        if not len(longer):
            break
        length, found = length + 1, longer
    if length < LEAST or not len(found):
        return []
    begin = int(found[-1]) + 1
    proposed: list[int] = tokens[begin : begin + count].tolist()
    for place in range(count - len(proposed)):
        proposed.append(proposed[place])
    return proposed
