"""A step is parted so that ranks together have each row once, whatever the forward passes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbook.training.sources.split import Split


@given(st.integers(1, 4), st.integers(1, 6), st.integers(1, 9))
def test_ranks_together_have_each_row_once(world_size: int, each: int, micro: int) -> None:
    size = world_size * each
    rows = list(range(size))
    found = [Split(size, micro, rank, world_size).parts(rows) for rank in range(world_size)]
    assert sorted(one for parts in found for part in parts for one in part) == rows
    assert all(sum(map(len, parts)) == each and all(len(one) <= micro for one in parts) for parts in found)
    assert [[one for part in parts for one in part] for parts in found] == [
        rows[rank::world_size] for rank in range(world_size)
    ]


def test_rows_that_cannot_be_parted_evenly_are_refused() -> None:
    with pytest.raises(ValueError, match="batch_size 7 is no multiple of 2 ranks"):
        Split(7, 1, 0, 2)
