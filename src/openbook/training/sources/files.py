"""Steps from tokenised files: samples in rows of equal size, windows of one long text, or rows of several in shares.

In reading order: what gives rows; the two kinds of rows; their mixture; steps of rows. `Packed` and `Windows` are the steps of
one file's rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from openbook.core.errors import BadData
from openbook.training.data.order import Order, Place
from openbook.training.data.packing import pack
from openbook.training.data.shards import Shards
from openbook.training.sources.split import Split
from openbook.training.sources.step import Tokens

WINDOW_SAMPLES = 1_024
"""So many samples at a time are packed into rows."""
Ids = tuple[NDArray[np.int64], NDArray[np.bool_]]


class Rows(Protocol):
    """An endless walk over rows. A row is what `read` makes samples of; it is cheap as long as it is not read."""

    def next_row(self) -> Any: ...
    def read(self, row: Any) -> list[Ids]:
        """The samples of a row: ids (T,), and whether each is learned (T,)."""
        ...

    def state(self) -> dict[str, Any]: ...
    def resume(self, state: dict[str, Any]) -> None: ...


class PackedRows:
    """A row has whole samples that read at most `max_seq_len` tokens together (or one sample, where `packing` is off)."""

    def __init__(self, shards: Shards, max_seq_len: int, seed: int, *, packing: bool = True) -> None:
        self._shards, self._lengths = shards, shards.lengths
        if not len(shards):
            raise BadData("there are no samples to learn from", "name files with data in data.train")
        if int(self._lengths.max()) > max_seq_len + 1:
            raise BadData(
                f"a sample has {int(self._lengths.max()):,} tokens, a row {max_seq_len:,}",
                "raise max_seq_len, or cut samples",
            )
        self._size, self._packing = max_seq_len, packing
        self._order = Order(len(shards), seed)
        self._begin, self._rows, self._used = self._order.place, list[list[int]](), 0

    def next_row(self) -> list[int]:
        if self._used == len(self._rows):
            self._fill()
        self._used += 1
        return self._rows[self._used - 1]

    def read(self, row: list[int]) -> list[Ids]:
        return [(self._shards.ids(one), self._shards.learned(one)) for one in sorted(row, key=self._length)]

    def state(self) -> dict[str, Any]:
        return {"begin": list(self._begin), "used": self._used}

    def resume(self, state: dict[str, Any]) -> None:
        self._order.place = Place(*state["begin"])
        self._fill()
        self._used = int(state["used"])

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


class WindowRows:
    """Windows of `max_seq_len` tokens of the one long text that all samples are; another cut each epoch."""

    def __init__(self, shards: Shards, max_seq_len: int, seed: int) -> None:
        count = (shards.num_tokens - 1) // max_seq_len - 1
        if count < 1:
            raise BadData(
                f"the text has {shards.num_tokens:,} tokens, two windows of {max_seq_len:,} are needed",
                "lower max_seq_len",
            )
        self._shards, self._size, self._seed = shards, max_seq_len, seed
        self._order = Order(count, seed)

    def next_row(self) -> int:
        """Where it begins."""
        shift = self._shift(self._order.place.epoch)
        return shift + self._size * self._order.take(1)[0]

    def read(self, row: int) -> list[Ids]:
        return [self._shards.window(row, self._size + 1)]

    def state(self) -> dict[str, Any]:
        return {"place": list(self._order.place)}

    def resume(self, state: dict[str, Any]) -> None:
        self._order.place = Place(*state["place"])

    def _shift(self, epoch: int) -> int:
        """Where the first window begins."""
        return int(
            np.random.Generator(np.random.Philox(key=[self._seed % 2**64, epoch], counter=1)).integers(self._size)
        )


class MixedRows:
    """Rows of several sources, in shares: after any number of rows each has given its share of them, to within one row.

    The next row is of the source that is furthest behind, so that no chance decides and no step is without the rare one for
    long. Where two are equally far behind, the first.
    """

    def __init__(self, parts: Sequence[Rows], weights: Sequence[float]) -> None:
        if len(parts) != len(weights) or not parts or min(weights) <= 0:
            raise ValueError(f"{len(parts)} sources have the weights {list(weights)}; each needs one above 0")
        self._parts = list(parts)
        self._shares = [weight / sum(weights) for weight in weights]
        self._given = [0] * len(parts)

    def next_row(self) -> tuple[int, Any]:
        count = sum(self._given) + 1
        behind = [share * count - given for share, given in zip(self._shares, self._given, strict=True)]
        at = max(range(len(behind)), key=lambda place: (behind[place], -place))
        self._given[at] += 1
        return at, self._parts[at].next_row()

    def read(self, row: tuple[int, Any]) -> list[Ids]:
        return self._parts[row[0]].read(row[1])

    def state(self) -> dict[str, Any]:
        return {"given": self._given[:], "parts": [part.state() for part in self._parts]}

    def resume(self, state: dict[str, Any]) -> None:
        self._given = [int(one) for one in state["given"]]
        for part, said in zip(self._parts, state["parts"], strict=True):
            part.resume(said)


class Steps:
    """`batch_size` rows a step over all ranks, `micro_batch_size` of them in a forward pass."""

    def __init__(
        self, rows: Rows, *, batch_size: int, micro_batch_size: int, rank: int = 0, world_size: int = 1
    ) -> None:
        self.rows = rows
        self._split = Split(batch_size, micro_batch_size, rank, world_size)

    def next_step(self) -> list[Tokens]:
        parts = self._split.parts([self.rows.next_row() for _ in range(self._split.batch_size)])
        return [Tokens.of([sample for row in part for sample in self.rows.read(row)]) for part in parts]

    def state(self) -> dict[str, Any]:
        return self.rows.state()

    def resume(self, state: dict[str, Any]) -> None:
        self.rows.resume(state)


class Packed(Steps):
    """Steps of `PackedRows`."""

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
        rows = PackedRows(shards, max_seq_len, seed, packing=packing)
        super().__init__(
            rows, batch_size=batch_size, micro_batch_size=micro_batch_size, rank=rank, world_size=world_size
        )


class Windows(Steps):
    """Steps of `WindowRows`."""

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
        rows = WindowRows(shards, max_seq_len, seed)
        super().__init__(
            rows, batch_size=batch_size, micro_batch_size=micro_batch_size, rank=rank, world_size=world_size
        )
