"""A library's documents as plain files, and back: `documents.jsonl`, `chunks.jsonl`, `vectors.safetensors`.

Two libraries with the same documents, read in the same order, give the same files, byte for byte, but for
`library.json` (versions and settings). Times of day and of work are left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import numpy as np
from safetensors import SafetensorError

from openbook.core.errors import UsageError
from openbook.core.paths import replacing
from openbook.core.progress import Progress, silent
from openbook.library.catalogue import reads, writes
from openbook.library.catalogue.generations import active_generation
from openbook.library.catalogue.rows import DocumentRow, FoundFile, IndexedChunk, ReadDocument
from openbook.library.catalogue.scope import OWNER
from openbook.library.documents.model import Block, Document, anchor_from_plain, receipt_from_plain
from openbook.library.lexical.counts import count_terms
from openbook.library.lexical.tokenize import TOKENIZER_VERSION, sequence
from openbook.library.split.chunk import Chunk
from openbook.library.split.settings import SplitSettings
from openbook.library.store import DEFAULT_EMBEDDER, LibraryStore

FORMAT = 1


def export_library(store: LibraryStore, directory: Path, progress: Progress = silent) -> int:
    """Writes the active generation into an empty or new directory and returns the number of documents."""
    from safetensors.numpy import save

    if directory.exists() and any(directory.iterdir()):
        raise UsageError(f"{directory} is not empty", "name a new directory")
    directory.mkdir(parents=True, exist_ok=True)
    with store.catalogue.read() as connection:
        generation = active_generation(connection)
        documents = 0
        with replacing(directory / "documents.jsonl") as file:
            for row in reads.documents(connection, OWNER):
                documents += 1
                file.write(_line(_document_plain(connection, row)))
                progress("exporting", documents, None, row.paths[0] if row.paths else "")
        blobs: list[bytes] = []
        with replacing(directory / "chunks.jsonl") as file:
            for plain, vector in _chunks(connection, generation.id):
                file.write(_line(plain))
                if vector is not None:
                    blobs.append(vector)
        if generation.dimension is not None:
            vectors = np.frombuffer(b"".join(blobs), np.float16).reshape(len(blobs), generation.dimension)
            with replacing(directory / "vectors.safetensors") as file:
                file.write(save({"vectors": vectors}))
        about = {
            "format": FORMAT,
            "documents": documents,
            "splitter": json.loads(generation.splitter),
            "embedder": generation.embedder,
            "embedder_hash": generation.embedder_hash,
            "dimension": generation.dimension,
            "tokenizer_version": generation.tokenizer_version,
            "roots": [root._asdict() for root in reads.roots(connection)],
        }
        with replacing(directory / "library.json") as file:
            file.write(json.dumps(about, ensure_ascii=False, indent=2).encode("utf-8"))
    return documents


def _line(plain: dict[str, Any]) -> bytes:
    return (json.dumps(plain, ensure_ascii=False, sort_keys=True) + "\n").encode("utf-8")


def _document_plain(connection: apsw.Connection, row: DocumentRow) -> dict[str, Any]:
    receipt = json.loads(row.receipt)
    receipt.pop("seconds", None)
    paths = connection.execute(
        "SELECT path, root_id, size_bytes, mtime_ns FROM paths WHERE document_id = ? ORDER BY path", (row.id,)
    )
    return {
        "id": row.id,
        "collection": row.collection,
        "paths": [dict(zip(("path", "root", "size_bytes", "mtime_ns"), path, strict=True)) for path in paths],
        "sha256": row.sha256,
        "suffix": row.suffix,
        "version": row.version,
        "kind": row.kind,
        "title": row.title,
        "language": row.language,
        "size_bytes": row.size_bytes,
        "text": reads.document_text(connection, row.id),
        "blocks": [list(block) for block in reads.document_blocks(connection, row.id)],
        "anchors": [list(anchor) for anchor in reads.document_anchors(connection, row.id)],
        "receipt": receipt,
        "metadata": reads.document_metadata(connection, row.id),
    }


def _chunks(connection: apsw.Connection, generation_id: int) -> Iterator[tuple[dict[str, Any], bytes | None]]:
    query = (
        'SELECT c.id, c.document_id, c.start, c."end", c.prefix, c.heading, c.page, c.tokens, c.language, v.vector '
        "FROM chunks c LEFT JOIN vectors v ON v.chunk_id = c.id WHERE c.generation_id = ? ORDER BY c.document_id, c.id"
    )
    for _, document_id, start, end, prefix, heading, page, tokens, language, vector in connection.execute(
        query, (generation_id,)
    ):
        plain = {
            "document": document_id,
            "start": start,
            "end": end,
            "prefix": prefix,
            "heading": json.loads(heading),
            "page": page,
            "tokens": tokens,
            "language": language,
        }
        yield plain, vector


def import_library(store_directory: Path, directory: Path, progress: Progress = silent) -> int:
    """Makes a new library in `store_directory` from exported files; returns the number of documents.

    Vectors are taken over when the default embedder made them; otherwise the library is made without, and `openbook
    reembed` adds them: a name in somebody's files is not followed. Raises `UsageError` before anything is made when
    the files are not whole. Paths that could not be read and grants are not exported.
    """
    try:
        about = _read_about(directory)
        # The name of an embedder in somebody's files is not followed: a URL would be sent every question.
        is_default = about["embedder"] == DEFAULT_EMBEDDER
        if not is_default:
            about |= {"embedder": None, "embedder_hash": None, "dimension": None}
        vectors = _read_vectors(directory, about)
        chunks = _chunks_by_document(directory, vectors)
        documents = _documents(directory, about, chunks)
        split = SplitSettings.model_validate(about["splitter"])
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OSError, SafetensorError) as error:
        raise UsageError(
            f"{directory} is no whole export ({type(error).__name__}: {error})", "export the library again"
        ) from None
    store = LibraryStore.create(store_directory, split, about["embedder"] or "none")
    try:
        generation = store.generation()
        if generation.embedder_hash != about["embedder_hash"]:
            raise UsageError(
                f"{directory} was embedded with {about['embedder']}, of which another version is found here",
                "import it where that embedder is installed",
            )
        roots = {root["id"]: root for root in about["roots"]}
        with store.catalogue.write() as connection:
            for root in about["roots"]:
                writes.put_root(connection, root["path"], root["collection"], root["kind"], root["exclude"])
        count = 0
        with (directory / "documents.jsonl").open(encoding="utf-8") as file:
            for line in file:
                plain = json.loads(line)
                _import_document(store, plain, chunks.pop(plain["id"], []), roots, generation.id)
                count += 1
                progress("importing", count, documents, plain["title"])
        store.indexes.settle(at_end=True)
        return count
    finally:
        store.close()


def _read_about(directory: Path) -> dict[str, Any]:
    try:
        about: dict[str, Any] = json.loads((directory / "library.json").read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise UsageError(
            f"{directory} is no exported library ({error})", "name a directory made by `openbook export`"
        ) from None
    if about.get("format") != FORMAT or about.get("tokenizer_version") != TOKENIZER_VERSION:
        raise UsageError(f"{directory} was exported by another version", "export it again with this version")
    return about


def _read_vectors(directory: Path, about: dict[str, Any]) -> np.ndarray[Any, np.dtype[np.float16]] | None:
    from safetensors.numpy import load_file

    if about["dimension"] is None:
        return None
    vectors = load_file(directory / "vectors.safetensors")["vectors"]
    if vectors.ndim != 2 or vectors.shape[1] != about["dimension"] or not np.isfinite(vectors).all():
        raise ValueError(f"vectors.safetensors holds {vectors.dtype} of shape {vectors.shape}")
    return vectors.astype(np.float16, copy=False)


def _chunks_by_document(
    directory: Path, vectors: np.ndarray[Any, np.dtype[np.float16]] | None
) -> dict[int, list[tuple[dict[str, Any], bytes | None]]]:
    found: dict[int, list[tuple[dict[str, Any], bytes | None]]] = {}
    with (directory / "chunks.jsonl").open(encoding="utf-8") as file:
        for number, line in enumerate(file):
            plain = json.loads(line)
            vector = None if vectors is None else np.ascontiguousarray(vectors[number]).tobytes()
            found.setdefault(plain["document"], []).append((plain, vector))
    return found


def _documents(
    directory: Path, about: dict[str, Any], chunks: dict[int, list[tuple[dict[str, Any], bytes | None]]]
) -> int:
    """How many documents there are, after a look at each: ids, roots, spans of blocks, anchors and chunks."""
    roots = {root["id"] for root in about["roots"]}
    seen: set[int] = set()
    with (directory / "documents.jsonl").open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            plain = json.loads(line)
            size = len(plain["text"])
            spans = [tuple(block[1:3]) for block in plain["blocks"]] + [tuple(a[:2]) for a in plain["anchors"]]
            spans += [(chunk["start"], chunk["end"]) for chunk, _ in chunks.get(plain["id"], [])]
            if plain["id"] in seen or not plain["paths"] or not {path["root"] for path in plain["paths"]} <= roots:
                raise ValueError(f"documents.jsonl line {number}: its id, paths or roots cannot be")
            if not all(0 <= start <= end <= size for start, end in spans) or not isinstance(plain["version"], int):
                raise ValueError(f"documents.jsonl line {number}: a span lies outside the text")
            seen.add(plain["id"])
    if len(seen) != about["documents"] or not set(chunks) <= seen:
        raise ValueError(f"documents.jsonl holds {len(seen)} documents, library.json says {about['documents']}")
    return len(seen)


def _import_document(
    store: LibraryStore,
    plain: dict[str, Any],
    chunks: list[tuple[dict[str, Any], bytes | None]],
    roots: dict[int, dict[str, Any]],
    generation_id: int,
) -> None:
    document = Document(
        text=plain["text"],
        blocks=tuple(Block(*block) for block in plain["blocks"]),
        anchors=tuple(anchor_from_plain(anchor) for anchor in plain["anchors"]),
        title=plain["title"],
        kind=plain["kind"],
        receipt=receipt_from_plain(plain["receipt"]),
        metadata=plain["metadata"],
    )
    with store.catalogue.write() as connection:
        for path in plain["paths"]:
            root = roots[path["root"]]
            root_id = writes.put_root(connection, root["path"], root["collection"], root["kind"], root["exclude"])
            file = FoundFile(
                path["path"],
                root_id,
                plain["collection"],
                plain["sha256"],
                plain["suffix"],
                path["size_bytes"],
                path["mtime_ns"],
            )
            items = tuple(_indexed(document.text, chunk, vector) for chunk, vector in chunks)
            read = ReadDocument(file, document, plain["language"], items)
            writes.put_document(connection, read, generation_id)
        writes.set_version(connection, plain["collection"], plain["sha256"], plain["suffix"], plain["version"])


def _indexed(text: str, plain: dict[str, Any], vector: bytes | None) -> IndexedChunk:
    slice_text = text[plain["start"] : plain["end"]]
    chunk = Chunk(
        plain["start"],
        plain["end"],
        plain["prefix"] + slice_text,
        tuple(plain["heading"]),
        plain["page"],
        plain["tokens"],
        plain["language"],
    )
    return IndexedChunk(chunk, count_terms(chunk.index_text).to_blob(), " ".join(sequence(slice_text)), vector)
