from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbook.lm.nn.batch import Batch


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12))
def test_positions_and_runs_cover_every_token_once(lengths: list[int]) -> None:
    batch = Batch.of(lengths)
    assert batch.positions.tolist() == [place for length in lengths for place in range(length)]
    assert batch.starts.tolist() == [sum(lengths[:i]) for i in range(len(lengths) + 1)]
    assert [run.length for run in batch.runs for _ in range(run.sequences)] == lengths
    end = 0
    for run in batch.runs:
        assert run.start == end
        end += run.sequences * run.length


def test_an_empty_sequence_is_refused() -> None:
    with pytest.raises(ValueError, match="0 tokens"):
        Batch.of([3, 0])
