"""The term counts of a chunk: what the catalogue keeps of it for BM25, free of any vocabulary table.

A term is known by the first 64 bits of its BLAKE2b hash: among a million distinct terms two collide with probability
3e-8.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from openbook.core.errors import CorruptLibrary
from openbook.library.lexical.tokenize import terms

_HEADER = struct.Struct("<II")
_ROW_BYTES = 8 + 2
_CACHE_ENTRIES = 50_000
"""Hashes remembered: the frequent terms of a library; more of them would grow with it in every worker."""
_hashes: dict[str, int] = {}


class TermCounts(NamedTuple):
    """`hashes` (T,) uint64 ascending, `counts` (T,) uint16 (saturated at 65,535), `length`: terms in all."""

    hashes: NDArray[np.uint64]
    counts: NDArray[np.uint16]
    length: int

    def to_blob(self) -> bytes:
        """Little-endian: length and T as uint32, the hashes, the counts."""
        head = _HEADER.pack(self.length, len(self.hashes))
        return head + self.hashes.astype("<u8").tobytes() + self.counts.astype("<u2").tobytes()

    @classmethod
    def from_blob(cls, blob: bytes) -> TermCounts:
        """Raises `CorruptLibrary` when the blob's size contradicts its header."""
        length, distinct = _HEADER.unpack_from(blob) if len(blob) >= _HEADER.size else (0, -1)
        if len(blob) != _HEADER.size + distinct * _ROW_BYTES:
            raise CorruptLibrary(
                f"term counts of {len(blob)} bytes do not hold {distinct} terms", "openbook check --repair"
            )
        hashes = np.frombuffer(blob, "<u8", distinct, _HEADER.size).astype(np.uint64, copy=False)
        counts = np.frombuffer(blob, "<u2", distinct, _HEADER.size + 8 * distinct).astype(np.uint16, copy=False)
        return cls(hashes, counts, length)


def count_terms(text: str) -> TermCounts:
    """The counts of `terms(text)`."""
    counted = Counter(terms(text))
    hashes = np.array([_hashes.get(term) or hash_term(term) for term in counted], np.uint64)
    counts = np.array(list(counted.values()), np.int64)
    order = np.argsort(hashes)
    return TermCounts(hashes[order], np.minimum(counts[order], 65_535).astype(np.uint16), counted.total())


def count_hashes(found: list[int]) -> TermCounts:
    hashes, counts = np.unique(np.array(found, np.uint64), return_counts=True)
    return TermCounts(hashes, np.minimum(counts, 65_535).astype(np.uint16), len(found))


def hash_term(term: str) -> int:
    """The 64-bit hash of a term, remembered (bounded)."""
    known = _hashes.get(term)
    if known is None:
        if len(_hashes) >= _CACHE_ENTRIES:
            _hashes.clear()
        known = int.from_bytes(blake2b(term.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
        _hashes[term] = known
    return known


def hash_terms(found: Iterable[str]) -> NDArray[np.uint64]:
    """(T,) the hashes of terms, in their order."""
    return np.array([hash_term(term) for term in found], np.uint64)
