"""Inverted lists as flat arrays: made from term counts, merged, spilled to disk while a large base is built."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from openbook.library.lexical.counts import TermCounts

RUN_POSTINGS = 250_000
"""Postings that a build holds in memory at once (14 bytes each, about three times that while they are sorted)."""


class Postings(NamedTuple):
    """`terms` (T,) uint64 ascending; the list of term t is `rows[offsets[t]:offsets[t+1]]` (int32 ascending) with its
    `counts` (uint16)."""

    terms: NDArray[np.uint64]
    offsets: NDArray[np.int64]
    rows: NDArray[np.int32]
    counts: NDArray[np.uint16]

    def find(self, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        """(Q,) index of each hash in `terms`, -1 where it is absent."""
        if not len(self.terms):
            return np.full(len(hashes), -1, np.int64)
        at = np.minimum(np.searchsorted(self.terms, hashes), len(self.terms) - 1)
        return np.where(self.terms[at] == hashes, at, -1)


def invert(rows: NDArray[np.int32], counted: Sequence[TermCounts]) -> Postings:
    """The postings of `counted[i]` under `rows[i]` (ascending)."""
    sizes = np.array([len(counts.hashes) for counts in counted], np.int64)
    terms = np.concatenate([counts.hashes for counts in counted] or [np.empty(0, np.uint64)])
    counts = np.concatenate([counts.counts for counts in counted] or [np.empty(0, np.uint16)])
    return _group(terms, np.repeat(rows, sizes), counts)


def merge(parts: Sequence[Postings]) -> Postings:
    """One inverted list of several whose rows ascend from part to part."""
    terms = np.concatenate([np.repeat(part.terms, np.diff(part.offsets)) for part in parts])
    return _group(terms, np.concatenate([part.rows for part in parts]), np.concatenate([part.counts for part in parts]))


def _group(terms: NDArray[np.uint64], rows: NDArray[np.int32], counts: NDArray[np.uint16]) -> Postings:
    order = np.argsort(terms, kind="stable")  # stable: rows stay ascending within a term
    distinct, starts = np.unique(terms[order], return_index=True)
    return Postings(distinct, np.append(starts, len(terms)).astype(np.int64), rows[order], counts[order])


def inverted_runs(counted: Iterable[TermCounts]) -> Iterator[Postings]:
    """Postings of at most about `RUN_POSTINGS` each; the i-th of `counted` gets row i."""
    pending: list[TermCounts] = []
    size = first = 0
    for counts in counted:
        pending.append(counts)
        size += len(counts.hashes)
        if size >= RUN_POSTINGS:
            yield invert(np.arange(first, first + len(pending), dtype=np.int32), pending)
            first += len(pending)
            pending, size = [], 0
    yield invert(np.arange(first, first + len(pending), dtype=np.int32), pending)


def merged_by_range(runs: Iterable[Postings], folder: Path) -> Iterator[Postings]:
    """The merge of `runs`, term range after term range, so that memory holds about one run.

    All runs but a lone one are spilled to an unnamed file in `folder`. Hashes are uniform, so equal ranges of them
    hold about equally many postings.
    """
    source = iter(runs)
    spilled = [next(source)]
    with tempfile.TemporaryFile(dir=folder) as file:
        for run in source:
            spilled[-1] = _spill(file, spilled[-1])
            spilled.append(run)
        if len(spilled) == 1:
            yield spilled[0]
            return
        spilled[-1] = _spill(file, spilled[-1])
        total = sum(len(run.rows) for run in spilled)
        bounds = _range_bounds(-(-total // RUN_POSTINGS) + 1)
        for low, high in pairwise(bounds):
            yield merge([_slice(run, low, high) for run in spilled])
            _release(spilled)


def _release(spilled: Iterable[Postings]) -> None:
    """Gives back the mapped pages that have been read; those that are needed again come from the file."""
    for run in spilled:
        for array in run:
            mapped = getattr(array.base, "_mmap", None)
            if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
                mapped.madvise(mmap.MADV_DONTNEED)


def _range_bounds(ranges: int) -> list[int]:
    return [2**64 * i // ranges for i in range(ranges + 1)]


def _slice(run: Postings, low: int, high: int) -> Postings:
    """The part of `run` with low <= term < high."""
    first = int(np.searchsorted(run.terms, np.uint64(low)))
    last = int(np.searchsorted(run.terms, np.uint64(high))) if high < 2**64 else len(run.terms)
    start, end = int(run.offsets[first]), int(run.offsets[last])
    offsets = run.offsets[first : last + 1] - start
    return Postings(run.terms[first:last], offsets, run.rows[start:end], run.counts[start:end])


def _spill(file: IO[bytes], run: Postings) -> Postings:
    """The same postings, their arrays mapped from `file`."""
    return Postings(*(_mapped(file, array) for array in run))


def _mapped(file: IO[bytes], array: NDArray[Any]) -> NDArray[Any]:
    if not len(array):
        return array
    offset = file.seek(0, 2)
    file.write(array.tobytes())
    file.flush()
    return np.asarray(np.memmap(file, array.dtype, "r", offset, array.shape))
