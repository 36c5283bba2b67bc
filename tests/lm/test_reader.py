"""The best span of a passage by brute force. (Readers at work are tested where they are opened.)"""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from openbook.lm.reader import best_span

LOGITS = st.lists(st.integers(-50, 50), min_size=1, max_size=12)


@given(LOGITS, st.data(), st.integers(1, 13))
def test_the_best_span_is_that_of_a_search_through_all(begin: list[int], data: st.DataObject, most: int) -> None:
    end = data.draw(st.lists(st.integers(-50, 50), min_size=len(begin), max_size=len(begin)))
    first, last, score = best_span(np.array(begin, np.float32), np.array(end, np.float32), most)
    spans = [(i, j) for i in range(len(begin)) for j in range(i, min(i + most, len(begin)))]
    assert score == max(begin[i] + end[j] for i, j in spans)
    assert (first, last) in spans and begin[first] + end[last] == score
