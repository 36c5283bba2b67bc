"""The reasons for a sentence: shared order and runs against plain references, and where each column points."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from openbook.assistant.answer.overlap import common_order, longest_run

pieces = st.lists(st.sampled_from(["a", "b", "ab", "渡"]), max_size=12)


@given(pieces, pieces)
def test_common_order_is_the_longest_common_subsequence(one, two):
    table = [[0] * (len(two) + 1) for _ in range(len(one) + 1)]
    for i, first in enumerate(one):
        for j, second in enumerate(two):
            table[i + 1][j + 1] = table[i][j] + 1 if first == second else max(table[i][j + 1], table[i + 1][j])
    assert common_order(one, two) == table[-1][-1]


@given(pieces, pieces)
def test_longest_run_is_the_longest_common_substring(one, two):
    runs = [one[i:j] for i in range(len(one)) for j in range(i + 1, len(one) + 1)]
    inside = [run for run in runs if any(two[k : k + len(run)] == run for k in range(len(two)))]
    assert longest_run(one, two) == max(map(len, inside), default=0)
