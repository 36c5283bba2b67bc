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
    """One list, best first: `ids` (n,) without repetition, `scores` (n,) in any unit, and its `weight` >= 0.

    `candidates`: for a list that leaves out what scores 0 (BM25), how many chunks it was chosen from. What was left
    out then counts as 0 in the mean and the spread, so that a list of one hit is not taken for one of average hits.
    """

    ids: Ids
    scores: NDArray[np.float32]
    weight: float
    candidates: int = 0


class Fused(NamedTuple):
    """`ids` (n,) of the union, best first, ties by id; `scores` (n,) in standard deviations, or shares of ranks."""

    ids: Ids
    scores: NDArray[np.float64]


class _Share(NamedTuple):
    """What a list adds: `values` (n,) to its `ids`, `absent` to a passage that it lacks."""

    ids: Ids
    values: NDArray[np.float64]
    absent: float


def fuse_z_scores(lists: Sequence[Ranked], depth: int = DEPTH) -> Fused:
    """The union of the lists' first `depth`, by the weighted sum of z-scores. Lists of weight 0 add nothing."""
    shares = []
    for found in lists:
        if found.weight > 0 and len(found.ids):
            ids, scores = found.ids[:depth], found.scores[:depth]
            zeros = max(0, min(depth, found.candidates) - len(ids))
            values = found.weight * z_scores(np.append(scores, np.zeros(zeros, np.float32)))
            shares.append(_Share(ids, values[: len(ids)], float(values.min())))
    return _sum(shares)


def fuse_ranks(lists: Sequence[Ranked], depth: int = DEPTH, constant: int = RRF_CONSTANT) -> Fused:
    """Reciprocal rank fusion: the weighted sum of 1 / (constant + rank); a list without the passage adds 0."""
    shares = []
    for found in lists:
        if found.weight > 0 and len(found.ids):
            ids = found.ids[:depth]
            values: NDArray[np.float64] = found.weight / (constant + 1 + np.arange(len(ids), dtype=np.float64))
            shares.append(_Share(ids, values, 0.0))
    return _sum(shares)


def z_scores(scores: NDArray[np.float32]) -> NDArray[np.float64]:
    """(n,) in standard deviations above the mean; zeros where all are equal."""
    values = np.asarray(scores, np.float64)
    centred = values - values.mean()
    spread = values.std()
    is_flat = spread <= 1e-9 * max(1.0, float(np.abs(values).max()))
    standardised: NDArray[np.float64] = np.zeros(len(values)) if is_flat else centred / spread
    return standardised


def _sum(shares: Sequence[_Share]) -> Fused:
    if not shares:
        return Fused(np.empty(0, np.int64), np.empty(0, np.float64))
    ids = np.unique(np.concatenate([share.ids for share in shares]))
    total = np.zeros(len(ids))
    for share in shares:
        own = np.full(len(ids), share.absent)
        own[np.searchsorted(ids, share.ids)] = share.values
        total += own
    order = np.lexsort((ids, -total))
    return Fused(ids[order], total[order])
