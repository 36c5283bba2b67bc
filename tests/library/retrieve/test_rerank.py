"""Scores of the search and of a reranker together."""

from __future__ import annotations

import numpy as np
import pytest

from openbook.library.retrieve.rerank import interpolated

FOUND = np.array([3.0, 2.0, 1.0, 0.5], np.float64)
RERANKED = np.array([-4.0, 7.0, 6.0, -5.0], np.float32)


def order(weight: float) -> list[int]:
    return np.argsort(-interpolated(FOUND, RERANKED, weight), kind="stable").tolist()


def test_the_ends_are_the_two_orders() -> None:
    assert order(0.0) == [0, 1, 2, 3]
    assert order(1.0) == [1, 2, 0, 3]
    assert order(0.5) == [1, 0, 2, 3]


def test_units_do_not_matter() -> None:
    expected = interpolated(FOUND, RERANKED, 0.4)
    np.testing.assert_allclose(interpolated(FOUND * 100 + 3, RERANKED * 0.01 - 9, 0.4), expected, atol=1e-4)


def test_scores_that_are_all_alike_say_nothing() -> None:
    assert np.argmax(interpolated(FOUND, np.full(4, 0.7, np.float32), 0.9)) == 0


def test_a_weight_is_a_share() -> None:
    with pytest.raises(ValueError, match="no share"):
        interpolated(FOUND, RERANKED, 1.1)
