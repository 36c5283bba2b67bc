"""Calls that hang are given up, and those after them are answered."""

from __future__ import annotations

import threading

import pytest

from openbook.training.rollouts.timed import Timed


def test_what_is_given_and_raised_comes_back() -> None:
    timed = Timed(60.0)
    assert timed(lambda: 3) == 3 and timed(lambda: None) is None
    with pytest.raises(KeyError, match="no"):
        timed(lambda: {}["no"])
    names = {timed(lambda: threading.current_thread().name) for _ in range(3)}
    assert len(names) == 1  # one thread serves all calls


def test_a_call_after_one_that_hangs_is_answered() -> None:
    timed, freed = Timed(0.05), threading.Event()
    with pytest.raises(TimeoutError, match=r"more than 0.05 s"):
        timed(freed.wait)
    timed.seconds = 60.0
    assert timed(lambda: 4) == 4
    freed.set()
