"""Windows: within one group, never longer than asked, and the best of all that there are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbook.assistant.answer.candidates import Unit
from openbook.assistant.answer.select import best_window, softmax, trimmed


def unit(group: int, text: str = "a word", *, is_row: bool = False) -> Unit:
    return Unit(0, group, 0, len(text), text, (), "", (0, 0) if is_row else None)


@given(
    st.lists(st.tuples(st.integers(0, 2), st.floats(-5, 5)), min_size=1, max_size=12),
    st.integers(1, 4),
)
def test_the_best_window_has_the_highest_sum_of_all_that_are_allowed(rows, sentences):
    units = [unit(group) for group, _ in sorted(rows, key=lambda row: row[0])]
    shares = softmax(np.array([score for _, score in rows]))
    best = best_window(units, shares, sentences)
    allowed = [
        shares[i:j].sum()
        for i in range(len(units))
        for j in range(i + 1, min(i + sentences, len(units)) + 1)
        if len({one.group for one in units[i:j]}) == 1
    ]
    assert best.probability == pytest.approx(max(allowed))
    assert best.last - best.first < sentences
    assert len({one.group for one in units[best.first : best.last + 1]}) == 1


def test_a_row_is_quoted_alone():
    units = [unit(0, is_row=True), unit(0, is_row=True)]
    assert best_window(units, np.array([0.4, 0.6]), 3)[:2] == (1, 1)


def test_a_long_window_is_cut_shorter():
    units = [unit(0, "word " * 80), unit(0, "word " * 80)]
    assert best_window(units, np.array([0.4, 0.6]), 3)[:2] == (1, 1)


def test_ends_that_hold_nothing_are_left_out():
    units = [unit(0), unit(0), unit(0)]
    shares = np.array([0.001, 0.5, 0.4])
    window = trimmed(units, shares, best_window(units, shares, 3), 0.01)
    assert window[:2] == (1, 2)
    assert window.probability == pytest.approx(0.9)
