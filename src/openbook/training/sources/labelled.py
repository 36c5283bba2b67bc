"""Steps of texts, or of pairs of texts, each with a label."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from openbook.lm.nn.batch import Batch
from openbook.training.data.order import Order, Place


@dataclass(frozen=True)
class Labelled:
    """Sequences end to end, the longest first. ids, segments: (N,); labels: (S,)."""

    ids: Tensor
    segments: Tensor
    lengths: list[int]
    labels: Tensor

    def batch(self) -> Batch:
        return Batch.of(self.lengths, causal=False, device=self.ids.device)


class Sample(NamedTuple):
    """ids (T,), segments (T,), and the number of its label."""

    ids: list[int]
    segments: list[int]
    label: int


Draw = Callable[[int, int], Sample]
"""(epoch, number of the sample) -> the sample. It depends on nothing else."""


class LabelledSource:
    """`batch_size` samples a step over all ranks, of `count` in another order each epoch."""

    def __init__(
        self,
        draw: Draw,
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
        self._draw, self._order = draw, Order(count, seed)
        self._batch_size, self._micro = batch_size, micro_batch_size
        self._rank, self._world_size = rank, world_size

    def next_step(self) -> list[Labelled]:
        mine = self._order.step(self._batch_size)[self._rank :: self._world_size]
        parts = [mine[at : at + self._micro] for at in range(0, len(mine), self._micro)]
        return [labelled([self._draw(*one) for one in part]) for part in parts]

    def state(self) -> dict[str, Any]:
        return {"place": list(self._order.place)}

    def resume(self, state: dict[str, Any]) -> None:
        self._order.place = Place(*state["place"])


def labelled(samples: Sequence[Sample]) -> Labelled:
    """One micro-batch; those of equal length are neighbours."""
    ordered = sorted(samples, key=lambda one: -len(one.ids))
    return Labelled(
        torch.tensor([number for one in ordered for number in one.ids]),
        torch.tensor([number for one in ordered for number in one.segments]),
        [len(one.ids) for one in ordered],
        torch.tensor([one.label for one in ordered]),
    )


def evaluated_labelled(
    draw: Draw, count: int, size: int, *, most: int | None = None, rank: int = 0, world_size: int = 1
) -> Iterator[Labelled]:
    """This rank's part of all samples, in order, as they are drawn before the first epoch."""
    mine = range(count)[:most][rank::world_size]
    for at in range(0, len(mine), size):
        yield labelled([draw(-1, one) for one in mine[at : at + size]])
