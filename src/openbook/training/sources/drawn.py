"""Steps of samples that are drawn: each is a function of its epoch and its number, so that a place is all there is to keep."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from openbook.training.data.order import Order, Place
from openbook.training.sources.split import Split

S = TypeVar("S")
M = TypeVar("M")
Draw = Callable[[int, int], S]
"""(epoch, number of the sample) -> the sample. It depends on nothing else."""
Make = Callable[[Sequence[S]], M]
"""Samples -> a micro-batch."""


class DrawnSource(Generic[S, M]):
    """`batch_size` samples a step over all ranks, of `count` in another order each epoch."""

    def __init__(
        self,
        draw: Draw[S],
        count: int,
        make: Make[S, M],
        *,
        batch_size: int,
        micro_batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self._draw, self._make, self._order = draw, make, Order(count, seed)
        self._split = Split(batch_size, micro_batch_size, rank, world_size)

    def next_step(self) -> list[M]:
        parts = self._split.parts(self._order.step(self._split.batch_size))
        return [self._make([self._draw(*one) for one in part]) for part in parts]

    def state(self) -> dict[str, Any]:
        return {"place": list(self._order.place)}

    def resume(self, state: dict[str, Any]) -> None:
        self._order.place = Place(*state["place"])


def evaluated_drawn(
    draw: Draw[S],
    count: int,
    make: Make[S, M],
    size: int,
    *,
    most: int | None = None,
    rank: int = 0,
    world_size: int = 1,
) -> Iterator[M]:
    """This rank's part of all samples, in order, as they are drawn before the first epoch."""
    mine = range(count)[:most][rank::world_size]
    for at in range(0, len(mine), size):
        yield make([draw(-1, one) for one in mine[at : at + size]])
