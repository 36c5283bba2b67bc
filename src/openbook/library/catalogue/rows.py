"""The rows that cross the catalogue's border."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from openbook.library.documents.model import Opening


class Generation(NamedTuple):
    """Splitter + settings + embedder + tokenizer version; owns chunks, term counts and vectors."""

    id: int
    state: str
    splitter: str
    embedder: str | None
    embedder_hash: str | None
    dimension: int | None
    tokenizer_version: str


class Root(NamedTuple):
    id: int
    path: str
    collection: str
    kind: str
    exclude: tuple[str, ...]


class PathRow(NamedTuple):
    """A path that was found below a root. `document_id` None: it could never be read, `failure` says why."""

    path: str
    collection: str
    root_id: int
    document_id: int | None
    size_bytes: int
    mtime_ns: int
    failure: str | None
    sha256: str | None
    suffix: str | None


class DocumentRow(NamedTuple):
    id: int
    collection: str
    paths: tuple[str, ...]
    sha256: str
    suffix: str
    version: int
    kind: str
    title: str
    language: str
    modified: float
    size_bytes: int
    text_sha256: str
    receipt: str


class ChunkRow(NamedTuple):
    id: int
    document_id: int
    start: int
    end: int
    text: str
    heading: tuple[str, ...]
    page: int | None
    tokens: int
    language: str


@dataclass(frozen=True)
class FoundFile:
    """What a path held when it was read: `sha256` of the bytes (of the line, for a record), `mtime_ns` of the file."""

    path: str
    root_id: int
    collection: str
    sha256: str
    suffix: str
    size_bytes: int
    mtime_ns: int


class IndexedChunk(NamedTuple):
    """A chunk with what the indexes need. Offsets, in code points and in UTF-8 bytes, count from the beginning of its part;
    `heading` is a JSON list; `counts` are packed term counts, `phrase_tokens` those of the phrase index; `crc` is that of
    slice, prefix and counts. The chunk is indexed under `prefix` + slice.
    """

    start: int
    end: int
    byte_start: int
    byte_end: int
    prefix: str
    heading: str
    page: int | None
    tokens: int
    language: str
    counts: bytes
    phrase_tokens: str
    crc: int
    vector: bytes | None = None


class ChunksOfPart(NamedTuple):
    """`start`, `byte_start`: where the part of the document begins that the chunks' offsets count from."""

    start: int
    byte_start: int
    chunks: Sequence[IndexedChunk]


class ReadPart(NamedTuple):
    """A part of a document's text: `glue` stands before it, `start` and `byte_start` are where `text` begins. `opening` is
    packed as JSON, "" for the first part. `anchors`: (start, end, packed run), offsets of the part.
    """

    start: int
    byte_start: int
    glue: str
    opening: str
    blocks: bytes
    text: str
    anchors: Sequence[tuple[int, int, bytes]]
    chunks: Sequence[IndexedChunk]


@dataclass(frozen=True)
class ReadDocument:
    """A document that was read, with its chunks for the active generation. `parts` are taken once, in order; small documents
    have one. `receipt` and `metadata` are JSON.
    """

    file: FoundFile
    kind: str
    title: str
    language: str
    text_sha256: str
    receipt: str
    metadata: str
    parts: Iterable[ReadPart]


class PartRow(NamedTuple):
    """A part as it is stored: `opening` and `blocks` are packed."""

    id: int
    start: int
    byte_start: int
    glue: str
    opening: str
    blocks: bytes
    text: str


class StoredOpening(NamedTuple):
    """`opening` of a part; where `continues`, the block that goes on began at `begin` and its header ends at `header_end`
    (both of the whole text, -1 otherwise).
    """

    opening: Opening
    begin: int = -1
    header_end: int = -1


class StoredChunk(NamedTuple):
    """A chunk with all that belongs to it, as it is stored; offsets of the whole text. For `check`, which trusts nothing."""

    id: int
    start: int
    end: int
    byte_start: int
    byte_end: int
    prefix: str
    crc: int
    counts: bytes | None
    vector: bytes | None
