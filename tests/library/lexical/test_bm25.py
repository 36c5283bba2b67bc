"""BM25 against a plain reference: base, added rows, deletions, filters, pruning."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbook.core.errors import CorruptLibrary
from openbook.library.lexical import postings
from openbook.library.lexical.bm25 import Among, Bm25Index
from openbook.library.lexical.counts import TermCounts, count_hashes, count_terms, hash_term

WORDS = [f"w{i}" for i in range(30)]


def blob(words: list[str]) -> bytes:
    return count_hashes([hash_term(word) for word in words]).to_blob()


def reference(chunks: dict[int, list[str]], query: list[str], k1: float, b: float) -> dict[int, float]:
    """Lucene's BM25 without its constant factor, from the formula, in double precision."""
    mean = sum(map(len, chunks.values())) / len(chunks) if chunks else 1.0
    scores: dict[int, float] = {}
    for term in query:
        df = sum(term in words for words in chunks.values())
        idf = math.log(1 + (len(chunks) - df + 0.5) / (df + 0.5))
        for chunk_id, words in chunks.items():
            tf = Counter(words)[term]
            if tf:
                share = tf / (tf + k1 * (1 - b + b * len(words) / mean))
                scores[chunk_id] = scores.get(chunk_id, 0.0) + idf * share
    return scores


def random_chunks(seed: int, ids: range) -> dict[int, list[str]]:
    """Words with frequencies as in language: some in nearly every chunk, most in few."""
    random = np.random.default_rng(seed)
    weights = 1 / np.arange(1, len(WORDS) + 1)
    return {
        i: [WORDS[w] for w in random.choice(len(WORDS), int(random.integers(1, 40)), p=weights / weights.sum())]
        for i in ids
    }


def assert_agrees(
    index: Bm25Index, chunks: dict[int, list[str]], query: list[str], k: int, allowed: set[int] | None = None
) -> None:
    expected = reference(chunks, query, index.k1, index.b)
    wanted = {i: s for i, s in expected.items() if allowed is None or i in allowed}
    ids, scores = index.search(query, k, None if allowed is None else np.array(sorted(allowed), np.int64))
    best = sorted(wanted.values(), reverse=True)[:k]
    assert np.allclose(scores, best, atol=1e-4)
    assert np.allclose(scores, [wanted[i] for i in ids.tolist()], atol=1e-4)
    assert len(set(ids.tolist())) == len(ids)


def built(tmp_path: Path, chunks: dict[int, list[str]]) -> Bm25Index:
    path = tmp_path / "bm25"
    Bm25Index.build(path, ((i, blob(chunks[i])) for i in sorted(chunks)), {"base_chunk_id": max(chunks, default=0)})
    return Bm25Index.open(path)


@pytest.mark.parametrize("k", [1, 5, 100])
@pytest.mark.parametrize("seed", range(5))
def test_scores_equal_the_reference(tmp_path: Path, seed: int, k: int) -> None:
    chunks = random_chunks(seed, range(1, 400))
    index = built(tmp_path, chunks)
    for query in (["w0"], ["w29", "w0"], ["w3", "w25", "w1", "w0", "w2"], WORDS, ["w20", "w20", "absent"]):
        assert_agrees(index, chunks, query, k)


@given(st.integers(0, 10_000), st.data())
def test_scores_equal_the_reference_through_additions_deletions_and_filters(seed: int, data: st.DataObject) -> None:
    index = Bm25Index()
    chunks: dict[int, list[str]] = {}
    following = 1
    for step in range(data.draw(st.integers(1, 6))):
        if data.draw(st.booleans()) or not chunks:
            size = data.draw(st.integers(1, 40))
            fresh = random_chunks(seed + step, range(following, following + size))
            following += size
            if chunks and data.draw(st.booleans()):
                fresh |= random_chunks(seed + 100 + step, range(min(chunks), min(chunks) + 1))
            index.upsert([(i, blob(words)) for i, words in fresh.items()])
            chunks |= fresh
        else:
            gone = data.draw(st.lists(st.sampled_from(sorted(chunks)), max_size=10))
            index.delete([*gone, 999_999])
            chunks = {i: words for i, words in chunks.items() if i not in gone}
    query = data.draw(st.lists(st.sampled_from(WORDS), min_size=1, max_size=6))
    k = data.draw(st.integers(1, 20))
    assert index.count() == len(chunks)
    assert_agrees(index, chunks, query, k)
    allowed = data.draw(st.sets(st.integers(1, following)))
    assert_agrees(index, chunks, query, k, allowed)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.9])
def test_a_filter_chooses_before_the_best_are_taken(tmp_path: Path, share: float) -> None:
    chunks = random_chunks(7, range(1, 2_000))
    index = built(tmp_path, chunks)
    allowed = set(np.random.default_rng(1).choice(2_000, int(2_000 * share), replace=False).tolist())
    assert_agrees(index, chunks, ["w0", "w5", "w28"], 10, allowed)


def test_base_with_additions_and_deletions_equals_the_reference(tmp_path: Path) -> None:
    chunks = random_chunks(3, range(1, 1_000))
    index = built(tmp_path, chunks)
    fresh = random_chunks(4, range(1_000, 1_100))
    for i, words in fresh.items():
        index.upsert([(i, blob(words * 3))])
        chunks[i] = words * 3
    index.delete(range(1, 200))
    chunks = {i: words for i, words in chunks.items() if i >= 200}
    for query in (["w0", "w1"], ["w28", "w0", "w1", "w2"]):
        assert_agrees(index, chunks, query, 10)
    assert index.describe()["added_chunks"] == 100
    assert index.describe()["deleted_chunks"] == 199


