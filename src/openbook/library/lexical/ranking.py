"""The k best rows of a sum of posting lists, exact, without adding up what cannot matter.

Lists are added in the order of the most that one posting can still give. Once the k-th best sum exceeds all that the
remaining lists could give together, no new row can enter, and only rows within that reach are looked up in them.
Source: H. Turtle, J. Flood, "Query evaluation: strategies and optimizations" (1995), the MaxScore strategy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_PROBE_RATIO = 4
"""A list at least this many times longer than the candidates is probed for them instead of added up."""


class TermList(NamedTuple):
    """A term's postings: `rows` (df,) ascending, `counts` (df,), its `idf`, and `bound` >= idf tf / (tf + norm)."""

    rows: NDArray[np.int32]
    counts: NDArray[np.uint16]
    idf: float
    bound: float


def rank(
    lists: Sequence[TermList], norms: NDArray[np.float32], k: int, allowed: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Rows and scores (unsorted) of the k largest sums of idf tf / (tf + norm) above 0; ties by the lower row.

    `allowed`: ascending rows to choose from, None for all.
    """
    ordered = sorted(lists, key=lambda found: -found.bound)
    if k <= 0 or not ordered or (allowed is not None and not len(allowed)):
        return np.empty(0, np.int64), np.empty(0, np.float32)
    reach = np.cumsum([found.bound for found in reversed(ordered)])[::-1]  # (L,) what lists i.. can give together
    if allowed is not None and len(allowed) * _PROBE_RATIO < len(norms):
        return _ranked_candidates(allowed, np.zeros(len(allowed), np.float32), ordered, reach, norms, k)
    is_allowed = None
    if allowed is not None:
        is_allowed = np.zeros(len(norms), bool)
        is_allowed[allowed] = True
    scores = np.zeros(len(norms), np.float32)
    added = 0
    for i, found in enumerate(ordered):
        if added > k and len(found.rows) > added / _PROBE_RATIO and i:
            rows, least = _leaders(scores, k, is_allowed)
            if least > reach[i]:
                rows = rows[scores[rows] >= least - reach[i]]
                return _ranked_candidates(rows, scores[rows], ordered[i:], reach[i:], norms, k)
        scores[found.rows] += _shares(found.counts, norms[found.rows], found.idf)
        added += len(found.rows)
    rows, _ = _leaders(scores, k, is_allowed)
    return _best(rows, scores[rows], k)


def _shares(counts: NDArray[np.uint16], norms: NDArray[np.float32], idf: float) -> NDArray[np.float32]:
    tf = counts.astype(np.float32)
    norms += tf  # a gathered copy: may be overwritten
    np.divide(tf, norms, out=tf)
    tf *= np.float32(idf)
    return tf


def _leaders(
    scores: NDArray[np.float32], k: int, is_allowed: NDArray[np.bool_] | None
) -> tuple[NDArray[np.int64], float]:
    """The rows with a score (and allowed), and the k-th best of their scores (0 when there are fewer)."""
    touched = scores > 0
    if is_allowed is not None:
        touched &= is_allowed
    rows = np.flatnonzero(touched)
    if len(rows) < k:
        return rows, 0.0
    return rows, float(np.partition(scores[rows], len(rows) - k)[len(rows) - k])


def _ranked_candidates(
    rows: NDArray[np.int64],
    scores: NDArray[np.float32],
    lists: Sequence[TermList],
    reach: NDArray[Any],
    norms: NDArray[np.float32],
    k: int,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """`rank` among `rows` (ascending) that have `scores` already."""
    own_norms = norms[rows]
    for i, found in enumerate(lists):
        if i and len(rows) > 2 * k:
            least = float(np.partition(scores, len(rows) - k)[len(rows) - k])
            kept = scores >= least - reach[i]
            rows, scores, own_norms = rows[kept], scores[kept], own_norms[kept]
        if not len(found.rows):
            continue
        at = np.minimum(np.searchsorted(found.rows, rows.astype(np.int32)), len(found.rows) - 1)
        hits = np.flatnonzero(found.rows[at] == rows)
        scores[hits] += _shares(found.counts[at[hits]], own_norms[hits], found.idf)
    kept = scores > 0
    return _best(rows[kept], scores[kept], k)


def _best(
    rows: NDArray[np.int64], scores: NDArray[np.float32], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    if len(rows) > k:
        least = np.partition(scores, len(rows) - k)[len(rows) - k]
        near = np.flatnonzero(scores >= least)
        chosen = near[np.lexsort((rows[near], -scores[near]))[:k]]
        return rows[chosen], scores[chosen]
    return rows, scores
