"""Exact search against brute force, on every path: float32, 8-bit first pass, additions, deletions, filters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from openbook.library.vectors import exact
from openbook.library.vectors.exact import ExactIndex

E = 24
Vectors = NDArray[np.float32]


def unit(seed: int, n: int) -> Vectors:
    """Clustered like real embeddings, so that many scores are close."""
    random = np.random.default_rng(seed)
    vectors = random.standard_normal((n, E)) * 0.3 + random.standard_normal((5, E))[random.integers(0, 5, n)]
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def assert_agrees(
    index: ExactIndex, chunks: dict[int, Vectors], query: Vectors, k: int, allowed: list[int] | None = None
) -> None:
    wanted = {i: float(v @ query) for i, v in chunks.items() if allowed is None or i in allowed}
    ids, scores = index.search(query, k, None if allowed is None else np.array(sorted(allowed), np.int64))
    assert len(ids) == min(k, len(wanted))
    assert np.allclose(scores, sorted(wanted.values(), reverse=True)[:k], atol=1e-6)
    assert np.allclose(scores, [wanted[i] for i in ids.tolist()], atol=1e-6)
    assert len(set(ids.tolist())) == len(ids)


def built(tmp_path: Path, vectors: Vectors) -> ExactIndex:
    runs = [(np.arange(1, 101), vectors[:100]), (np.arange(101, len(vectors) + 1), vectors[100:])]
    ExactIndex.build(tmp_path / "vectors", runs, E, {"base_chunk_id": len(vectors)})
    return ExactIndex.open(tmp_path / "vectors")


@pytest.mark.parametrize("first_pass", ["float32", "int8"])
@pytest.mark.parametrize("k", [1, 10, 1_000])
def test_the_best_are_those_of_brute_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first_pass: str, k: int
) -> None:
    monkeypatch.setattr(exact, "_SMALL_BASE", 0)
    monkeypatch.setattr(exact, "_SEARCHES_BEFORE_COMPILING", 10**9)
    vectors = unit(1, 700)
    index = built(tmp_path, vectors)
    if first_pass == "int8":
        index.warm()
    assert index.describe()["first_pass"] == first_pass
    chunks = {i + 1: vector for i, vector in enumerate(vectors)}
    for query in unit(2, 20):
        assert_agrees(index, chunks, query, k)
        assert_agrees(index, chunks, query, k, list(range(5, 600, 2)))
        assert_agrees(index, chunks, query, k, [3, 77, 5_000])
    index.upsert([(np.array([900, 901, 5]), unit(3, 3))])
    index.delete([1, 2, 3, 901, 4_444])
    chunks |= dict(zip((900, 901, 5), unit(3, 3), strict=True))
    chunks = {i: v for i, v in chunks.items() if i not in (1, 2, 3, 901)}
    for query in unit(4, 20):
        assert_agrees(index, chunks, query, k)
        assert_agrees(index, chunks, query, k, [2, 5, 77, 900, 901])
    assert index.count() == len(chunks)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 30)), max_size=12), st.integers(1, 12))
def test_additions_and_deletions_in_any_order(steps: list[tuple[bool, int]], k: int) -> None:
    index = ExactIndex(E)
    chunks: dict[int, Vectors] = {}
    for number, (adds, chunk_id) in enumerate(steps):
        if adds:
            index.upsert([(np.array([chunk_id]), unit(number, 1))])
            chunks[chunk_id] = unit(number, 1)[0]
        else:
            index.delete([chunk_id])
            chunks.pop(chunk_id, None)
    assert index.count() == len(chunks)
    assert_agrees(index, chunks, unit(99, 1)[0], k)
    assert_agrees(index, chunks, unit(99, 1)[0], k, [1, 2, 3, 29])


def test_the_kernel_is_compiled_in_the_background_after_a_few_searches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exact, "_SMALL_BASE", 0)
    index = built(tmp_path, unit(1, 300))
    for query in unit(2, exact._SEARCHES_BEFORE_COMPILING):
        index.search(query, 3)
    assert index._warming is None
    index.search(unit(3, 1)[0], 3)
    assert index._warming is not None
    index._warming.join()
    assert index.describe()["first_pass"] == "int8"


def test_queries_of_any_length_are_bounded_rightly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact, "_SMALL_BASE", 0)
    vectors = unit(1, 300)
    index = built(tmp_path, vectors)
    index.warm()
    for factor in (1e-3, 7.0, 1e3):
        query = (unit(5, 1)[0] * factor).astype(np.float32)
        best = np.argsort(-(vectors @ query), kind="stable")[:10] + 1
        assert set(index.search(query, 10)[0].tolist()) == set(best.tolist())
    assert len(index.search(np.zeros(E, np.float32), 5)[0]) == 5


def test_an_empty_index_finds_nothing(tmp_path: Path) -> None:
    ExactIndex.build(tmp_path / "vectors", [], E, {})
    for index in (ExactIndex(E), ExactIndex.open(tmp_path / "vectors")):
        assert index.search(unit(1, 1)[0], 5)[0].tolist() == []
        assert index.count() == 0


def test_equal_scores_are_ordered_by_id() -> None:
    index = ExactIndex(E)
    vector = unit(1, 1)
    index.upsert([(np.array([9, 4, 6]), np.repeat(vector, 3, axis=0))])
    assert index.search(vector[0], 2)[0].tolist() == [4, 6]


def test_another_dimension_is_refused() -> None:
    index = ExactIndex(E)
    with pytest.raises(ValueError, match="24"):
        index.search(np.ones(E + 1, np.float32), 3)
    with pytest.raises(ValueError, match="24"):
        index.upsert([(np.array([1]), np.ones((1, E + 1), np.float32))])


def test_ids_of_a_base_must_ascend(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must ascend"):
        ExactIndex.build(tmp_path / "vectors", [(np.array([2, 1]), unit(1, 2))], E, {})
    with pytest.raises(ValueError, match="must ascend"):
        ExactIndex.build(tmp_path / "vectors", [(np.array([2]), unit(1, 1)), (np.array([2]), unit(1, 1))], E, {})


def test_searches_meanwhile_see_all_of_an_addition_or_nothing() -> None:
    index = ExactIndex(E)
    index.upsert([(np.arange(100), unit(1, 100))])
    state = index._current()
    before = state.added.copy()
    index.upsert([(np.arange(100, 900), unit(2, 800))])
    assert np.array_equal(state.added, before)
