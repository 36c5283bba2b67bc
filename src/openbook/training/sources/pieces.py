"""Pieces of tokenised text for objectives that spoil a text and learn to restore it: windows, or whole samples.

Each piece knows its epoch and its number, so that what is drawn for it is the same however a step is split.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from openbook.core.errors import BadData
from openbook.training.data.order import Order, Place
from openbook.training.data.packing import pack
from openbook.training.data.shards import Shards
from openbook.training.sources.split import Split

WINDOW_SAMPLES = 1_024
"""So many samples at a time are packed into rows."""
EVAL_TOKENS = 4_096
"""Of a forward pass without gradients."""
_TRAINED, _HELD_OUT = 2, 3


class Piece(NamedTuple):
    """ids: (T,) int64; learned: (T,) whether the loss may count it. `draw`: the random numbers that are this piece's own."""

    ids: NDArray[np.int64]
    learned: NDArray[np.bool_]
    draw: np.random.Generator


def drawn(seed: int, epoch: int, number: int, use: int = _TRAINED) -> np.random.Generator:
    """The generator of piece `number` in `epoch`; no other piece, order or shift has a part of its stream."""
    return np.random.Generator(np.random.Philox(key=[seed % 2**64, epoch], counter=[0, 0, number, use]))


@dataclass(frozen=True)
class Cut:
    """How text becomes rows: `layout` "windows", "packed" or "single". `size`: tokens of a window, or the most that a row takes;
    `taken`: tokens that a sample of n takes in a row, with what is put around it.
    """

    layout: str
    size: int
    taken: Callable[[int], int]


class Pieces:
    """`batch_size` rows a step over all ranks, `micro_batch_size` of them in a forward pass."""

    def __init__(
        self,
        shards: Shards,
        cut: Cut,
        *,
        batch_size: int,
        micro_batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self._shards, self._cut, self._lengths = shards, cut, shards.lengths
        self.per_epoch = _rows(shards, cut)
        self._split, self._seed = Split(batch_size, micro_batch_size, rank, world_size), seed
        self._order = Order(self.per_epoch if cut.layout == "windows" else len(shards), seed)
        self._begin, self._rows, self._used = self._order.place, list[list[int]](), 0

    def next_step(self) -> list[list[Piece]]:
        """The pieces of each of this rank's micro-batches."""
        parts = self._split.parts([self._next_row() for _ in range(self._split.batch_size)])
        return [[self._piece(epoch, number) for epoch, row in part for number in row] for part in parts]

    def state(self) -> dict[str, Any]:
        return {"begin": list(self._begin), "used": self._used}

    def resume(self, state: dict[str, Any]) -> None:
        self._order.place = Place(*state["begin"])
        self._fill()
        self._used = int(state["used"])

    def _next_row(self) -> tuple[int, list[int]]:
        if self._used == len(self._rows):
            self._fill()
        self._used += 1
        return self._begin.epoch, self._rows[self._used - 1]

    def _fill(self) -> None:
        """The next rows, in the order of the first sample of each."""
        self._begin = self._order.place
        taken = self._order.take(WINDOW_SAMPLES)
        if self._cut.layout == "packed":
            places = pack([self._cut.taken(int(self._lengths[one])) for one in taken], self._cut.size)
            self._rows = [[taken[place] for place in row] for row in sorted(places, key=min)]
        else:
            self._rows = [[one] for one in taken]
        self._used = 0

    def _piece(self, epoch: int, number: int) -> Piece:
        draw = drawn(self._seed, epoch, number)
        if self._cut.layout == "windows":
            size = self._cut.size
            return Piece(*self._shards.window(self._shift(epoch) + size * number, size), draw)
        return Piece(self._shards.ids(number), self._shards.learned(number), draw)

    def _shift(self, epoch: int) -> int:
        """Where the first window begins: another cut each epoch."""
        draw = np.random.Generator(np.random.Philox(key=[self._seed % 2**64, epoch], counter=1))
        return int(draw.integers(self._cut.size))


def held_out(
    shards: Shards, cut: Cut, most: int | None, seed: int, rank: int, world_size: int
) -> Iterator[list[Piece]]:
    """This rank's part of at most `most` pieces, always the same ones, with the same draws; those of a forward pass together."""
    if cut.layout == "windows":
        ends = [(begin, min(cut.size, shards.num_tokens - begin)) for begin in range(0, shards.num_tokens, cut.size)]
        pieces = [shards.window(begin, length) for begin, length in ends if length > 1]
    else:
        pieces = [(shards.ids(number), shards.learned(number)) for number in range(len(shards))]
    numbered = list(enumerate(pieces))[:most][rank::world_size]
    micro: list[Piece] = []
    tokens = 0
    for number, (ids, learned) in numbered:
        if micro and tokens + len(ids) > EVAL_TOKENS:
            yield micro
            micro, tokens = [], 0
        micro.append(Piece(ids, learned, drawn(seed, 0, number, _HELD_OUT)))
        tokens += len(ids)
    if micro:
        yield micro


def _rows(shards: Shards, cut: Cut) -> int:
    """Of an epoch. BadData where there is too little, or a sample that is too long for a row."""
    if cut.layout == "windows":
        count = (shards.num_tokens + 1) // cut.size - 1  # wherever the first one begins
        if count < 1:
            raise BadData(
                f"the text has {shards.num_tokens:,} tokens, two windows of {cut.size:,} are needed",
                "lower max_seq_len",
            )
        return count
    taken = [cut.taken(length) for length in shards.lengths.tolist()]
    if not taken:
        raise BadData("there is no sample to learn from", "name a file with text in data.train")
    if max(taken) > cut.size:
        raise BadData(f"a sample takes {max(taken):,} tokens, a row {cut.size:,}", "raise max_seq_len, or cut samples")
    return len(pack(taken, cut.size)) if cut.layout == "packed" else len(taken)
