"""ROUGE-L between a text and all that were kept: English by words, Chinese by characters.

Source: Lin 2004, https://aclanthology.org/W04-1013 (section 3; precision and recall count alike). Self-instruct keeps what is
below 0.7 (Wang et al. 2022, https://arxiv.org/abs/2212.10560, section 2.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from openbook.training.data.words import words

_FIRST = 1_024


class Alike(NamedTuple):
    """`score`: ROUGE-L with the most similar text, of which `place` is the number; -1 where no text has a word in common."""

    score: float
    place: int


def rouge_l(first: str, second: str) -> float:
    """The plain form: 2 LCS / (m + n)."""
    a, b = words(first), words(second)
    return 2.0 * lcs_length(a, b) / (len(a) + len(b)) if a and b else 0.0


def lcs_length(a: Sequence[str], b: Sequence[str]) -> int:
    """Of the longest common subsequence, by the table."""
    before = [0] * (len(b) + 1)
    for one in a:
        row = [0]
        for place, other in enumerate(b):
            row.append(before[place] + 1 if one == other else max(before[place + 1], row[-1]))
        before = row
    return before[-1]


class KeptTexts:
    """Texts as numbers of words; grows and shrinks at its end."""

    def __init__(self, texts: Sequence[str] = ()) -> None:
        self._ids: dict[str, int] = {}
        self._words = np.empty(_FIRST, np.int32)
        self._starts = [0]
        self._places = np.full(_FIRST, -1, np.int64)
        for text in texts:
            self.add(text)

    def __len__(self) -> int:
        return len(self._starts) - 1

    def add(self, text: str) -> None:
        own = [self._ids.setdefault(word, len(self._ids)) for word in words(text)]
        end = self._starts[-1] + len(own)
        while end > len(self._words):
            self._words = np.concatenate([self._words, np.empty_like(self._words)])
        while len(self._ids) > len(self._places):
            self._places = np.concatenate([self._places, np.full_like(self._places, -1)])
        self._words[self._starts[-1] : end] = own
        self._starts.append(end)

    def truncate(self, count: int) -> None:
        """The first `count` stay."""
        del self._starts[count + 1 :]

    def most_alike(self, text: str) -> Alike:
        from openbook.training.generate.rouge_kernel import most_alike

        own = words(text)
        if not own or not len(self):
            return Alike(0.0, -1)
        seen: dict[int, list[int]] = {}
        for at, word in enumerate(own):
            number = self._ids.get(word)
            if number is not None:
                seen.setdefault(number, []).append(at)
        if not seen:
            return Alike(0.0, -1)
        masks = np.zeros((len(seen), -(-len(own) // 64)), np.uint64)
        for row, (number, places) in enumerate(seen.items()):
            self._places[number] = row
            for at in places:
                masks[row, at >> 6] |= np.uint64(1) << np.uint64(at & 63)
        starts = np.array(self._starts, np.int64)
        score, place = most_alike(self._words, starts, self._places, masks, len(own))
        self._places[list(seen)] = -1
        return Alike(float(score), int(place))
