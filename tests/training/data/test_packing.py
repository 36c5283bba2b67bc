"""Rows hold every sample once, none is too full, and few are half empty."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbook.training.data.packing import pack


@given(lengths=st.lists(st.integers(1, 50), max_size=200), size=st.integers(50, 90))
def test_rows(lengths: list[int], size: int) -> None:
    rows = pack(lengths, size)
    assert sorted(place for row in rows for place in row) == list(range(len(lengths)))
    assert all(sum(lengths[place] for place in row) <= size for row in rows)
    assert len(rows) <= 11 / 9 * max(math.ceil(sum(lengths) / size), sum(one > size / 2 for one in lengths)) + 2


def test_a_sample_that_fits_no_row() -> None:
    with pytest.raises(ValueError, match="51 tokens, a row 50"):
        pack([3, 51], 50)
