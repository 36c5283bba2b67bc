"""Exact nearest neighbours: a memory-mapped base in two precisions, rows added since in memory, a deleted mask.

A search first multiplies the base's 8-bit rows, a quarter of the bytes; each row's rounding error is stored, so the
rows that could be among the k best are known for certain, and only they are multiplied in float32. Over 100,000 x 384
that takes 1.1 ms on one core where float32 takes 4.7 ms on two. The kernel is compiled, in the background, after a
few searches; until then numpy multiplies in float32, and a process that asks once never pays for a compiler.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from openbook.library.derived import Meta, open_derived
from openbook.library.rows import Ids, Rows
from openbook.library.vectors.base import KIND, Run, checked, write_base
from openbook.library.vectors.quantize import ByteDot, Quantized, load_byte_dot

Vectors = NDArray[np.float32]
Scores = NDArray[np.float32]
_SEARCHES_BEFORE_COMPILING = 3
_SMALL_BASE = 4_096
"""Rows up to which float32 is as fast as anything"""
_GATHER_SHARE = 16
"""A filter that leaves less than 1/16 of the rows is searched by gathering them"""


class VectorIndex(Protocol):
    def upsert(self, runs: Iterable[Run]) -> None: ...
    def delete(self, chunk_ids: Iterable[int]) -> None: ...
    def search(self, query: Vectors, k: int, allowed: Ids | None = None) -> tuple[Ids, Scores]: ...
    def count(self) -> int: ...
    def describe(self) -> dict[str, Any]: ...


class _State(NamedTuple):
    """One consistent view: `rows` over base and added, `added` (A, E) float32."""

    rows: Rows
    added: Vectors


class ExactIndex:
    """The built-in `VectorIndex` over vectors of `dimension`. All methods may be called from any thread.

    `meta` is what `build` was given: the owner's watermarks (`base_chunk_id`, `base_deletion_seq`, `generation`).
    """

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension
        self.meta: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._base = np.empty((0, dimension), np.float32)
        self._quantized: Quantized | None = None
        self._base_ids = np.empty(0, np.int64)
        self._added_ids = np.empty(0, np.int64)
        self._added = np.empty((0, dimension), np.float32)
        self._deleted: list[int] = []
        self._state: _State | None = None
        self._searches = 0
        self._kernel: ByteDot | None = None
        self._warming: threading.Thread | None = None

    @classmethod
    def build(cls, path: Path, runs: Iterable[Run], dimension: int, meta: Meta) -> None:
        """Writes the base file of runs of (chunk ids (n,), vectors (n, E)), ids ascending over all; constant memory."""
        write_base(path, runs, dimension, meta)

    @classmethod
    def open(cls, path: Path) -> ExactIndex:
        """Raises `FileNotFoundError`, or `CorruptLibrary` when the file is damaged."""
        file = open_derived(path, KIND)
        index = cls(int(file.meta["dimension"]))
        index.meta = file.meta["owner"]
        index._base, index._base_ids = file.arrays["vectors"], file.arrays["ids"]
        index._quantized = Quantized(file.arrays["codes"], file.arrays["scales"], file.arrays["errors"])
        return index

    def upsert(self, runs: Iterable[Run]) -> None:
        """Adds runs of (chunk ids (n,), vectors (n, E)); a chunk that is there gets the new vector.

        Searches see all of the call or nothing.
        """
        found = [(np.asarray(ids, np.int64), checked(vectors, len(ids), self.dimension)) for ids, vectors in runs]
        if not sum(len(ids) for ids, _ in found):
            return
        ids = np.concatenate([ids for ids, _ in found])
        vectors = np.concatenate([vectors for _, vectors in found])
        distinct, last = np.unique(ids[::-1], return_index=True)
        with self._lock:
            self._delete(distinct)
            self._append(distinct, vectors[len(ids) - 1 - last])
            self._state = None

    def delete(self, chunk_ids: Iterable[int]) -> None:
        """Takes chunks out; ids that are not there are ignored."""
        with self._lock:
            self._delete(np.unique(np.fromiter(chunk_ids, np.int64)))

    def search(self, query: Vectors, k: int, allowed: Ids | None = None) -> tuple[Ids, Scores]:
        """The k chunks with the largest dot product with `query` (E,), best first, ties by id.

        `allowed`: ascending chunk ids to choose from.
        """
        query = np.ascontiguousarray(query, np.float32).reshape(-1)
        if query.shape != (self.dimension,):
            raise ValueError(f"the query has {len(query)} numbers, the index {self.dimension}")
        with self._lock:
            state = self._current()
            self._searches += 1
            kernel = self._kernel
        if kernel is None and self._searches > _SEARCHES_BEFORE_COMPILING and len(self._base) > _SMALL_BASE:
            self._warm_in_background()
        rows, scores = self._best(state, query, k, None if allowed is None else state.rows.find(allowed), kernel)
        ids = state.rows.ids[rows]
        order = np.lexsort((ids, -scores))[:k]
        return ids[order], scores[order]

    def count(self) -> int:
        with self._lock:
            return self._current().rows.live

    def describe(self) -> dict[str, Any]:
        with self._lock:
            state = self._current()
            return {
                "kind": "built-in exact vectors",
                "chunks": state.rows.live,
                "base_chunks": len(self._base),
                "added_chunks": len(state.added),
                "deleted_chunks": len(state.rows.ids) - state.rows.live,
                "dimension": self.dimension,
                "first_pass": "int8" if self._kernel else "float32",
                **self.meta,
            }

    def warm(self) -> None:
        """Compiles the 8-bit kernel now (about a second; for long-lived processes). Without numba nothing changes."""
        kernel = load_byte_dot()
        with self._lock:
            self._kernel = kernel

    def _warm_in_background(self) -> None:
        with self._lock:
            if self._warming is None:
                self._warming = threading.Thread(target=self.warm, name="openbook-vectors-warm", daemon=True)
                self._warming.start()

    def _append(self, ids: Ids, vectors: Vectors) -> None:
        """Amortised: room for twice the rows is kept, and rows that were handed out are never moved or changed."""
        used = len(self._added_ids)
        if used + len(ids) > len(self._added):
            room = np.empty((max(256, 2 * (used + len(ids))), self.dimension), np.float32)
            room[:used] = self._added[:used]
            self._added = room
        self._added[used : used + len(ids)] = vectors
        self._added_ids = np.concatenate([self._added_ids, ids])

    def _delete(self, ids: Ids) -> None:
        gone = self._current().rows.find(ids)
        if len(gone):
            self._deleted += gone.tolist()
            self._state = None

    def _current(self) -> _State:
        if self._state is None:
            ids = np.concatenate([self._base_ids, self._added_ids])
            self._state = _State(Rows.of(ids, self._deleted), self._added[: len(self._added_ids)])
        return self._state

    def _best(
        self, state: _State, query: Vectors, k: int, chosen: NDArray[np.int64] | None, kernel: ByteDot | None
    ) -> tuple[NDArray[np.int64], Scores]:
        """Rows and scores (unsorted) of at least the k best live rows of `chosen` (ascending; None: of all)."""
        size = len(state.rows.ids)
        if chosen is not None and len(chosen) * _GATHER_SHARE <= size:
            return _largest(chosen, self._gathered(state, chosen, query), k)
        usable = state.rows.alive
        if chosen is not None:
            usable = np.zeros(size, bool)
            usable[chosen] = True
        base = len(self._base)
        scores = np.empty(size, np.float32)
        np.dot(state.added, query, out=scores[base:])
        if kernel is None or self._quantized is None or base <= _SMALL_BASE:
            np.dot(self._base, query, out=scores[:base])
            live = np.arange(size) if usable is None else np.flatnonzero(usable)
            return _largest(live, scores[live], k)
        errors = self._quantized.scores(query, kernel, scores[:base])
        if usable is not None:
            scores[~usable] = -np.inf
        rows = _possible(scores, errors, k)
        return rows, self._gathered(state, rows, query)

    def _gathered(self, state: _State, rows: NDArray[np.int64], query: Vectors) -> Scores:
        """(n,) float32 products of ascending rows."""
        base = len(self._base)
        split = int(np.searchsorted(rows, base))
        return np.concatenate([self._base[rows[:split]] @ query, state.added[rows[split:] - base] @ query])


def _largest(rows: NDArray[np.int64], scores: Scores, k: int) -> tuple[NDArray[np.int64], Scores]:
    """The rows of at least the k largest scores (more where the last one ties)."""
    if k <= 0:
        return rows[:0], scores[:0]
    if len(scores) <= k:
        return rows, scores
    kept = np.flatnonzero(scores >= np.partition(scores, len(scores) - k)[len(scores) - k])
    return rows[kept], scores[kept]


def _possible(scores: Scores, errors: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """The rows that may be among the k best when row i < len(errors) can be off by `errors[i]`, the others by nothing.

    The k rows that look best are at least as good as the worst of them less its error: what cannot reach that is out.
    """
    if k <= 0:
        return np.empty(0, np.int64)
    slack = float(errors.max(initial=0.0))
    least = float(np.partition(scores, len(scores) - k)[len(scores) - k]) if len(scores) > k else -np.inf
    near = np.flatnonzero(scores >= max(least - 2 * slack, float(np.finfo(np.float32).min)))
    own = np.zeros(len(near), np.float32)
    in_base = near < len(errors)
    own[in_base] = errors[near[in_base]]
    if len(near) <= k:
        return near
    sure = np.partition(scores[near] - own, len(near) - k)[len(near) - k]
    possible: NDArray[np.int64] = near[scores[near] + own >= sure]
    return possible