def test_a_library_of_two_documents_ranks_sensibly() -> None:
    """Where half the documents hold a word it must still count, and a rarer word for more than a common one."""
    index = Bm25Index()
    texts = {
        1: "The office opens at nine and closes at six.",
        2: "Annual leave is fifteen days; the office is closed then.",
    }
    index.upsert([(i, count_terms(text).to_blob()) for i, text in texts.items()])
    ids, scores = index.search("annual leave office", 10)
    assert ids.tolist() == [2, 1]
    assert scores[0] > 2 * scores[1] > 0
    assert index.search("when does it open", 10)[0].tolist() == [1]
    assert index.search("年假", 10)[0].tolist() == []


def test_a_base_built_in_many_runs_equals_one_built_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chunks = random_chunks(9, range(1, 300))
    whole = built(tmp_path, chunks)
    monkeypatch.setattr(postings, "RUN_POSTINGS", 100)
    (tmp_path / "runs").mkdir()
    in_runs = built(tmp_path / "runs", chunks)
    assert (tmp_path / "bm25").read_bytes() == (tmp_path / "runs" / "bm25").read_bytes()
    assert_agrees(in_runs, chunks, ["w0", "w9"], 10)
    assert whole.meta == {"base_chunk_id": 299}
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["bm25"]


def test_an_empty_index_finds_nothing(tmp_path: Path) -> None:
    for index in (Bm25Index(), built(tmp_path, {})):
        ids, scores = index.search("anything", 10)
        assert len(ids) == len(scores) == index.count() == 0
        index.upsert([(5, blob(["w1"]))])
        assert index.search(["w1"], 10)[0].tolist() == [5]


def test_equal_scores_are_ordered_by_id() -> None:
    index = Bm25Index()
    index.upsert([(i, blob(["w1", "w2"])) for i in (9, 3, 7)])
    assert index.search(["w1"], 2)[0].tolist() == [3, 7]


def test_ids_of_a_base_must_ascend(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must ascend"):
        Bm25Index.build(tmp_path / "bm25", [(2, blob(["w1"])), (1, blob(["w1"]))], {})
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    built(tmp_path, random_chunks(1, range(1, 50)))
    path = tmp_path / "bm25"
    whole = path.read_bytes()
    for broken in (whole[:100], whole[:-64], b"X" + whole[1:], whole[:40] + b"?" + whole[41:]):
        path.write_bytes(broken)
        with pytest.raises(CorruptLibrary, match="bm25"):
            Bm25Index.open(path)


def test_an_open_index_answers_while_its_file_is_replaced(tmp_path: Path) -> None:
    chunks = random_chunks(1, range(1, 50))
    index = built(tmp_path, chunks)
    built(tmp_path, random_chunks(2, range(1, 50)))
    assert_agrees(index, chunks, ["w0", "w4"], 10)


def test_a_cut_blob_leaves_the_index_as_it_was() -> None:
    index = Bm25Index()
    index.upsert([(1, blob(["w1"]))])
    with pytest.raises(CorruptLibrary):
        index.upsert([(2, blob(["w1"])), (1, b"broken")])
    assert index.search(["w1"], 10)[0].tolist() == [1]
    assert TermCounts.from_blob(blob(["w1"])).length == 1


@given(st.integers(0, 2**32 - 1), st.data())
def test_among_some_chunks_scores_are_those_of_an_index_of_these_alone(seed: int, data: st.DataObject) -> None:
    chunks = random_chunks(seed, range(60))
    index = Bm25Index()
    index.upsert((i, blob(words)) for i, words in chunks.items() if i < 40)
    index.upsert((i, blob(words)) for i, words in chunks.items() if i >= 40)
    gone = data.draw(st.sets(st.sampled_from(sorted(chunks)), max_size=20))
    index.delete(gone)
    seen = data.draw(st.sets(st.sampled_from(sorted(chunks)), min_size=1))
    alone = {i: words for i, words in chunks.items() if i in seen - gone}
    part = Among(index, np.array(sorted(seen), np.int64))
    assert part.count() == len(alone)
    for query in (["w0", "w3", "w29"], ["w1"]):
        expected = sorted(reference(alone, query, index.k1, index.b).values(), reverse=True)
        for allowed in (None, part.ids, np.array(sorted(chunks), np.int64)):
            ids, scores = part.search(query, 60, allowed)
            assert np.allclose(scores, expected, atol=1e-4)
            assert set(ids.tolist()) <= set(alone)


def test_among_a_view_follows_what_is_added_and_pruning_stays_exact(tmp_path: Path) -> None:
    chunks = random_chunks(7, range(3_000))
    Bm25Index.build(tmp_path / "base", ((i, blob(words)) for i, words in chunks.items() if i < 2_900), {})
    index = Bm25Index.open(tmp_path / "base")
    seen = np.arange(0, 3_000, 7)
    part = Among(index, seen)
    part.search(["w1"], 5)
    index.upsert((i, blob(words)) for i, words in chunks.items() if i >= 2_900)
    alone = {i: chunks[i] for i in seen.tolist()}
    for query in (["w0", "w1", "w20", "w28"], ["w25", "w2"]):
        expected = sorted(reference(alone, query, index.k1, index.b).values(), reverse=True)[:10]
        assert np.allclose(part.search(query, 10)[1], expected, atol=1e-4)
