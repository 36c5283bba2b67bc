"""In which order samples are seen: a permutation an epoch, known from the seed alone, continued from any place."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Place(NamedTuple):
    """`position` samples of epoch `epoch` have been taken."""

    epoch: int = 0
    position: int = 0


class Order:
    """An endless walk over `count` samples."""

    def __init__(self, count: int, seed: int, *, shuffled: bool = True) -> None:
        if count < 1:
            raise ValueError("there are no samples to walk over")
        self.count, self._seed, self._shuffled = count, seed, shuffled
        self.place = Place()
        self._known: tuple[int, NDArray[np.int64]] | None = None

    def take(self, most: int) -> list[int]:
        """The next samples, at most `most`, never across the end of an epoch."""
        epoch, position = self.place
        order = self._of(epoch)
        taken: list[int] = order[position : position + most].tolist()
        position += len(taken)
        self.place = Place(epoch, position) if position < self.count else Place(epoch + 1, 0)
        return taken

    def step(self, size: int) -> list[tuple[int, int]]:
        """The next `size` samples with the epoch of each, on into the next epochs."""
        drawn: list[tuple[int, int]] = []
        while len(drawn) < size:
            epoch = self.place.epoch
            drawn += [(epoch, one) for one in self.take(size - len(drawn))]
        return drawn

    def _of(self, epoch: int) -> NDArray[np.int64]:
        if self._known is None or self._known[0] != epoch:
            draw = np.random.Generator(np.random.Philox(key=[self._seed % 2**64, epoch]))
            order = draw.permutation(self.count) if self._shuffled else np.arange(self.count)
            self._known = epoch, order
        return self._known[1]
