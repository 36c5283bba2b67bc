"""A least rate over windows, by a clock that the test turns."""

from __future__ import annotations

import pytest

from openbook.core.errors import ModelUnavailable
from openbook.lm.pace import LeastRate, Pace


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def received(pace: Pace, clock: Clock, *pieces: tuple[float, int]) -> None:
    """Each piece: seconds that pass before it comes, and its bytes."""
    for seconds, number in pieces:
        clock.now_s += seconds
        pace.count(number)


def test_a_byte_now_and_then_is_too_little_at_the_end_of_a_window() -> None:
    clock = Clock()
    pace = Pace("a hub", LeastRate(1_000, 60), clock)
    received(pace, clock, *[(29, 1), (29, 1)])
    with pytest.raises(ModelUnavailable, match="a hub sent 3 bytes in 87 s, the least is 1,000 a second"):
        received(pace, clock, (29, 1))


def test_each_window_counts_for_itself() -> None:
    clock = Clock()
    pace = Pace("a hub", LeastRate(1_000, 60), clock)
    received(pace, clock, (1, 10_000_000), (59, 1), (59, 1), (0.5, 60_000), (0.5, 1))
    with pytest.raises(ModelUnavailable, match="sent 59,999 bytes in 60 s"):
        received(pace, clock, (60, 59_999))


def test_what_is_done_before_a_request_is_no_fault_of_the_source() -> None:
    clock = Clock()
    pace = Pace("a hub", LeastRate(), clock)
    clock.now_s += 1_000
    pace.begin()
    received(pace, clock, (30, 1), (29, 1))


def test_any_rate_will_do_at_zero() -> None:
    clock = Clock()
    received(Pace("a hub", LeastRate(0), clock), clock, *[(1_000.0, 1)] * 5)
