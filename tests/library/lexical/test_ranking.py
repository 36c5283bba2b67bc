"""Pruned ranking against the plain sum over all rows."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from openbook.library.lexical.ranking import TermList, rank

ROWS = 60


@st.composite
def term_lists(draw: st.DrawFn) -> list[TermList]:
    """Lists of any length with tight bounds, of like weight, so that pruning is often nearly wrong."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    lists = []
    for _ in range(draw(st.integers(1, 5))):
        rows = np.sort(random.choice(ROWS, draw(st.integers(1, ROWS)), replace=False)).astype(np.int32)
        counts = random.integers(1, 20, len(rows)).astype(np.uint16)
        idf = draw(st.floats(0.5, 3))
        lists.append(TermList(rows, counts, idf, idf * float(np.max(counts / (counts + 1.0)))))
    return lists


@given(term_lists(), st.integers(1, 12), st.none() | st.sets(st.integers(0, ROWS - 1), min_size=1))
def test_the_best_are_those_of_the_plain_sum(lists: list[TermList], k: int, allowed: set[int] | None) -> None:
    norms = np.ones(ROWS, np.float32)
    totals = np.zeros(ROWS)
    for found in lists:
        totals[found.rows] += found.idf * found.counts / (found.counts + 1.0)
    if allowed is not None:
        totals[[row for row in range(ROWS) if row not in allowed]] = 0
    rows, scores = rank(lists, norms, k, None if allowed is None else np.array(sorted(allowed)))
    expected = np.sort(totals[totals > 0])[::-1][:k]
    assert np.allclose(np.sort(scores)[::-1], expected, atol=1e-5)
    assert np.allclose(scores, totals[rows], atol=1e-5)


def test_a_row_of_a_later_list_alone_can_still_win() -> None:
    first = TermList(np.arange(4, dtype=np.int32), np.ones(4, np.uint16), 1.1, 1.1)
    later = TermList(np.arange(4, 40, dtype=np.int32), np.full(36, 19, np.uint16), 1.0, 1.0)
    assert rank([first, later], np.ones(ROWS, np.float32), 1)[0].tolist() == [4]
