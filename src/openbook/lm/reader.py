"""An extractive reader at work: of a question and a passage the span that answers, and how much it stands above "not here".

Source: Devlin et al. 2018, https://arxiv.org/abs/1810.04805, sections 4.2 and 4.3.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from openbook.lm.tokenizers.encoder import Encoded
from openbook.lm.tokenizers.pair_layout import PairLayout

if TYPE_CHECKING:
    import tokenizers

MOST_TOKENS = 30
"""Of an answer."""
MAX_SEQ_LEN, STRIDE = 384, 128
_BATCH_TOKENS = 4_096
_LEAST_ROOM = 32


class Reading(NamedTuple):
    """`start:end`: code points of the passage, empty where it has no token. `margin`: the sum of the logits of the span's begin
    and end above that of "not here"; the higher the surer, comparable between passages.
    """

    start: int
    end: int
    margin: float


class Located(NamedTuple):
    """What a passage's tokens say. starts, ends: (T,) code points; begin, end: (T,) logits above that of "not here"."""

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    begin: NDArray[np.float32]
    end: NDArray[np.float32]

    def best(self, start: int = 0, end: int | None = None) -> Reading:
        """The best span of at most `MOST_TOKENS` tokens that lies in `start:end`; a margin of -inf where none does."""
        chosen = np.flatnonzero(
            (self.starts >= start) & (self.ends <= (self.ends.max(initial=0) if end is None else end))
        )
        if not len(chosen):
            return Reading(start, start, float("-inf"))
        first, last, score = best_span(self.begin[chosen], self.end[chosen])
        return Reading(int(self.starts[chosen[first]]), int(self.ends[chosen[last]]), score)


class _Part(NamedTuple):
    """A window: of passage `passage`, from its token `first` on, the rows `begins` to `len(ids)` - the layout's end."""

    passage: int
    first: int
    ids: list[int]
    segments: list[int]
    begins: int
    tokens: int


class Hidden(Protocol):
    def hidden(self, sequences: Sequence[Encoded]) -> NDArray[np.float32]:
        """(N, E), the last layer at every token of the sequences, end to end."""
        ...


class Reader:
    """An encoder with a head for spans. weight: (2, E), bias: (2,) of begin and end. Reads in one thread at a time."""

    def __init__(
        self,
        encoder: Hidden,
        weight: NDArray[np.float32],
        bias: NDArray[np.float32],
        backend: tokenizers.Tokenizer,
        max_tokens: int,
    ) -> None:
        self._encoder, self._weight, self._bias, self._backend = encoder, weight, bias, backend
        self._layout = PairLayout.of(backend)
        self._size = min(MAX_SEQ_LEN, max_tokens)
        self._lock = threading.Lock()

    def read(self, pairs: Sequence[tuple[str, str]]) -> list[Reading]:
        """The best span of each passage (pair: question, passage)."""
        return [one.best() for one in self.locate(pairs)]

    def locate(self, pairs: Sequence[tuple[str, str]]) -> list[Located]:
        """What the tokens of each passage say; a question that is too long for the model is cut at its end."""
        asked = self._backend.encode_batch([question for question, _ in pairs], add_special_tokens=False)
        passages = self._backend.encode_batch([passage for _, passage in pairs], add_special_tokens=False)
        most = self._size - self._layout.specials - _LEAST_ROOM
        parts = [
            part
            for place, (question, passage) in enumerate(zip(asked, passages, strict=True))
            for part in self._parts(place, question.ids[:most], passage.ids)
        ]
        found = [np.full((len(one.ids), 2), -np.inf, np.float32) for one in passages]
        with self._lock:
            for chosen in _batches(sorted(parts, key=lambda one: len(one.ids))):
                for part, logits in zip(chosen, self._logits(chosen), strict=True):
                    rows = logits[part.begins : part.begins + part.tokens] - logits[0]
                    seen = found[part.passage][part.first : part.first + part.tokens]
                    np.maximum(seen, rows, out=seen)
        offsets = [np.array(one.offsets, np.int64).reshape(-1, 2) for one in passages]
        return [
            Located(place[:, 0], place[:, 1], logits[:, 0], logits[:, 1])
            for place, logits in zip(offsets, found, strict=True)
        ]

    def _parts(self, place: int, asked: list[int], ids: list[int]) -> Iterator[_Part]:
        room = self._size - self._layout.specials - len(asked)
        stride = min(STRIDE, room)
        for first in [*range(0, max(len(ids) - room, 0), stride), max(len(ids) - room, 0)]:
            seen = ids[first : first + room]
            if seen:
                whole, segments = self._layout.join(asked, seen)
                yield _Part(place, first, whole, segments, len(whole) - len(self._layout.end) - len(seen), len(seen))

    def _logits(self, parts: Sequence[_Part]) -> list[NDArray[np.float32]]:
        """(T, 2) of each window."""
        hidden = self._encoder.hidden([Encoded(one.ids, one.segments, False) for one in parts])
        ends = list(accumulate(len(one.ids) for one in parts))[:-1]
        return np.split(hidden @ self._weight.T + self._bias, ends)


def best_span(begin: NDArray[np.float32], end: NDArray[np.float32], most: int = MOST_TOKENS) -> tuple[int, int, float]:
    """begin, end: (T,), T > 0 -> the first and the last token of the span with the highest sum, and the sum."""
    best = (0, 0, float("-inf"))
    for length in range(min(most, len(begin))):
        sums = begin[: len(begin) - length] + end[length:]
        place = int(sums.argmax())
        if sums[place] > best[2]:
            best = (place, place + length, float(sums[place]))
    return best


def _batches(parts: Sequence[_Part]) -> Iterator[list[_Part]]:
    """Neighbours of together at most `_BATCH_TOKENS` tokens, or one."""
    held: list[_Part] = []
    tokens = 0
    for part in parts:
        if held and tokens + len(part.ids) > _BATCH_TOKENS:
            yield held
            held, tokens = [], 0
        held.append(part)
        tokens += len(part.ids)
    if held:
        yield held
