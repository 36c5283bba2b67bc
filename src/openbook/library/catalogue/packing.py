"""How blocks and anchors are kept in the catalogue: msgpack rows, compressed. Vectors: float16."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence

import msgpack
import numpy as np
from numpy.typing import NDArray

from openbook.library.documents.model import Anchor, Block, anchor_from_plain

ANCHOR_RUN = 256
"""Anchors a run: a hit reads the runs that it overlaps, not all of a long document's."""


def pack_blocks(blocks: Sequence[Block]) -> bytes:
    return zlib.compress(msgpack.packb([list(block) for block in blocks]), 3)


def unpack_blocks(data: bytes) -> tuple[Block, ...]:
    return tuple(Block(*row) for row in msgpack.unpackb(zlib.decompress(data)))


def pack_anchors(anchors: Sequence[Anchor]) -> Iterator[tuple[int, int, bytes]]:
    """(start, end, packed run) of every run of up to `ANCHOR_RUN` anchors, in order of start."""
    ordered = sorted(anchors, key=lambda anchor: (anchor.start, anchor.end))
    for first in range(0, len(ordered), ANCHOR_RUN):
        run = ordered[first : first + ANCHOR_RUN]
        rows = [_without_tail(anchor) for anchor in run]
        yield run[0].start, max(anchor.end for anchor in run), zlib.compress(msgpack.packb(rows), 3)


def unpack_anchors(data: bytes) -> list[Anchor]:
    return [anchor_from_plain(row) for row in msgpack.unpackb(zlib.decompress(data))]


def _without_tail(anchor: Anchor) -> list[object]:
    row: list[object] = list(anchor)
    while row and row[-1] is None:
        row.pop()
    return row


def pack_vector(vector: NDArray[np.float32]) -> bytes:
    return vector.astype(np.float16).tobytes()


def unpack_vectors(blobs: Sequence[bytes], dimension: int) -> NDArray[np.float32]:
    """(N, E) float32 from N blobs of float16."""
    return np.frombuffer(b"".join(blobs), dtype=np.float16).reshape(len(blobs), dimension).astype(np.float32)


def chunk_crc(slice_text: str, prefix: str, counts: bytes, vector: bytes | None) -> int:
    crc = zlib.crc32(slice_text.encode("utf-8", "surrogatepass"))
    for part in (prefix.encode("utf-8", "surrogatepass"), counts, vector or b""):
        crc = zlib.crc32(part, crc)
    return crc
