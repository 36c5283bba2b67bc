"""How blocks and anchors are kept in the catalogue: msgpack rows, compressed. Vectors: float16.

Offsets of packed blocks count from the beginning of their part, those of a run of anchors from the first of the run.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Sequence

import msgpack
import numpy as np
from numpy.typing import NDArray

from openbook.library.catalogue.rows import StoredOpening
from openbook.library.documents.model import (
    Anchor,
    Block,
    anchor_from_plain,
    opening_from_plain,
    opening_to_plain,
)

ANCHOR_RUN = 256
"""Anchors a run: a hit reads the runs that it overlaps, not all of a long document's."""


def pack_blocks(blocks: Sequence[Block]) -> bytes:
    return zlib.compress(msgpack.packb([list(block) for block in blocks]), 3)


def unpack_blocks(data: bytes) -> tuple[Block, ...]:
    return tuple(Block(*row) for row in msgpack.unpackb(zlib.decompress(data)))


def pack_opening(stored: StoredOpening) -> str:
    return json.dumps([*opening_to_plain(stored.opening), stored.begin, stored.header_end], ensure_ascii=False)


def unpack_opening(text: str) -> StoredOpening | None:
    if not text:
        return None
    *opening, begin, header_end = json.loads(text)
    return StoredOpening(opening_from_plain(opening), begin, header_end)


def pack_anchors(anchors: Sequence[Anchor]) -> Iterator[tuple[int, int, bytes]]:
    """(start, end, packed run) of every run of up to `ANCHOR_RUN` anchors, in order of start."""
    ordered = sorted(anchors, key=lambda anchor: (anchor.start, anchor.end))
    for first in range(0, len(ordered), ANCHOR_RUN):
        run = ordered[first : first + ANCHOR_RUN]
        start = run[0].start
        rows = [_without_tail(anchor, start) for anchor in run]
        yield start, max(anchor.end for anchor in run), zlib.compress(msgpack.packb(rows), 3)


def unpack_anchors(data: bytes, start: int) -> list[Anchor]:
    """The anchors of a run that begins at `start`."""
    rows = (anchor_from_plain(row) for row in msgpack.unpackb(zlib.decompress(data)))
    return [anchor._replace(start=anchor.start + start, end=anchor.end + start) for anchor in rows]


def _without_tail(anchor: Anchor, start: int) -> list[object]:
    row: list[object] = [anchor.start - start, anchor.end - start, *anchor[2:]]
    while row and row[-1] is None:
        row.pop()
    return row


def pack_vector(vector: NDArray[np.float32]) -> bytes:
    return vector.astype(np.float16).tobytes()


def unpack_vectors(blobs: Sequence[bytes], dimension: int) -> NDArray[np.float32]:
    """(N, E) float32 from N blobs of float16."""
    return np.frombuffer(b"".join(blobs), dtype=np.float16).reshape(len(blobs), dimension).astype(np.float32)


def chunk_crc(slice_text: str, prefix: str, counts: bytes, vector: bytes | None) -> int:
    return with_vector(text_crc(slice_text, prefix, counts), vector)


def text_crc(slice_text: str, prefix: str, counts: bytes) -> int:
    """The checksum of a chunk that has no vector yet."""
    crc = zlib.crc32(slice_text.encode("utf-8", "surrogatepass"))
    return zlib.crc32(counts, zlib.crc32(prefix.encode("utf-8", "surrogatepass"), crc))


def with_vector(crc: int, vector: bytes | None) -> int:
    return zlib.crc32(vector, crc) if vector is not None else crc
