"""Steps from tokenised files: samples in rows of equal size, or windows of one long text."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from openbook.core.errors import BadData
from openbook.training.data.order import Order, Place
from openbook.training.data.packing import pack
from openbook.training.data.shards import Shards
from openbook.training.sources.step import Tokens

WINDOW_SAMPLES = 1_024
"""So many samples at a time are packed into rows."""
Row = list[tuple[NDArray[np.int64], NDArray[np.bool_]]]


class Packed:
    """`batch_size` rows a step over all ranks, `micro_batch_size` of them in a forward pass; a row has whole samples of at most
    `max_seq_len` tokens together (or one, where `packing` is off).
    """

    def __init__(
        self,
        shards: Shards,
        *,
        batch_size: int,
        micro_batch_size: int,
        max_seq_len: int,
        seed: int,
        packing: bool = True,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if batch_size % world_size:
            raise ValueError(f"batch_size {batch_size} is no multiple of {world_size} ranks")
        self._shards, self._lengths = shards, shards.lengths
        if len(self._lengths) and int(self._lengths.max()) > max_seq_len + 1:
            raise BadData(
                f"a sample has {int(self._lengths.max()):,} tokens, a row {max_seq_len:,}",
                "raise max_seq_len, or cut samples",
            )
        self._batch_size, self._micro, self._size, self._packing = batch_size, micro_batch_size, max_seq_len, packing
        self._rank, self._world_size = rank, world_size
        self._order = Order(len(shards), seed)
        self._begin, self._rows, self._used = self._order.place, list[list[int]](), 0

    def next_step(self) -> list[Tokens]:
        mine = [self._next_row() for _ in range(self._batch_size)][self._rank :: self._world_size]
        parts = [mine[at : at + self._micro] for at in range(0, len(mine), self._micro)]
        return [
            Tokens.of([self._sample(one) for row in part for one in sorted(row, key=self._length)]) for part in parts
        ]

    def state(self) -> dict[str, Any]:
        return {"begin": list(self._begin), "used": self._used}

    def resume(self, state: dict[str, Any]) -> None:
        self._order.place = Place(*state["begin"])
        self._fill()
        self._used = int(state["used"])

    def _next_row(self) -> list[int]:
        if self._used == len(self._rows):
            self._fill()
        self._used += 1
        return self._rows[self._used - 1]

    def _fill(self) -> None:
        """The next rows, in the order of the first sample of each."""
        self._begin = self._order.place
        samples = self._order.take(WINDOW_SAMPLES)
        if self._packing:
            places = pack([self._length(one) for one in samples], self._size)
            self._rows = [[samples[place] for place in row] for row in sorted(places, key=min)]
        else:
            self._rows = [[one] for one in samples]
        self._used = 0

    def _length(self, sample: int) -> int:
        """Tokens that are read: the last is only learned."""
        return int(self._lengths[sample]) - 1

    def _sample(self, sample: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        return self._shards.ids(sample), self._shards.learned(sample)


class Windows:
    """Windows of `max_seq_len` tokens of the one long text that all samples are; another cut each epoch."""

    def __init__(
        self,
        shards: Shards,
        *,
        batch_size: int,
        micro_batch_size: int,
        max_seq_len: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if batch_size % world_size:
            raise ValueError(f"batch_size {batch_size} is no multiple of {world_size} ranks")
        count = (shards.num_tokens - 1) // max_seq_len - 1
        if count < 1:
            raise BadData(
                f"the text has {shards.num_tokens:,} tokens, two windows of {max_seq_len:,} are needed",
                "lower max_seq_len",
            )
        self._shards, self._size, self._seed = shards, max_seq_len, seed
        self._batch_size, self._micro, self._rank, self._world_size = batch_size, micro_batch_size, rank, world_size
        self._order = Order(count, seed)

    def next_step(self) -> list[Tokens]:
        starts: list[int] = []
        while len(starts) < self._batch_size:
            shift = self._shift(self._order.place.epoch)
            starts += [shift + self._size * one for one in self._order.take(self._batch_size - len(starts))]
        mine = starts[self._rank :: self._world_size]
        parts = [mine[at : at + self._micro] for at in range(0, len(mine), self._micro)]
        return [Tokens.of([self._shards.window(start, self._size + 1) for start in part]) for part in parts]

    def state(self) -> dict[str, Any]:
        return {"place": list(self._order.place)}

    def resume(self, state: dict[str, Any]) -> None:
        self._order.place = Place(*state["place"])

    def _shift(self, epoch: int) -> int:
        """Where the first window begins."""
        return int(
            np.random.Generator(np.random.Philox(key=[self._seed % 2**64, epoch], counter=1)).integers(self._size)
        )
