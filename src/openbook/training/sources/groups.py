"""Steps of whole groups (a query with its passages): a group is never split over micro-batches or ranks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np

from openbook.training.data.groups import Group
from openbook.training.sources.drawn import DrawnSource

M = TypeVar("M")
_TRIES = 8
"""Draws for each stranger that is wanted."""
EVAL_GROUPS = 32
"""Of a forward pass without gradients."""


class GroupSource(DrawnSource[Group, M]):
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
        self._groups, self._negatives, self._seed = groups, negatives, seed
        self._strangers = strangers if len(groups) > 1 else 0
        super().__init__(
            self._drawn,
            len(groups),
            make,
            batch_size=batch_size,
            micro_batch_size=micro_batch_size,
            seed=seed,
            rank=rank,
            world_size=world_size,
        )

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
