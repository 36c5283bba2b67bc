"""Which row of a derived index belongs to which chunk, and which rows are gone: shared by words and vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]


class Rows(NamedTuple):
    """An immutable view of N rows: the base's first, then the added ones in the order of their arrival."""

    ids: Ids
    """(N,) chunk id of each row; of equal ids all but the last are deleted"""
    order: NDArray[np.int64] | None
    """(N,) stable argsort of `ids`, None where they ascend"""
    alive: NDArray[np.bool_] | None
    """(N,) None while nothing is deleted"""
    live: int
    """How many rows are not deleted"""

    @classmethod
    def of(cls, ids: Ids, deleted: Sequence[int]) -> Rows:
        order = None if np.all(ids[1:] > ids[:-1]) else np.argsort(ids, kind="stable")
        if not deleted:
            return cls(ids, order, None, len(ids))
        alive = np.ones(len(ids), bool)
        alive[list(deleted)] = False
        return cls(ids, order, alive, int(np.count_nonzero(alive)))

    def find(self, wanted: Ids) -> NDArray[np.int64]:
        """The live rows, ascending, of those ids of `wanted` (ascending) that are there."""
        known = self.ids if self.order is None else self.ids[self.order]
        if not len(known):
            return np.empty(0, np.int64)
        at = np.searchsorted(known, wanted, side="right") - 1
        at = at[(at >= 0) & (known[at] == wanted)]
        rows = at if self.order is None else np.sort(self.order[at])
        return rows if self.alive is None else rows[self.alive[rows]]
