"""Several ranked lists made one: by standardised scores with weights, or by ranks.

A z-score says how far a passage stands above the rest of its own list, so a BM25 of 23 and a cosine of 0.61 can be
added. A passage that one list does not hold is no better there than that list's last: it gets its lowest z-score.
Sources: J. H. Lee, "Analyses of multiple evidence combination" (1997), for sums of normalised scores; G. Cormack,
C. Clarke, S. Buettcher, "Reciprocal rank fusion outperforms Condorcet" (2009).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
DEPTH = 100
"""How many of each list's best are standardised and fused."""
RRF_CONSTANT = 60


class Ranked(NamedTuple):
    """One list, best first: `ids` (n,) without repetition, `scores` (n,) in any unit, and its `weight` >= 0."""

    ids: Ids
    scores: NDArray[np.float32]
    weight: float


class Fused(NamedTuple):
    """`ids` (n,) of the union, best first, ties by id; `scores` (n,) in units of a standard deviation or ranks."""

    ids: Ids
    scores: NDArray[np.float64]


def fuse_z_scores(lists: Sequence[Ranked], depth: int = DEPTH) -> Fused:
    """The union of the lists' first `depth`, by the weighted sum of z-scores. Lists of weight 0 add nothing."""
    counted = [found for found in lists if found.weight > 0 and len(found.ids)]
    return _sum([(found.ids[:depth], found.weight * z_scores(found.scores[:depth])) for found in counted])


def fuse_ranks(lists: Sequence[Ranked], depth: int = DEPTH, constant: int = RRF_CONSTANT) -> Fused:
    """Reciprocal rank fusion: the weighted sum of 1 / (constant + rank); a list without the passage adds 0."""
    counted = [found for found in lists if found.weight > 0 and len(found.ids)]
    shares = [
        (found.ids[:depth], found.weight / (constant + 1.0 + np.arange(len(found.ids[:depth])))) for found in counted
    ]
    return _sum(shares, floor=0.0)


def z_scores(scores: NDArray[np.float32]) -> NDArray[np.float64]:
    """(n,) in standard deviations above the mean; zeros where all are equal."""
    values = np.asarray(scores, np.float64)
    spread = values.std()
    centred = values - values.mean()
    standardised: NDArray[np.float64] = (
        centred / spread if spread > 1e-9 * max(1.0, float(np.abs(values).max())) else 0 * centred
    )
    return standardised


def _sum(shares: Sequence[tuple[Ids, NDArray[np.float64]]], floor: float | None = None) -> Fused:
    """`floor`: what a list adds to a passage that it lacks; None: its own lowest share."""
    if not shares:
        return Fused(np.empty(0, np.int64), np.empty(0, np.float64))
    ids = np.unique(np.concatenate([found for found, _ in shares]))
    total = np.zeros(len(ids))
    for found, values in shares:
        own = np.full(len(ids), values.min() if floor is None else floor)
        own[np.searchsorted(ids, found)] = values
        total += own
    order = np.lexsort((ids, -total))
    return Fused(ids[order], total[order])
