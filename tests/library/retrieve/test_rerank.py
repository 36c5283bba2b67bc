"""Scores of the search and of a reranker together: on which places, in which order, with which scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbook.core.errors import ModelUnavailable
from openbook.library.retrieve.fuse import Fused
from openbook.library.retrieve.rerank import Candidate, Reranking, interpolated, reordered, rerank

FOUND = np.array([3.0, 2.0, 1.0, 0.5], np.float64)
RERANKED = np.array([-4.0, 7.0, 6.0, -5.0], np.float32)


def order(weight: float) -> list[int]:
    return np.argsort(-interpolated(FOUND, RERANKED, weight), kind="stable").tolist()


def test_the_ends_are_the_two_orders() -> None:
    assert order(0.0) == [0, 1, 2, 3]
    assert order(1.0) == [1, 2, 0, 3]
    assert order(0.2) == [1, 2, 0, 3]
    assert order(0.05) == [0, 1, 2, 3]


def test_what_the_reranker_does_not_tell_apart_keeps_the_order_of_the_search() -> None:
    alike = np.array([0.70, 0.71, 0.72, 0.73], np.float32)
    assert np.argsort(-interpolated(FOUND, alike, 0.4), kind="stable").tolist() == [0, 1, 2, 3]
    assert np.argsort(-interpolated(FOUND, alike * 1000, 0.4), kind="stable").tolist() == [3, 2, 1, 0]


def test_a_weight_is_a_share() -> None:
    with pytest.raises(ValueError, match="no share"):
        interpolated(FOUND, RERANKED, 1.1)


class Scripted:
    """Scores by the number that a text begins with, and keeps what it read."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def __call__(self, query: str, texts: Sequence[str]) -> np.ndarray:
        self.read += texts
        return np.array([float(text.split()[0]) for text in texts], np.float32)


def fused(count: int) -> Fused:
    """Chunks 10, 11, ... with falling scores."""
    return Fused(np.arange(10, 10 + count), np.arange(count, 0, -1, np.float64) / 2)


def candidates(*texts: str, language: str = "en") -> dict[int, Candidate]:
    return {10 + place: Candidate(text, language) for place, text in enumerate(texts)}


def ids(found: Fused) -> list[int]:
    return found.ids.tolist()


def test_the_first_are_reordered_and_what_is_below_stays() -> None:
    score = Scripted()
    found = rerank("q", fused(5), candidates("1", "2", "3", "9", "8"), Reranking("s", score, 1.0, depth=3))
    assert ids(found.fused) == [12, 11, 10, 13, 14]
    assert found.scores == {10: 1.0, 11: 2.0, 12: 3.0} and score.read == ["1", "2", "3"]


@pytest.mark.parametrize("depth", [1, 2, 3, 50])
def test_fewer_candidates_than_the_depth(depth: int) -> None:
    found = rerank("q", fused(2), candidates("1", "2"), Reranking("s", Scripted(), 1.0, depth))
    assert ids(found.fused) == ([10, 11] if depth == 1 else [11, 10])
    nothing = rerank("q", fused(0), {}, Reranking("s", Scripted(), 1.0, depth))
    assert ids(nothing.fused) == [] and nothing.scores == {}


def test_a_text_that_is_there_twice_is_read_once() -> None:
    score = Scripted()
    found = rerank("q", fused(4), candidates("1 a", "5 b", "1 a", "5 b"), Reranking("s", score, 1.0))
    assert score.read == ["1 a", "5 b"]
    assert ids(found.fused) == [11, 13, 10, 12], "equal scores keep the search's order"


def test_empty_passages_and_other_languages_keep_their_places() -> None:
    score = Scripted()
    given = candidates("1", "  \n", "2", "3", "4") | {13: Candidate("99", "zh")}
    found = rerank("q", fused(5), given, Reranking("s", score, 1.0, languages=frozenset({"en"})))
    assert ids(found.fused) == [14, 11, 12, 13, 10]
    assert set(found.scores) == {10, 12, 14} and score.read == ["1", "2", "4"]
    assert rerank("q", fused(5), given, Reranking("s", score, 1.0)).scores[13] == 99.0, "without languages it reads all"


def test_what_is_gone_or_forbidden_is_not_read() -> None:
    given = candidates("1", "2", "3")
    del given[11]
    found = rerank("q", fused(3), given, Reranking("s", Scripted(), 1.0))
    assert ids(found.fused) == [12, 11, 10] and set(found.scores) == {10, 12}


def test_scores_are_in_the_units_of_the_search_and_fall() -> None:
    found = rerank("q", fused(4), candidates("1", "9", "2", "3"), Reranking("s", Scripted(), 0.0)).fused
    np.testing.assert_allclose(found.scores, fused(4).scores, atol=1e-5)  # z-scores are of float32
    flat = reordered(Fused(np.arange(3), np.ones(3)), np.arange(3), np.array([1.0, 2.0, 3.0]), 0.5)
    assert ids(flat) == [2, 1, 0] and len(set(flat.scores.tolist())) == 3


@given(
    st.lists(st.floats(-9, 9, width=32), min_size=1, max_size=12, unique=True),
    st.data(),
    st.floats(0, 1),
)
def test_it_is_a_permutation_on_its_places(scores: list[float], data: st.DataObject, weight: float) -> None:
    before = Fused(np.arange(len(scores)) + 7, np.array(sorted(scores, reverse=True), np.float64))
    places = np.array(sorted(data.draw(st.sets(st.integers(0, len(scores) - 1), min_size=1))), np.int64)
    ranks = np.array(data.draw(st.lists(st.floats(-9, 9), min_size=len(places), max_size=len(places))), np.float64)
    after = reordered(before, places, ranks, weight)
    assert sorted(ids(after)) == sorted(ids(before))
    others = np.setdiff1d(np.arange(len(scores)), places)
    assert after.ids[others].tolist() == before.ids[others].tolist()
    assert (np.diff(after.scores) <= 0).all()


@pytest.mark.parametrize("given", [np.zeros(3, np.float32), np.array([1.0, np.nan], np.float32), np.zeros((2, 1))])
def test_scores_that_cannot_be_used_are_refused(given: np.ndarray) -> None:
    with pytest.raises(ModelUnavailable, match="no score for each of 2"):
        rerank("q", fused(2), candidates("1", "2"), Reranking("s", lambda *_: given, 1.0))
