"""What crosses the pipes comes out as it went in; a pipe that ends early gives nothing."""

from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st

from openbook.core.sandbox.frames import receive, send

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.lists(VALUES, max_size=4), st.integers(1, 20))
def test_frames_round_trip_and_a_cut_frame_is_the_end(values: list[object], missing: int) -> None:
    pipe = io.BytesIO()
    for value in values:
        send(pipe, value)
    pipe.seek(0)
    assert [receive(pipe) for _ in values] == values
    assert receive(pipe) is None
    whole = pipe.getvalue()
    cut = io.BytesIO(whole[: len(whole) - min(missing, 8)])
    assert [receive(cut) for _ in values[:-1]] == values[:-1]
    assert receive(cut) is None


def test_lone_surrogates_survive() -> None:
    pipe = io.BytesIO()
    send(pipe, {"\ud800": ["a\udfff"]})
    pipe.seek(0)
    assert receive(pipe) == {"\ud800": ["a\udfff"]}
