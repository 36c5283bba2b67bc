"""Metrics against golden values and an independent implementation from the definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbook.insight.evaluate.retrieval import METRICS, Evaluation, compare, evaluate, score_ranking


def test_golden_values() -> None:
    """d1 (grade 2) at rank 2, d2 (grade 1) at rank 4, d3 (grade 1) not found; worked out by hand."""
    scores = score_ranking(["x", "d1", "y", "d2"], {"d1": 2, "d2": 1, "d3": 1, "x": 0})
    ideal = 2 + 1 / math.log2(3) + 1 / 2
    assert scores["ndcg@10"] == pytest.approx((2 / math.log2(3) + 1 / math.log2(5)) / ideal)
    assert scores["mrr@10"] == 0.5
    assert [scores[f"recall@{k}"] for k in (1, 5, 10, 100)] == pytest.approx([0, 2 / 3, 2 / 3, 2 / 3])


def reference(ranking: list[str], grades: dict[str, int]) -> dict[str, float]:
    """The definitions once more, over arrays of ranks."""
    positive = {d: g for d, g in grades.items() if g > 0}
    ranks = {d: i + 1 for i, d in enumerate(ranking)}
    discount = np.array([1 / math.log2(i + 1) for i in range(1, 11)])
    gains = np.zeros(10)
    for d, g in positive.items():
        if ranks.get(d, 99) <= 10:
            gains[ranks[d] - 1] = g
    top = np.zeros(10)
    best = sorted(positive.values(), reverse=True)[:10]
    top[: len(best)] = best
    found = sorted(ranks[d] for d in positive if d in ranks)
    scores = {f"recall@{k}": sum(r <= k for r in found) / len(positive) for k in (1, 5, 10, 100)}
    scores["ndcg@10"] = float(gains @ discount / (top @ discount))
    scores["mrr@10"] = 1 / found[0] if found and found[0] <= 10 else 0.0
    return scores


_DOCUMENTS = [f"d{i}" for i in range(130)]


@given(
    st.permutations(_DOCUMENTS), st.integers(0, 130), st.dictionaries(st.sampled_from(_DOCUMENTS), st.integers(0, 4))
)
def test_metrics_equal_the_reference(order: list[str], length: int, grades: dict[str, int]) -> None:
    if any(grades.values()):
        assert score_ranking(order[:length], grades) == pytest.approx(reference(order[:length], grades), abs=1e-9)


def test_a_query_without_a_ranking_counts_as_zero_and_one_without_relevant_documents_not_at_all() -> None:
    found = evaluate({"a": ["d"]}, {"a": {"d": 1}, "b": {"d": 1}, "c": {"d": 0}})
    assert found.query_ids == ("a", "b")
    assert found.mean("recall@1") == 0.5


def test_a_document_named_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="twice: 'd'"):
        score_ranking(["d", "e", "d"], {"d": 1})


def evaluation(values: np.ndarray) -> Evaluation:
    return Evaluation(tuple(map(str, range(len(values)))), dict.fromkeys(METRICS, values))


def test_interval_covers_the_mean_as_the_normal_approximation_does() -> None:
    values = np.random.default_rng(0).random(400)
    mean, low, high = evaluation(values).interval()
    half = 1.96 * values.std() / 20
    assert (low, high) == pytest.approx((mean - half, mean + half), abs=half / 10)
    assert evaluation(values).interval() == evaluation(values).interval()


def test_pairing_sees_a_difference_that_single_intervals_hide() -> None:
    values = np.random.default_rng(0).random(400)
    difference = compare(evaluation(values + 0.01), evaluation(values))
    assert difference.low == pytest.approx(0.01)
    assert difference.not_above_zero == 0
    assert compare(evaluation(values), evaluation(values)).not_above_zero == 1


def test_evaluations_of_different_queries_are_not_compared() -> None:
    with pytest.raises(ValueError, match="not the same"):
        compare(evaluation(np.ones(3)), evaluation(np.ones(4)))
