"""The rows that cross the catalogue's border."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from openbook.library.documents.model import Document
from openbook.library.split.chunk import Chunk


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


@dataclass(frozen=True)
class IndexedChunk:
    """A chunk with what the indexes need: packed term counts, tokens of the phrase index, packed vector."""

    chunk: Chunk
    counts: bytes
    phrase_tokens: str
    vector: bytes | None


@dataclass(frozen=True)
class ReadDocument:
    """A document that was read, with its chunks for the active generation."""

    file: FoundFile
    document: Document
    language: str
    chunks: tuple[IndexedChunk, ...]
    seconds: float = 0.0
