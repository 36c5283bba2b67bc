"""Vectors for chunks, in batches that are large enough to be sorted by length and small enough not to be felt."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

from openbook.core.messages import Embedder
from openbook.library.catalogue.packing import pack_vector
from openbook.library.catalogue.rows import IndexedChunk

BATCH_CHUNKS = 512
"""Chunks of small documents that are waited for and embedded together."""
_AT_ONCE = 2_048


class Counts(Protocol):
    truncated_chunks: int


class HasChunks(Protocol):
    @property
    def chunks(self) -> Sequence[IndexedChunk]: ...


P = TypeVar("P", bound=HasChunks)


def batches(pieces: Iterable[P]) -> Iterator[list[P]]:
    """Pieces together until they have `BATCH_CHUNKS` chunks or have waited a second for others."""
    batch: list[P] = []
    count = 0
    began = time.monotonic()
    for piece in pieces:
        if not batch:
            began = time.monotonic()
        batch.append(piece)
        count += len(piece.chunks)
        del piece  # not held while the next one is awaited
        if count >= BATCH_CHUNKS or time.monotonic() - began > 1.0:
            yield batch
            batch, count = [], 0
    if batch:
        yield batch


def embed_chunks(
    pieces: Sequence[tuple[str, Sequence[IndexedChunk]]], embedder: Embedder | None, counts: Counts | None = None
) -> list[list[IndexedChunk]]:
    """The chunks of each (text, chunks) with their vectors, equal texts embedded once; as they are without an embedder.

    Chunks that are longer than the embedder reads are counted in `counts`: their ends are found by words only.
    """
    if embedder is None:
        return [list(chunks) for _, chunks in pieces]
    texts = [[chunk.prefix + text[chunk.start : chunk.end] for chunk in chunks] for text, chunks in pieces]
    distinct = list(dict.fromkeys(one for group in texts for one in group))
    before = embedder.truncated
    vectors: dict[str, bytes] = {}
    for begin in range(0, len(distinct), _AT_ONCE):
        some = distinct[begin : begin + _AT_ONCE]
        rows = embedder.embed(some, "passage")
        vectors |= {one: pack_vector(row) for one, row in zip(some, rows, strict=True)}
    if counts is not None:
        counts.truncated_chunks += embedder.truncated - before
    return [
        [chunk._replace(vector=vectors[one]) for chunk, one in zip(chunks, group, strict=True)]
        for (_, chunks), group in zip(pieces, texts, strict=True)
    ]
