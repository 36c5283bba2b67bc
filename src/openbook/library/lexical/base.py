"""The base file of the BM25 index, written in one pass over the term counts and one over their merged postings."""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from openbook.library.derived import Meta, write_derived
from openbook.library.lexical.counts import TermCounts
from openbook.library.lexical.postings import Postings, inverted_runs, merged_by_range

KIND = "bm25"
_COPY_BYTES = 1 << 22


def write_base(path: Path, rows: Iterable[tuple[int, bytes]], meta: Meta, k1: float, b: float) -> None:
    """Writes the index of (chunk id, term counts blob) rows, whose ids must ascend; memory holds about one run.

    Sections: `rows`, `counts` (the postings), `terms`, `offsets`, `peaks` (the largest tf / (tf + norm) of a term, at
    the mean length of this base), `ids` and `lengths` of the chunks.
    """
    chunks = _Chunks()
    with tempfile.TemporaryFile(dir=path.parent) as spool:
        ranges = merged_by_range(inverted_runs(chunks.read(rows)), path.parent)
        first = next(ranges)  # all rows have been read now: the lengths are complete
        lengths = np.array(chunks.lengths, np.uint32)
        mean = float(lengths.mean()) if len(lengths) and lengths.any() else 1.0
        collected = _Collected(spool, (k1 * (1 - b + b * lengths / mean)).astype(np.float32))
        parameters = {"k1": k1, "b": b, "mean_length": mean, "owner": dict(meta)}
        sections: list[tuple[str, Iterable[NDArray[Any]]]] = [
            ("rows", collected.rows(first, ranges)),
            ("counts", collected.counts()),
            ("terms", collected.terms),
            ("offsets", collected.offsets),
            ("peaks", collected.peaks),
            ("ids", [np.array(chunks.ids, np.int64)]),
            ("lengths", [lengths]),
        ]
        write_derived(path, KIND, parameters, sections)


class _Chunks:
    """Ids and lengths noted while the counts stream past."""

    def __init__(self) -> None:
        self.ids = array("q")
        self.lengths = array("L")

    def read(self, rows: Iterable[tuple[int, bytes]]) -> Iterator[TermCounts]:
        for chunk_id, blob in rows:
            if self.ids and chunk_id <= self.ids[-1]:
                raise ValueError(f"chunk id {chunk_id} after {self.ids[-1]}: the rows of a base must ascend")
            counts = TermCounts.from_blob(blob)
            self.ids.append(chunk_id)
            self.lengths.append(counts.length)
            yield counts


class _Collected:
    """What is known of each term once its postings have passed; their counts wait in `spool` for their section."""

    def __init__(self, spool: IO[bytes], norms: NDArray[np.float32]) -> None:
        self._spool, self._norms = spool, norms
        self._written = 0
        self.terms: list[NDArray[np.uint64]] = []
        self.offsets: list[NDArray[np.int64]] = [np.zeros(1, np.int64)]
        self.peaks: list[NDArray[np.float32]] = []

    def rows(self, first: Postings, rest: Iterable[Postings]) -> Iterator[NDArray[np.int32]]:
        self._note(first)
        yield first.rows
        for part in rest:
            self._note(part)
            yield part.rows

    def _note(self, part: Postings) -> None:
        self.terms.append(part.terms)
        self.offsets.append(part.offsets[1:] + self._written)
        self._written += len(part.rows)
        shares = part.counts / (part.counts + self._norms[part.rows])
        peaks = np.maximum.reduceat(shares, part.offsets[:-1]) if len(shares) else shares
        self.peaks.append(np.nextafter(peaks.astype(np.float32), np.float32(2)))
        self._spool.write(part.counts.tobytes())

    def counts(self) -> Iterator[NDArray[np.uint16]]:
        self._spool.seek(0)
        yield np.empty(0, np.uint16)
        while block := self._spool.read(_COPY_BYTES):
            yield np.frombuffer(block, np.uint16)
