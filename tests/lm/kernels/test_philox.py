"""Streams of random numbers are numpy's, to the bit."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from openbook.lm.kernels.philox import first_uniforms


@given(st.lists(st.tuples(st.integers(0, 2**128 - 1), st.integers(0, 2**63)), min_size=1, max_size=8))
def test_they_are_those_of_numpy(streams: list[tuple[int, int]]) -> None:
    low = np.array([key % 2**64 for key, _ in streams], np.uint64)
    high = np.array([key >> 64 for key, _ in streams], np.uint64)
    found = np.empty(len(streams))
    first_uniforms(low, high, np.array([place for _, place in streams], np.uint64), found)
    for (key, place), number in zip(streams, found, strict=True):
        assert number == np.random.Generator(np.random.Philox(key=key, counter=place)).random()
