"""Steps of samples that are known by their numbers: how a micro-batch is made of some of them is the task's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from openbook.training.data.order import Order, Place

M = TypeVar("M")


class NumberedSource(Generic[M]):
    """`batch_size` of `count` samples a step over all ranks, `micro_batch_size` of them in a forward pass; another order each
    epoch.
    """

    def __init__(
        self,
        make: Callable[[Sequence[int]], M],
        count: int,
        *,
        batch_size: int,
        micro_batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if batch_size % world_size:
            raise ValueError(f"batch_size {batch_size} is no multiple of {world_size} ranks")
        self._make, self._order = make, Order(count, seed)
        self._batch_size, self._micro = batch_size, micro_batch_size
        self._rank, self._world_size = rank, world_size

    def next_step(self) -> list[M]:
        drawn = [number for _, number in self._order.step(self._batch_size)]
        return list(micros_of(drawn[self._rank :: self._world_size], self._make, self._micro))

    def state(self) -> dict[str, Any]:
        return {"place": list(self._order.place)}

    def resume(self, state: dict[str, Any]) -> None:
        self._order.place = Place(*state["place"])


def micros_of(numbers: Sequence[int], make: Callable[[Sequence[int]], M], size: int) -> Iterator[M]:
    for at in range(0, len(numbers), size):
        yield make(numbers[at : at + size])
