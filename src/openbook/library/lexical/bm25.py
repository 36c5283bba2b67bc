"""BM25 over a memory-mapped base, rows added since in memory, and a mask of the deleted.

Source: S. Robertson, H. Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009), with the IDF of
Lucene, ln(1 + (N - df + 0.5) / (df + 0.5)), and its omission of the constant factor k1 + 1. N, df and the mean length
are exact at every moment: they count the base and the added rows without the deleted, and for a reader who sees only a
part of the library (`among`) that part alone.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from openbook.library.derived import Meta, open_derived
from openbook.library.lexical.base import KIND, write_base
from openbook.library.lexical.counts import TermCounts, hash_terms
from openbook.library.lexical.postings import Postings, invert, merge
from openbook.library.lexical.ranking import TermList, rank
from openbook.library.lexical.tokenize import query_terms
from openbook.library.rows import Ids, Rows

K1, B = 1.2, 0.75
_KEPT_VIEWS = 8

Scores = NDArray[np.float32]


class LexicalIndex(Protocol):
    def upsert(self, rows: Iterable[tuple[int, bytes]]) -> None: ...
    def delete(self, chunk_ids: Iterable[int]) -> None: ...
    def search(self, query: str | Sequence[str], k: int, allowed: Ids | None = None) -> tuple[Ids, Scores]: ...
    def count(self) -> int: ...
    def describe(self) -> dict[str, Any]: ...


class _State(NamedTuple):
    """One consistent view of the index."""

    rows: Rows
    mean_length: float
    """Terms of a live chunk on average"""
    norms: NDArray[np.float32]
    """(N,) k1 (1 - b + b length / mean length)"""


class Among:
    """What a reader who sees only the chunks `ids` (ascending) finds in an index: other chunks are not found, and are
    not in N, df and the mean length either, so that no score tells of a word that only they have.
    """

    def __init__(self, index: Bm25Index, ids: Ids) -> None:
        self.index, self.ids = index, ids

    def search(self, query: str | Sequence[str], k: int, allowed: Ids | None = None) -> tuple[Ids, Scores]:
        return self.index.search(query, k, None if allowed is self.ids else allowed, among=self.ids)

    def count(self) -> int:
        return self.index.count(among=self.ids)


class Bm25Index:
    """The built-in `LexicalIndex`. All methods may be called from any thread.

    `upsert` and `build` take (chunk id, `TermCounts.to_blob()`) rows; `meta` is what `build` was given: the owner's
    watermarks (`base_chunk_id`, `base_deletion_seq`, `generation`).
    """

    def __init__(self, k1: float = K1, b: float = B) -> None:
        self.k1, self.b = k1, b
        self.meta: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._segments: list[Postings] = []
        self._peaks: NDArray[np.float32] = np.empty(0, np.float32)
        self._peak_length = 1.0
        self._ids: list[Ids] = [np.empty(0, np.int64)]
        self._lengths: list[NDArray[np.uint32]] = [np.empty(0, np.uint32)]
        self._deleted: list[int] = []
        self._state: _State | None = None
        self._narrow: dict[int, tuple[Ids, _State]] = {}

    @classmethod
    def build(cls, path: Path, rows: Iterable[tuple[int, bytes]], meta: Meta, k1: float = K1, b: float = B) -> None:
        """Writes the base file of `rows`; memory stays bounded whatever their number. The old file stays until then."""
        write_base(path, rows, meta, k1, b)

    @classmethod
    def open(cls, path: Path) -> Bm25Index:
        """Raises `FileNotFoundError`, or `CorruptLibrary` when the file is damaged."""
        file = open_derived(path, KIND)
        arrays = file.arrays
        index = cls(float(file.meta["k1"]), float(file.meta["b"]))
        index.meta = file.meta["owner"]
        index._segments = [Postings(arrays["terms"], arrays["offsets"], arrays["rows"], arrays["counts"])]
        index._peaks, index._peak_length = arrays["peaks"], float(file.meta["mean_length"])
        index._ids, index._lengths = [arrays["ids"]], [arrays["lengths"]]
        return index

    def upsert(self, rows: Iterable[tuple[int, bytes]]) -> None:
        """Adds chunks; one whose id is there replaces it. Searches see all of the call or nothing."""
        found = sorted(dict(rows).items())
        counted = [TermCounts.from_blob(blob) for _, blob in found]
        ids = np.array([chunk_id for chunk_id, _ in found], np.int64)
        if not len(ids):
            return
        with self._lock:
            self._delete(ids)
            first = self._size()
            added = invert(np.arange(first, first + len(ids), dtype=np.int32), counted)
            self._ids.append(ids)
            self._lengths.append(np.array([counts.length for counts in counted], np.uint32))
            self._segments.append(added)
            self._compact()
            self._state = None

    def delete(self, chunk_ids: Iterable[int]) -> None:
        """Takes chunks out; ids that are not there are ignored."""
        with self._lock:
            self._delete(np.unique(np.fromiter(chunk_ids, np.int64)))

    def search(
        self, query: str | Sequence[str], k: int, allowed: Ids | None = None, *, among: Ids | None = None
    ) -> tuple[Ids, Scores]:
        """The k best chunks (ids, float32 scores, best first; ties by id), only those with a score above 0.

        `query`: text, or terms as they were indexed (a repeated one counts repeatedly). `allowed`: ascending chunk
        ids to choose from; the statistics stay those of the whole index, or of `among` (ascending), outside of which
        nothing is found.
        """
        searched = query_terms(query) if isinstance(query, str) else query
        hashes, weights = np.unique(hash_terms(searched), return_counts=True)
        with self._lock:
            state = self._current() if among is None else self._narrowed(among)
            lists = self._lists(state, hashes, weights)
        chosen = None if allowed is None else state.rows.find(allowed)
        best, scores = rank(lists, state.norms, k, chosen)
        ids = state.rows.ids[best]
        order = np.lexsort((ids, -scores))
        return ids[order], scores[order]

    def count(self, *, among: Ids | None = None) -> int:
        with self._lock:
            return (self._current() if among is None else self._narrowed(among)).rows.live

    def describe(self) -> dict[str, Any]:
        with self._lock:
            state = self._current()
            return {
                "kind": "built-in BM25",
                "chunks": state.rows.live,
                "base_chunks": len(self._ids[0]),
                "added_chunks": self._size() - len(self._ids[0]),
                "deleted_chunks": self._size() - state.rows.live,
                "mean_length_terms": round(state.mean_length, 1),
                "k1": self.k1,
                "b": self.b,
                **self.meta,
            }

    def _size(self) -> int:
        return sum(len(ids) for ids in self._ids)

    def _delete(self, ids: Ids) -> None:
        gone = self._current().rows.find(ids)
        if len(gone):
            self._deleted += gone.tolist()
            self._state = None

    def _compact(self) -> None:
        """Merges added segments of like size, so that n added rows lie in at most log2(n) segments."""
        while len(self._segments) > 2 and len(self._segments[-2].rows) < 2 * len(self._segments[-1].rows):
            self._segments[-2:] = [merge(self._segments[-2:])]

    def _current(self) -> _State:
        if self._state is None:
            ids, lengths = np.concatenate(self._ids), np.concatenate(self._lengths)
            base = len(self._ids[0])
            self._ids, self._lengths = [ids[:base], ids[base:]], [lengths[:base], lengths[base:]]
            self._state = self._state_of(Rows.of(ids, self._deleted))
            self._narrow.clear()
        return self._state

    def _narrowed(self, ids: Ids) -> _State:
        """The view of those who see only `ids`; the last few are kept, by the array that was given."""
        state = self._current()
        known = self._narrow.get(id(ids))
        if known is None or known[0] is not ids:
            found = state.rows.find(ids)
            alive = np.zeros(len(state.rows.ids), bool)
            alive[found] = True
            if len(self._narrow) >= _KEPT_VIEWS:
                self._narrow.pop(next(iter(self._narrow)))
            rows = state.rows._replace(alive=alive, live=len(found))
            known = self._narrow[id(ids)] = (ids, self._state_of(rows))
        return known[1]

    def _state_of(self, rows: Rows) -> _State:
        lengths = np.concatenate(self._lengths)
        live = lengths if rows.alive is None else lengths[rows.alive]
        mean = float(live.mean(dtype=np.float64)) if live.any() else 1.0
        norms = (self.k1 * (1 - self.b + self.b * lengths / mean)).astype(np.float32)
        return _State(rows, mean, norms)

    def _lists(self, state: _State, hashes: NDArray[np.uint64], weights: NDArray[np.int64]) -> list[TermList]:
        """The live postings of each term that is there, with its weighted IDF and a bound on one posting's share."""
        places = [segment.find(hashes) for segment in self._segments]
        stretch = max(1.0, state.mean_length / self._peak_length)
        lists = []
        for i, weight in enumerate(weights):
            parts = [(s, at[i]) for s, at in zip(self._segments, places, strict=True) if at[i] >= 0]
            if not parts:
                continue
            slices = [slice(s.offsets[at], s.offsets[at + 1]) for s, at in parts]
            rows = _joined([s.rows[cut] for (s, _), cut in zip(parts, slices, strict=True)])
            counts = _joined([s.counts[cut] for (s, _), cut in zip(parts, slices, strict=True)])
            if state.rows.alive is not None:
                kept = state.rows.alive[rows]
                rows, counts = rows[kept], counts[kept]
            idf = weight * np.log(1 + (state.rows.live - len(rows) + 0.5) / (len(rows) + 0.5))
            in_base_only = len(parts) == 1 and parts[0][0] is self._segments[0] and len(self._peaks) > 0
            # A longer mean length shrinks every norm by at most `stretch`, so no share grows by more.
            peak = min(1.0, float(self._peaks[parts[0][1]]) * stretch) if in_base_only else 1.0
            lists.append(TermList(rows, counts, float(idf), float(idf) * peak))
        return lists


def _joined(parts: list[NDArray[Any]]) -> NDArray[Any]:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
