"""Steps of whole groups (a query with its passages): a group is never split over micro-batches or ranks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import numpy as np

from openbook.training.data.groups import Group
from openbook.training.data.order import Order, Place

M = TypeVar("M")
_TRIES = 8
"""Draws for each stranger that is wanted."""
EVAL_GROUPS = 32
"""Of a forward pass without gradients."""


class GroupSource(Generic[M]):
    """`batch_size` groups a step over all ranks, `micro_batch_size` of them in a forward pass, made to a micro-batch by `make`.

    `negatives`: so many of each group's take part, others in each epoch; a group that has fewer brings all. `strangers`: so many
    positives of other groups, of other documents where titles are known, are negatives too.
    """

    def __init__(
        self,
        groups: Sequence[Group],
        make: Callable[[Sequence[Group]], M],
        *,
        negatives: int,
        strangers: int = 0,
        batch_size: int,
        micro_batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if batch_size % world_size:
            raise ValueError(f"batch_size {batch_size} is no multiple of {world_size} ranks")
        self._groups, self._make, self._negatives, self._seed = groups, make, negatives, seed
        self._strangers = strangers if len(groups) > 1 else 0
        self._batch_size, self._micro, self._rank, self._world_size = batch_size, micro_batch_size, rank, world_size
        self._order = Order(len(groups), seed)

    def next_step(self) -> list[M]:
        drawn = self._order.step(self._batch_size)[self._rank :: self._world_size]
        mine = [self._drawn(epoch, row) for epoch, row in drawn]
        return [self._make(mine[at : at + self._micro]) for at in range(0, len(mine), self._micro)]

    def state(self) -> dict[str, Any]:
        return {"place": list(self._order.place)}

    def resume(self, state: dict[str, Any]) -> None:
        self._order.place = Place(*state["place"])

    def _drawn(self, epoch: int, row: int) -> Group:
        """The group with the negatives of this epoch: a function of seed, epoch and row alone."""
        group = self._groups[row]
        draw = np.random.Generator(np.random.Philox(key=[self._seed % 2**64, epoch], counter=[0, row, 1, 0]))
        places = sorted(draw.permutation(len(group.negatives))[: self._negatives].tolist())
        found = [group.negatives[place] for place in places]
        return group._replace(negatives=(*found, *_strange(self._groups, group, self._strangers, draw)))


def _strange(groups: Sequence[Group], group: Group, count: int, draw: np.random.Generator) -> Iterator[str]:
    """Positives of other groups; fewer where nearly all groups are of one document."""
    for place in draw.integers(len(groups), size=_TRIES * count).tolist():
        other = groups[place]
        if count and _is_strange(other, group):
            count -= 1
            yield other.positive


def _is_strange(other: Group, group: Group) -> bool:
    """Another positive of the same query is none."""
    return (
        other.positive != group.positive
        and other.query != group.query
        and (not group.title or other.title != group.title)
    )


def evaluated_groups(
    groups: Sequence[Group],
    make: Callable[[Sequence[Group]], M],
    *,
    negatives: int,
    most: int | None,
    strangers: int = 0,
    rank: int = 0,
    world_size: int = 1,
) -> Iterator[M]:
    """This rank's micro-batches of groups that are held out, at most `most`, with their first negatives and strangers: always the
    same.
    """
    shown = []
    for row, one in enumerate(groups[:most]):
        draw = np.random.Generator(np.random.Philox(key=[0, 0], counter=[0, row, 2, 0]))
        found = _strange(groups, one, strangers, draw) if strangers else ()
        shown.append(one._replace(negatives=(*one.negatives[:negatives], *found)))
    parts = [shown[at : at + EVAL_GROUPS] for at in range(0, len(shown), EVAL_GROUPS)]
    for part in parts[rank::world_size]:
        yield make(part)
