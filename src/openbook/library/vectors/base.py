"""The base file of the exact index, written in one pass."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from openbook.library.derived import Meta, write_derived
from openbook.library.vectors.quantize import Quantized, quantize

KIND = "vectors"
_BLOCK_ROWS = 4_096

Run = tuple[NDArray[np.int64], NDArray[np.float32]]
"""Chunk ids (n,) and their vectors (n, E)."""


def write_base(path: Path, runs: Iterable[Run], dimension: int, meta: Meta) -> None:
    """Sections: `vectors` (N, E) float32 as given, `codes`, `scales`, `errors` of the 8-bit form, `ids`."""
    with tempfile.TemporaryFile(dir=path.parent) as spool:
        collected = _Collected(spool, dimension)
        sections: list[tuple[str, Iterable[NDArray[Any]]]] = [
            ("vectors", collected.vectors(runs)),
            ("codes", collected.codes()),
            ("scales", collected.scales),
            ("errors", collected.errors),
            ("ids", collected.ids),
        ]
        write_derived(path, KIND, {"dimension": dimension, "owner": dict(meta)}, sections)


class _Collected:
    """The small sections, kept while the vectors stream past; the codes wait in `spool`."""

    def __init__(self, spool: IO[bytes], dimension: int) -> None:
        self._spool, self._dimension = spool, dimension
        self.ids: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
        self.scales: list[NDArray[np.float32]] = [np.empty(0, np.float32)]
        self.errors: list[NDArray[np.float32]] = [np.empty(0, np.float32)]

    def vectors(self, runs: Iterable[Run]) -> Iterator[NDArray[np.float32]]:
        yield np.empty((0, self._dimension), np.float32)
        for chunk_ids, given in runs:
            ids, vectors = np.asarray(chunk_ids, np.int64), checked(given, len(chunk_ids), self._dimension)
            before = self.ids[-1][-1:]
            if np.any(np.diff(np.concatenate([before, ids])) <= 0):
                raise ValueError(f"chunk ids {ids[0]}..{ids[-1]}: the rows of a base must ascend")
            if len(ids):
                self._note(ids, quantize(vectors))
                yield vectors

    def _note(self, ids: NDArray[np.int64], small: Quantized) -> None:
        self.ids.append(ids)
        self.scales.append(small.scales)
        self.errors.append(small.errors)
        self._spool.write(small.codes.tobytes())

    def codes(self) -> Iterator[NDArray[np.int8]]:
        self._spool.seek(0)
        yield np.empty((0, self._dimension), np.int8)
        while block := self._spool.read(_BLOCK_ROWS * self._dimension):
            yield np.frombuffer(block, np.int8).reshape(-1, self._dimension)


def checked(vectors: NDArray[np.float32], rows: int, dimension: int) -> NDArray[np.float32]:
    """`vectors` as float32 of shape (rows, dimension), or a `ValueError`."""
    values = np.asarray(vectors, np.float32)
    if values.shape != (rows, dimension):
        raise ValueError(f"vectors of shape {values.shape} for {rows} chunks in an index of {dimension} numbers each")
    return values
