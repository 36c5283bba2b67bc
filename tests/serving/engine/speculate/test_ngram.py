"""Prompt lookup finds what stood before."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbook.serving.engine.speculate.ngram import MOST, _Tokens, lookup


@pytest.mark.parametrize(
    ("tokens", "want"),
    [
        ([1, 2, 3, 4, 5, 1, 2], [3, 4, 5]),
        ([1, 2, 3, 9, 2, 7, 8, 1, 2], [3, 9, 2]),  # two tokens must have stood before
        ([1, 2, 6, 0, 1, 2, 7, 0, 1, 2], [7, 0, 1]),  # the last place of equal ones
        ([1, 2, 6, 9, 1, 2, 7, 8, 1, 2], [7, 8, 1]),
        ([0, 1, 2, 6, 5, 1, 2, 7, 0, 1, 2], [6, 5, 1]),  # the longer before the later
        ([8, 8, 8], [8, 8, 8]),
        ([3, 4, 3, 4], [3, 4, 3]),
        ([1, 2, 3], []),
        ([1, 1], []),
        ([1], []),
    ],
)
def test_what_followed(tokens: list[int], want: list[int]) -> None:
    assert lookup(np.array(tokens, np.int32), 3) == want


@given(tokens=st.lists(st.integers(0, 1), min_size=1, max_size=60), count=st.integers(1, 6))
def test_as_a_plain_search_finds_it(tokens: list[int], count: int) -> None:
    want: list[int] = []
    for length in range(min(MOST, len(tokens) - 1), 1, -1):
        starts = [i for i in range(len(tokens) - length) if tokens[i : i + length] == tokens[-length:]]
        if starts:
            period = len(tokens) - (starts[-1] + length)
            want = [tokens[starts[-1] + length + i % period] for i in range(count)]
            break
    assert lookup(np.array(tokens, np.int32), count) == want


def test_the_array_grows_with_its_list() -> None:
    kept, tokens = _Tokens(), []
    for token in range(500):
        tokens.append(token)
        assert kept.upto(tokens).tolist() == tokens
