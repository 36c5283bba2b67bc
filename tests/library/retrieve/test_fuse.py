"""Fusion: weights, absent passages, flat and short lists."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbook.library.retrieve.fuse import Ranked, fuse_ranks, fuse_z_scores, z_scores


def ranked(scores: dict[int, float], weight: float = 0.5, candidates: int = 0) -> Ranked:
    order = sorted(scores, key=lambda i: (-scores[i], i))
    return Ranked(np.array(order, np.int64), np.array([scores[i] for i in order], np.float32), weight, candidates)


def test_z_scores_are_added_with_their_weights_and_the_lowest_for_what_is_absent() -> None:
    a, b = ranked({1: 3.0, 2: 1.0}, 0.25), ranked({2: 10.0, 3: 4.0}, 0.75)
    fused = fuse_z_scores([a, b])
    assert dict(zip(fused.ids.tolist(), fused.scores.tolist(), strict=True)) == pytest.approx(
        {1: 0.25 - 0.75, 2: -0.25 + 0.75, 3: -0.25 - 0.75}
    )
    assert fused.ids.tolist() == [2, 1, 3]


def test_the_only_hit_of_a_list_counts_more_than_what_it_left_out() -> None:
    """BM25 leaves out what scores 0: a single hit is a strong one, not an average one."""
    words, meaning = ranked({7: 5.0}, candidates=50), ranked({1: 0.9, 7: 0.85, 2: 0.1})
    assert fuse_z_scores([words, meaning]).ids.tolist()[0] == 7
    assert fuse_z_scores([words._replace(candidates=0), meaning]).ids.tolist()[0] == 1


def test_rank_fusion_is_the_published_sum() -> None:
    fused = fuse_ranks([ranked({1: 9.0, 2: 1.0}, 1.0), ranked({2: 9.0, 3: 1.0}, 1.0)])
    assert fused.ids.tolist() == [2, 1, 3]
    assert fused.scores.tolist() == pytest.approx([1 / 61 + 1 / 62, 1 / 61, 1 / 62])


def test_a_list_of_weight_zero_adds_nothing() -> None:
    words, meaning = ranked({1: 2.0, 2: 1.0}, 1.0), ranked({9: 0.9}, 0.0)
    assert fuse_z_scores([words, meaning]).ids.tolist() == [1, 2]
    assert fuse_ranks([words, meaning]).ids.tolist() == [1, 2]


def test_no_list_no_result() -> None:
    assert fuse_z_scores([]).ids.tolist() == fuse_ranks([ranked({})]).ids.tolist() == []


def test_only_the_first_of_each_list_are_fused() -> None:
    words = ranked({i: float(-i) for i in range(1, 200)}, 1.0)
    assert len(fuse_z_scores([words]).ids) == len(fuse_ranks([words]).ids) == 100


@given(
    st.dictionaries(st.integers(1, 50), st.floats(0, 100, width=32), max_size=30), st.floats(0.5, 20), st.floats(-5, 5)
)
def test_the_unit_of_a_score_does_not_matter(scores: dict[int, float], scale: float, shift: float) -> None:
    other = ranked({1: 1.0, 30: 0.5, 60: 0.2})
    plain = fuse_z_scores([ranked(scores), other])
    moved = fuse_z_scores([ranked({i: score * scale + shift for i, score in scores.items()}), other])
    known = dict(zip(plain.ids.tolist(), plain.scores.tolist(), strict=True))
    values = np.array(list(scores.values()))
    if len(values) and values.std() > 1e-2:  # below that the float32 input rounds the spread away
        assert dict(zip(moved.ids.tolist(), moved.scores.tolist(), strict=True)) == pytest.approx(known, abs=1e-2)


@given(st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=50))
def test_z_scores_have_mean_zero_and_keep_the_order(scores: list[float]) -> None:
    values = np.array(scores, np.float32)
    standard = z_scores(values)
    assert abs(standard.mean()) < 1e-6
    order = np.argsort(values, kind="stable")
    assert np.all(np.diff(standard[order]) >= -1e-9)
